package qlog

import (
	"io"
	"sync"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// Bounds of what waits to be written for one session. A batch that is being
// written is held besides.
const (
	MaxEvents = 1024
	MaxBytes  = 256 << 10
)

// A Writer has the events of one session. All methods of a nil Writer do nothing.
type Writer struct {
	sink  transport.QlogSink
	info  transport.Info
	side  transport.Side
	began time.Time

	mu      sync.Mutex // guards the following
	queue   []byte     // records, encoded
	events  int        // how many
	lost    uint64     // events that found the queue full
	writing bool       // there is a goroutine
	closed  bool       // the session is over
	broken  bool       // the sink takes nothing, or nothing more

	// The following is the goroutine's.
	opened bool
	out    io.WriteCloser
}

// New begins the record of a session that is open. Without a sink it returns nil.
func New(sink transport.QlogSink, info transport.Info, side transport.Side) *Writer {
	if sink == nil {
		return nil
	}
	w := &Writer{sink: sink, info: info, side: side, began: time.Now()}
	w.queue = appendHeader(nil, side, w.began)
	w.started()
	return w
}

// Close ends the record; what is queued is still written. Events that come later
// are not.
func (w *Writer) Close() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.closed = true
		w.startLocked()
	}
}

// event queues an event, unless the queue is full. One that is the last of its
// session is queued in any case.
func (w *Writer) event(name string, data object, last bool) {
	now := time.Since(w.began)
	record := appendEvent(nil, now, name, data)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed || w.broken:
	case !last && (w.events >= MaxEvents || len(w.queue)+len(record) > MaxBytes):
		w.lost++
	default:
		w.tellLostLocked(now)
		w.queue = append(w.queue, record...)
		w.events++
		w.startLocked()
	}
}

// tellLostLocked queues how many events were dropped since it was told last.
func (w *Writer) tellLostLocked(now time.Duration) {
	if w.lost > 0 {
		w.queue = appendEvent(w.queue, now, EventsLost, object{}.number("count", w.lost))
		w.lost = 0
	}
}

func (w *Writer) startLocked() {
	if !w.writing {
		w.writing = true
		// Ends when nothing is queued. Nobody waits for it, because nothing of the
		// session is to depend on the sink.
		go w.write()
	}
}

// write is the goroutine.
func (w *Writer) write() {
	var batch []byte
	for {
		w.mu.Lock()
		if w.broken {
			w.queue = nil
		} else {
			w.tellLostLocked(time.Since(w.began))
		}
		if len(w.queue) == 0 && (!w.closed || w.out == nil) {
			w.queue = nil // a session that is quiet holds no buffer
			w.writing = false
			w.mu.Unlock()
			return
		}
		batch, w.queue = w.queue, batch[:0]
		w.events = 0
		w.mu.Unlock()

		switch {
		case len(batch) == 0:
			w.shut()
		case !w.put(batch):
			w.mu.Lock()
			w.broken = true
			w.mu.Unlock()
			w.shut()
		}
	}
}

// put writes a batch, and opens the sink for the first one.
func (w *Writer) put(batch []byte) bool {
	if !w.opened {
		w.opened = true
		w.out = w.sink.OpenQlog(w.info, w.side)
	}
	if w.out == nil {
		return false
	}
	_, err := w.out.Write(batch)
	return err == nil
}

func (w *Writer) shut() {
	if w.out != nil {
		_ = w.out.Close() // the sink's to tell
		w.out = nil
	}
}
