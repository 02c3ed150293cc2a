package session

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// wantDatagrams expects exactly these to be waiting.
func (t *tester) wantDatagrams(want ...string) {
	t.Helper()
	for _, w := range want {
		p, err := t.s.ReceiveDatagram(done())
		if err != nil || string(p) != w || p == nil {
			t.Fatalf("ReceiveDatagram = %.50q, %v, want %.50q", p, err, w)
		}
	}
	if p, err := t.s.ReceiveDatagram(done()); err == nil {
		t.Fatalf("one more datagram: %.50q", p)
	}
}

func TestDatagrams(t *testing.T) {
	large := strings.Repeat("x", transport.DefaultMaxDatagramSize)
	t.Run("H2-170 the capsule is type 0 and the payload", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.ok(t.s.SendDatagram([]byte("hi")))
			t.ok(t.s.SendDatagram(nil))
			n, _ := t.s.Fill(t.dst)
			if want := "\x00\x02hi\x00\x00"; string(t.dst[:n]) != want {
				t.Fatalf("sent % x, want % x", t.dst[:n], want)
			}
		})
	})
	t.Run("H2-170 empty, one byte and the largest, both ways", func(t *testing.T) {
		bubble(t, func(t *tester) {
			for _, p := range []string{"", "x", large} {
				t.ok(t.s.SendDatagram([]byte(p)))
				t.wantCapsule("as it was given", datagram(p))
				t.writeCapsule(datagram(p))
			}
			t.wantDatagrams("", "x", large)
			if got := t.s.Stats(); got.DatagramsSent != 3 || got.DatagramsReceived != 3 {
				t.Fatalf("%+v", got)
			}
		})
	})
	t.Run("H2-170 a payload that comes in pieces", func(t *testing.T) {
		bubble(t, func(t *tester) {
			for _, b := range t.encode(datagram("in pieces")) {
				t.s.Data([]byte{b})
			}
			t.wantDatagrams("in pieces")
			if t.s.held != 0 {
				t.Fatalf("%d bytes held", t.s.held)
			}
		})
	})
	t.Run("a payload that is too large is refused", func(t *testing.T) {
		bubble(t, func(t *tester) {
			err := t.s.SendDatagram([]byte(large + "x"))
			if e, ok := errors.AsType[*transport.DatagramTooLargeError](err); !ok || e.Max != len(large) {
				t.Fatal(err)
			}
			t.wantIdle("nothing was queued")
		})
	})
	t.Run("H2-171 a capsule of 1 GiB is skipped without being held", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(header(capsule.TypeDatagram, 1<<30))
			chunk := make([]byte, 1<<20)
			for range 1 << 10 {
				t.s.Data(chunk)
				if t.s.held != 0 {
					t.Fatalf("%d bytes held", t.s.held)
				}
			}
			t.writeCapsule(datagram("next"))
			t.wantDatagrams("next")
			if got := t.s.Stats().DatagramsDroppedIncoming; got != 1 {
				t.Fatalf("%d counted as dropped, want 1", got)
			}
		})
	})
	t.Run("H2-171 one byte more than the largest", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(datagram(large+"x"), datagram("next"))
			t.wantDatagrams("next")
		})
	})
	t.Run("H2-171 a length from the wire sizes no buffer", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(header(capsule.TypeDatagram, uint64(len(large))), raw("x"))
			if c := cap(t.s.reader.datagram); c > 64 {
				t.Fatalf("a buffer of %d bytes for one that came", c)
			}
		})
	})
	t.Run("H2-171 a full queue drops the oldest, or the newest", func(t *testing.T) {
		for policy, want := range map[transport.DropPolicy][]string{
			transport.DropOldest: {"c", "d"},
			transport.DropNewest: {"a", "b"},
		} {
			bubble(t, func(t *tester) {
				t.writeCapsule(datagram("a"), datagram("b"), datagram("c"), datagram("d"))
				t.wantDatagrams(want...)
				if got := t.s.Stats(); got.DatagramsReceived != 4 || got.DatagramsDroppedIncoming != 2 {
					t.Fatalf("%+v", got)
				}
			}, withConfig(transport.Config{IncomingDatagramQueue: 2, DatagramDrop: policy}))
		}
	})
	t.Run("H2-172 sending never waits, a full queue drops", func(t *testing.T) {
		for policy, want := range map[transport.DropPolicy][]string{
			transport.DropOldest: {"c", "d"},
			transport.DropNewest: {"a", "b"},
		} {
			bubble(t, func(t *tester) {
				for _, p := range []string{"a", "b", "c", "d"} { // Fill is not called
					t.ok(t.s.SendDatagram([]byte(p)))
				}
				for _, p := range want {
					t.wantCapsule("what the policy keeps", datagram(p))
				}
				t.wantIdle("no more")
				if got := t.s.Stats(); got.DatagramsSent != 2 || got.DatagramsDroppedOutgoing != 2 {
					t.Fatalf("%+v", got)
				}
			}, withConfig(transport.Config{OutgoingDatagramQueue: 2, DatagramDrop: policy}))
		}
	})
	t.Run("H2-172 queues of none drop everything", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.ok(t.s.SendDatagram([]byte("x")))
			t.writeCapsule(datagram("y"))
			t.wantIdle("dropped")
			t.wantDatagrams()
			if got := t.s.Stats(); got.DatagramsDroppedIncoming != 1 || got.DatagramsDroppedOutgoing != 1 {
				t.Fatalf("%+v", got)
			}
		}, withConfig(transport.Config{OutgoingDatagramQueue: -1, IncomingDatagramQueue: -1}))
	})
	t.Run("H2-170 a size of none sends nothing, not even an empty one", func(t *testing.T) {
		bubble(t, func(t *tester) {
			var large *transport.DatagramTooLargeError
			if err := t.s.SendDatagram(nil); !errors.As(err, &large) || large.Max != 0 || t.s.Info().MaxDatagramSize != 0 {
				t.Fatalf("got %v, Info says %d", err, t.s.Info().MaxDatagramSize)
			}
			t.wantIdle("nothing was taken")
		}, withConfig(transport.Config{MaxDatagramSize: -1}))
	})
	t.Run("FW-17 what waits when the session ends is counted as dropped", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.ok(t.s.SendDatagram([]byte("a")))
			t.ok(t.s.SendDatagram([]byte("b")))
			t.writeCapsule(datagram("c"))
			t.s.Lost(errors.New("gone"))
			if got := t.s.Stats(); got.DatagramsDroppedOutgoing != 2 || got.DatagramsDroppedIncoming != 1 || got.DatagramsSent != 0 {
				t.Fatalf("%+v", got)
			}
		})
		bubble(t, func(t *tester) {
			t.ok(t.s.SendDatagram([]byte("a")))
			t.s.StartClose(1, "bye")
			if got := t.s.Stats(); got.DatagramsDroppedOutgoing != 1 {
				t.Fatalf("%+v", got)
			}
			t.s.Lost(errors.New("gone"))
		})
	})
	t.Run("H2-172 a datagram that waited too long is not sent", func(t *testing.T) {
		var drops []time.Duration
		bubble(t, func(t *tester) {
			t.ok(t.s.SendDatagram([]byte("stale")))
			time.Sleep(60 * time.Millisecond)
			t.ok(t.s.SendDatagram([]byte("fresh")))
			time.Sleep(50 * time.Millisecond)
			t.wantCapsule("the fresh one", datagram("fresh"))
			t.wantIdle("the stale one is gone")
			if got := t.s.Stats(); got.DatagramsSent != 1 || got.DatagramsExpiredOutgoing != 1 {
				t.Fatalf("%+v", got)
			}
			if len(drops) != 1 || drops[0] != 110*time.Millisecond {
				t.Fatalf("drops traced: %v", drops)
			}
		}, withConfig(transport.Config{
			OutgoingMaxAge: 100 * time.Millisecond,
			Trace: &transport.Trace{DatagramDropped: func(outgoing bool, size int, age time.Duration) {
				if !outgoing || size != 5 {
					t.Errorf("traced outgoing %t, size %d", outgoing, size)
				}
				drops = append(drops, age)
			}},
		}))
	})
	t.Run("a datagram that waited too long is not received", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(datagram("stale"))
			time.Sleep(60 * time.Millisecond)
			t.writeCapsule(datagram("fresh"))
			time.Sleep(50 * time.Millisecond)
			t.wantDatagrams("fresh")
			if got := t.s.Stats().DatagramsExpiredIncoming; got != 1 {
				t.Fatalf("%d expired", got)
			}
		}, withConfig(transport.Config{IncomingMaxAge: 100 * time.Millisecond}))
	})
	t.Run("a datagram goes before stream data and behind control", func(t *testing.T) {
		bubble(t, func(t *tester) {
			st := t.openUni()
			t.send(st, "stream")
			t.ok(t.s.SendDatagram([]byte("datagram")))
			t.ok(t.s.Drain())
			t.wantCapsule("control", capsule.DrainSession{})
			t.wantCapsule("datagram", datagram("datagram"))
			t.wantCapsule("data", wtStream{id: 3, data: "stream"})
		})
	})
	t.Run("a datagram longer than dst goes out in pieces, with nothing between", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.dst = t.dst[:50]
			t.ok(t.s.SendDatagram([]byte(strings.Repeat("x", 500))))
			t.send(t.openUni(), "data")
			t.fill()
			t.ok(t.s.Drain())
			t.wantCapsule("first the datagram's end", datagram(strings.Repeat("x", 500)))
			t.wantCapsule("then control", capsule.DrainSession{})
			t.wantCapsule("then data", wtStream{id: 3, data: "data"})
		})
	})
	t.Run("a datagram that fits dst is not split for what stands before it", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.dst = t.dst[:100]
			for range 3 {
				t.ok(t.s.SendDatagram([]byte(strings.Repeat("x", 60))))
			}
			for range 3 {
				if n := t.fill(); n != 62 || t.decoder.Partial() {
					t.Fatalf("Fill gave %d bytes, inside a capsule %t", n, t.decoder.Partial())
				}
			}
		})
	})
	t.Run("many callers wait for datagrams", func(t *testing.T) {
		bubble(t, func(t *tester) {
			var calls []async[string]
			for range 3 {
				calls = append(calls, runAsync(t, func() string {
					p, err := t.s.ReceiveDatagram(t.Context())
					if err != nil {
						return err.Error()
					}
					return string(p)
				}))
			}
			calls[0].wantWaiting("nothing came")
			t.writeCapsule(datagram("d"), datagram("d"), datagram("d"))
			for _, c := range calls {
				if got := c.result(); got != "d" {
					t.Fatal(got)
				}
			}
		})
	})
}
