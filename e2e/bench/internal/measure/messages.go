package measure

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/towpath-go/towpath/e2e/bench/internal/peer"
)

// messageFlight is how many messages are under way at a time.
const messageFlight = 64

// messages sends messages on streams of their own. One goroutine sends them, one
// receives them; whoever has been received makes room for another.
func messages(ctx context.Context, p *peer.Peer, o Options) (Result, error) {
	failed, room := make(chan error, 1), make(chan struct{}, messageFlight)
	b := make([]byte, 2*smallSize)
	q, err := begin(ctx, p, peer.Handler{Uni: func(r io.Reader) {
		n, err := readAll(r, b)
		if err == nil && n != smallSize {
			err = fmt.Errorf("a message has %d bytes", n)
		}
		if err != nil {
			fail(failed, fmt.Errorf("server: %w", err))
			return
		}
		<-room
	}}, failed)
	if err != nil {
		return Result{}, err
	}
	r, err := measureMessages(ctx, q, room, o)
	return r, q.end(ctx, err)
}

func measureMessages(ctx context.Context, q *pair, room chan struct{}, o Options) (Result, error) {
	p := make([]byte, smallSize)
	fill(p, 0)
	take := func() error {
		select {
		case room <- struct{}{}:
			return nil
		case err := <-q.failed:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	round := func(d time.Duration) (n int64, err error) {
		var stop atomic.Bool
		defer time.AfterFunc(d, func() { stop.Store(true) }).Stop()
		for ; n == 0 || !stop.Load(); n++ {
			if err := take(); err != nil {
				return n, err
			}
			s, err := q.conn.OpenUni(ctx)
			if err != nil {
				return n, fmt.Errorf("open: %w", err)
			}
			if _, err := s.Write(p); err != nil {
				return n, fmt.Errorf("write: %w", err)
			}
			if err := s.Close(); err != nil {
				return n, fmt.Errorf("end: %w", err)
			}
		}
		// All have been received when there is room for as many more.
		for range messageFlight {
			if err := take(); err != nil {
				return n, err
			}
		}
		for range messageFlight {
			<-room
		}
		return n, nil
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
	r.Value = float64(n) / 1e3 / elapsed.Seconds()
	return r, nil
}

// datagrams sends datagrams, as fast as the library takes them or some at a time.
type datagrams struct{ flight int64 }

// lostAfter is how long a datagram under way is waited for.
const lostAfter = 5 * time.Millisecond

// drained is how long nothing must arrive until nothing is taken to be under way.
const drained = 20 * time.Millisecond

func (d datagrams) run(ctx context.Context, p *peer.Peer, o Options) (Result, error) {
	failed, arrived := make(chan error, 1), make(chan struct{}, 1)
	var received atomic.Int64
	q, err := begin(ctx, p, peer.Handler{Datagram: func(b []byte) {
		if len(b) != smallSize {
			fail(failed, fmt.Errorf("server: a datagram has %d bytes", len(b)))
		}
		received.Add(1)
		if d.flight > 0 {
			select {
			case arrived <- struct{}{}:
			default:
			}
		}
	}}, failed)
	if err != nil {
		return Result{}, err
	}
	r, err := d.measure(ctx, q, &received, arrived, o)
	return r, q.end(ctx, err)
}

func (d datagrams) measure(ctx context.Context, q *pair, received *atomic.Int64, arrived <-chan struct{}, o Options) (Result, error) {
	p := make([]byte, smallSize)
	fill(p, 0)
	timer := time.NewTimer(lostAfter)
	defer timer.Stop()
	// round sends for a while and returns how many were sent.
	round := func(t time.Duration) (sent int64, err error) {
		var stop atomic.Bool
		defer time.AfterFunc(t, func() { stop.Store(true) }).Stop()
		from, lost := received.Load(), int64(0)
		for !stop.Load() {
			for d.flight > 0 && sent-lost-(received.Load()-from) >= d.flight {
				timer.Reset(lostAfter)
				select {
				case <-arrived:
				case <-timer.C:
					lost = sent - (received.Load() - from)
				}
			}
			if err := q.conn.SendDatagram(p); err != nil {
				return sent, fmt.Errorf("send: %w", err)
			}
			sent++
		}
		return sent, context.Cause(ctx)
	}
	drain := func() {
		for last := int64(-1); last != received.Load(); {
			last = received.Load()
			time.Sleep(drained)
		}
	}
	if _, err := round(o.Warmup); err != nil {
		return Result{}, err
	}
	drain()
	from, u := received.Load(), start()
	sent, err := round(o.Duration)
	if err != nil {
		return Result{}, err
	}
	v := look()
	drain() // of the queues of the libraries, which are short
	arrivals := received.Load() - from
	if arrivals == 0 || arrivals > sent {
		return Result{}, fmt.Errorf("%d datagrams were sent, and %d received", sent, arrivals)
	}
	elapsed, r := u.until(v, arrivals)
	r.Value, r.Lost = float64(arrivals)/1e3/elapsed.Seconds(), 1-float64(arrivals)/float64(sent)
	return r, nil
}
