package endpoint

import (
	"sync"
	"sync/atomic"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
)

// A Log counts what the endpoints of one process do, and passes on what was not
// as promised. Its methods may be called from any goroutine.
type Log struct {
	Side string
	emit func(ledger.Message)

	connections, sessions atomic.Int64
	handlers              atomic.Int64 // running, of streams
	tallies               map[string]*tally

	mu   sync.Mutex // guards the following
	said int
}

// maxSaid bounds the violations that are passed on.
const maxSaid = 1000

// tally is a ledger.Tally that counts.
type tally struct {
	connections, sessions, refused, closed, broken atomic.Int64
	streams, whole, aborted, lost, bytes           atomic.Int64
	datagrams, datagramSent, syncs, deadlines      atomic.Int64
}

// NewLog returns a Log that passes messages on to emit.
func NewLog(side string, emit func(ledger.Message)) *Log {
	l := &Log{Side: side, emit: emit, tallies: make(map[string]*tally)}
	for _, way := range ledger.Ways {
		l.tallies[way] = new(tally)
	}
	return l
}

// Violate reports a promise that was not kept.
func (l *Log) Violate(v ledger.Violation) {
	v.Side = l.Side
	l.mu.Lock()
	l.said++
	pass := l.said <= maxSaid
	l.mu.Unlock()
	if pass {
		l.emit(ledger.Message{Violation: &v})
	}
}

// Ended passes on the end of a session.
func (l *Log) Ended(e ledger.End) {
	e.Side = l.Side
	t := l.tallies[e.Way]
	switch {
	case e.Refused != "":
		t.refused.Add(1)
	case e.Told != nil && e.Told.Err == "":
		t.closed.Add(1)
	default:
		t.broken.Add(1)
	}
	l.emit(ledger.Message{End: &e})
}

// ConnectionOpened and ConnectionEnded count connections.
func (l *Log) ConnectionOpened(way string) {
	l.connections.Add(1)
	l.tallies[way].connections.Add(1)
}

// ConnectionEnded is called once for each that was opened.
func (l *Log) ConnectionEnded() { l.connections.Add(-1) }

// Sessions returns how many are open now.
func (l *Log) Sessions() int64 { return l.sessions.Load() }

// Handlers returns how many streams of the other end are being answered.
func (l *Log) Handlers() int64 { return l.handlers.Load() }

// Counts returns what was counted so far.
func (l *Log) Counts() ledger.Counts {
	c := ledger.Counts{Connections: int(l.connections.Load()), Sessions: int(l.sessions.Load()), Ways: make(map[string]ledger.Tally)}
	for way, t := range l.tallies {
		c.Ways[way] = ledger.Tally{
			Connections: t.connections.Load(), Sessions: t.sessions.Load(), Refused: t.refused.Load(),
			Closed: t.closed.Load(), Broken: t.broken.Load(), Streams: t.streams.Load(), Whole: t.whole.Load(),
			Aborted: t.aborted.Load(), Lost: t.lost.Load(), Bytes: t.bytes.Load(), Datagrams: t.datagrams.Load(),
			DatagramSent: t.datagramSent.Load(), Syncs: t.syncs.Load(), Deadlines: t.deadlines.Load(),
		}
	}
	return c
}
