package attack

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"time"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
)

var connectionAttacks = []Attack{
	{Name: "connections", What: "TCP connections opened and reset", Way: ledger.H2, Loops: 4, run: connections},
	{Name: "idle-connections", What: "TCP connections that never say anything", Way: ledger.H2, Loops: 4, run: idle},
	{Name: "client-hellos", What: "TLS handshakes begun with a recorded ClientHello, and dropped", Way: ledger.H2, Loops: 4, run: hellos},
	{Name: "handshakes", What: "whole TLS handshakes", Way: ledger.H2, Loops: 4, run: handshakes},
}

// reset ends a TCP connection so that nothing of it stays here, a port least of
// all.
func reset(c net.Conn) {
	if tc, ok := c.(*net.TCPConn); ok {
		tc.SetLinger(0)
	}
	c.Close()
}

// wait is the pause after a connection was refused: without one the attack would
// consist of system calls that the victim knows nothing of.
func wait(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Millisecond):
	}
}

func connections(ctx context.Context, t *Target) error {
	for ctx.Err() == nil {
		c, err := t.dial(ctx)
		if err != nil {
			return err
		}
		t.sent(1, 0)
		reset(c)
	}
	return ctx.Err()
}

// idle opens as many as are admitted, holds them, and opens another whenever the
// victim ends one.
func idle(ctx context.Context, t *Target) error {
	const most = 3000
	held := make(chan struct{}, most)
	for ctx.Err() == nil {
		select {
		case held <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		c, err := t.dial(ctx)
		if err != nil {
			<-held
			wait(ctx)
			continue
		}
		t.sent(1, 0)
		go func() { // ends with the connection, at the latest with the attack
			stop := context.AfterFunc(ctx, func() { c.Close() })
			io.Copy(io.Discard, c)
			stop()
			if ctx.Err() == nil {
				t.cut.Add(1)
			}
			reset(c)
			<-held
		}()
	}
	return ctx.Err()
}

// hello returns the bytes of a client's first flight.
func hello(conf *tls.Config) []byte {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	go tls.Client(near, conf).Handshake() // ends when the pipe is closed
	var b bytes.Buffer
	buf := make([]byte, 16<<10)
	n, _ := far.Read(buf)
	b.Write(buf[:n])
	return b.Bytes()
}

func hellos(ctx context.Context, t *Target) error {
	conf := t.tls.Clone()
	conf.NextProtos = []string{"h2"}
	first := hello(conf)
	buf := make([]byte, 16<<10)
	for ctx.Err() == nil {
		c, err := t.dial(ctx)
		if err != nil {
			return err
		}
		if _, err = c.Write(first); err == nil {
			t.sent(1, len(first))
			c.SetReadDeadline(time.Now().Add(2 * time.Second))
			_, err = c.Read(buf) // the victim has signed
		}
		if err != nil {
			t.cut.Add(1)
			wait(ctx)
		}
		reset(c)
	}
	return ctx.Err()
}

func handshakes(ctx context.Context, t *Target) error {
	for ctx.Err() == nil {
		tc, err := t.dialTLS(ctx, "h2")
		if err != nil {
			t.cut.Add(1)
			wait(ctx)
			continue
		}
		t.sent(1, 0)
		reset(tc.NetConn())
	}
	return ctx.Err()
}
