package negotiate

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// countedConn counts the connections that are open.
type countedConn struct {
	net.Conn
	open *atomic.Int32
	once atomic.Bool
}

func (c *countedConn) Close() error {
	if !c.once.Swap(true) {
		c.open.Add(-1)
	}
	return c.Conn.Close()
}

// A dial on the third rung that is given up, at whatever point, leaves no
// connection behind; goroutines the bubble looks after.
func TestWebSocketDialGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		box  middlebox
		took time.Duration
	}{
		"on the connection of HTTP/2": {middlebox{alpn: []string{"http/1.1"}}, wsThrough},
		"on a connection of its own":  {middlebox{alpn: []string{"h2", "http/1.1"}, onConnect: resetFrame(0x7)}, settingsThrough + 2*oneWay + wsThrough},
		"over HTTP/2":                 {middlebox{alpn: []string{"h2"}, alert: true, settings: []uint16{1, 2, 3, 4, 5, 6, 8}}, 0},
	} {
		for how, end := range map[string]func(cancel context.CancelFunc, d *Dialer){
			"by its context":      func(cancel context.CancelFunc, _ *Dialer) { cancel() },
			"by the Dialer's end": func(_ context.CancelFunc, d *Dialer) { d.Close() },
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
					w.refuse(false, true)
					w.stand(c.box)
					var open atomic.Int32
					dialer := func() *Dialer {
						d := w.dialer()
						dial := d.hooks.dialTCP
						d.hooks.dialTCP = func(ctx context.Context, network, address string) (net.Conn, error) {
							nc, err := dial(ctx, network, address)
							if err != nil {
								return nil, err
							}
							open.Add(1)
							return &countedConn{Conn: nc, open: &open}, nil
						}
						return d
					}
					took := c.took
					if took == 0 {
						d := dialer()
						start := time.Now()
						s, _, err := d.Dial(t.Context(), w.url, nil)
						if err != nil {
							t.Fatal(err)
						}
						took = time.Since(start)
						s.CloseWithError(0, "")
						time.Sleep(5 * time.Second)
					}
					if n := open.Load(); n != 0 {
						t.Fatalf("%d connections are open before", n)
					}
					for at := oneWay / 2; at < took; at += oneWay {
						d := dialer()
						ctx, cancel := context.WithCancel(t.Context())
						time.AfterFunc(at, func() { end(cancel, d) })
						start := time.Now()
						s, r, err := d.Dial(ctx, w.url, nil)
						if err == nil {
							t.Fatalf("given up after %v: a session\n%v", at, r)
						}
						if s != nil || time.Since(start) != at || !errors.Is(err, context.Canceled) && !errors.Is(err, net.ErrClosed) {
							t.Errorf("given up after %v: %v after %v", at, err, time.Since(start))
						}
						cancel()
						time.Sleep(time.Second)
						if n := open.Load(); n != 0 {
							t.Errorf("given up after %v: %d connections are open\n%v", at, n, r)
						}
						d.Close()
					}
				})
			})
		}
	}
}
