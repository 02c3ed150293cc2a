package negotiate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/testutils/simnet"

	"github.com/towpath-go/towpath/transport"
)

func TestDialAfterHandshake(t *testing.T) {
	t.Run("no progress after CONNECT: next rung, mark", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			h2 := w.h2Dial(t)
			d := w.dialer()
			marked := make(chan time.Time, 1)
			d.Trace = &Trace{
				Attempt: func(a Attempt) {
					if a.Protocol == transport.HTTP3 && a.Outcome == Ready {
						w.router.drop.Store(true) // the handshake passes, nothing else
					}
				},
				Marked: func(_ string, until time.Time) { marked <- until },
			}
			// 20 ms until the connection is ready, 1 s of patience, the h2 dial.
			s, r := wantDial(t, d, w.url, "dead after the handshake", transport.HTTP2, 20*msec+time.Second+h2)
			if a := attemptOf(r, "h3 udp4"); a.Outcome != Lost || a.Requested != 20*msec {
				t.Errorf("h3: %+v", a)
			}
			start := time.Now() // closing takes a round trip
			s.CloseWithError(0, "")
			<-marked
			if after := time.Since(start); after != 3*time.Second-(time.Second+h2) {
				t.Errorf("marked after %v, want 3s after the request", after)
			}
			s, _ = wantDial(t, d, w.url, "by memory", transport.HTTP2, h2)
			s.CloseWithError(0, "")
		})
	})
	t.Run("a dial while that is watched starts TCP at once, and its own QUIC decides", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			h2 := w.h2Dial(t)
			d := w.dialer()
			marks := make(chan time.Time, 8)
			d.Trace = &Trace{
				Attempt: func(a Attempt) {
					if a.Protocol == transport.HTTP3 && a.Outcome == Ready {
						w.router.drop.Store(true)
					}
				},
				Marked: func(_ string, until time.Time) { marks <- until },
			}
			s, _ := wantDial(t, d, w.url, "dead after the handshake", transport.HTTP2, 20*msec+time.Second+h2)
			s.CloseWithError(0, "")
			start := time.Now()
			s, r := wantDial(t, d, w.url, "while QUIC is watched", transport.HTTP2, h2)
			if r.Memory != MemoryPending {
				t.Errorf("memory %v", r.Memory)
			}
			s.CloseWithError(0, "")
			first := <-marks
			if after := time.Since(start); after != h2+lingerTime {
				t.Errorf("marked after %v, want the lingering of the second dial, %v", after, h2+lingerTime)
			}
			// The first dial's finding comes later and must not double the mark.
			if second := <-marks; !second.Equal(first) {
				t.Errorf("marked until %v, then until %v", first, second)
			}
		})
	})
	t.Run("QUIC alone: the dial fails after the probation", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			d := w.dialer()
			d.Transports = []transport.Protocol{transport.HTTP3}
			d.Trace = &Trace{Attempt: func(a Attempt) {
				if a.Outcome == Ready {
					w.router.drop.Store(true)
				}
			}}
			start := time.Now()
			_, r, err := d.Dial(t.Context(), w.url, nil)
			if took := time.Since(start); !errors.Is(err, errNoProgress) || took != 20*msec+3*time.Second {
				t.Errorf("got %v after %v\n%v", err, took, r)
			}
		})
	})
	// Small packets are acknowledgements and PING; the request and what repeats
	// it are larger.
	for _, c := range []struct {
		name   string
		oneWay time.Duration
		pass   func(simnet.Packet) bool
		took   time.Duration // after the request
	}{
		{"nothing comes back", oneWay, func(p simnet.Packet) bool { return p.To.(*net.UDPAddr).Port == 443 }, 3 * time.Second},
		{"only small packets pass", oneWay, func(p simnet.Packet) bool { return len(p.Data) < 60 }, 3 * time.Second},
		{"nothing passes, far away", 600 * msec, func(simnet.Packet) bool { return false }, 3 * time.Second},
	} {
		t.Run("QUIC alone: "+c.name, func(t *testing.T) {
			inWorld(t, worldOptions{udp: c.oneWay}, func(t *testing.T, w *world) {
				d := w.dialer()
				d.Transports = []transport.Protocol{transport.HTTP3}
				d.Trace = &Trace{Attempt: func(a Attempt) {
					if a.Outcome == Ready {
						w.router.through(func(p simnet.Packet) (simnet.Packet, bool) { return p, c.pass(p) })
					}
				}}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, r, err := d.Dial(ctx, w.url, nil)
				if a := attemptOf(r, "h3 udp4"); !errors.Is(err, errNoProgress) || a.Ended-a.Requested != c.took {
					t.Errorf("got %v, %v after the request, want %v", err, a.Ended-a.Requested, c.took)
				}
			})
		})
	}
	for _, c := range []struct {
		name string
		back time.Duration // when what was sent passes again, after the handshake
		want error
	}{
		{"handles what came", 7 * time.Second, nil},
		{"finds that nothing came", time.Hour, errNoProgress},
	} {
		t.Run("QUIC alone: a process that was too busy for 6 s "+c.name, func(t *testing.T) {
			inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
				d := w.dialer()
				d.Transports = []transport.Protocol{transport.HTTP3}
				d.hooks.turnTime = busyUntil(time.Now().Add(6 * time.Second))
				d.Trace = &Trace{Attempt: func(a Attempt) {
					if a.Outcome == Ready {
						w.router.drop.Store(true)
						time.AfterFunc(c.back, func() { w.router.drop.Store(false) })
					}
				}}
				start := time.Now()
				s, r, err := d.Dial(t.Context(), w.url, nil)
				if took := time.Since(start); !errors.Is(err, c.want) || took < 6*time.Second || took > 20*time.Second {
					t.Errorf("got %v after %v\n%v", err, took, r)
				}
				if err == nil {
					s.CloseWithError(0, "")
				}
			})
		})
	}
	for _, first := range []time.Duration{5, 11, 50, 100, 150} {
		t.Run(fmt.Sprintf("a handler that takes its time, and a round trip that took %v more at first", first*msec), func(t *testing.T) {
			var w *world
			inWorld(t, worldOptions{handler: func(rw http.ResponseWriter, r *http.Request) {
				time.Sleep(9 * time.Second)
				w.accept(rw, r)
			}}, func(t *testing.T, world *world) {
				w = world
				d := w.dialer()
				d.QUICConfig = &quic.Config{DisablePathMTUDiscovery: true} // its probes show life
				d.Transports = []transport.Protocol{transport.HTTP3}
				d.Trace = &Trace{Marked: func(string, time.Time) { t.Error("marked") }}
				// Only the Initial, which makes the first sample, is slow.
				var sent atomic.Int32
				w.router.through(func(p simnet.Packet) (simnet.Packet, bool) {
					if p.To.(*net.UDPAddr).Port == 443 && sent.Add(1) == 1 {
						time.Sleep(first * msec)
					}
					return p, true
				})
				s, _, err := d.Dial(t.Context(), w.url, nil)
				if err != nil {
					t.Error(err)
					return
				}
				time.Sleep(8 * time.Second) // probation ends
				wantEchoOver(t, s)
				s.CloseWithError(0, "")
			})
		})
	}
	t.Run("a handler that takes its time is no dead path", func(t *testing.T) {
		var w *world
		inWorld(t, worldOptions{handler: func(rw http.ResponseWriter, r *http.Request) {
			time.Sleep(5 * time.Second)
			w.accept(rw, r)
		}}, func(t *testing.T, world *world) {
			w = world
			d := w.dialer()
			d.Transports = []transport.Protocol{transport.HTTP3}
			s, _ := wantDial(t, d, w.url, "slow handler", transport.HTTP3, -1)
			s.CloseWithError(0, "")
		})
	})
}

func TestDialPathBroken(t *testing.T) {
	for _, c := range []struct {
		name string
		kill func(*dropRouter)
	}{
		{"both directions", func(r *dropRouter) { r.drop.Store(true) }},
		{"towards the server only", func(r *dropRouter) { r.toServer.Store(true) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
				h2 := w.h2Dial(t)
				d := w.dialer()
				s, _ := wantDial(t, d, w.url, "open at first", transport.HTTP3, -1)
				wantEchoOver(t, s)
				c.kill(w.router)
				start := time.Now()
				st, err := s.OpenStream(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				st.Write([]byte("into the void"))
				<-s.Context().Done()
				if took := time.Since(start); took < 3*time.Second || took > 4*time.Second {
					t.Errorf("ended after %v, want 3s to 4s", took)
				}
				if err := context.Cause(s.Context()); !errors.Is(err, ErrPathBroken) {
					t.Errorf("cause %v", err)
				}
				s, r := wantDial(t, d, w.url, "dialed again", transport.HTTP2, h2)
				if r.Memory != MemoryBroken {
					t.Errorf("memory %v", r.Memory)
				}
				s.CloseWithError(0, "")
			})
		})
	}
	t.Run("an idle session is not broken", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			s, _ := wantDial(t, w.dialer(), w.url, "idle", transport.HTTP3, -1)
			time.Sleep(14 * time.Second)
			wantEchoOver(t, s)
			s.CloseWithError(0, "")
		})
	})
	t.Run("a path that dies later is not on probation", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			d := w.dialer()
			d.Trace = &Trace{Marked: func(string, time.Time) { t.Error("marked") }}
			s, _ := wantDial(t, d, w.url, "open", transport.HTTP3, -1)
			time.Sleep(7 * time.Second)
			wantEchoOver(t, s)
			w.router.drop.Store(true)
			st, _ := s.OpenStream(t.Context())
			st.Write([]byte("into the void"))
			<-s.Context().Done()
			if err := context.Cause(s.Context()); errors.Is(err, ErrPathBroken) {
				t.Errorf("cause %v", err)
			}
		})
	})
	t.Run("a session that only receives is not broken", func(t *testing.T) {
		inWorld(t, worldOptions{handler: func(rw http.ResponseWriter, r *http.Request) {
			s, err := Upgrade(rw, r, nil)
			if err != nil {
				return
			}
			go func() {
				for s.Context().Err() == nil {
					s.SendDatagram([]byte("tick"))
					time.Sleep(200 * msec)
				}
			}()
		}}, func(t *testing.T, w *world) {
			s, _ := wantDial(t, w.dialer(), w.url, "ticking", transport.HTTP3, -1)
			for range 50 {
				if _, err := s.ReceiveDatagram(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			s.CloseWithError(0, "")
		})
	})
}
