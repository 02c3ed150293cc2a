package h2conn

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/towpath-go/towpath/internal/memconn"
)

// echoes answers every stream with its own bytes.
type echoes struct {
	st  *Stream
	out []byte // only touched while the other side waits
}

func (e *echoes) Headers(*Header) {}
func (e *echoes) Data(p []byte) int {
	e.st.conn.mu.Lock()
	e.out = append(e.out, p...)
	e.st.conn.mu.Unlock()
	e.st.Wake()
	return len(p)
}
func (e *echoes) Trailers(*Header)                 {}
func (e *echoes) End()                             {}
func (e *echoes) Reset(http2.ErrCode, bool, error) {}
func (e *echoes) Fill(dst []byte) (int, bool) {
	e.st.conn.mu.Lock()
	defer e.st.conn.mu.Unlock()
	n := copy(dst, e.out)
	e.out = e.out[n:]
	return n, false
}

type echoServer struct{}

func (echoServer) Request(st *Stream, h *Header) Receiver {
	e := &echoes{st: st}
	_ = st.WriteHeaders([]hpack.HeaderField{{Name: ":status", Value: "200"}}, false, nil)
	st.SetSource(e)
	return e
}

// collector sends what it is given and keeps what comes.
type collector struct {
	echoes
	got []byte
}

func (c *collector) Data(p []byte) int {
	c.got = append(c.got, p...)
	return len(p)
}

// writes tells whether the write goroutine runs.
func (c *Conn) writes() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wake != nil
}

// TestConnAtRest: while nothing is to be written there is no goroutine for it, and
// what is written later is written all the same.
func TestConnAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cn, sn := memconn.Pipe(nil)
		srv := Server(sn, nil, echoServer{})
		served := make(chan error, 1)
		go func() { served <- srv.Serve() }() // ends with the connection
		c := Client(cn, nil)
		s := &collector{}
		st, err := c.OpenStream(context.Background(), &Open{
			Fields: []hpack.HeaderField{{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "https"},
				{Name: ":authority", Value: "x"}, {Name: ":path", Value: "/"}},
			Receiver: s, Source: s,
			OnWrite: func(st *Stream, _ Settings) error { s.st = st; return nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		for _, gap := range []time.Duration{
			0, time.Millisecond, writerRest / 2, writerRest - 1, writerRest, writerRest + 1, 2*writerRest - 1, 2 * writerRest, time.Second, time.Minute,
		} {
			time.Sleep(gap)
			synctest.Wait()
			if gap < writerRest && !(c.writes() && srv.writes()) {
				t.Errorf("no write goroutine %v after something was written", gap)
			}
			if gap == time.Second && (c.writes() || srv.writes()) {
				t.Errorf("a write goroutine %v after something was written", gap)
			}
			c.mu.Lock()
			s.out = append(s.out, "hello"...)
			c.mu.Unlock()
			st.Wake()
			want += len("hello")
			synctest.Wait()
			if len(s.got) != want {
				t.Fatalf("after %v: %d bytes came back of %d", gap, len(s.got), want)
			}
		}
		time.Sleep(time.Second)
		if c.writes() || srv.writes() {
			t.Error("the write goroutine does not end")
		}
		st.Reset(http2.ErrCodeCancel)
		synctest.Wait()
		if !c.writes() {
			t.Error("no write goroutine for a reset")
		}
		time.Sleep(time.Second)
		c.Close() // says GOAWAY
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	t.Run("its state and the word that the allocator adds fit 2 KiB", func(t *testing.T) {
		if n := unsafe.Sizeof(Conn{}); unsafe.Sizeof(uintptr(0)) == 8 && n > 2040 {
			t.Errorf("%d bytes, and the allocator's next class is 2,304", n)
		}
	})
}
