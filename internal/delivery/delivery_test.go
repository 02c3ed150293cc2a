package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/towpath-go/towpath/transport"
)

func content(number uint64, n int64) string {
	h := sha256.New()
	io.CopyN(h, newContent(number), n)
	return hex.EncodeToString(h.Sum(nil))
}

// The judge must not be kinder than the promise.
func TestJudge(t *testing.T) {
	whole := Sent{Number: 1, Accepted: 100, Sum: content(1, 100), Closed: true}
	open := whole
	open.Closed = false
	cut := Sent{Number: 1, Accepted: 100, Sum: whole.Sum, Told: "session ended"}
	got := func(n int64, clean bool, err string) []Got {
		return []Got{{Number: 1, Bytes: n, Sum: content(1, n), Wrong: -1, Clean: clean, Err: err}}
	}
	wrong := got(100, true, "")
	wrong[0].Wrong = 17
	otherSum := got(100, true, "")
	otherSum[0].Sum = content(2, 100)
	for _, c := range []struct {
		name string
		sent Sent
		end  End
		got  []Got
		want Fate
	}{
		{"all of it", whole, End{}, got(100, true, ""), Delivered},
		{"all of it, and the session broke later", whole, End{"broken"}, got(100, true, ""), Delivered},
		{"all of it, and Close failed", Sent{Number: 1, Accepted: 100, Sum: whole.Sum, Closed: true, Told: "ended"}, End{}, got(100, true, ""), Delivered},
		{"nothing, told by the session's end", whole, End{"broken"}, nil, ReportedLost},
		{"half, told by the session's end", whole, End{"broken"}, got(50, false, "ended"), ReportedLost},
		{"half, told by Write", cut, End{}, got(50, false, "ended"), ReportedLost},
		{"all bytes and no end, told", whole, End{"broken"}, got(100, false, "ended"), ReportedLost},
		{"all bytes and no end, not told", whole, End{}, got(100, false, "ended"), SilentlyLost},
		{"nothing, not told", whole, End{}, nil, SilentlyLost},
		{"half and a clean end, although told", whole, End{"broken"}, got(50, true, ""), SilentlyLost},
		{"a clean end that nobody made", open, End{"broken"}, got(100, true, ""), SilentlyLost},
		{"an end missing on purpose", open, End{}, got(50, false, "ended"), Unfinished},
		{"bytes changed", whole, End{"broken"}, wrong, SilentlyLost},
		{"another sum", whole, End{"broken"}, otherSum, SilentlyLost},
		{"more than was sent", whole, End{"broken"}, got(101, false, "ended"), SilentlyLost},
		{"a clean end before the number", whole, End{"broken"}, []Got{{Bytes: 3, Wrong: -1, Clean: true}}, SilentlyLost},
		{"an error before the number", whole, End{"broken"}, []Got{{Bytes: 3, Wrong: -1, Err: "ended"}}, ReportedLost},
		{"never sent", whole, End{"broken"}, []Got{{Number: 9, Wrong: -1}}, SilentlyLost},
		{"twice", whole, End{"broken"}, append(got(100, true, ""), got(100, true, "")...), SilentlyLost},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := Judge([]Sent{c.sent}, c.end, c.got)
			if (c.want == SilentlyLost) != (j.Count(SilentlyLost) > 0) || j.Count(c.want) == 0 {
				t.Errorf("%v, want %v", j, c.want)
			}
			if j.String() == "" {
				t.Error("no text")
			}
		})
	}
}

// A script is a stream, or a session with one, whose calls do as told.
type script struct {
	transport.Session
	transport.SendStream
	transport.ReceiveStream
	ctx     context.Context
	room    int // bytes that Write accepts
	in      io.Reader
	closing error
	streams chan transport.ReceiveStream
}

var errFull = errors.New("full")

func (s *script) OpenUniStream(context.Context) (transport.SendStream, error) { return s, nil }
func (s *script) Context() context.Context                                    { return s.ctx }
func (s *script) CloseWithError(transport.SessionErrorCode, string) error     { return s.closing }
func (s *script) SetDeadline(time.Time) error                                 { return nil }
func (s *script) StreamID() transport.StreamID                                { return 0 }
func (s *script) Close() error                                                { return nil }
func (s *script) Read(p []byte) (int, error)                                  { return s.in.Read(p) }
func (s *script) AcceptUniStream(context.Context) (transport.ReceiveStream, error) {
	st, ok := <-s.streams
	if !ok {
		return nil, errFull
	}
	return st, nil
}

func (s *script) Write(p []byte) (int, error) {
	n := min(len(p), s.room)
	s.room -= n
	if n < len(p) {
		return n, errFull
	}
	return n, nil
}

func TestSender(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	s := &script{ctx: ctx, room: 10_000}
	d := NewSender(s)
	if err := d.Stream(t.Context(), 1000); err != nil {
		t.Fatal(err)
	}
	if err := d.Stream(t.Context(), 20_000); err != errFull {
		t.Fatalf("got %v", err)
	}
	cause := &transport.SessionError{Err: errFull}
	cancel(cause)
	if err := d.Close(); err != cause {
		t.Errorf("Close said %v", err)
	}
	if err := d.Await(t.Context()); err != cause {
		t.Errorf("Await said %v", err)
	}
	sent, end := d.Records()
	if len(sent) != 2 || end.Told != cause.Error() ||
		sent[0] != (Sent{Number: 1, Accepted: 1008, Sum: content(1, 1008), Closed: true}) ||
		sent[1] != (Sent{Number: 2, Accepted: 10_000 - 1008, Sum: content(2, 10_000-1008), Told: "full"}) {
		t.Errorf("%+v, %+v", sent, end)
	}
}

// A sender that closed the session itself has been told nothing by that.
func TestSenderClosing(t *testing.T) {
	for _, said := range []error{nil, errFull} {
		ctx, cancel := context.WithCancelCause(t.Context())
		d := NewSender(&closingScript{&script{ctx: ctx, closing: said}, cancel})
		if err := d.Close(); err != said {
			t.Errorf("Close said %v", err)
		}
		if err := d.Await(t.Context()); err == nil {
			t.Error("no cause")
		}
		want := ""
		if said != nil {
			want = said.Error()
		}
		if _, end := d.Records(); end.Told != want {
			t.Errorf("told %q, want %q", end.Told, want)
		}
	}
}

// A closingScript ends with CloseWithError.
type closingScript struct {
	*script
	cancel context.CancelCauseFunc
}

func (s *closingScript) CloseWithError(code transport.SessionErrorCode, reason string) error {
	s.cancel(&transport.SessionError{Code: code, Reason: reason})
	return s.closing
}

func TestReceiver(t *testing.T) {
	s := &script{streams: make(chan transport.ReceiveStream, 3)}
	bad := io.MultiReader(io.LimitReader(newContent(2), 500), io.LimitReader(newContent(3), 9))
	s.streams <- &script{in: io.LimitReader(newContent(1), 5000)}
	s.streams <- &script{in: bad}
	s.streams <- &script{in: io.MultiReader(io.LimitReader(newContent(3), 100), &failing{})}
	close(s.streams)
	r := Receive(s)
	<-r.Done()
	for i, want := range []Got{
		{Number: 1, Bytes: 5000, Sum: content(1, 5000), Wrong: -1, Clean: true},
		{Number: 2, Bytes: 509, Wrong: 500, Clean: true},
		{Number: 3, Bytes: 100, Sum: content(3, 100), Wrong: -1, Err: "full"},
	} {
		got := r.Records()[i]
		if want.Sum == "" {
			want.Sum = got.Sum
		}
		if got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errFull }
