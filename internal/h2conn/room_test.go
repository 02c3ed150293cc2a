package h2conn_test

import (
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/internal/memconn"
	"github.com/towpath-go/towpath/transport"
)

// A gateConn is a socket that says how much it takes: everything while it is open,
// and otherwise as much as it is told to, once for each time.
type gateConn struct {
	*memconn.Conn
	cond sync.Cond
	mu   sync.Mutex // guards the following
	shut bool
	room []int
	fail error // what AwaitRoom returns
}

func (g *gateConn) Room(most int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.roomLocked(most)
}

func (g *gateConn) roomLocked(most int) int {
	if !g.shut {
		return most
	}
	if len(g.room) == 0 {
		return 0
	}
	n := min(most, g.room[0])
	g.room = g.room[1:]
	return n
}

func (g *gateConn) AwaitRoom(most int) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		if g.fail != nil {
			return most, g.fail
		}
		if n := g.roomLocked(most); n > 0 {
			return n, nil
		}
		g.cond.Wait()
	}
}

// set has the gate do what f says.
func (g *gateConn) set(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
	g.cond.Broadcast()
}

// admit has the gate take n bytes once.
func (g *gateConn) admit(n int) { g.set(func() { g.room = append(g.room, n) }) }

// gateTest runs f with a server that writes to a gate. Stream 1 has a low urgency
// and stream 3 a high one; both are answered, and the gate is shut.
func gateTest(t *testing.T, f func(t *testing.T, s *server, g *gateConn, low, high *stream)) {
	synctest.Test(t, func(t *testing.T) {
		cn, sn := memconn.Pipe(nil)
		g := &gateConn{Conn: sn}
		g.cond.L = &g.mu
		s := &server{t: t, nc: sn, Peer: h2test.NewClient(t, cn), streams: make(map[uint32]*stream)}
		s.c = h2conn.Server(g, nil, s)
		s.done = h2test.RunAsync(func() (struct{}, error) { return struct{}{}, s.c.Serve() })
		defer s.stop()
		defer g.set(func() { g.shut = false })
		s.Greet()
		var streams []*stream
		for _, id := range []uint32{1, 3} {
			s.WriteHeaders(id, true, get...)
			r := s.stream(id)
			r.respond(t)
			s.WantHeaders("the answer", id)
			streams = append(streams, r)
		}
		streams[0].st.SetPriority(5)
		streams[1].st.SetPriority(1)
		synctest.Wait()
		g.set(func() { g.shut = true })
		f(t, s, g, streams[0], streams[1])
	})
}

// asked is how often a stream's Source was asked for bytes.
func (s *stream) asked() int {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fills
}

func TestRoom(t *testing.T) {
	t.Run("what is urgent overtakes what was written earlier and the socket has not taken", func(t *testing.T) {
		gateTest(t, func(t *testing.T, s *server, g *gateConn, low, high *stream) {
			before := low.asked()
			low.write(strings.Repeat("l", 20_000), false)
			s.WantIdle("the socket takes nothing")
			if low.asked() != before {
				t.Error("bytes were chosen that the socket does not take yet")
			}
			high.write("urgent", false)
			g.admit(3000)
			s.WantData("written last", 3, false, "urgent")
			left := 20_000
			for i, most := range []int{3000 - len("urgent") - 9, 4096, 2048} {
				if i > 0 {
					g.admit(most)
				}
				d := s.Next("what there is room for").(h2test.Data)
				if d.StreamID != 1 || len(d.Data)+9 > most || len(d.Data) < most-1100 {
					t.Errorf("%d bytes on stream %d for a room of %d", len(d.Data), d.StreamID, most)
				}
				left -= len(d.Data)
				s.WantIdle("no more room")
			}
			high.write("again", false)
			g.set(func() { g.shut = false })
			s.WantData("overtakes what is left", 3, false, "again")
			for left > 0 {
				left -= len(s.Next("the rest").(h2test.Data).Data)
			}
		})
	})
	t.Run("a socket that takes nothing in time ends the connection", func(t *testing.T) {
		gateTest(t, func(t *testing.T, s *server, g *gateConn, low, _ *stream) {
			g.set(func() { g.fail = os.ErrDeadlineExceeded })
			low.write("x", false)
			<-s.c.Done()
			_, _, reset := low.snapshot()
			if reset == nil || reset.Code != http2.ErrCodeInternal {
				t.Errorf("reset %v", reset)
			}
			if l, ok := transport.ReachedLimit(s.c.Err()); !ok || l != transport.LimitWriteTime {
				t.Errorf("ended with %v", s.c.Err())
			}
			g.set(func() { g.fail = nil })
		})
	})
	t.Run("a socket that takes nothing is all right while nothing is to be written", func(t *testing.T) {
		gateTest(t, func(t *testing.T, s *server, g *gateConn, low, _ *stream) {
			g.set(func() { g.fail = os.ErrDeadlineExceeded })
			low.st.Wake()
			s.WantIdle("nothing is due")
			g.set(func() { g.fail, g.shut = nil, false })
			low.write("later", false)
			s.WantData("it lives", 1, false, "later")
		})
	})
}
