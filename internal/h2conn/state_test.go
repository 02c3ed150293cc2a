package h2conn

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/towpath-go/towpath/internal/memconn"
)

func TestStreamStates(t *testing.T) {
	const none = streamState(99)
	events := []streamEvent{eventHeaders, eventSendEnd, eventRecvEnd, eventReset}
	table := map[streamState][]streamState{ // after each event
		streamIdle:             {streamOpen, none, none, streamClosed},
		streamOpen:             {none, streamHalfClosedLocal, streamHalfClosedRemote, streamClosed},
		streamHalfClosedLocal:  {none, none, streamClosed, streamClosed},
		streamHalfClosedRemote: {none, streamClosed, none, streamClosed},
		streamClosed:           {none, none, none, none},
	}
	for s, row := range table {
		for i, e := range events {
			next, ok := s.after(e)
			if ok != (row[i] != none) || ok && next != row[i] || !ok && next != s {
				t.Errorf("%v after event %d: %v %v", s, e, next, ok)
			}
		}
		if s.String() == fmt.Sprintf("streamState(%d)", s) {
			t.Errorf("state %d has no name", s)
		}
	}
	if s := streamState(77).String(); s != "streamState(77)" {
		t.Error(s)
	}
}

func TestClosedStreams(t *testing.T) {
	t.Run("BP-016 the last 256 closed streams are remembered, no more", func(t *testing.T) {
		var c closedStreams
		for i := range closedSize + 1 {
			c.add(uint32(2*i+1), closeEnded)
		}
		if c.reason(1) != closeUnknown || c.reason(3) != closeEnded || c.reason(2*closedSize+1) != closeEnded {
			t.Error("the oldest, and only it, is forgotten")
		}
		c.add(3, closeByUs) // in place
		if c.reason(3) != closeByUs || c.reason(5) != closeEnded {
			t.Error("changing a reason forgets another stream")
		}
	})
}

// TestRecvWindow runs random programs against the sum that must always hold.
func TestRecvWindow(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		limit := 1 + rnd.Int64N(1<<20)
		w := newRecvWindow(limit, limit*4)
		now := time.Unix(1000, 0)
		var held int64
		for range 200 {
			switch rnd.IntN(4) {
			case 0:
				n := rnd.Int64N(limit + 10)
				fits := n <= w.available
				if w.take(n) != fits {
					t.Fatalf("take %d of %d", n, w.available)
				}
				if fits {
					held += n
				}
			case 1:
				n := rnd.Int64N(held + 1)
				held -= n
				w.give(n)
			case 2:
				now = now.Add(time.Duration(rnd.Int64N(int64(50 * time.Millisecond))))
				if w.due() {
					before := w.available
					if n := w.announce(now, 20*time.Millisecond, rnd.IntN(2) == 0); n == 0 || int64(n) != w.available-before {
						t.Fatalf("announced %d, window %d -> %d", n, before, w.available)
					}
				}
			case 3:
				w.resize(rnd.Int64N(2001) - 1000)
			}
			if w.available+w.credit+held != w.limit {
				t.Fatalf("available %d + credit %d + held %d != limit %d", w.available, w.credit, held, w.limit)
			}
			if w.limit > w.max {
				t.Fatalf("limit %d above %d", w.limit, w.max)
			}
		}
	}
}

func TestRecvWindowGrowth(t *testing.T) {
	for _, c := range []struct {
		name         string
		rtt, elapsed time.Duration // elapsed: from one update by half a window to the next
		grows        bool
	}{
		{"no round-trip time", 0, 1, false},
		{"a quarter of a window in a round trip", 20 * time.Millisecond, 40*time.Millisecond - 1, true},
		{"less than that", 20 * time.Millisecond, 40 * time.Millisecond, false},
		{"a quarter in the least round-trip time", time.Microsecond, 2*leastRTT - 1, true},
		{"less than that", time.Microsecond, 2 * leastRTT, false},
	} {
		w := newRecvWindow(1000, 4000)
		now := time.Unix(1000, 0)
		for range 2 {
			now = now.Add(c.elapsed)
			w.take(500)
			w.give(500)
			w.announce(now, c.rtt, true)
		}
		if grown := w.limit > 1000; grown != c.grows {
			t.Errorf("%s: grown %v", c.name, grown)
		}
	}
}

func TestBucket(t *testing.T) {
	now := time.Unix(1000, 0)
	b := newBucket(Rate{Burst: 3, PerSecond: 2})
	for i, want := range []bool{true, true, true, false} {
		if b.take(now, 1) != want {
			t.Errorf("token %d: %v", i, !want)
		}
	}
	if b.take(now.Add(499*time.Millisecond), 1) {
		t.Error("half a second early")
	}
	if !b.take(now.Add(500*time.Millisecond), 1) {
		t.Error("no refill")
	}
	b.refund(100)
	for range 3 {
		if !b.take(now.Add(time.Second), 1) {
			t.Error("no refund")
		}
	}
	if b.take(now.Add(500*time.Millisecond), 1) {
		t.Error("a refund exceeds the burst")
	}
	off := newBucket(Rate{Burst: -1})
	if !off.take(now, 1e9) {
		t.Error("a bucket that is off refuses")
	}
}

// TestScheduler checks strict order between urgencies and byte fairness within
// one, for frames of any size.
func TestScheduler(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var d scheduler
	sent := make([]int, 6)
	streams := make([]*Stream, 6)
	for i := range streams {
		streams[i] = &Stream{id: uint32(i), urgency: 3}
		d.add(streams[i])
		d.add(streams[i]) // once only
	}
	for range 20000 {
		s := d.front()
		// Each stream has frames of its own size.
		n := min(max(s.link.deficit, minDataRoom), 1+rnd.IntN(100*(1<<s.id)))
		sent[s.id] += n
		d.sent(s, n)
		if low, high := slices.Min(sent), slices.Max(sent); high-low > 2*quantum+minDataRoom {
			t.Fatalf("bytes %v", sent)
		}
	}
	d.move(streams[4], 1)
	d.move(streams[5], 2)
	for range 100 {
		if s := d.front(); s != streams[4] {
			t.Fatalf("stream %d before the urgent one", s.id)
		}
		d.sent(streams[4], 16384)
	}
	d.remove(streams[4])
	d.remove(streams[4])
	if d.front() != streams[5] {
		t.Error("not the next urgency")
	}
	d.move(streams[4], 0)
	if d.front() != streams[5] {
		t.Error("moving a stream that is not queued queues it")
	}
	for _, s := range streams {
		d.remove(s)
	}
	if d.front() != nil {
		t.Error("not empty")
	}
}

func TestSettingsValue(t *testing.T) {
	a := defaultSettings().with(http2.Setting{ID: 0x2b61, Val: 1}, true)
	b := a.with(http2.Setting{ID: 0x2b61, Val: 2}, true)
	c := b.with(http2.Setting{ID: 0x2b62, Val: 3}, false)
	if v, _ := a.Value(0x2b61); v != 1 {
		t.Error("an older value has changed")
	}
	if v, _ := c.Value(0x2b61); v != 2 {
		t.Error("the newer value was lost")
	}
	if _, ok := c.Value(0x2b62); ok {
		t.Error("kept unasked")
	}
}

func TestConfigDefaults(t *testing.T) {
	var nilConfig *Config
	d := nilConfig.withDefaults(true)
	if d.MaxConcurrentStreams != 100 || d.IdleTimeout != 2*time.Minute || d.MaxContinuations != 24 || d.Resets.Burst != 1000 || d.Glitches.PerSecond != 330 {
		t.Errorf("%+v", d)
	}
	if c := nilConfig.withDefaults(false); c.IdleTimeout != 0 {
		t.Error("a client's connection ends when idle")
	}
	odd := (&Config{MaxFrameSize: 1, ConnWindow: 5, WriteBuffer: 1, MaxHeaderListSize: 1<<32 - 1, HeaderTableSize: -5, KeepAlive: -1}).withDefaults(true)
	if odd.MaxFrameSize != 16384 || odd.ConnWindow != 65535 || odd.WriteBuffer != minWriteBuffer || odd.MaxHeaderListSize != maxHeaderList || odd.HeaderTableSize != 0 || odd.KeepAlive != 0 {
		t.Errorf("%+v", odd)
	}
}

// TestStreamIDsEnd lets a client run out of stream ids.
func TestStreamIDsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := memconn.Pipe(nil)
		c := Client(here, nil)
		http2.NewFramer(there, nil).WriteSettings()
		go io.Copy(io.Discard, there) // ends when c closes
		<-c.SettingsReceived()
		c.mu.Lock()
		c.nextID = maxStreamID
		c.mu.Unlock()
		open := func() (*Stream, error) {
			return c.OpenStream(t.Context(), &Open{Receiver: discard{}, Fields: []hpack.HeaderField{{Name: ":method", Value: "GET"}}})
		}
		st, err := open()
		if err != nil || st.ID() != maxStreamID {
			t.Errorf("the last id: %v %v", st, err)
		}
		for range 2 {
			if _, err := open(); !errors.Is(err, ErrGoAway) {
				t.Errorf("beyond it: %v", err)
			}
		}
		st.Reset(http2.ErrCodeCancel)
		there.CloseWrite()
		<-c.Done() // with its last stream
	})
}
