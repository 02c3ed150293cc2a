package peers

import (
	"context"
	"fmt"
	"testing"
)

// thorough adds to the scenarios what is cheap to ask of a peer in the same
// process: messages of all sizes, codes at the edges of their encodings, closes
// until it is sure that each arrives, and sessions that end beside others. The
// columns in not keep what they have.
func thorough(not exceptions) exceptions {
	all := exceptions{}
	for c, more := range map[column]func(t *testing.T, l link){
		bidi: func(t *testing.T, l link) {
			ctx := limited(t)
			client, server := l.session(t)
			for _, size := range sizes {
				must(t, echo(ctx, client, server, false, string(pattern(size))))
			}
		},
		serverStreams: func(t *testing.T, l link) {
			ctx := limited(t)
			client, server := l.session(t)
			for _, size := range sizes {
				must(t, echo(ctx, server, client, false, string(pattern(size))))
			}
		},
		resetCode:       everyReset,
		stopCode:        everyStop,
		closeByClient:   func(t *testing.T, l link) { everyClose(t, l, true) },
		closeByServer:   func(t *testing.T, l link) { everyClose(t, l, false) },
		severalSessions: func(t *testing.T, l link) { endBesideOthers(t, l, true) },
	} {
		all[c] = exception{show: func(t *testing.T, l link) {
			// Apart, because a link may be for one session at a time.
			t.Run("plainly", func(t *testing.T) { scenarios[c](t, l) })
			t.Run("thoroughly", func(t *testing.T) { more(t, l) })
		}}
	}
	for c, x := range not {
		all[c] = x
	}
	return all
}

var sizes = []int{0, 1, 100, 16_384, 100_000}

// edgeCodes are application error codes around the holes of HTTP/3's mapping,
// and at the ends of the varints' lengths.
var edgeCodes = []uint32{0, 29, 30, 63, 64, 255, 256, 16383, 16384, 0x7fffffff, 0xffffffff}

func everyReset(t *testing.T, l link) {
	ctx := limited(t)
	client, server := l.session(t)
	for _, code := range edgeCodes {
		for _, dir := range [][2]end{{client, server}, {server, client}} {
			x, y := asked(t, ctx, dir[0], dir[1])
			must(t, x.reset(ctx, code))
			wantCode(t, ctx, "reading", y.wasReset, code)
			// The other direction goes on.
			must(t, y.write(ctx, []byte("still")))
			must(t, y.finish(ctx))
			must(t, expect(x, ctx, "still"))
		}
	}
}

func everyStop(t *testing.T, l link) {
	ctx := limited(t)
	client, server := l.session(t)
	for _, code := range edgeCodes {
		for _, dir := range [][2]end{{client, server}, {server, client}} {
			x, y := asked(t, ctx, dir[0], dir[1])
			must(t, x.stop(ctx, code))
			wantCode(t, ctx, "writing", y.wasStopped, code)
			must(t, y.reset(ctx, 0))
			// The other direction goes on.
			must(t, x.write(ctx, []byte("still")))
			must(t, x.finish(ctx))
			must(t, expect(y, ctx, "still"))
		}
	}
}

// closeTimes is how often a close has to arrive, every time, to count. Twice as
// many sessions and those of a row's other checks are fewer than the burst that
// a server takes from one connection.
const closeTimes = 60

func everyClose(t *testing.T, l link, byClient bool) {
	ctx := limited(t)
	for i := range closeTimes {
		closer, other := l.session(t)
		if !byClient {
			closer, other = other, closer
		}
		want, why := uint32(i)<<20, fmt.Sprintf("close number %d", i)
		must(t, closer.close(ctx, want, why))
		if code, reason, err := other.closed(ctx); err != nil || code != want || reason != why {
			t.Fatalf("close number %d: the other end was told %d %q (%v)", i, code, reason, err)
		}
	}
}

// endBesideOthers ends sessions, from both sides unless the client's close does
// not arrive, while others go on in the middle of their streams, and opens
// another in their place.
func endBesideOthers(t *testing.T, l link, byClient bool) {
	ctx := limited(t)
	var clients, servers [4]end
	for i := range clients {
		clients[i], servers[i] = l.session(t)
	}
	kept, far := asked(t, ctx, clients[0], servers[0])
	back, near := asked(t, ctx, servers[1], clients[1])
	everything := func(i int) {
		t.Helper()
		message := fmt.Sprintf("of session %d: %s", i, pattern(50_000))
		must(t, echo(ctx, clients[i], servers[i], true, message))
		must(t, echo(ctx, servers[i], clients[i], true, message))
		must(t, oneWay(ctx, clients[i], servers[i], message[:1000]))
		must(t, oneWay(ctx, servers[i], clients[i], message[:1000]))
		must(t, datagram(ctx, clients[i], servers[i], message[:100]))
		must(t, datagram(ctx, servers[i], clients[i], message[:100]))
	}
	learns := func(closer, other end, want uint32) {
		t.Helper()
		must(t, closer.close(ctx, want, "alone"))
		if code, reason, err := other.closed(ctx); err != nil || code != want || reason != "alone" {
			t.Errorf("the other end was told %d %q (%v), want %d", code, reason, err, want)
		}
	}
	if byClient {
		learns(clients[2], servers[2], 2)
	} else {
		learns(servers[2], clients[2], 2)
	}
	everything(0)
	learns(servers[3], clients[3], 3)
	everything(1)
	clients[2], servers[2] = l.session(t)
	everything(2)
	finishes(t, ctx, kept, far)
	finishes(t, ctx, back, near)
}

// finishes uses a stream on which asked has sent something.
func finishes(t *testing.T, ctx context.Context, from, to stream) {
	t.Helper()
	must(t, from.write(ctx, []byte("and last")))
	must(t, from.finish(ctx))
	must(t, expect(to, ctx, "and last"))
}
