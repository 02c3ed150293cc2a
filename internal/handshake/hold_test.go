package handshake

import (
	"context"
	"testing"
	"testing/synctest"
)

func TestHold(t *testing.T) { synctest.Test(t, testHold) }

func testHold(t *testing.T) {
	released := 0
	release := func() { released++ }

	_, returned := WithHold(t.Context(), release)
	returned()
	returned()
	if released != 1 {
		t.Errorf("without a session: released %d times, want once", released)
	}

	released = 0
	r, returned := WithHold(t.Context(), release)
	if !Holds(r) || Holds(t.Context()) {
		t.Error("Holds does not tell what a request holds")
	}
	s, end := context.WithCancel(t.Context())
	Keep(r, s)
	Keep(r, t.Context()) // of one request there is one session
	returned()
	synctest.Wait()
	if released != 0 {
		t.Error("released when the handler returned, while the session goes on")
	}
	end()
	synctest.Wait() // it is released by a goroutine of its own
	if released != 1 {
		t.Errorf("at the session's end: released %d times, want once", released)
	}

	// A session that comes when the handler has returned holds nothing.
	r, returned = WithHold(t.Context(), release)
	returned()
	s, end = context.WithCancel(t.Context())
	Keep(r, s)
	end()
	synctest.Wait()
	if released != 2 {
		t.Errorf("after the handler: released %d times, want once more", released-1)
	}
	Keep(t.Context(), t.Context()) // nothing is held
}
