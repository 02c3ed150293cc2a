package adapter

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fakeSocket is a WebSocket whose peer sends without end, or never, and does not
// answer Close.
type fakeSocket struct {
	endless bool
	reads   atomic.Int64
	closes  atomic.Int64
	aborts  atomic.Int64
	once    sync.Once
	aborted chan struct{}
}

func newFakeSocket(endless bool) *fakeSocket {
	return &fakeSocket{endless: endless, aborted: make(chan struct{})}
}

func (s *fakeSocket) write([]byte) error { <-s.aborted; return net.ErrClosed }

func (s *fakeSocket) read(buf []byte) ([]byte, error) {
	if !s.endless {
		<-s.aborted
	}
	select {
	case <-s.aborted:
		return nil, net.ErrClosed
	default:
		return fmt.Append(buf, s.reads.Add(1)), nil
	}
}

func (s *fakeSocket) close()      { s.closes.Add(1); <-s.aborted }
func (s *fakeSocket) finish(bool) {}
func (s *fakeSocket) abort() {
	s.aborts.Add(1)
	s.once.Do(func() { close(s.aborted) })
}

func TestSocketChannelReadsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeSocket(true)
		c := newSocketChannel(s, MaxMessage)
		defer c.end()
		for n := range 10 {
			synctest.Wait()
			// The receiver has one of the buffers from its first message on.
			if got, want := s.reads.Load(), int64(socketBuffers+max(n-1, 0)); got != want {
				t.Errorf("%d messages were read when %d were received, want %d", got, n, want)
			}
			if message, err := c.Receive(t.Context()); err != nil || string(message) != fmt.Sprint(n+1) {
				t.Fatalf("message %d is %q, %v", n+1, message, err)
			}
		}
	})
}

func TestSocketsEndByForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all sockets
		var fakes []*fakeSocket
		for range 3 {
			s := newFakeSocket(false)
			fakes = append(fakes, s)
			if _, err := all.add(s); err != nil {
				t.Fatal(err)
			}
		}
		sent := make(chan error)
		all.limit = 1
		go func() { sent <- all.all[0].socket.write(nil) }()
		begin := time.Now()
		all.close()
		if took := time.Since(begin); took != closeTimeout {
			t.Errorf("it took %v, want %v", took, closeTimeout)
		}
		if err := <-sent; err == nil {
			t.Error("a write outlived the end")
		}
		for i, s := range fakes {
			if s.closes.Load() != 1 || s.aborts.Load() == 0 {
				t.Errorf("WebSocket %d was closed %d times and aborted %d times", i, s.closes.Load(), s.aborts.Load())
			}
		}
		late := newFakeSocket(false)
		if _, err := all.add(late); !errors.Is(err, net.ErrClosed) || late.aborts.Load() == 0 {
			t.Errorf("a WebSocket after the end: %v, aborted %d times", err, late.aborts.Load())
		}
		all.close() // again
	})
}

func TestSocketsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all sockets
		defer all.close()
		for range maxSockets {
			if _, err := all.add(newFakeSocket(false)); err != nil {
				t.Fatal(err)
			}
		}
		s := newFakeSocket(false)
		if _, err := all.add(s); err == nil || s.aborts.Load() == 0 {
			t.Errorf("WebSocket %d: %v, aborted %d times", maxSockets+1, err, s.aborts.Load())
		}
	})
}

func TestWebSocketServerBounds(t *testing.T) {
	for _, path := range []string{pathChannel, pathBulk} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newWebSocketServer(Env{})
				defer s.Close()
				for range maxWaiting {
					if status := s.room(path); status != http.StatusOK {
						t.Fatal(status)
					}
					s.accepted(path, newFakeSocket(false))
				}
				if status := s.room(path); status != http.StatusServiceUnavailable {
					t.Errorf("with %d waiting the answer is %d", maxWaiting, status)
				}
				// One that was asked for before.
				late := newFakeSocket(false)
				s.accepted(path, late)
				if late.aborts.Load() == 0 {
					t.Errorf("WebSocket %d waits, too", maxWaiting+1)
				}
				accept := s.AcceptChannel
				if path == pathBulk {
					accept = s.AcceptBulk
				}
				if _, err := accept(t.Context()); err != nil {
					t.Fatal(err)
				}
				if status := s.room(path); status != http.StatusOK {
					t.Errorf("after one was accepted the answer is %d", status)
				}
			})
		})
	}
	t.Run("calls without a handler", func(t *testing.T) {
		s := newWebSocketServer(Env{})
		defer s.Close()
		if status := s.room(pathCalls); status != http.StatusNotFound {
			t.Error(status)
		}
	})
	t.Run("calls after the end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newWebSocketServer(Env{Handle: reversed})
			_ = s.Close()
			late := newFakeSocket(false)
			s.accepted(pathCalls, late)
			if late.aborts.Load() == 0 {
				t.Error("it lives")
			}
		})
	})
}

// TestWebSocketCloseWhileSending closes an end that sends to a peer who does not
// receive: the closing handshake cannot end, and nothing must wait for it.
func TestWebSocketCloseWhileSending(t *testing.T) {
	for _, a := range websockets {
		for _, side := range []string{"client", "server"} {
			t.Run(a.Name+" "+side, func(t *testing.T) {
				p := &pair{t: t, a: a} // which looks for goroutines at the end
				p.connect(1)
				d := p.open(1)[0]
				conn, channel := p.client, d.client
				if side == "server" {
					conn, channel = p.server, d.server
				}
				begun := make(chan struct{})
				failed := make(chan error, 1)
				go func() {
					message := make([]byte, MaxMessage)
					for n := 0; ; n++ {
						if n == 4 { // less than any transport lets pass
							close(begun)
						}
						if err := channel.Send(message); err != nil {
							failed <- err
							return
						}
					}
				}()
				<-begun
				if err := conn.Close(); err != nil {
					t.Error("Close:", err)
				}
				<-failed
			})
		}
	}
}
