package workload

import (
	"context"
	"time"
)

// An alarm wakes one goroutine at given times. A run gives every sender its own:
// the goroutine that is woken is the one that sends, so that no hand-over from a
// clock to a sender adds to the lateness, and one that is held up by a full
// transport delays nobody else.
type alarm interface {
	// wait returns at a time by the clock of the run, at once if it is past. It
	// returns an error when the alarm's context has ended.
	wait(until time.Duration) error
	close()
}

// A timer is an alarm by the runtime's timers, which are late by up to a
// millisecond: the poller they sleep in counts in milliseconds.
type timer struct {
	ctx  context.Context
	base time.Time
}

func (t timer) wait(until time.Duration) error {
	if err := context.Cause(t.ctx); err != nil {
		return err
	}
	rest := until - time.Since(t.base)
	if rest <= 0 {
		return nil
	}
	wake := time.NewTimer(rest)
	defer wake.Stop()
	select {
	case <-wake.C:
		return nil
	case <-t.ctx.Done():
		return context.Cause(t.ctx)
	}
}

func (timer) close() {}

// newTimer is the alarm of systems without a better one.
func newTimer(ctx context.Context, base time.Time) (alarm, error) {
	return timer{ctx, base}, nil
}
