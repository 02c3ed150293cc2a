package measure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/towpath-go/towpath/e2e/bench/internal/peer"
)

// churn opens streams that carry 100 bytes and their end in each direction, some
// at a time.
type churn struct{ flight int }

func (c churn) run(ctx context.Context, p *peer.Peer, o Options) (Result, error) {
	failed := make(chan error, 1)
	buffers := sync.Pool{New: func() any { return new([2 * smallSize]byte) }}
	q, err := begin(ctx, p, peer.Handler{Stream: func(s peer.Stream) {
		b := buffers.Get().(*[2 * smallSize]byte)
		defer buffers.Put(b)
		n, err := readAll(s, b[:])
		if err == nil && n != smallSize {
			err = fmt.Errorf("a request has %d bytes", n)
		}
		if err == nil {
			_, err = s.Write(b[:n])
		}
		if err != nil {
			fail(failed, fmt.Errorf("server: %w", err))
		}
	}}, failed)
	if err != nil {
		return Result{}, err
	}
	r, err := measureChurn(ctx, q, c.flight, o)
	return r, q.end(ctx, err)
}

// readAll reads to the end, which must come before b is full.
func readAll(r io.Reader, b []byte) (int, error) {
	for n := 0; ; {
		m, err := r.Read(b[n:])
		n += m
		if err == io.EOF {
			return n, nil
		}
		if err == nil && n == len(b) {
			err = errors.New("more came than was sent")
		}
		if err != nil {
			return n, fmt.Errorf("read: %w", err)
		}
	}
}

func measureChurn(ctx context.Context, q *pair, flight int, o Options) (Result, error) {
	// round has all workers open streams for a while, and returns how many.
	round := func(d time.Duration) (int64, error) {
		var stop atomic.Bool
		defer time.AfterFunc(d, func() { stop.Store(true) }).Stop()
		var total atomic.Int64
		errs := make(chan error, flight)
		for range flight {
			go func() { // what it returns is waited for
				n, err := exchanges(ctx, q.conn, &stop)
				total.Add(n)
				if err != nil {
					stop.Store(true)
				}
				errs <- err
			}()
		}
		var err error
		for range flight {
			err = errors.Join(err, <-errs)
		}
		return total.Load(), err
	}
	if _, err := round(o.Warmup); err != nil {
		return Result{}, err
	}
	u := start()
	n, err := round(o.Duration)
	if err != nil {
		return Result{}, err
	}
	elapsed, r := u.since(n)
	r.Value = float64(n) / elapsed.Seconds()
	return r, nil
}

// exchanges opens streams one after the other until stop.
func exchanges(ctx context.Context, c peer.Conn, stop *atomic.Bool) (n int64, err error) {
	sent, got := make([]byte, smallSize), make([]byte, 2*smallSize)
	fill(sent, 0)
	for ; n == 0 || !stop.Load(); n++ {
		s, err := c.Open(ctx)
		if err != nil {
			return n, fmt.Errorf("open: %w", err)
		}
		if _, err := s.Write(sent); err != nil {
			return n, fmt.Errorf("write: %w", err)
		}
		if err := s.CloseWrite(); err != nil {
			return n, fmt.Errorf("end: %w", err)
		}
		m, err := readAll(s, got)
		if err != nil {
			return n, err
		}
		if m != smallSize {
			return n, fmt.Errorf("an answer has %d bytes", m)
		}
		_ = s.Close()
	}
	return n, nil
}
