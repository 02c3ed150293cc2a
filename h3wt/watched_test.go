package h3wt

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/towpath-go/towpath/transport"
)

// watched is a Monitor that keeps what it is told, as lines.
type watched struct {
	mu    sync.Mutex // guards the following
	lines []string
}

func (w *watched) note(words ...string) {
	line := ""
	for _, word := range words {
		if line != "" && word != "" {
			line += " "
		}
		line += word
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, line)
}

func limitOf(err error) string {
	limit, _ := transport.ReachedLimit(err)
	return string(limit)
}

func (w *watched) ConnectionOpened(p transport.Protocol, side transport.Side) {
	w.note(side.String(), p.String(), "connection opened")
}

func (w *watched) ConnectionEnded(p transport.Protocol, side transport.Side, err error) {
	how := "well"
	if err != nil {
		how = "with an error"
	}
	w.note(side.String(), p.String(), "connection ended", how, limitOf(err))
}

func (w *watched) ConnectionRefused(p transport.Protocol, limit transport.Limit) {
	w.note(p.String(), "connection refused", string(limit))
}

func (w *watched) SessionOpened(s transport.Session, side transport.Side) {
	w.note(side.String(), s.Info().Protocol.String(), "session opened")
}

func (w *watched) SessionRefused(r transport.Refusal) {
	status := map[int]string{0: "reset", 405: "405", 403: "403", 429: "429", 501: "501"}[r.Status]
	w.note(r.Protocol.String(), "session refused", status, string(r.Limit))
}

func (w *watched) Dialed(transport.Dialed) {}

// want expects exactly these lines since the last call, in this order. It is for
// bubbles.
func (w *watched) want(t testing.TB, lines ...string) {
	t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	got := w.lines
	w.lines = nil
	if len(got) != len(lines) {
		t.Fatalf("the Monitor was told %q, want %q", got, lines)
	}
	for i := range got {
		if got[i] != lines[i] {
			t.Fatalf("the Monitor was told %q, want %q", got, lines)
		}
	}
}
