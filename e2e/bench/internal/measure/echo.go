package measure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/towpath-go/towpath/e2e/bench/internal/peer"
)

// latencies are times in nanoseconds. What is beyond its capacity is not kept, so
// that nothing is allocated while it is measured.
type latencies []uint32

const maxLatencies = 1 << 20

func (l *latencies) add(d time.Duration) {
	if len(*l) < cap(*l) {
		*l = append(*l, uint32(min(d, 1<<32-1)))
	}
}

// quantile sorts l.
func (l latencies) quantile(p float64) time.Duration {
	if len(l) == 0 {
		return 0
	}
	slices.Sort(l)
	return time.Duration(l[int(p*float64(len(l)-1)+.5)])
}

// echo has one stream carry 100 bytes there and back, again and again.
func echo(ctx context.Context, p *peer.Peer, o Options) (Result, error) {
	failed := make(chan error, 1)
	var ended sync.WaitGroup // until the server saw the end
	ended.Add(1)
	q, err := begin(ctx, p, peer.Handler{Stream: func(s peer.Stream) {
		defer ended.Done()
		if err := answerEchoes(s); err != nil {
			fail(failed, fmt.Errorf("server: %w", err))
		}
	}}, failed)
	if err != nil {
		return Result{}, err
	}
	r, err := measureEcho(ctx, q, o)
	if err == nil {
		err = wait(ctx, failed, &ended)
	}
	return r, q.end(ctx, err)
}

func answerEchoes(s peer.Stream) error {
	b := make([]byte, smallSize)
	for {
		if _, err := io.ReadFull(s, b); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if _, err := s.Write(b); err != nil {
			return err
		}
	}
}

func measureEcho(ctx context.Context, q *pair, o Options) (Result, error) {
	s, err := q.conn.Open(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("open: %w", err)
	}
	sent, got := make([]byte, smallSize), make([]byte, smallSize)
	fill(sent, 0)
	all := make(latencies, 0, maxLatencies)
	n := int64(0)
	echoes := func(d time.Duration) error {
		all, n = all[:0], 0
		at := time.Now()
		for end := at.Add(d); ; n++ {
			if _, err := s.Write(sent); err != nil {
				return fmt.Errorf("write: %w", err)
			}
			if _, err := io.ReadFull(s, got); err != nil {
				return fmt.Errorf("read: %w", err)
			}
			now := time.Now()
			all.add(now.Sub(at))
			if at = now; now.After(end) {
				n++
				return nil
			}
		}
	}
	if err := echoes(o.Warmup); err != nil {
		return Result{}, err
	}
	u := start()
	if err := echoes(o.Duration); err != nil {
		return Result{}, err
	}
	_, r := u.since(n)
	if string(got) != string(sent) {
		return Result{}, errors.New("what came back is not what was sent")
	}
	r.Value, r.P99 = float64(all.quantile(.5))/1e3, float64(all.quantile(.99))/1e3
	return r, q.p.EndWrite(s)
}

// dial dials again and again. The first byte's way there and back is in the time:
// libraries differ in what they have waited for when their dial returns.
func dial(ctx context.Context, p *peer.Peer, o Options) (Result, error) {
	// What goes wrong at the server shows at the client, whose end of a connection
	// that worked may come before the server's Write has returned.
	d, err := newDialer(p, func(s peer.Stream) { _ = holdStream(s) })
	if err != nil {
		return Result{}, err
	}
	r, err := d.measure(ctx, o)
	return r, errors.Join(err, d.server.Close())
}

// holdStream answers the first byte, and waits for the end.
func holdStream(s peer.Stream) error {
	if err := peer.Pong(s); err != nil {
		return err
	}
	// How the end of the connection shows differs.
	_, _ = s.Read(make([]byte, 1))
	return nil
}

func (d *dialer) measure(ctx context.Context, o Options) (Result, error) {
	all := make(latencies, 0, maxLatencies)
	n := int64(0)
	dials := func(t time.Duration) error {
		all, n = all[:0], 0
		for end := time.Now().Add(t); n == 0 || time.Now().Before(end); n++ {
			at := time.Now()
			c, _, err := d.dial(ctx)
			if err != nil {
				return err
			}
			all.add(time.Since(at))
			if err := c.Close(); err != nil {
				return fmt.Errorf("close: %w", err)
			}
		}
		return nil
	}
	if err := dials(o.Warmup); err != nil {
		return Result{}, err
	}
	u := start()
	if err := dials(o.Duration); err != nil {
		return Result{}, err
	}
	_, r := u.since(n)
	r.Value, r.P99 = float64(all.quantile(.5))/1e6, float64(all.quantile(.99))/1e6
	return r, nil
}

// A dialer dials one server.
type dialer struct {
	p      *peer.Peer
	c      *peer.Credentials
	server peer.Server // nil if it is elsewhere
	addr   string
}

func newDialer(p *peer.Peer, serve func(peer.Stream)) (*dialer, error) {
	c, err := peer.NewCredentials()
	if err != nil {
		return nil, err
	}
	server, err := p.Listen(peer.Config{TLS: c.Server(), Handler: peer.Handler{Stream: serve}})
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return &dialer{p: p, c: c, server: server, addr: server.Addr()}, nil
}

// dial returns a connection whose first stream has carried a byte there and back.
func (d *dialer) dial(ctx context.Context) (peer.Conn, peer.Stream, error) {
	conf, err := peer.ClientTLS(d.c.Certificate)
	if err != nil {
		return nil, nil, err
	}
	conn, err := d.p.Dial(ctx, d.addr, conf)
	if err != nil {
		return nil, nil, fmt.Errorf("dial: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	s, err := conn.Open(ctx)
	if err == nil {
		err = peer.Ping(s)
	}
	if !stop() {
		return nil, nil, context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		return nil, nil, fmt.Errorf("the first stream: %w", err)
	}
	return conn, s, nil
}
