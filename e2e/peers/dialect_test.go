package peers

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/towpath-go/towpath/transport"
)

// dialects hears what HTTP/2 sessions log about the dialect that they found.
type dialects struct {
	mu    sync.Mutex // guards the following
	heard [][]string // dialect, reason and parity of each session
}

// config returns a Config whose sessions are heard.
func (d *dialects) config(dialect transport.Dialect) *transport.Config {
	return &transport.Config{Dialect: dialect, Logger: slog.New(d)}
}

// want checks that every session had this dialect, for this reason, and this
// parity of stream IDs, of which the log may tell more.
func (d *dialects) want(t *testing.T, dialect, reason, parity string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.heard) == 0 {
		t.Error("no session told its dialect")
	}
	for _, got := range d.heard {
		if got[0] != dialect || got[1] != reason || !strings.HasPrefix(got[2], parity) {
			t.Errorf("a session has the dialect %q, want %s, %s, %s", got, dialect, reason, parity)
			return
		}
	}
}

// Handle makes dialects a slog.Handler.
func (d *dialects) Handle(_ context.Context, r slog.Record) error {
	if r.Message != "session dialect" {
		return nil
	}
	found := make([]string, 3)
	r.Attrs(func(a slog.Attr) bool {
		if i := slices.Index([]string{"dialect", "reason", "parity"}, a.Key); i >= 0 {
			found[i] = a.Value.String()
		}
		return true
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heard = append(d.heard, found)
	return nil
}

func (d *dialects) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (d *dialects) WithAttrs([]slog.Attr) slog.Handler           { return d }
func (d *dialects) WithGroup(string) slog.Handler                { return d }
