package endpoint

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
	"github.com/towpath-go/towpath/e2e/soak/internal/pattern"
	"github.com/towpath-go/towpath/transport"
)

// scripted is a session of which only what the tests need exists.
type scripted struct {
	transport.Session
	ctx       context.Context
	datagrams [][]byte
}

func (s *scripted) Context() context.Context { return s.ctx }

func (s *scripted) ReceiveDatagram(context.Context) ([]byte, error) {
	if len(s.datagrams) == 0 {
		return nil, &transport.SessionError{}
	}
	p := s.datagrams[0]
	s.datagrams = s.datagrams[1:]
	return p, nil
}

// reading is the receiving direction of a stream: bytes, then an error.
type reading struct {
	p   []byte
	err error
}

func (r *reading) Read(p []byte) (int, error) {
	if len(r.p) == 0 {
		return 0, r.err
	}
	n := copy(p, r.p)
	r.p = r.p[n:]
	return n, nil
}
func (r *reading) CancelRead(transport.StreamErrorCode) {}
func (r *reading) SetReadDeadline(time.Time) error      { return nil }
func (r *reading) StreamID() transport.StreamID         { return 6 }

// both is a stream of both directions that takes everything.
type both struct {
	reading
	wrote    bytes.Buffer
	canceled transport.StreamErrorCode
	closed   bool
}

func (b *both) Write(p []byte) (int, error)                { return b.wrote.Write(p) }
func (b *both) Close() error                               { b.closed = true; return nil }
func (b *both) CancelWrite(code transport.StreamErrorCode) { b.canceled = code }
func (b *both) SetWriteDeadline(time.Time) error           { return nil }
func (b *both) SetDeadline(time.Time) error                { return nil }
func (b *both) SetPriority(transport.Priority)             {}

type found struct {
	mu   sync.Mutex // guards the following
	list []string
}

func (f *found) emit(m ledger.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.Violation != nil {
		f.list = append(f.list, m.Violation.String())
	}
}

// newEndpoint returns the client's end of session 5, and what it finds.
func newEndpoint(t *testing.T, way string, ended bool) (*Endpoint, *found, *scripted) {
	t.Helper()
	ctx, end := context.WithCancelCause(context.Background())
	if ended {
		end(&transport.SessionError{Code: 1})
	}
	t.Cleanup(func() { end(nil) })
	f := new(found)
	s := &scripted{ctx: ctx}
	limits := NewLimits(NewLog(ledger.Client, f.emit), ledger.Settings{Patience: 50 * time.Millisecond, Parallel: 1})
	return New(s, 5, way, false, limits, 1), f, s
}

// stream returns a stream's bytes: a header and all that follows.
func stream(h pattern.Header) []byte {
	h.Session, h.Server = 5, true
	b := h.Append(nil)
	p := make([]byte, h.Length)
	h.Key().Fill(p, 0)
	return append(b, p...)
}

// What comes in on a stream is judged: nothing wrong passes, and nothing right is
// reported.
func TestReceived(t *testing.T) {
	const code = 0x5a000003
	uni := pattern.Header{Kind: pattern.Uni, Serial: 3, Length: 1000}
	aborted := pattern.Header{Kind: pattern.UniAbort, Serial: 3, Length: 1000, At: 400, Code: code}
	message := pattern.Header{Kind: pattern.Message, Serial: 3, Length: 1000}
	reset := func(code uint32) error {
		return &transport.StreamError{Code: transport.StreamErrorCode(code), Remote: true}
	}
	wrong := stream(uni)
	wrong[pattern.Size+700] ^= 1
	other := uni
	other.Session = 6
	for name, c := range map[string]struct {
		way   string
		p     []byte
		err   error
		ended bool
		want  string // "" if it is as promised
	}{
		"whole":                      {p: stream(uni), err: io.EOF},
		"empty":                      {err: io.EOF},
		"a message":                  {p: stream(message), err: io.EOF},
		"reset as asked":             {p: stream(aborted)[:pattern.Size+400], err: reset(code)},
		"reset before its header":    {err: reset(code)},
		"the session ended":          {p: stream(uni)[:500], err: &transport.SessionError{}, ended: true},
		"reset by the session's end": {way: ledger.H3, p: stream(uni)[:500], err: &transport.StreamError{Remote: true, NoCode: true}, ended: true},

		"short":                   {p: stream(uni)[:pattern.Size+999], err: io.EOF, want: "offset 999: ended after 999 of 1000 bytes as if that were all"},
		"short message":           {p: stream(message)[:pattern.Size+999], err: io.EOF, want: "a message of 1000 bytes came with 999"},
		"short header":            {p: stream(uni)[:20], err: io.EOF, want: "ended after 20 bytes"},
		"long":                    {p: append(stream(uni), 1), err: io.EOF, want: "a wrong byte"},
		"wrong byte":              {p: wrong, err: io.EOF, want: "offset 700: a wrong byte"},
		"another session's":       {p: other.Append(nil), err: io.EOF, want: "carries bytes of session 6"},
		"no header":               {p: make([]byte, 64), err: io.EOF, want: "begins with 0000"},
		"whole though reset":      {p: stream(aborted), err: io.EOF, want: "ended as if whole, and was reset after 400"},
		"another code":            {p: stream(aborted)[:100], err: reset(code + 1), want: "said to be with another"},
		"reset by nobody":         {p: stream(uni)[:500], err: reset(code), want: "aborted, which nobody did"},
		"reset without a code":    {way: ledger.H3, p: stream(uni)[:500], err: &transport.StreamError{Remote: true, NoCode: true}, want: "aborted, which nobody did"},
		"hangs":                   {p: stream(uni)[:500], err: os.ErrDeadlineExceeded, want: "neither went on nor failed"},
		"no error of the promise": {p: stream(uni)[:500], err: errors.New("odd"), want: "an error that no promise has"},
		"ended, and it has not":   {p: stream(uni)[:500], err: &transport.SessionError{}, want: "which it has not"},
		"a bidirectional kind":    {p: stream(pattern.Header{Kind: pattern.Echo}), err: io.EOF, want: "the header of another kind"},
	} {
		t.Run(name, func(t *testing.T) {
			way := c.way
			if way == "" {
				way = ledger.H2
			}
			e, f, _ := newEndpoint(t, way, c.ended)
			e.answerUni(&reading{c.p, c.err})
			all := strings.Join(f.list, "\n")
			if (c.want == "") != (all == "") || !strings.Contains(all, c.want) {
				t.Errorf("found %q, want %q", all, c.want)
			}
		})
	}
}

// What comes back of an echo is judged as well.
func TestEchoed(t *testing.T) {
	h := pattern.Header{Kind: pattern.Echo, Session: 5, Serial: 9, Length: 1000}
	p := make([]byte, 1000)
	h.Key().Fill(p, 0)
	bad := bytes.Clone(p)
	bad[999] ^= 1
	for name, c := range map[string]struct {
		kind pattern.Kind
		p    []byte
		err  error
		want string
	}{
		"whole":        {pattern.Echo, p, io.EOF, ""},
		"short":        {pattern.Echo, p[:10], io.EOF, "ended after 10 of 1000"},
		"long":         {pattern.Echo, append(bytes.Clone(p), 0), io.EOF, "wrong byte"},
		"wrong":        {pattern.Echo, bad, io.EOF, "offset 999"},
		"stopped":      {pattern.EchoStop, p[:300], io.EOF, ""},
		"stopped late": {pattern.EchoStop, p[:301], io.EOF, "longer than the 300"},
		"not reset":    {pattern.EchoReset, p[:300], io.EOF, "ended as if whole"},
	} {
		t.Run(name, func(t *testing.T) {
			e, f, _ := newEndpoint(t, ledger.H2, false)
			h := h
			h.Kind, h.At = c.kind, 300
			(&opener{Endpoint: e, rand: e.rand}).readEcho("stream", &both{reading: reading{c.p, c.err}}, h)
			all := strings.Join(f.list, "\n")
			if (c.want == "") != (all == "") || !strings.Contains(all, c.want) {
				t.Errorf("found %q, want %q", all, c.want)
			}
		})
	}
}

// The other side of an echo does what the header says.
func TestAnswered(t *testing.T) {
	for kind, want := range map[pattern.Kind]struct {
		back     int
		canceled bool
	}{pattern.Echo: {1000, false}, pattern.EchoStop: {300, false}, pattern.EchoReset: {300, true}} {
		e, f, _ := newEndpoint(t, ledger.H2, false)
		b := &both{reading: reading{stream(pattern.Header{Kind: kind, Serial: 3, Length: 1000, At: 300, Code: 0x5a000003}), io.EOF}}
		e.answerBidi(b)
		if b.wrote.Len() != want.back || (b.canceled == 0x5a000003) != want.canceled || b.closed == want.canceled || len(f.list) > 0 {
			t.Errorf("%v: %d bytes back, reset with %#x, closed %v, found %q", kind, b.wrote.Len(), b.canceled, b.closed, f.list)
		}
	}
}

// lastly is a stream that takes nothing before everything has been read.
type lastly struct {
	both
	end chan struct{}
}

func (l *lastly) Read(p []byte) (int, error) {
	n, err := l.both.Read(p)
	if err != nil {
		close(l.end)
	}
	return n, err
}

func (l *lastly) Write(p []byte) (int, error) {
	<-l.end
	return l.both.Write(p)
}

// An echo reads on while it waits to write: the credit that it would wait for may
// be held by what it does not read.
func TestEchoReadsOn(t *testing.T) {
	e, f, _ := newEndpoint(t, ledger.H2, false)
	h := pattern.Header{Kind: pattern.Echo, Serial: 3, Length: 1 << 20}
	l := &lastly{both: both{reading: reading{stream(h), io.EOF}}, end: make(chan struct{})}
	e.answerBidi(l)
	h.Session, h.Server = 5, true
	if i, wrong := h.Key().Check(l.wrote.Bytes(), 0); wrong || l.wrote.Len() != 1<<20 || !l.closed || len(f.list) > 0 {
		t.Errorf("%d bytes back, wrong from %d on (%v), closed %v, found %q", l.wrote.Len(), i, wrong, l.closed, f.list)
	}
}

// Sync tells what has come and what has not.
func TestSync(t *testing.T) {
	e, f, _ := newEndpoint(t, ledger.H2, false)
	e.answerUni(&reading{stream(pattern.Header{Kind: pattern.Uni, Serial: 3, Length: 10}), io.EOF})
	ask := func(whole, xor, empty uint64) []byte {
		p := stream(pattern.Header{Kind: pattern.Sync, Serial: 4, Length: 24})[:pattern.Size]
		for _, v := range []uint64{whole, xor, empty} {
			p = binary.LittleEndian.AppendUint64(p, v)
		}
		return p
	}
	for _, whole := range []uint64{1, 2} { // the second never comes: the answer says so, after a while
		b := &both{reading: reading{ask(whole, 3, 0), io.EOF}}
		e.answerBidi(b)
		if got := binary.LittleEndian.Uint64(b.wrote.Bytes()); got != 1 {
			t.Errorf("asked for %d: said to have %d", whole, got)
		}
	}
	if len(f.list) > 0 {
		t.Errorf("found %q", f.list)
	}
}

func TestDatagrams(t *testing.T) {
	make1 := func(id, serial uint64) []byte {
		p := make([]byte, 100)
		binary.LittleEndian.PutUint64(p, id)
		binary.LittleEndian.PutUint64(p[8:], serial)
		pattern.NewKey(id, datagramKeys|serial, true).Fill(p[datagramHead:], 0)
		return p
	}
	bad := make1(5, 4)
	bad[50] ^= 1
	for name, c := range map[string]struct {
		list [][]byte
		want string
	}{
		"in any order":      {[][]byte{make1(5, 2), make1(5, 1), make1(5, 9000), make1(5, 8999)}, ""},
		"twice":             {[][]byte{make1(5, 1), make1(5, 2), make1(5, 1)}, "number 1 came twice"},
		"wrong":             {[][]byte{bad}, "offset 50: number 4 has a wrong byte"},
		"another session's": {[][]byte{make1(6, 1)}, "is of session 6"},
		"short":             {[][]byte{make1(5, 1)[:15]}, "fewer than any"},
	} {
		e, f, s := newEndpoint(t, ledger.H2, true)
		s.datagrams = c.list
		e.receiveDatagrams()
		all := strings.Join(f.list, "\n")
		if (c.want == "") != (all == "") || !strings.Contains(all, c.want) {
			t.Errorf("%s: found %q, want %q", name, all, c.want)
		}
	}
}

func TestWindow(t *testing.T) {
	var w window
	for n := uint64(1); n < 3000; n++ {
		if !w.add(n) || w.add(n) {
			t.Fatalf("number %d", n)
		}
		if n > 500 && w.add(n-500) {
			t.Fatalf("%d came twice, %d is the latest", n-500, n)
		}
	}
	if !w.add(1<<40) || w.add(1<<40) || !w.add(1<<40-5) || w.add(1<<40-5) {
		t.Error("after a leap")
	}
}
