package peers

import (
	"context"
	"fmt"
	"testing"

	"github.com/towpath-go/towpath/e2e/clients"
)

// thorough adds to the scenarios what is cheap to ask of a peer in the same
// process: messages of all sizes, codes at the edges of their encodings, closes
// until it is sure that each arrives, and sessions that end beside others. The
// columns in not keep what they have.
func thorough(not clients.Exceptions) clients.Exceptions {
	all := clients.Exceptions{}
	for c, more := range map[clients.Column]func(t *testing.T, l clients.Link){
		clients.Bidi: func(t *testing.T, l clients.Link) {
			ctx := clients.Limited(t)
			client, server := l.Session(t)
			for _, size := range sizes {
				clients.Must(t, clients.Echo(ctx, client, server, false, string(clients.Pattern(size))))
			}
		},
		clients.ServerStreams: func(t *testing.T, l clients.Link) {
			ctx := clients.Limited(t)
			client, server := l.Session(t)
			for _, size := range sizes {
				clients.Must(t, clients.Echo(ctx, server, client, false, string(clients.Pattern(size))))
			}
		},
		clients.ResetCode:       everyReset,
		clients.StopCode:        everyStop,
		clients.CloseByClient:   func(t *testing.T, l clients.Link) { everyClose(t, l, true) },
		clients.CloseByServer:   func(t *testing.T, l clients.Link) { everyClose(t, l, false) },
		clients.SeveralSessions: func(t *testing.T, l clients.Link) { endBesideOthers(t, l, true) },
	} {
		all[c] = clients.Exception{Show: func(t *testing.T, l clients.Link) {
			// Apart, because a link may be for one session at a time.
			t.Run("plainly", func(t *testing.T) { clients.Scenarios[c](t, l) })
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

func everyReset(t *testing.T, l clients.Link) {
	ctx := clients.Limited(t)
	client, server := l.Session(t)
	for _, code := range edgeCodes {
		for _, dir := range [][2]clients.End{{client, server}, {server, client}} {
			x, y := clients.Asked(t, ctx, dir[0], dir[1])
			clients.Must(t, x.Reset(ctx, code))
			clients.WantCode(t, ctx, "reading", y.WasReset, code)
			// The other direction goes on.
			clients.Must(t, y.Write(ctx, []byte("still")))
			clients.Must(t, y.Finish(ctx))
			clients.Must(t, clients.Expect(x, ctx, "still"))
		}
	}
}

func everyStop(t *testing.T, l clients.Link) {
	ctx := clients.Limited(t)
	client, server := l.Session(t)
	for _, code := range edgeCodes {
		for _, dir := range [][2]clients.End{{client, server}, {server, client}} {
			x, y := clients.Asked(t, ctx, dir[0], dir[1])
			clients.Must(t, x.Stop(ctx, code))
			clients.WantCode(t, ctx, "writing", y.WasStopped, code)
			clients.Must(t, y.Reset(ctx, 0))
			// The other direction goes on.
			clients.Must(t, x.Write(ctx, []byte("still")))
			clients.Must(t, x.Finish(ctx))
			clients.Must(t, clients.Expect(y, ctx, "still"))
		}
	}
}

// closeTimes is how often a close has to arrive, every time, to count. Twice as
// many sessions and those of a row's other checks are fewer than the burst that
// a server takes from one connection.
const closeTimes = 60

func everyClose(t *testing.T, l clients.Link, byClient bool) {
	ctx := clients.Limited(t)
	for i := range closeTimes {
		closer, other := l.Session(t)
		if !byClient {
			closer, other = other, closer
		}
		want, why := uint32(i)<<20, fmt.Sprintf("close number %d", i)
		clients.Must(t, closer.Close(ctx, want, why))
		if code, reason, err := other.Closed(ctx); err != nil || code != want || reason != why {
			t.Fatalf("close number %d: the other end was told %d %q (%v)", i, code, reason, err)
		}
	}
}

// endBesideOthers ends sessions, from both sides unless the client's close does
// not arrive, while others go on in the middle of their streams, and opens
// another in their place.
func endBesideOthers(t *testing.T, l clients.Link, byClient bool) {
	ctx := clients.Limited(t)
	var callers, servers [4]clients.End
	for i := range callers {
		callers[i], servers[i] = l.Session(t)
	}
	kept, far := clients.Asked(t, ctx, callers[0], servers[0])
	back, near := clients.Asked(t, ctx, servers[1], callers[1])
	everything := func(i int) {
		t.Helper()
		message := fmt.Sprintf("of session %d: %s", i, clients.Pattern(50_000))
		clients.Must(t, clients.Echo(ctx, callers[i], servers[i], true, message))
		clients.Must(t, clients.Echo(ctx, servers[i], callers[i], true, message))
		clients.Must(t, clients.OneWay(ctx, callers[i], servers[i], message[:1000]))
		clients.Must(t, clients.OneWay(ctx, servers[i], callers[i], message[:1000]))
		clients.Must(t, clients.Datagram(ctx, callers[i], servers[i], message[:100]))
		clients.Must(t, clients.Datagram(ctx, servers[i], callers[i], message[:100]))
	}
	learns := func(closer, other clients.End, want uint32) {
		t.Helper()
		clients.Must(t, closer.Close(ctx, want, "alone"))
		if code, reason, err := other.Closed(ctx); err != nil || code != want || reason != "alone" {
			t.Errorf("the other end was told %d %q (%v), want %d", code, reason, err, want)
		}
	}
	if byClient {
		learns(callers[2], servers[2], 2)
	} else {
		learns(servers[2], callers[2], 2)
	}
	everything(0)
	learns(servers[3], callers[3], 3)
	everything(1)
	callers[2], servers[2] = l.Session(t)
	everything(2)
	finishes(t, ctx, kept, far)
	finishes(t, ctx, back, near)
}

// finishes uses a stream on which asked has sent something.
func finishes(t *testing.T, ctx context.Context, from, to clients.Stream) {
	t.Helper()
	clients.Must(t, from.Write(ctx, []byte("and last")))
	clients.Must(t, from.Finish(ctx))
	clients.Must(t, clients.Expect(to, ctx, "and last"))
}
