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
// second at most, which says how many were refused since the line before.
type Log struct {
	// Logger receives the lines; nil means silence.
	Logger *slog.Logger

	mu    sync.Mutex // guards the following
	lines map[transport.Limit]*line
}

// A line is what is known of a limit's last line.
type line struct {
	at    time.Time
	count int // refused since
}

// Refused logs msg, unless the limit was logged just now.
func (l *Log) Refused(msg, remote string, p transport.Protocol, limit transport.Limit) {
	if l.Logger == nil || !l.Logger.Enabled(context.Background(), slog.LevelInfo) {
		return
	}
	n := l.count(limit, time.Now())
	if n == 0 {
		return
	}
	attrs := []slog.Attr{
		slog.String("remote", remote),
		slog.String("transport", p.String()),
		slog.String("limit", string(limit)),
		slog.Int("count", n),
	}
	l.Logger.LogAttrs(context.Background(), slog.LevelInfo, msg, attrs...)
}

// count returns how many to tell of, 0 if it is too early for a line.
func (l *Log) count(limit transport.Limit, now time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lines == nil {
		l.lines = make(map[transport.Limit]*line)
	}
	e := l.lines[limit] // limits are few
	if e == nil {
		e = new(line)
		l.lines[limit] = e
	}
	e.count++
	if now.Sub(e.at) < logInterval {
		return 0
	}
	n := e.count
	e.at, e.count = now, 0
	return n
}
