package session

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

func TestIncomingByteRate(t *testing.T) {
	const window = 64 << 10
	rate := func(perSecond, burst int64) func(*Params) {
		return withConfig(transport.Config{
			InitialStreamWindow: 8 * window, MaxStreamWindow: 8 * window,
			InitialSessionWindow: window, MaxSessionWindow: window,
			IncomingByteRate: transport.Rate{PerSecond: perSecond, Burst: burst},
		})
	}
	// greedy has the peer use all credit it is given while the application reads,
	// and returns how many bytes that was.
	greedy := func(t *tester, st transport.ReceiveStream, d time.Duration, check func(sent uint64, elapsed time.Duration)) uint64 {
		sent, session, stream := uint64(0), uint64(window), uint64(8*window)
		for start := time.Now(); time.Since(start) <= d; time.Sleep(time.Millisecond) {
			for {
				for c := t.hear(); c != nil; c = t.hear() {
					switch c := c.(type) {
					case capsule.MaxData:
						session = c.MaximumData
					case capsule.MaxStreamData:
						stream = c.MaximumStreamData
					}
				}
				n := min(session, stream) - sent
				if n == 0 {
					break
				}
				t.writeCapsule(wtStream{id: 2, data: strings.Repeat("x", int(n))})
				t.wantReadAllOf(st, int(n))
				sent += n
			}
			check(sent, time.Since(start))
		}
		return sent
	}
	for _, c := range []struct {
		name             string
		perSecond, burst int64
	}{
		{"a burst of several windows", 100_000, 5 * window},
		{"a burst shorter than a step", 1_000_000, 1},
		{"the default burst", 50_000, 0},
		{"a slow rate", 10, 100},
	} {
		t.Run("DS-19 the credit is the burst and the rate: "+c.name, func(t *testing.T) {
			bubble(t, func(t *tester) {
				t.writeCapsule(wtStream{id: 2})
				st := t.acceptUni()
				burst := c.burst
				if burst == 0 {
					burst = c.perSecond
				}
				most := func(elapsed time.Duration) uint64 {
					return uint64(window+burst) + uint64(c.perSecond)*uint64(elapsed)/uint64(time.Second)
				}
				const long = 20 * time.Second
				sent := greedy(t, st, long, func(sent uint64, elapsed time.Duration) {
					if sent > most(elapsed) {
						t.Fatalf("%d bytes after %v, want at most %d", sent, elapsed, most(elapsed))
					}
				})
				// A quarter of the window is not announced until it is due.
				if step := max(uint64(c.perSecond)/20, 1); sent+step+window/4 < most(long) {
					t.Fatalf("%d bytes in %v, want nearly %d", sent, long, most(long))
				}
				if t.s.Stats().Throttled == 0 {
					t.Fatal("nothing counts as throttled")
				}
				t.wantAlive("nothing is wrong with it")
			}, rate(c.perSecond, c.burst))
		})
	}
	t.Run("the credit comes when it is due, without anybody asking", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(wtStream{id: 2, data: strings.Repeat("x", window)})
			t.wantReadAllOf(t.acceptUni(), window)
			start := time.Now()
			t.wantCapsule("the burst", capsule.MaxData{MaximumData: window + 1000})
			t.wantIdle("that was all")
			for i := range uint64(5) {
				time.Sleep(50*time.Millisecond - 1)
				t.wantIdle("a step is not complete")
				time.Sleep(time.Nanosecond)
				t.wantCapsule("one step", capsule.MaxData{MaximumData: window + 1000 + 500*(i+1)})
				t.writeCapsule(wtStream{id: 2, data: "x"}) // still not much credit left
				t.wantReadAllOf(t.stream2(), 1)
			}
			if d := time.Since(start); d != 250*time.Millisecond {
				t.Fatalf("took %v", d)
			}
			if got := t.s.Stats().Throttled; got != 6 {
				t.Fatalf("Throttled is %d, want 6", got)
			}
		}, rate(10_000, 1000))
	})
	t.Run("within the burst there is no timer", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(wtStream{id: 2, data: strings.Repeat("x", window)})
			t.wantReadAllOf(t.acceptUni(), window)
			t.wantCapsule("everything", capsule.MaxData{MaximumData: 2 * window})
			if t.s.pacing.timer != nil || t.s.Stats().Throttled != 0 {
				t.Fatalf("a timer for nothing, Throttled %d", t.s.Stats().Throttled)
			}
		}, rate(1, window))
	})
	t.Run("a session that has ended wakes nobody", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(wtStream{id: 2, data: strings.Repeat("x", window)})
			t.wantReadAllOf(t.acceptUni(), window)
			t.wantCapsule("the burst", capsule.MaxData{MaximumData: window + 1000})
			t.s.Lost(errors.New("gone"))
			wakes := t.carrier.wakes.Load()
			time.Sleep(time.Hour)
			synctest.Wait()
			if got := t.carrier.wakes.Load(); got != wakes || t.s.pacing.timer.Stop() {
				t.Fatalf("woken %d times after the end", got-wakes)
			}
		}, rate(10_000, 1000))
	})
	t.Run("what waits is logged with its limit", func(t *testing.T) {
		var log bytes.Buffer
		bubble(t, func(t *tester) {
			t.writeCapsule(wtStream{id: 2, data: strings.Repeat("x", window)})
			t.wantReadAllOf(t.acceptUni(), window)
			t.wantCapsule("the burst", capsule.MaxData{MaximumData: window + 1000})
			if want := `msg="credit withheld" session=1 limit=byte-rate for=50ms`; !strings.Contains(log.String(), want) {
				t.Fatalf("no %q in\n%s", want, &log)
			}
		}, rate(10_000, 1000), func(p *Params) {
			p.Config.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
	})
}

// stream2 is the application's end of stream 2.
func (t *tester) stream2() transport.ReceiveStream { return recvStream{t.s.streams[2]} }

func TestIncomingDatagramRate(t *testing.T) {
	type drop struct {
		outgoing bool
		size     int
		age      time.Duration
	}
	var drops []drop
	t.Run("datagrams above the rate are dropped, counted and told", func(t *testing.T) {
		bubble(t, func(t *tester) {
			for range 5 {
				t.writeCapsule(datagram("1234"))
			}
			t.wantDatagrams("1234", "1234", "1234")
			time.Sleep(time.Second)
			for range 5 {
				t.writeCapsule(datagram("56"))
			}
			t.wantDatagrams("56", "56")
			if got := t.s.Stats(); got.DatagramsReceived != 10 || got.DatagramsThrottled != 5 || got.DatagramsDroppedIncoming != 0 {
				t.Fatalf("%+v", got)
			}
			want := []drop{{size: 4}, {size: 4}, {size: 2}, {size: 2}, {size: 2}}
			if len(drops) != 5 || drops[0] != want[0] || drops[4] != want[4] {
				t.Fatalf("told of %v, want %v", drops, want)
			}
			t.wantAlive("the session goes on")
		}, withConfig(transport.Config{
			IncomingDatagramRate: transport.Rate{PerSecond: 2, Burst: 3},
			Trace:                &transport.Trace{DatagramDropped: func(o bool, n int, d time.Duration) { drops = append(drops, drop{o, n, d}) }},
		}))
	})
	t.Run("one that is dropped is not buffered", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(datagram("x"))
			t.writeCapsule(header(capsule.TypeDatagram, 60_000), raw(make([]byte, 59_999)))
			if t.s.held > 1 || t.s.reader.datagram != nil {
				t.Fatalf("%d bytes held", t.s.held)
			}
		}, withConfig(transport.Config{IncomingDatagramRate: transport.Rate{PerSecond: 1}}))
	})
}

func TestIdleTimeout(t *testing.T) {
	const timeout = 30 * time.Second
	idle := withConfig(transport.Config{IdleTimeout: timeout})
	wantIdleEnd := func(t *tester, after time.Duration) {
		t.Helper()
		start := time.Now()
		<-t.s.Context().Done()
		if d := time.Since(start); d != after {
			t.Fatalf("ended after %v, want %v", d, after)
		}
		end := errors.AsType[*transport.SessionError]
		se, ok := end(context.Cause(t.s.Context()))
		limit, reached := transport.ReachedLimit(se)
		if !ok || se.Remote || se.Code != 0 || se.Reason != "idle" || !reached || limit != transport.LimitSessionIdle {
			t.Fatalf("ended with %+v, limit %q", se, limit)
		}
	}
	t.Run("DS-14 a session without traffic is closed with code 0 and idle", func(t *testing.T) {
		bubble(t, func(t *tester) {
			wantIdleEnd(t, timeout)
			t.wantCapsule("the close", capsule.CloseSession{Message: "idle"})
			t.wantEndStream("and the end")
			t.s.End()
			<-t.s.Done()
		}, idle)
	})
	t.Run("DS-14 a peer that does not answer does not matter", func(t *testing.T) {
		bubble(t, func(t *tester) {
			wantIdleEnd(t, timeout)
			<-t.s.Done() // within two times CloseTimeout
			if n := t.carrier.cancels.Load(); n != 1 {
				t.Fatalf("cancelled %d times", n)
			}
		}, idle)
	})
	t.Run("without a timeout nothing ends", func(t *testing.T) {
		bubble(t, func(t *tester) {
			time.Sleep(10_000 * time.Hour)
			t.wantIdle("no limit is the default")
		})
	})
	out := func(t *tester) transport.SendStream {
		for id, st := range t.s.streams {
			if t.s.isLocal(id) {
				return sendStream{st}
			}
		}
		return t.openUni()
	}
	for _, c := range []struct {
		name   string
		renews bool
		do     func(t *tester)
	}{
		{"stream data received", true, func(t *tester) { t.writeCapsule(wtStream{id: 0, data: "x"}) }},
		{"stream data sent", true, func(t *tester) { t.send(out(t), "x"); t.hear() }},
		{"a stream opened by the peer", true, func(t *tester) { t.writeCapsule(wtStream{id: t.s.peerID(t.s.accepted[uni].limit.Opened(), uni)}) }},
		{"a stream opened here", true, func(t *tester) { t.openUni() }},
		{"a datagram received", true, func(t *tester) { t.writeCapsule(datagram("")) }},
		{"a datagram sent", true, func(t *tester) { t.ok(t.s.SendDatagram(nil)); t.hear() }},
		{"PADDING", false, func(t *tester) { t.writeCapsule(capsule.Padding{Length: 100}) }},
		{"unknown capsules", false, func(t *tester) { t.writeCapsule(header(0x1234, 0)) }},
		{"limits", false, func(t *tester) {
			t.writeCapsule(capsule.MaxData{MaximumData: t.s.credit.Limit() + 1}, capsule.DataBlocked{})
		}},
		{"an empty WT_STREAM on an open stream", false, func(t *tester) { t.writeCapsule(wtStream{id: 0}) }},
		{"a write that the peer gives no credit for", false, func(t *tester) { t.send(t.openBefore, "x"); t.hear() }},
	} {
		t.Run("what renews the time: "+c.name, func(t *testing.T) {
			bubble(t, func(t *tester) {
				t.writeCapsule(wtStream{id: 0, data: "x"})
				t.openBefore = bidiStream{t.s.streams[0]}
				for range 3 {
					time.Sleep(timeout / 4)
					c.do(t)
				}
				if left := timeout / 4; c.renews {
					wantIdleEnd(t, timeout)
				} else {
					wantIdleEnd(t, left)
				}
			}, idle, func(p *Params) { p.Peer.MaxStreamDataBidiLocal = 0 })
		})
	}
	t.Run("who closes first closes", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.s.StartClose(7, "bye")
			time.Sleep(timeout)
			t.wantClosed(7, "bye", false)
			if t.s.idling.timer.Stop() {
				t.Fatal("the timer runs on")
			}
		}, idle)
	})
	t.Run("finished streams are flushed before the close", func(t *testing.T) {
		bubble(t, func(t *tester) {
			st := t.openUni()
			t.send(st, "data")
			t.ok(st.Close())
			wantIdleEnd(t, timeout)
			t.wantCapsule("what the carrier did not take", wtStream{id: 3, data: "data", fin: true})
			t.wantCapsule("the close", capsule.CloseSession{Message: "idle"})
		}, idle)
	})
}

func TestStalls(t *testing.T) {
	bubble(t, func(t *tester) {
		want := func(why string, n uint64) {
			t.Helper()
			for t.hear() != nil {
			}
			if got := t.s.Stats().Stalls; got != n {
				t.Fatalf("%s: %d stalls, want %d", why, got, n)
			}
		}
		a, b := t.openUni(), t.openUni()
		t.send(a, strings.Repeat("x", 10))
		want("within the stream's credit", 0)
		t.send(a, "x")
		want("the stream's is used up", 1)
		t.send(a, "x")
		want("that is known", 1)
		t.send(b, strings.Repeat("x", 6))
		want("the session's is used up", 2)
		t.writeCapsule(capsule.MaxStreamData{StreamID: 3, MaximumStreamData: 11})
		want("still the session's", 2)
		t.writeCapsule(capsule.MaxData{MaximumData: 1000})
		want("and then the stream's again", 3)
		t.openUni()
		if _, err := t.s.OpenUniStream(done()); !errors.Is(err, transport.ErrStreamLimit) {
			t.Fatal(err)
		}
		want("no further stream", 4)
	}, peerAllows(InitialLimits{MaxData: 15, MaxStreamDataUni: 10, MaxStreamsUni: 3}))
}
