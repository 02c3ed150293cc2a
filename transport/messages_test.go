package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A script is a stream as a test wants it: it gives or takes so many bytes, and
// then waits, ends or fails. It records what was asked of it.
type script struct {
	mu   sync.Mutex // guards the following
	cond sync.Cond

	in   []byte // what Read gives
	rest error  // what Read returns after in; nil waits
	room int    // what Write takes before it waits
	fail error  // what Write and Close return

	out       []byte
	closed    bool
	cancelled []StreamErrorCode // of either direction
	past      bool              // a deadline has passed
	cleared   bool              // a deadline was taken away
}

func newScript() *script {
	s := &script{room: math.MaxInt}
	s.cond.L = &s.mu
	return s
}

func (s *script) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.past:
			return 0, os.ErrDeadlineExceeded
		case len(s.in) > 0:
			n := copy(p, s.in)
			s.in = s.in[n:]
			return n, nil
		case s.rest != nil:
			return 0, s.rest
		}
		s.cond.Wait()
	}
}

func (s *script) Write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		m := min(s.room, len(p)-n)
		s.out = append(s.out, p[n:n+m]...)
		n, s.room = n+m, s.room-m
		switch {
		case s.fail != nil:
			return n, s.fail
		case s.past:
			return n, os.ErrDeadlineExceeded
		case n == len(p):
			return n, nil
		}
		s.cond.Wait()
	}
}

func (s *script) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = s.fail == nil
	return s.fail
}

func (s *script) cancel(code StreamErrorCode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancelled = append(s.cancelled, code)
}

func (s *script) setDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.past = !t.IsZero() && !t.After(time.Now())
	s.cleared = t.IsZero()
	s.cond.Broadcast()
	return nil
}

func (s *script) CancelRead(code StreamErrorCode)    { s.cancel(code) }
func (s *script) CancelWrite(code StreamErrorCode)   { s.cancel(code) }
func (s *script) SetReadDeadline(t time.Time) error  { return s.setDeadline(t) }
func (s *script) SetWriteDeadline(t time.Time) error { return s.setDeadline(t) }
func (s *script) SetPriority(Priority)               {}
func (s *script) StreamID() StreamID                 { return 2 }

// A scripted session opens and accepts one stream, or fails.
type scripted struct {
	Session
	stream *script
	err    error
	opened int
}

func (s *scripted) OpenUniStream(context.Context) (SendStream, error) {
	s.opened++
	return s.stream, s.err
}

func (s *scripted) AcceptUniStream(context.Context) (ReceiveStream, error) {
	s.opened++
	return s.stream, s.err
}

func TestReadMessage(t *testing.T) {
	broken := &StreamError{StreamID: 2, Code: 7, Remote: true}
	for _, c := range []struct {
		name  string
		in    int
		rest  error
		limit int
		want  int // bytes returned; negative: too large
		err   error
	}{
		{"empty", 0, io.EOF, 10, 0, nil},
		{"empty at limit 0", 0, io.EOF, 0, 0, nil},
		{"one byte at limit 0", 1, io.EOF, 0, -1, nil},
		{"negative limit is 0", 0, io.EOF, -5, 0, nil},
		{"one byte at a negative limit", 1, io.EOF, -5, -1, nil},
		{"below", 9, io.EOF, 10, 9, nil},
		{"at the limit", 10, io.EOF, 10, 10, nil},
		{"one above", 11, io.EOF, 10, -1, nil},
		{"one above without an end", 11, nil, 10, -1, nil},
		{"first buffer exactly", messageStart, io.EOF, messageStart, messageStart, nil},
		{"first buffer and one", messageStart + 1, io.EOF, 1 << 20, messageStart + 1, nil},
		{"many buffers", 1 << 20, io.EOF, 1 << 20, 1 << 20, nil},
		{"many buffers and one", 1<<20 + 1, io.EOF, 1 << 20, -1, nil},
		{"no limit to speak of", 5000, io.EOF, math.MaxInt, 5000, nil},
		{"reset", 3, broken, 10, 3, broken},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript()
			s.in, s.rest = bytes.Repeat([]byte("x"), c.in), c.rest
			p, err := ReadMessage(s, c.limit)
			if c.want < 0 {
				var tooLarge *MessageTooLargeError
				if !errors.As(err, &tooLarge) || tooLarge.Limit != max(c.limit, 0) || p != nil {
					t.Fatalf("ReadMessage = %d bytes, %v; want none and *MessageTooLargeError", len(p), err)
				}
				if len(s.cancelled) != 1 || s.cancelled[0] != 0 {
					t.Fatalf("CancelRead calls %v, want one with code 0", s.cancelled)
				}
				return
			}
			if err != c.err || len(p) != c.want || p == nil {
				t.Fatalf("ReadMessage = %d bytes, %v; want %d, %v", len(p), err, c.want, c.err)
			}
			if len(s.cancelled) != 0 {
				t.Fatalf("CancelRead calls %v on a message within the limit", s.cancelled)
			}
		})
	}
}

// TestReadMessageBufferFollowsTheBytes: a limit must not size the buffer.
func TestReadMessageBufferFollowsTheBytes(t *testing.T) {
	s := newScript()
	s.in, s.rest = []byte("short"), io.EOF
	p, err := ReadMessage(s, 1<<30)
	if err != nil || cap(p) > 2*messageStart {
		t.Fatalf("a message of %d bytes took a buffer of %d (%v)", len(p), cap(p), err)
	}
}

func TestSendMessage(t *testing.T) {
	payload := []byte("a message")
	t.Run("whole", func(t *testing.T) {
		s := &scripted{stream: newScript()}
		if err := SendMessage(t.Context(), s, payload); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(s.stream.out, payload) || !s.stream.closed || len(s.stream.cancelled) != 0 {
			t.Fatalf("stream got %q, closed %v, cancelled %v", s.stream.out, s.stream.closed, s.stream.cancelled)
		}
	})
	t.Run("empty", func(t *testing.T) {
		s := &scripted{stream: newScript()}
		if err := SendMessage(t.Context(), s, nil); err != nil || !s.stream.closed {
			t.Fatalf("%v, closed %v", err, s.stream.closed)
		}
	})
	t.Run("no stream", func(t *testing.T) {
		want := errors.New("no stream")
		if err := SendMessage(t.Context(), &scripted{stream: newScript(), err: want}, payload); err != want {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("context ended before", func(t *testing.T) {
		cause := errors.New("why")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		s := &scripted{stream: newScript()}
		if err := SendMessage(ctx, s, payload); err != cause || s.opened != 0 {
			t.Fatalf("%v after opening %d streams; want the cause and none", err, s.opened)
		}
	})
	t.Run("context ends while writing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			s := &scripted{stream: newScript()}
			s.stream.room = 3
			start := time.Now()
			err := SendMessage(ctx, s, payload)
			if err != context.DeadlineExceeded || time.Since(start) != time.Second {
				t.Fatalf("%v after %v, want the context's error after 1s", err, time.Since(start))
			}
			if s.stream.closed || len(s.stream.cancelled) != 1 || !s.stream.cleared {
				t.Fatalf("closed %v, cancelled %v, deadline cleared %v; want an aborted stream",
					s.stream.closed, s.stream.cancelled, s.stream.cleared)
			}
		})
	})
	t.Run("peer stops it", func(t *testing.T) {
		stop := &StreamError{StreamID: 2, Code: 9, Remote: true}
		s := &scripted{stream: newScript()}
		s.stream.fail = stop
		if err := SendMessage(t.Context(), s, payload); err != stop || s.stream.closed {
			t.Fatalf("%v, closed %v", err, s.stream.closed)
		}
	})
}

func TestReceiveMessage(t *testing.T) {
	t.Run("whole", func(t *testing.T) {
		s := &scripted{stream: newScript()}
		s.stream.in, s.stream.rest = []byte("hello"), io.EOF
		if p, err := ReceiveMessage(t.Context(), s, 5); err != nil || string(p) != "hello" {
			t.Fatalf("%q, %v", p, err)
		}
	})
	t.Run("no stream", func(t *testing.T) {
		want := &SessionError{Remote: true}
		if p, err := ReceiveMessage(t.Context(), &scripted{stream: newScript(), err: want}, 5); err != want || p != nil {
			t.Fatalf("%q, %v", p, err)
		}
	})
	t.Run("too large", func(t *testing.T) {
		s := &scripted{stream: newScript()}
		s.stream.in = []byte("hello!")
		var tooLarge *MessageTooLargeError
		if p, err := ReceiveMessage(t.Context(), s, 5); !errors.As(err, &tooLarge) || p != nil {
			t.Fatalf("%q, %v", p, err)
		}
	})
	t.Run("reset gives no part", func(t *testing.T) {
		reset := &StreamError{StreamID: 3, Remote: true}
		s := &scripted{stream: newScript()}
		s.stream.in, s.stream.rest = []byte("part"), reset
		if p, err := ReceiveMessage(t.Context(), s, 5); err != reset || p != nil {
			t.Fatalf("%q, %v", p, err)
		}
	})
	t.Run("context ended before", func(t *testing.T) {
		cause := errors.New("why")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		s := &scripted{stream: newScript()}
		if _, err := ReceiveMessage(ctx, s, 5); err != cause || s.opened != 0 {
			t.Fatalf("%v after accepting %d streams; want the cause and none", err, s.opened)
		}
	})
	t.Run("context ends while reading", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			s := &scripted{stream: newScript()}
			s.stream.in = []byte("par")
			start := time.Now()
			_, err := ReceiveMessage(ctx, s, 5)
			if err != context.DeadlineExceeded || time.Since(start) != time.Second {
				t.Fatalf("%v after %v, want the context's error after 1s", err, time.Since(start))
			}
			if len(s.stream.cancelled) != 1 || !s.stream.cleared {
				t.Fatalf("cancelled %v, deadline cleared %v", s.stream.cancelled, s.stream.cleared)
			}
		})
	})
}
