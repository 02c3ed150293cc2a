package negotiate

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// countConns makes a dialer of the world count the TCP connections that are open.
func countConns(d *Dialer, open *atomic.Int32) {
	dial := d.hooks.dialTCP
	d.hooks.dialTCP = func(ctx context.Context, network, address string) (net.Conn, error) {
		nc, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		open.Add(1)
		return &countedConn{Conn: nc, open: open}, nil
	}
}

// A countedConn takes itself from the count when it is closed.
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
						countConns(d, &open)
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

// A connection that HTTP/2 left to the WebSocket waits while QUIC's request is
// young; nobody may come for it.
func TestWebSocketHandedToNobody(t *testing.T) {
	for name, c := range map[string]struct {
		answer time.Duration // of the server over HTTP/3
		cancel time.Duration
	}{
		"given up":         {time.Hour, 600 * msec},
		"QUIC is answered": {500 * msec, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			var w *world
			inWorld(t, worldOptions{udp: 70 * msec, handler: func(rw http.ResponseWriter, r *http.Request) {
				if r.ProtoMajor == 3 {
					select {
					case <-time.After(c.answer):
					case <-r.Context().Done():
						return
					}
				}
				w.accept(rw, r)
			}}, func(t *testing.T, world *world) {
				w = world
				w.stand(middlebox{alpn: []string{"http/1.1"}})
				d := w.dialer()
				var open atomic.Int32
				countConns(d, &open)
				ctx, cancel := context.WithTimeout(t.Context(), c.cancel)
				defer cancel()
				time.AfterFunc(550*msec, func() {
					if n := open.Load(); n != 1 {
						t.Errorf("%d TCP connections before the end, want the one that waits", n)
					}
				})
				s, r, err := d.Dial(ctx, w.url, nil)
				if (err == nil) != (c.cancel > c.answer) {
					t.Fatalf("%v\n%v", err, r)
				}
				if a := attemptOf(r, "ws tcp"); a.Started >= 0 || w.dialed.Load() != 1 {
					t.Errorf("%d TLS dials\n%v", w.dialed.Load(), r)
				}
				time.Sleep(time.Second)
				if n := open.Load(); n != 0 {
					t.Errorf("%d TCP connections are open after the end\n%v", n, r)
				}
				if s != nil {
					s.CloseWithError(0, "")
				}
			})
		})
	}
}
