package adapter

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"
)

// testSecondClient shows that a server has one client, which another one does
// not disturb.
func testSecondClient(t *testing.T, p *pair) {
	p.connect(1)
	d := p.open(1)[0]
	ctx, cancel := context.WithTimeout(p.ctx, 5*time.Second) // some servers do not answer another
	defer cancel()
	if second, err := p.host.Dial(ctx); err == nil {
		if err := second.Close(); err != nil {
			t.Logf("Close of the second client: %v", err)
		}
	}
	p.parallel(
		func() error { return d.client.Send([]byte("still here")) },
		func() error { return receive(p.ctx, d.server, []byte("still here")) },
	)
}

func testEnd(t *testing.T, p *pair) {
	p.connect(2)
	for i, d := range p.open(2) {
		from, to := d.client, d.server
		if i == 1 {
			from, to = to, from
		}
		for n := range 3 {
			if err := from.Send(numbered(n, 100)); err != nil {
				t.Fatal(err)
			}
			if !p.a.Reliable {
				p.want(to, numbered(n, 100))
			}
		}
		if err := from.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		for range 3 {
			if !p.a.Reliable {
				break
			}
			message, err := to.Receive(p.ctx)
			if err == nil {
				_, err = number(message)
			}
			if err != nil {
				t.Fatalf("Receive of what was sent before Close: %v", err)
			}
		}
		for range 2 {
			if _, err := to.Receive(p.ctx); err != io.EOF {
				t.Errorf("Receive after the peer's Close: %v, want EOF", err)
			}
		}
		if err := to.Close(); err != nil {
			t.Errorf("Close after the peer's: %v", err)
		}
	}
}

// testContext shows that a context bounds its call alone.
func testContext(t *testing.T, p *pair) {
	p.connect(1)
	d := p.open(1)[0]
	for _, end := range []struct {
		name     string
		from, to Channel
	}{{"server", d.client, d.server}, {"client", d.server, d.client}} {
		for n := range 3 {
			ctx, cancel := context.WithCancel(p.ctx)
			failed := make(chan error, 1)
			go func() {
				_, err := end.to.Receive(ctx)
				failed <- err
			}()
			cancel()
			if err := <-failed; !errors.Is(err, context.Canceled) {
				t.Fatalf("%s's Receive with a context that ended: %v", end.name, err)
			}
			p.parallel(
				func() error { return end.from.Send(numbered(n, 1000)) },
				func() error { return receive(p.ctx, end.to, numbered(n, 1000)) },
			)
		}
	}
}

// testCloseWaiting shows that closing an end ends what waits there.
func testCloseWaiting(t *testing.T, p *pair) {
	p.connect(1)
	d := p.open(1)[0]
	for _, end := range []struct {
		conn    Conn
		channel Channel
	}{{p.client, d.client}, {p.server, d.server}} {
		failed := make(chan error, 1)
		go func() {
			_, err := end.channel.Receive(p.ctx)
			failed <- err
		}()
		if err := end.conn.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-failed; err == nil || p.ctx.Err() != nil {
			t.Errorf("Receive while its end closes: %v", err)
		}
		if err := end.channel.Send([]byte("late")); err == nil {
			t.Errorf("Send after its end was closed succeeded")
		}
	}
}
