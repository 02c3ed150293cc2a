package admission

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// logInterval is how often a limit is logged, at most: who floods a server shall
// not flood its log as well.
const logInterval = time.Second

// A Log writes of what was refused, at level Info. Of each limit there is a line a
// second at most: the first refusal has one at once, and those of the second after
// it have one together, which tells of the last of them and how many there were.
type Log struct {
	// Logger receives the lines; nil means silence.
	Logger *slog.Logger

	mu      sync.Mutex // guards the following
	pending map[transport.Limit]*refusal
}

// A refusal is what the next line of a limit says. There is one for each limit of
// which there was a line in the last second.
type refusal struct {
	msg, remote string
	transport   transport.Protocol
	count       int
}

// Refused logs msg, now or within a second.
func (l *Log) Refused(msg, remote string, p transport.Protocol, limit transport.Limit) {
	if l.Logger == nil || !l.Logger.Enabled(context.Background(), slog.LevelInfo) {
		return
	}
	r := refusal{msg, remote, p, 1}
	l.mu.Lock()
	if later := l.pending[limit]; later != nil { // limits are few
		r.count += later.count
		*later = r
		l.mu.Unlock()
		return
	}
	if l.pending == nil {
		l.pending = make(map[transport.Limit]*refusal)
	}
	l.pending[limit] = new(refusal)
	l.mu.Unlock()
	l.write(r, limit)
	time.AfterFunc(logInterval, func() { l.flush(limit) }) // ends when nothing is refused for a second
}

// flush writes what came since the last line.
func (l *Log) flush(limit transport.Limit) {
	l.mu.Lock()
	r := *l.pending[limit]
	if r.count == 0 {
		delete(l.pending, limit)
		l.mu.Unlock()
		return
	}
	l.pending[limit] = new(refusal)
	l.mu.Unlock()
	l.write(r, limit)
	time.AfterFunc(logInterval, func() { l.flush(limit) })
}

func (l *Log) write(r refusal, limit transport.Limit) {
	l.Logger.LogAttrs(context.Background(), slog.LevelInfo, r.msg,
		slog.String("remote", r.remote),
		slog.String("transport", r.transport.String()),
		slog.String("limit", string(limit)),
		slog.Int("count", r.count))
}
