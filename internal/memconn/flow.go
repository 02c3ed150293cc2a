package memconn

import (
	"io"
	"time"
)

// A flow is one direction: a bounded queue of bytes, some of them still on the
// way. It is guarded by its link's mutex.
type flow struct {
	link    *link
	bound   int
	maxRead int
	latency time.Duration

	ready    []byte    // arrived, not read
	transit  []segment // on the way, in order of arrival
	held     int       // len(ready) + bytes in transit
	finished bool      // the writer ended it
	ended    bool      // the end has arrived
	// readerGone says that the reader closed its end; what was written is lost.
	readerGone bool
}

// A segment is what one Write put on the way; end marks the end of the stream.
type segment struct {
	at    time.Time
	bytes []byte
	end   bool
}

func newFlow(l *link, o *Options) *flow {
	return &flow{link: l, bound: o.Buffer, maxRead: o.MaxRead, latency: o.Latency}
}

// put takes as much of p as there is room for.
func (f *flow) put(p []byte) int {
	n := min(len(p), f.bound-f.held)
	if n <= 0 {
		return 0
	}
	f.held += n
	if f.latency <= 0 {
		f.ready = append(f.ready, p[:n]...)
		return n
	}
	f.depart(segment{bytes: append([]byte(nil), p[:n]...)})
	return n
}

// take moves arrived bytes to p. ok is false if there is nothing to return yet.
func (f *flow) take(p []byte) (n int, err error, ok bool) {
	if len(f.ready) == 0 {
		return 0, io.EOF, f.ended
	}
	if f.maxRead > 0 && len(p) > f.maxRead {
		p = p[:f.maxRead]
	}
	n = copy(p, f.ready)
	f.ready = f.ready[n:]
	if len(f.ready) == 0 {
		f.ready = nil // let the consumed array go
	}
	f.held -= n
	return n, nil, true
}

func (f *flow) finish() {
	if f.finished {
		return
	}
	f.finished = true
	if f.latency <= 0 {
		f.ended = true
		return
	}
	f.depart(segment{end: true})
}

// abandon is the reader's close.
func (f *flow) abandon() {
	f.readerGone = true
	f.drop()
}

func (f *flow) drop() {
	f.ready, f.transit, f.held = nil, nil, 0
}

// depart puts s on the way. Timers of equal time run in no particular order,
// so a timer delivers everything that is due, not its own segment.
func (f *flow) depart(s segment) {
	s.at = time.Now().Add(f.latency)
	f.transit = append(f.transit, s)
	time.AfterFunc(f.latency, f.arrive)
}

func (f *flow) arrive() {
	f.link.mu.Lock()
	defer f.link.mu.Unlock()
	now := time.Now()
	for len(f.transit) > 0 && !f.transit[0].at.After(now) {
		s := f.transit[0]
		f.transit = f.transit[1:]
		f.ready = append(f.ready, s.bytes...)
		f.ended = f.ended || s.end
	}
	f.link.cond.Broadcast()
}

// A deadline is a point in time that wakes the link when it passes.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) set(t time.Time, l *link) {
	d.stop()
	d.at = t
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		d.timer = time.AfterFunc(wait, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.cond.Broadcast()
		})
	}
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }
