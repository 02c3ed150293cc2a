package workload

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A timerfd is an alarm by a timer of the kernel's that is polled like a socket:
// as exact as a thread that sleeps in clock_nanosleep with the least slack (both
// wake within about 0.1 ms, where the runtime's timers take 0.5 ms at the
// median), without holding a thread or a processor of the runtime's, and the
// goroutine is woken by the thread that polls.
type timerfd struct {
	ctx  context.Context
	base time.Time
	fd   int // file's, while it is open
	file *os.File
	stop func() bool
}

func newAlarm(ctx context.Context, base time.Time) (alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("timerfd: %w", err)
	}
	t := &timerfd{ctx: ctx, base: base, fd: fd, file: os.NewFile(uintptr(fd), "timerfd")}
	// A deadline in the past ends a read that waits; the file stays open until
	// close, because wait uses its descriptor.
	t.stop = context.AfterFunc(ctx, func() { _ = t.file.SetReadDeadline(time.Unix(1, 0)) })
	return t, nil
}

func (t *timerfd) wait(until time.Duration) error {
	if err := context.Cause(t.ctx); err != nil {
		return err
	}
	rest := until - time.Since(t.base)
	if rest <= 0 {
		return nil
	}
	once := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(rest))}
	if err := unix.TimerfdSettime(t.fd, 0, &once, nil); err != nil {
		return fmt.Errorf("timerfd: %w", err)
	}
	var expirations [8]byte
	if _, err := t.file.Read(expirations[:]); err != nil {
		if cause := context.Cause(t.ctx); cause != nil {
			return cause
		}
		return fmt.Errorf("timerfd: %w", err)
	}
	return nil
}

func (t *timerfd) close() {
	t.stop()
	_ = t.file.Close()
}
