package negotiate

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// h2Dial is how long a direct HTTP/2 dial takes in a world, measured there.
func (w *world) h2Dial(t *testing.T) time.Duration {
	t.Helper()
	d := w.dialer()
	d.Transports = []transport.Protocol{transport.HTTP2}
	start := time.Now()
	s, _ := wantDial(t, d, w.url, "direct h2", transport.HTTP2, -1)
	took := time.Since(start)
	s.CloseWithError(0, "")
	return took
}

func (w *world) h3Dial(t *testing.T) time.Duration {
	t.Helper()
	d := w.dialer()
	d.Transports = []transport.Protocol{transport.HTTP3}
	start := time.Now()
	s, _ := wantDial(t, d, w.url, "direct h3", transport.HTTP3, -1)
	took := time.Since(start)
	s.CloseWithError(0, "")
	return took
}

func TestDialUDPOpen(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		h3 := w.h3Dial(t)
		d := w.dialer()
		before := w.dialed.Load()
		s, r := wantDial(t, d, w.url, "UDP open", transport.HTTP3, h3)
		wantEchoOver(t, s)
		if n := w.dialed.Load() - before; n != 0 {
			t.Errorf("%d TCP connections beside HTTP/3", n)
		}
		if r.Memory != MemoryNone || r.HeadStart != 250*msec {
			t.Errorf("memory %v, head start %v", r.Memory, r.HeadStart)
		}
		s.CloseWithError(0, "")
		// The round trip is known now: 1.5 times 20 ms is below the least.
		s, r = wantDial(t, d, w.url, "again", transport.HTTP3, h3)
		if r.Memory != MemoryWorks || r.HeadStart != 100*msec {
			t.Errorf("memory %v, head start %v", r.Memory, r.HeadStart)
		}
		s.CloseWithError(0, "")
	})
}

func TestDialUDPSilent(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		h2, h3 := w.h2Dial(t), w.h3Dial(t)
		w.router.drop.Store(true)
		d := w.dialer()
		marked := make(chan time.Time, 1)
		probed := make(chan error, 1)
		d.Trace = &Trace{
			Marked: func(_ string, until time.Time) { marked <- until },
			Probed: func(_ string, err error) { probed <- err },
		}
		s, r := wantDial(t, d, w.url, "first dial: half the head start and the h2 dial", transport.HTTP2, 125*msec+h2)
		won := time.Now()
		if a := attemptOf(r, "h2 tcp"); a.Started != 125*msec || a.Outcome != Won {
			t.Errorf("TCP %v, started at %v", a.Outcome, a.Started)
		}
		wantEchoOver(t, s)
		s2, r := wantDial(t, d, w.url, "while QUIC is given its last 500 ms: TCP at 0", transport.HTTP2, h2)
		if r.Memory != MemoryPending {
			t.Errorf("memory %v", r.Memory)
		}
		until := <-marked
		if at := time.Since(won); at != 500*msec {
			t.Errorf("marked %v after TCP won, want 500ms", at)
		}
		s3, r := wantDial(t, d, w.url, "second dial, by memory: the h2 dial", transport.HTTP2, h2)
		if r.Memory != MemoryBroken || !r.MemoryUntil.Equal(until) {
			t.Errorf("memory %v until %v, want %v", r.Memory, r.MemoryUntil, until)
		}
		if a := attemptOf(r, "h3 udp4"); a.Outcome != NotStarted || a.Started >= 0 {
			t.Errorf("QUIC was tried although marked: %+v", a)
		}
		if left := time.Until(until); left < 48*time.Second-time.Second || left > 72*time.Second {
			t.Errorf("the first mark has %v left", left)
		}

		w.router.drop.Store(false)
		s4, _ := wantDial(t, d, w.url, "UDP is back but the mark stands", transport.HTTP2, h2)
		time.Sleep(time.Until(until))
		s5, r := wantDial(t, d, w.url, "the first dial after expiry does not wait", transport.HTTP2, h2)
		if r.Memory != MemoryExpired {
			t.Errorf("memory %v", r.Memory)
		}
		if err := <-probed; err != nil {
			t.Errorf("the probe: %v", err)
		}
		s6, r := wantDial(t, d, w.url, "after the probe", transport.HTTP3, h3)
		if r.Memory != MemoryWorks {
			t.Errorf("memory %v", r.Memory)
		}
		for _, s := range []transport.Session{s, s2, s3, s4, s5, s6} {
			s.CloseWithError(0, "")
		}
	})
}

func TestDialProbeFindsUDPStillBroken(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		w.router.drop.Store(true)
		d := w.dialer()
		d.init()
		d.memory.jitter = func() float64 { return 0.5 }
		marked := make(chan time.Time, 1)
		d.Trace = &Trace{Marked: func(_ string, until time.Time) { marked <- until }}
		s, _ := wantDial(t, d, w.url, "first", transport.HTTP2, -1)
		s.CloseWithError(0, "")
		time.Sleep(time.Until(<-marked))
		s, _ = wantDial(t, d, w.url, "expired", transport.HTTP2, -1)
		s.CloseWithError(0, "")
		if left := time.Until(<-marked); left != 2*time.Minute {
			t.Errorf("the second mark lasts %v, want 2m", left)
		}
	})
}

func TestDialUDPRefused(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		h2 := w.h2Dial(t)
		w.refuse(false, true)
		d := w.dialer()
		marked := make(chan time.Time, 1)
		d.Trace = &Trace{Marked: func(_ string, until time.Time) { marked <- until }}
		s, r := wantDial(t, d, w.url, "refused: the h2 dial", transport.HTTP2, h2)
		if a := attemptOf(r, "h3 udp4"); a.Outcome != Failed || !isRefusal(a.Err) || a.Heard {
			t.Errorf("QUIC: %+v", a)
		}
		<-marked
		s.CloseWithError(0, "")
		if err := d.Forget(w.url); err != nil {
			t.Fatal(err)
		}
		w.refuse(false, false)
		s, _ = wantDial(t, d, w.url, "forgotten, UDP open", transport.HTTP3, -1)
		s.CloseWithError(0, "")
	})
}

func TestDialNetworkChange(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		w.refuse(false, true)
		d := w.dialer()
		marked := make(chan time.Time, 1)
		d.Trace = &Trace{Marked: func(_ string, until time.Time) { marked <- until }}
		s, _ := wantDial(t, d, w.url, "refused", transport.HTTP2, -1)
		s.CloseWithError(0, "")
		<-marked
		w.refuse(false, false)
		d.hooks.fingerprint = func(netip.AddrPort) string { return "cafe" }
		s, r := wantDial(t, d, w.url, "on another network", transport.HTTP3, -1)
		if r.Memory != MemoryNone || r.Network != "cafe" {
			t.Errorf("memory %v on %q", r.Memory, r.Network)
		}
		s.CloseWithError(0, "")
	})
}

func TestDialFamilies(t *testing.T) {
	t.Run("v6 dead, v4 fine: h3 after 50 ms, no TCP", func(t *testing.T) {
		inWorld(t, worldOptions{v6: true}, func(t *testing.T, w *world) {
			h3 := w.h3Dial(t) // over v6
			w.router.dropV6.Store(true)
			d := w.dialer()
			d.Trace = &Trace{Marked: func(string, time.Time) { t.Error("one dead family marked h3") }}
			before := w.dialed.Load()
			s, r := wantDial(t, d, w.url, "v6 silent", transport.HTTP3, 50*msec+h3)
			if a := attemptOf(r, "h3 udp6"); a.Outcome != Lost {
				t.Errorf("udp6: %+v", a)
			}
			if w.dialed.Load() != before {
				t.Error("TCP was dialed")
			}
			s.CloseWithError(0, "")
			time.Sleep(time.Second)
		})
	})
	t.Run("v6 refused, v4 at once", func(t *testing.T) {
		inWorld(t, worldOptions{v6: true}, func(t *testing.T, w *world) {
			h3 := w.h3Dial(t)
			w.refuse(true, true)
			s, _ := wantDial(t, w.dialer(), w.url, "v6 refused", transport.HTTP3, h3)
			s.CloseWithError(0, "")
		})
	})
	t.Run("v6 refused, v4 silent: half the head start", func(t *testing.T) {
		inWorld(t, worldOptions{v6: true}, func(t *testing.T, w *world) {
			h2 := w.h2Dial(t)
			w.refuse(true, true)
			w.router.drop.Store(true)
			s, _ := wantDial(t, w.dialer(), w.url, "both dead", transport.HTTP2, 125*msec+h2)
			s.CloseWithError(0, "")
		})
	})
}

func TestDialSlowQUIC(t *testing.T) {
	// 300 ms one way: TCP at 10 ms wins, QUIC completes a little later.
	inWorld(t, worldOptions{udp: 150 * msec}, func(t *testing.T, w *world) {
		h2 := w.h2Dial(t)
		d := w.dialer()
		cleared := make(chan string, 1)
		d.Trace = &Trace{
			Cleared: func(hostport string) { cleared <- hostport },
			Marked:  func(string, time.Time) { t.Error("slow is not broken") },
		}
		s, _ := wantDial(t, d, w.url, "slow", transport.HTTP2, 125*msec+h2)
		s.CloseWithError(0, "")
		if got := <-cleared; got != "example.com:443" {
			t.Errorf("cleared %q", got)
		}
	})
}

func TestDialFailures(t *testing.T) {
	t.Run("both dead: both errors are kept", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			w.refuse(false, true)
			w.killTCP(errRefusedTCP)
			d := w.dialer()
			d.Trace = &Trace{Marked: func(string, time.Time) { t.Error("a dead network marked UDP") }}
			_, r, err := d.Dial(t.Context(), w.url, nil)
			var de *DialError
			if !errors.As(err, &de) || len(de.Errs) != 2 || !errors.Is(err, errRefusedTCP) || !isRefusal(err) {
				t.Fatalf("got %v", err)
			}
			if r.Winner != transport.ProtocolUnknown || len(r.Attempts) != 3 || r.Attempts[2].Started >= 0 {
				t.Errorf("report: %v", r)
			}
			time.Sleep(time.Second)
		})
	})
	t.Run("the dialer's own limit", func(t *testing.T) {
		inWorld(t, worldOptions{handler: func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}, func(t *testing.T, w *world) {
			start := time.Now()
			_, _, err := w.dialer().Dial(t.Context(), w.url, nil)
			if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != 10*time.Second {
				t.Errorf("got %v after %v, want the limit of 10s", err, took)
			}
			if n := w.requests.Load(); n != 2 {
				t.Errorf("asked %d times, want two that wait", n)
			}
		})
	})
	t.Run("the caller's context", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(errOwn)
			_, _, err := w.dialer().Dial(ctx, w.url, nil)
			if !errors.Is(err, errOwn) && !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("options that no way accepts are refused before any is tried", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			for name, o := range map[string]*transport.DialOptions{
				"header":           {Header: http.Header{"Origin": {"https://x"}}},
				"origin":           {Origin: "a\nb"},
				"protocols":        {Protocols: []string{"a", "a"}},
				"require protocol": {RequireProtocol: true},
			} {
				_, r, err := w.dialer().Dial(t.Context(), w.url, o)
				if err == nil || len(r.Attempts) != 0 || w.dialed.Load() != 0 {
					t.Errorf("%s: %v, %v", name, err, r)
				}
			}
		})
	})
	t.Run("the proxy function fails", func(t *testing.T) {
		d := &Dialer{Proxy: func(*http.Request) (*url.URL, error) { return nil, errOwn }}
		defer d.Close()
		_, _, err := d.Dial(t.Context(), "https://example.com/", nil)
		if pe, ok := errors.AsType[*ProxyError](err); !ok || !errors.Is(err, errOwn) || pe.Error() != "proxy: own" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a name server that takes its time", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			d := w.dialer()
			quick, slow := d.hooks.resolve, 3*time.Second
			d.hooks.resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
				select {
				case <-time.After(slow):
					return quick(ctx, host)
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
			s, r := wantDial(t, d, w.url, "its time is added", transport.HTTP3, slow+40*msec)
			if r.Resolve != slow {
				t.Errorf("the report says %v", r.Resolve)
			}
			s.CloseWithError(0, "")
			slow = time.Minute
			start := time.Now()
			_, r, err := d.Dial(t.Context(), w.url, nil)
			if took := time.Since(start); took != 10*time.Second || !errors.Is(err, context.DeadlineExceeded) || r.Resolve != took {
				t.Errorf("got %v after %v\n%v", err, took, r)
			}
			if _, ok := err.(*DialError); !ok {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("unknown name", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			_, _, err := w.dialer().Dial(t.Context(), "https://example.net/", nil)
			var de *DialError
			if !errors.As(err, &de) || err.Error() != "towpath: no way to example.net:443 is open: lookup example.net: no such host" {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("closed dialer", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			d := w.dialer()
			d.Close()
			if _, _, err := d.Dial(t.Context(), w.url, nil); !errors.Is(err, errDialerClosed) {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("closed dialer with a pool", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			d := w.dialer()
			d.Pool = true
			s, _ := wantDial(t, d, w.url, "open", transport.HTTP3, -1)
			d.Close()
			if again, _, err := d.Dial(t.Context(), w.url, nil); !errors.Is(err, errDialerClosed) {
				t.Errorf("got %v", err)
				again.CloseWithError(0, "")
			}
			wantEchoOver(t, s)
			s.CloseWithError(0, "")
		})
	})
	t.Run("closing the dialer ends its dials, sessions live on", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			d := w.dialer()
			s, _ := wantDial(t, d, w.url, "open", transport.HTTP3, -1)
			w.router.drop.Store(true)
			w.killTCP(errDead)
			failed := make(chan error, 1)
			go func() {
				_, _, err := d.Dial(context.Background(), w.url, nil)
				failed <- err
			}()
			time.Sleep(10 * msec)
			d.Close()
			if err := <-failed; !errors.Is(err, errDialerClosed) {
				t.Errorf("the dial ended with %v", err)
			}
			w.router.drop.Store(false)
			wantEchoOver(t, s)
			s.CloseWithError(0, "")
		})
	})
}
