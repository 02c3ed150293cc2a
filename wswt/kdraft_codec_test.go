package wswt

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/towpath-go/towpath/capsule"
)

// unhex turns "19 0b4d3b" into bytes.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// capsuleLog is what a decoder of the capsule stream saw, with the data of
// neighbouring WT_STREAM capsules of one stream run together, since how it was
// cut depends on the pieces that it came in.
type capsuleLog struct {
	events []string
	id     uint64 // of the stream whose data the last event is
	data   bool   // the last event is data without FIN
	fin    bool   // of the capsule at hand
	most   uint64 // the longest WT_STREAM capsule
}

func (l *capsuleLog) add(format string, args ...any) {
	l.events, l.data = append(l.events, fmt.Sprintf(format, args...)), false
}

func (l *capsuleLog) Stream(id uint64, fin bool, size uint64) error {
	if !l.data || l.id != id || size == 0 && !fin {
		l.add("stream %d ", id)
	}
	l.id, l.fin, l.data, l.most = id, fin, true, max(l.most, size)
	return nil
}

func (l *capsuleLog) StreamData(p []byte, last bool) error {
	l.events[len(l.events)-1] += hex.EncodeToString(p)
	if last && l.fin {
		l.events[len(l.events)-1] += " fin"
		l.data = false
	}
	return nil
}

func (l *capsuleLog) Datagram(size uint64) (bool, error) {
	l.add("datagram ")
	return true, nil
}

func (l *capsuleLog) DatagramData(p []byte, _ bool) error {
	l.events[len(l.events)-1] += hex.EncodeToString(p)
	return nil
}

func (l *capsuleLog) Control(c capsule.Capsule) error { l.add("%v", c); return nil }

func (l *capsuleLog) Skipped(t capsule.Type, n uint64) error {
	if n == 0 {
		l.add("skipped %v", t)
	}
	return nil
}

// read gives messages to a kdraftRecv, in pieces of n bytes or whole if n is 0,
// and returns what a decoder makes of the result.
func read(d *kdraftRecv, n int, messages ...[]byte) (events []string, err error) {
	var log capsuleLog
	decoder := capsule.Decoder{Dialect: capsule.Legacy}
	var decode error
	d.deliver = func(p []byte) {
		if decode == nil {
			decode = decoder.Feed(p, &log)
		}
	}
	for _, m := range messages {
		for n > 0 && len(m) > n {
			if err := d.message(bytes.Clone(m[:n]), false); err != nil {
				return log.events, err
			}
			m = m[n:]
		}
		if err := d.message(bytes.Clone(m), true); err != nil {
			return log.events, err
		}
		if decode != nil {
			return log.events, decode
		}
		if decoder.Partial() {
			return log.events, errors.New("the message became half a capsule")
		}
	}
	return log.events, nil
}

// messages cuts a capsule stream, given in pieces of n bytes or whole if n is 0,
// into messages.
func messages(t testing.TB, stream []byte, n int) (out [][]byte) {
	t.Helper()
	var e kdraftSend
	within := false
	for len(stream) > 0 {
		p := stream
		if n > 0 && len(p) > n {
			p = p[:n]
		}
		stream = stream[len(p):]
		for len(p) > 0 {
			piece, taken, ok := e.next(p)
			p = p[taken:]
			if !ok {
				if len(p) > 0 {
					t.Fatal("bytes left without a message")
				}
				break
			}
			if piece.First == within {
				t.Fatalf("First is %v within %v", piece.First, within)
			}
			if piece.First {
				out = append(out, capsule.AppendVarint(nil, uint64(piece.Type)))
			}
			out[len(out)-1] = append(out[len(out)-1], piece.Value...)
			within = !piece.Last
		}
	}
	if within || e.filled > 0 {
		t.Fatal("the capsule stream ended inside a capsule")
	}
	return out
}

// kdraftVectors are messages as the browser build and its server send them,
// the capsules that they stand for, and what a decoder sees.
var kdraftVectors = []struct {
	name, message, capsules, event string
}{
	{"opening", "990b4d3b 01", "990b4d3b 01 01", "stream 1 "},
	{"data", "990b4d3b 05 68656c6c6f", "990b4d3b 06 05 68656c6c6f", "stream 5 68656c6c6f"},
	{"FIN alone", "990b4d3c 01", "990b4d3c 01 01", "stream 1  fin"},
	{"FIN with data", "990b4d3c 4041 2a", "990b4d3c 03 4041 2a", "stream 65 2a fin"},
	{"server's uni stream", "990b4d3b 02 00", "990b4d3b 02 02 00", "stream 2 00"},
	{"datagram", "00 c0ffee", "00 03 c0ffee", "datagram c0ffee"},
	{"empty datagram", "00", "00 00", "datagram "},
	{"WT_RESET_STREAM", "990b4d39 01 404d", "990b4d39 03 01 404d", "WT_RESET_STREAM stream=1 code=77"},
	{"WT_RESET_STREAM with Reliable Size", "990b4d39 01 07 05", "990b4d39 03 01 07 05", "WT_RESET_STREAM stream=1 code=7 size=5"},
	{"WT_STOP_SENDING", "990b4d3a 03 07", "990b4d3a 02 03 07", "WT_STOP_SENDING stream=3 code=7"},
	{"WT_MAX_DATA", "990b4d3d 80004000", "990b4d3d 04 80004000", "WT_MAX_DATA max=16384"},
	{"WT_MAX_STREAM_DATA", "990b4d3e 01 80004000", "990b4d3e 05 01 80004000", "WT_MAX_STREAM_DATA stream=1 max=16384"},
	{"WT_MAX_STREAMS bidi", "990b4d3f 4064", "990b4d3f 02 4064", "WT_MAX_STREAMS(bidi) max=100"},
	{"WT_MAX_STREAMS uni", "990b4d40 4064", "990b4d40 02 4064", "WT_MAX_STREAMS(uni) max=100"},
	{"WT_DATA_BLOCKED", "990b4d41 00", "990b4d41 01 00", "WT_DATA_BLOCKED max=0"},
	{"WT_STREAM_DATA_BLOCKED", "990b4d42 01 00", "990b4d42 02 01 00", "WT_STREAM_DATA_BLOCKED stream=1 max=0"},
	{"WT_STREAMS_BLOCKED 43", "990b4d43 01", "990b4d43 01 01", "WT_STREAMS_BLOCKED(bidi) max=1"},
	{"WT_STREAMS_BLOCKED 44", "990b4d44 02", "990b4d44 01 02", "WT_STREAMS_BLOCKED(uni) max=2"},
	{"WT_CLOSE_SESSION", "6843 000004d2 627965", "6843 07 000004d2 627965", `WT_CLOSE_SESSION code=1234 message="bye"`},
	{"WT_CLOSE_SESSION without reason", "6843 00000000", "6843 04 00000000", `WT_CLOSE_SESSION code=0 message=""`},
	{"WT_DRAIN_SESSION", "800078ae", "800078ae 00", "WT_DRAIN_SESSION"},
}

func TestKDraftVectors(t *testing.T) {
	for _, v := range kdraftVectors {
		t.Run(v.name, func(t *testing.T) {
			m, stream := unhex(t, v.message), unhex(t, v.capsules)
			var got []byte
			d := kdraftRecv{deliver: func(p []byte) { got = append(got, p...) }, maxDatagram: 1 << 10}
			if err := d.message(m, true); err != nil || !bytes.Equal(got, stream) {
				t.Errorf("received %x as %x, %v; want %x", m, got, err, stream)
			}
			for n := range len(m) + 1 {
				events, err := read(&kdraftRecv{maxDatagram: 1 << 10}, n, m, m)
				want := []string{v.event, v.event}
				if strings.HasPrefix(v.event, "stream 5 ") || strings.HasPrefix(v.event, "stream 2 ") {
					want = []string{v.event + strings.Fields(v.event)[2]} // data runs together
				}
				if err != nil || !slices.Equal(events, want) {
					t.Errorf("received %x in pieces of %d: %q, %v; want %q", m, n, events, err, want)
				}
			}
			for n := range len(stream) + 1 {
				if out := messages(t, slices.Concat(stream, stream), n); len(out) != 2 || !bytes.Equal(out[0], m) || !bytes.Equal(out[1], m) {
					t.Errorf("sent %x in pieces of %d as %x, want %x twice", stream, n, out, m)
				}
			}
		})
	}
}

// TestKDraftSplits has every message split into three pieces in every way,
// empty ones included: an empty fragment is legal.
func TestKDraftSplits(t *testing.T) {
	for _, v := range kdraftVectors {
		m := unhex(t, v.message)
		for i := range len(m) + 1 {
			for j := i; j <= len(m); j++ {
				var log capsuleLog
				decoder := capsule.Decoder{Dialect: capsule.Legacy}
				d := kdraftRecv{maxDatagram: 1 << 10, deliver: func(p []byte) {
					if err := decoder.Feed(p, &log); err != nil {
						t.Errorf("%s split at %d and %d: %v", v.name, i, j, err)
					}
				}}
				for k, p := range [][]byte{m[:i], m[i:j], m[j:]} {
					if err := d.message(p, k == 2); err != nil {
						t.Errorf("%s split at %d and %d: %v", v.name, i, j, err)
					}
				}
				if decoder.Partial() || len(log.events) != 1 || log.events[0] != v.event {
					t.Errorf("%s split at %d and %d: %q, want %q", v.name, i, j, log.events, v.event)
				}
			}
		}
	}
}

// A message's stream data goes on as it comes, whatever the message's length.
func TestKDraftStreamDataIsNotGathered(t *testing.T) {
	const pieces, size = 64, 16 << 10
	var log capsuleLog
	delivered := 0
	decoder := capsule.Decoder{Dialect: capsule.Legacy}
	d := kdraftRecv{deliver: func(p []byte) {
		delivered += len(p)
		if err := decoder.Feed(p, &log); err != nil {
			t.Fatal(err)
		}
	}}
	piece := make([]byte, size)
	if err := d.message(unhex(t, "990b4d3c 01"), false); err != nil || delivered != 0 {
		t.Fatalf("header: %v, %d bytes delivered", err, delivered)
	}
	for range pieces {
		before := delivered
		if err := d.message(piece, false); err != nil || delivered-before < size {
			t.Fatalf("of a piece of %d bytes %d went on, %v", size, delivered-before, err)
		}
	}
	if cap(d.value) != 0 {
		t.Errorf("%d bytes are held", cap(d.value))
	}
	if strings.HasSuffix(log.events[0], "fin") {
		t.Error("FIN took effect before the message's end")
	}
	if err := d.message(nil, true); err != nil || !strings.HasSuffix(log.events[0], "fin") {
		t.Errorf("no FIN at the message's end, %v", err)
	}
	if log.most != size {
		t.Errorf("the longest capsule has %d bytes, want %d", log.most, size)
	}
}

func TestKDraftHostileMessages(t *testing.T) {
	long := func(header string, n int) []byte { return append(unhex(t, header), make([]byte, n)...) }
	for _, c := range []struct {
		name    string
		message []byte
		tooBig  bool
	}{
		{"empty", nil, false},
		{"half a type", unhex(t, "990b4d"), false},
		{"WT_STREAM without Stream ID", unhex(t, "990b4d3b"), false},
		{"WT_STREAM with half a Stream ID", unhex(t, "990b4d3b c00000"), false},
		{"WT_CLOSE_SESSION of 1,025 bytes", long("6843 00000000", 1025), true},
		{"WT_MAX_DATA of 1,029 bytes", long("990b4d3d", 1029), true},
		{"datagram of 65,536 bytes", long("00", 65536), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, n := range []int{0, 1, 7, 4096} {
				_, err := read(&kdraftRecv{maxDatagram: 1 << 10}, n, c.message)
				want := faultShort
				if c.tooBig {
					want = faultTooBig
				}
				if err != want {
					t.Errorf("in pieces of %d: %v, want %v", n, err, want)
				}
			}
		})
	}
	for _, c := range []struct{ name, message string }{
		{"WT_RESET_STREAM with one field", "990b4d39 01"},
		{"WT_MAX_DATA without its field", "990b4d3d"},
		{"WT_MAX_DATA with two fields", "990b4d3d 01 01"},
		{"WT_MAX_STREAM_DATA cut short", "990b4d3e 01 8000"},
		{"WT_CLOSE_SESSION with half a code", "6843 0000"},
		{"WT_DRAIN_SESSION with a value", "800078ae 00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for n := range 8 {
				_, err := read(&kdraftRecv{}, n, unhex(t, c.message))
				var se *capsule.SyntaxError
				if !errors.As(err, &se) {
					t.Errorf("in pieces of %d: %v, want the decoder's refusal", n, err)
				}
			}
		})
	}
}

// The longest control capsule and datagram pass, and a datagram above the
// application's limit goes on with its size alone.
func TestKDraftLongestMessages(t *testing.T) {
	reason := strings.Repeat("r", capsule.MaxCloseMessage)
	events, err := read(&kdraftRecv{}, 100, append(unhex(t, "6843 00000001"), reason...))
	if err != nil || !slices.Equal(events, []string{`WT_CLOSE_SESSION code=1 message="` + reason + `"`}) {
		t.Errorf("WT_CLOSE_SESSION: %q, %v", events, err)
	}
	for _, size := range []int{1199, 1200, 1201, maxKDraftDatagram} {
		m := append([]byte{0}, bytes.Repeat([]byte{7}, size)...)
		var stream []byte
		d := kdraftRecv{maxDatagram: 1200, deliver: func(p []byte) { stream = append(stream, p...) }}
		if err := d.message(m[:500], false); err != nil {
			t.Fatal(err)
		}
		if err := d.message(m[500:], true); err != nil {
			t.Fatal(err)
		}
		want := capsule.AppendDatagramHeader(nil, uint64(size))
		if size <= 1200 {
			want = append(want, m[1:]...)
		} else {
			want = append(want, make([]byte, size)...)
		}
		if !bytes.Equal(stream, want) {
			t.Errorf("datagram of %d bytes: %d delivered, or wrong ones", size, len(stream))
		}
		if d.value != nil {
			t.Errorf("datagram of %d bytes: %d bytes held afterwards", size, cap(d.value))
		}
	}
}

// What the engine has no use for costs no more than its type.
func TestKDraftSkips(t *testing.T) {
	for _, m := range [][]byte{
		unhex(t, "990b4d38"),
		append(unhex(t, "990b4d38"), make([]byte, 100_000)...), // PADDING
		append(unhex(t, "c000000000abcdef"), make([]byte, 100_000)...),
	} {
		for _, n := range []int{0, 1, 4096} {
			delivered := 0
			d := kdraftRecv{}
			events, err := read(&d, n, m, m)
			if err != nil || len(events) != 2 || !strings.HasPrefix(events[0], "skipped ") || cap(d.value) > 0 {
				t.Errorf("%x... in pieces of %d: %q, %v, %d bytes held", m[:4], n, events, err, cap(d.value))
			}
			d = kdraftRecv{deliver: func(p []byte) { delivered += len(p) }}
			if err := d.message(m, true); err != nil || delivered > 9 {
				t.Errorf("%x...: %d bytes delivered, %v", m[:4], delivered, err)
			}
		}
	}
}

func TestKDraftOffer(t *testing.T) {
	for _, c := range []struct {
		offer, protocol string
		ok              bool
	}{
		{"webtransport_kDraft1", "", true},
		{"webtransport_kDraft2", "", true},
		{"webtransport_kDraft2_chat", "chat", true},
		{"webtransport_kDraft2_chat_v2", "chat_v2", true},
		{"webtransport_kDraft2__", "_", true},
		{"webtransport_kDraft2_", "", false},
		{"webtransport_kDraft1_chat", "chat", true},
		{"webtransport_kDraft2chat", "", false},
		{"_chat", "", false},
		{"webtransport_kDraft3", "", false},
		{"webtransport", "", false},
		{"WEBTRANSPORT_KDRAFT1", "", false},
		{"", "", false},
	} {
		if p, ok := kdraftOffer(c.offer); ok != c.ok || ok && p != c.protocol {
			t.Errorf("kdraftOffer(%q) = %q, %v", c.offer, p, ok)
		}
	}
}

// The capsules that fill has put behind become frames in front without ever
// being overtaken, whatever they are.
func TestKDraftFramesInPlace(t *testing.T) {
	const size = maxMessage
	gap := kdraftGap(size)
	for name, c := range map[string][]byte{
		"the shortest capsules":    {0, 0},
		"short ones":               unhex(t, "00 01 aa"),
		"as long as 7 bits tell":   capsule.AppendDatagramHeader(nil, 124),
		"longer than 7 bits tell":  capsule.AppendDatagramHeader(nil, 125),
		"a Length of 2 bytes":      capsule.AppendDatagramHeader(nil, 64),
		"WT_STREAM of a few bytes": unhex(t, "990b4d3b 02 01 aa"),
		"longer than a buffer":     capsule.AppendDatagramHeader(nil, 65535),
	} {
		t.Run(name, func(t *testing.T) {
			_, header := capsule.ParseVarint(c)
			length, n := capsule.ParseVarint(c[header:])
			c = append(c[:header+n:header+n], bytes.Repeat([]byte{0xaa}, int(length))...)
			stream := bytes.Repeat(c, 4*size/len(c)+1)
			var there, here kdraftSend
			dst := make([]byte, size)
			for len(stream) > 0 {
				p := stream[:min(size-gap, len(stream))]
				stream = stream[len(p):]
				want := make([]byte, 2*size)
				want = want[:there.frames(want, bytes.Clone(p))]
				copy(dst[gap:], p)
				got := dst[:here.frames(dst, dst[gap:gap+len(p)])]
				if !bytes.Equal(got, want) {
					t.Fatalf("%d bytes became %d bytes in place, %d elsewhere, or others", len(p), len(got), len(want))
				}
			}
		})
	}
}
