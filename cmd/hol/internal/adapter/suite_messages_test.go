package adapter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// testSizes sends messages of all sizes over 8 channels at once; the server
// sends each of them back.
func testSizes(t *testing.T, p *pair) {
	const channels = 8
	p.connect(channels)
	sizes := []int{1, 2, 63, 64, 125, 126, 127, 128, 200, 1000, MaxDatagram - 1, MaxDatagram}
	if p.limit() > MaxDatagram {
		sizes = append(sizes, MaxDatagram+1, 1500, 4096, 16<<10-1, 16<<10, 16<<10+1, p.limit()-1, p.limit())
	}
	var functions []func() error
	for i, d := range p.open(channels) {
		functions = append(functions, func() error {
			for range sizes {
				message, err := d.server.Receive(p.ctx)
				if err == nil {
					err = d.server.Send(message)
				}
				if err != nil {
					return fmt.Errorf("server, channel %d: %w", i, err)
				}
			}
			return nil
		}, func() error {
			for n, size := range sizes {
				message := pattern(size, uint64(i*len(sizes)+n))
				if err := d.client.Send(message); err != nil {
					return fmt.Errorf("client, channel %d: %w", i, err)
				}
				if err := receive(p.ctx, d.client, message); err != nil {
					return fmt.Errorf("client, channel %d: %w", i, err)
				}
			}
			return nil
		})
	}
	p.parallel(functions...)
}

// testMany sends many messages both ways over 4 channels: without a pause where
// every one has to arrive, otherwise few at a time, of which most have to.
func testMany(t *testing.T, p *pair) {
	const channels = 4
	p.connect(channels)
	var functions []func() error
	for _, d := range p.open(channels) {
		if p.a.Reliable {
			functions = append(functions,
				func() error { return stream(p, d.client, d.server) },
				func() error { return stream(p, d.server, d.client) })
		} else {
			functions = append(functions, func() error { return volleys(p, d) })
		}
	}
	p.parallel(functions...)
}

// stream sends messages one way at once, and all have to arrive.
func stream(p *pair, from, to Channel) error {
	const messages = 300
	var sent error
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := range messages {
			if sent = from.Send(numbered(n, 4+n%600)); sent != nil {
				return
			}
		}
	})
	seen := make([]bool, messages)
	received := func() error {
		for i := range messages {
			message, err := to.Receive(p.ctx)
			if err != nil {
				return fmt.Errorf("message %d: %w", i, err)
			}
			n, err := number(message)
			switch {
			case err != nil:
				return err
			case n >= messages || seen[n]:
				return fmt.Errorf("message %d came twice, or was never sent", n)
			case p.a.Ordered && n != i:
				return fmt.Errorf("message %d came as number %d", n, i)
			}
			seen[n] = true
		}
		return nil
	}()
	wg.Wait()
	return errors.Join(sent, received)
}

// volleys sends a few messages at a time from the client, which the server sends
// back, and wants nine in ten of them.
func volleys(p *pair, d duplex) error {
	const rounds, volley = 50, 4
	ctx, cancel := context.WithCancel(p.ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			message, err := d.server.Receive(ctx)
			if err != nil || d.server.Send(message) != nil {
				return
			}
		}
	})
	defer wg.Wait()
	defer cancel()
	arrived, last := 0, -1
	seen := make([]bool, rounds*volley)
	for round := range rounds {
		for i := range volley {
			if err := d.client.Send(numbered(round*volley+i, 200)); err != nil {
				return err
			}
		}
		for range volley {
			ctx, cancel := context.WithTimeout(p.ctx, 2*time.Second) // one was lost
			message, err := d.client.Receive(ctx)
			cancel()
			if errors.Is(err, context.DeadlineExceeded) && p.ctx.Err() == nil {
				break
			}
			if err != nil {
				return err
			}
			n, err := number(message)
			switch {
			case err != nil:
				return err
			case n >= len(seen) || seen[n]:
				return fmt.Errorf("message %d came twice, or was never sent", n)
			case p.a.Ordered && n <= last:
				return fmt.Errorf("message %d came after %d", n, last)
			}
			seen[n] = true
			last = n
			arrived++
		}
	}
	if arrived < rounds*volley*9/10 {
		return fmt.Errorf("%d of %d messages came back over a link without loss", arrived, rounds*volley)
	}
	return nil
}

func testTooLarge(t *testing.T, p *pair) {
	p.connect(1)
	d := p.open(1)[0]
	if err := d.client.Send(make([]byte, p.limit()+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("client's Send of %d bytes: %v, want ErrTooLarge", p.limit()+1, err)
	}
	if err := d.server.Send(make([]byte, p.limit()+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("server's Send of %d bytes: %v, want ErrTooLarge", p.limit()+1, err)
	}
	// Nothing of it was sent, and the channel goes on.
	p.parallel(
		func() error { return d.client.Send([]byte("up")) },
		func() error { return receive(p.ctx, d.server, []byte("up")) },
		func() error { return d.server.Send([]byte("down")) },
		func() error { return receive(p.ctx, d.client, []byte("down")) },
	)
}

func testServerOpens(t *testing.T, p *pair) {
	p.connect(2)
	if !p.a.ServerOpens {
		if _, err := p.server.OpenChannel(p.ctx); !errors.Is(err, ErrUnsupported) || err.Error() == ErrUnsupported.Error() {
			t.Fatalf("OpenChannel: %v, want ErrUnsupported with a reason", err)
		}
		return
	}
	// Beside one of the client's, with which it must not be confused.
	other := p.open(1)[0]
	s, err := p.server.OpenChannel(p.ctx)
	if err != nil {
		t.Fatalf("OpenChannel: %v", err)
	}
	p.parallel(
		func() error { return s.Send([]byte("hello")) },
		func() error {
			c, err := p.client.AcceptChannel(p.ctx)
			if err != nil {
				return fmt.Errorf("AcceptChannel: %w", err)
			}
			if err := receive(p.ctx, c, []byte("hello")); err != nil {
				return err
			}
			return c.Send([]byte("answer"))
		},
		func() error { return receive(p.ctx, s, []byte("answer")) },
		func() error { return other.server.Send([]byte("other")) },
		func() error { return receive(p.ctx, other.client, []byte("other")) },
	)
}

// testManyChannels has more channels than there are streams by default.
func testManyChannels(t *testing.T, p *pair) {
	const channels = 120
	p.connect(channels)
	for i, d := range p.open(channels) {
		p.parallel(
			func() error { return d.server.Send(numbered(i, 50)) },
			func() error { return receive(p.ctx, d.client, numbered(i, 50)) },
		)
	}
}
