package h3wt

import (
	"bytes"
	"context"
	"io"
	"math"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

func TestRanks(t *testing.T) {
	g := transport.NewSendGroup()
	newRanks := func(base int8) *ranks {
		return &ranks{base: base, groups: make(map[*transport.SendGroup][]rank)}
	}
	t.Run("orders are ranked within their group", func(t *testing.T) {
		r := newRanks(3)
		list := []transport.Priority{{Order: 5}, {Order: -1}, {Order: 0}, {Group: g, Order: -100}, {Group: g, Order: math.MaxInt64}}
		for _, p := range list {
			if !r.add(p) {
				t.Errorf("%v changed nothing", p)
			}
		}
		if r.add(transport.Priority{Order: 5}) {
			t.Error("a further stream of an order changed the ranks")
		}
		for i, want := range []int8{3, 5, 4, 4, 3} {
			if got := r.urgency(list[i]); got != want {
				t.Errorf("order %d has urgency %d, want %d", list[i].Order, got, want)
			}
		}
		if r.remove(list[0]) || !r.remove(list[0]) {
			t.Error("removing one of two, then the last")
		}
		if got := r.urgency(list[2]); got != 3 {
			t.Errorf("order 0 has urgency %d, now being the highest", got)
		}
		for _, p := range list[1:] {
			r.remove(p)
		}
		if len(r.groups) != 0 {
			t.Errorf("left behind: %v", r.groups)
		}
		if r.remove(list[0]) {
			t.Error("removing what is not there")
		}
	})
	t.Run("ranks beyond the last urgency share it", func(t *testing.T) {
		r := newRanks(3)
		for i := range 20 {
			r.add(transport.Priority{Order: int64(i)})
		}
		for i := range 20 {
			want := int8(min(3+19-i, 7))
			if got := r.urgency(transport.Priority{Order: int64(i)}); got != want {
				t.Errorf("order %d has urgency %d, want %d", i, got, want)
			}
		}
	})
	t.Run("H3-023 a session's own urgency is that of its highest order", func(t *testing.T) {
		for _, c := range []struct {
			field string
			want  int8
		}{
			{"u=5", 5}, {"u=0, i", 0}, {"i, u=7", 7}, {"", 3}, {"u=8", 3}, {"u=-1", 3}, {"u", 3}, {`u="1"`, 3}, {"u=1.5", 3}, {"u=(1)", 3}, {"!", 3},
		} {
			h := http.Header{}
			if c.field != "" {
				h["Priority"] = []string{c.field}
			}
			if got := sessionUrgency(h); got != c.want {
				t.Errorf("%q: urgency %d, want %d", c.field, got, c.want)
			}
		}
		r := newRanks(5)
		for i := range 4 {
			r.add(transport.Priority{Order: int64(-i)})
		}
		for i, want := range []int8{5, 6, 7, 7} {
			if got := r.urgency(transport.Priority{Order: int64(-i)}); got != want {
				t.Errorf("rank %d has urgency %d, want %d", i, got, want)
			}
		}
	})
}

// fakeSender records what quic-go is told.
type fakeSender struct {
	sender
	mu        sync.Mutex
	urgencies []int8
}

func (f *fakeSender) SetPriority(u int8, incremental bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !incremental {
		panic("streams of one urgency share")
	}
	f.urgencies = append(f.urgencies, u)
}

func (f *fakeSender) last() int8 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.urgencies) == 0 {
		return defaultUrgency
	}
	return f.urgencies[len(f.urgencies)-1]
}

func TestPrioritize(t *testing.T) {
	newSession := func(base int8, n int) (*Session, []*dataStream, []*fakeSender) {
		s := &Session{streams: make(map[quic.StreamID]*dataStream), ranks: ranks{base: base}, c: &conn{}}
		var streams []*dataStream
		var senders []*fakeSender
		for i := range n {
			d, f := &dataStream{s: s, id: quic.StreamID(4 * i)}, &fakeSender{}
			d.send = new(sendPart)
			d.send.init(d, f, true)
			s.streams[d.id] = d
			s.prioritize(d.send, transport.Priority{})
			streams, senders = append(streams, d), append(senders, f)
		}
		return s, streams, senders
	}
	want := func(t *testing.T, senders []*fakeSender, urgencies ...int8) {
		t.Helper()
		var got []int8
		for _, f := range senders {
			got = append(got, f.last())
		}
		if !slices.Equal(got, urgencies) {
			t.Errorf("urgencies %v, want %v", got, urgencies)
		}
	}
	t.Run("without priorities nothing is told", func(t *testing.T) {
		_, _, senders := newSession(defaultUrgency, 3)
		for _, f := range senders {
			if len(f.urgencies) > 0 {
				t.Errorf("told %v", f.urgencies)
			}
		}
	})
	t.Run("the ranks move as streams come, change and go", func(t *testing.T) {
		s, streams, senders := newSession(defaultUrgency, 3)
		streams[1].send.SetPriority(transport.Priority{Order: 1})
		want(t, senders, 4, 3, 4)
		streams[2].send.SetPriority(transport.Priority{Order: -1})
		want(t, senders, 4, 3, 5)
		streams[0].send.SetPriority(transport.Priority{Order: 2})
		want(t, senders, 3, 4, 5)
		streams[0].send.state = sendClosed
		s.applyUrgencies(s.unrankLocked(streams[0].send))
		want(t, senders, 3, 3, 4)
		streams[1].send.SetPriority(transport.Priority{Order: -1})
		want(t, senders, 3, 3, 3)
	})
	t.Run("H3-023 with an urgency of its own", func(t *testing.T) {
		_, streams, senders := newSession(5, 2)
		want(t, senders, 5, 5)
		streams[1].send.SetPriority(transport.Priority{Order: -7})
		want(t, senders, 5, 6)
	})
}

func TestPriorityOnTheWire(t *testing.T) {
	// The stream of higher order is written later and arrives first.
	for _, from := range []string{"a client", "a server"} {
		bubble(t, "H3-023 a higher order goes first, from "+from, func(t *testing.T) {
			c, s, stop := makePair(t, simulated(t), nil, nil)
			defer stop()
			if from == "a server" {
				c, s = s, c
			}
			const size = 300 << 10
			order := make(chan int, 2)
			var streams []transport.SendStream
			for i := range 2 {
				u, err := c.OpenUniStream(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				u.SetPriority(transport.Priority{Order: int64(10 * i)})
				streams = append(streams, u)
				u.Write([]byte{byte(i)})
			}
			for range streams {
				v, err := s.AcceptUniStream(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				go func() {
					b, err := io.ReadAll(v)
					if err != nil || len(b) != size+1 {
						t.Errorf("%d bytes, %v", len(b), err)
						order <- -1
						return
					}
					order <- int(b[0])
				}()
			}
			payload := bytes.Repeat([]byte("x"), size)
			for _, u := range streams {
				go func() { u.Write(payload); u.Close() }()
				synctest.Wait()
			}
			if first, second := <-order, <-order; first != 1 || second != 0 {
				t.Errorf("stream %d arrived first, then %d", first, second)
			}
		})
	}
}

func TestConnectStreamPriority(t *testing.T) {
	bubble(t, "H3-023 a server's capsules go before its data", func(t *testing.T) {
		c, s, stop := makePair(t, simulated(t), nil, nil)
		defer stop()
		u, err := s.OpenUniStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		const size = 4 << 20
		go u.Write(make([]byte, size))
		v, err := c.AcceptUniStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, v)
		if err := s.Drain(); err != nil {
			t.Fatal(err)
		}
		<-c.Draining()
		// What was in flight when Drain was called is little: the congestion
		// window has hardly opened. Behind the data it would be a window more.
		if n := c.Stats().BytesRead; n > 256<<10 {
			t.Errorf("the capsule came behind %d bytes", n)
		}
	})
	closeBehind := func(t *testing.T, rested bool) {
		h, accepted := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		str := c.accepted()
		s := <-accepted
		const n = maxFinished
		for i := range n {
			u, err := s.OpenUniStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			u.SetPriority(transport.Priority{Order: int64(-i)})
			u.Write(make([]byte, 1000))
			u.Close()
		}
		if rested {
			s.(*Session).restFinished()
			runtime.GC() // takes what only the session would keep
		}
		var finished atomic.Int32
		go func() {
			for range n {
				c.acceptUni().SetReceiveFinalSizeCallback(func(int64) { finished.Add(1) })
			}
		}()
		go s.CloseWithError(1, "")
		c.wantCapsule(str, capsule.CloseSession{ErrorCode: 1})
		synctest.Wait()
		if got := finished.Load(); got != n {
			t.Errorf("%d of %d finished streams came before the close", got, n)
		}
		str.Close()
	}
	bubble(t, "H3-058 a close goes behind what was finished", func(t *testing.T) { closeBehind(t, false) })
	bubble(t, "H3-058 and behind what was finished a while ago", func(t *testing.T) { closeBehind(t, true) })
}
