package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

func TestEnds(t *testing.T) {
	t.Run("H2-175 the peer's close is answered by END_STREAM alone", func(t *testing.T) {
		bubble(t, func(t *tester) {
			st := open0(t)
			t.send(st, "pending")
			t.ok(st.Close())
			t.ok(t.s.SendDatagram([]byte("pending")))
			t.writeCapsule(capsule.CloseSession{ErrorCode: 4321, Message: "server bye ☃"})
			t.wantClosed(4321, "server bye ☃", true)
			t.wantEndStream("answer")
			t.s.End()
			<-t.s.Done()
			if len(t.carrier.resets)+t.cancels() > 0 {
				t.Fatal("the carrier was told to reset a session that ended well")
			}
		})
	})
	t.Run("H2-182 the peer's END_STREAM does not make the answer wait longer", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.ok(t.s.SendDatagram(make([]byte, 1000)))
			t.dst = t.dst[:10]
			t.fill() // a capsule is begun, and the peer gives no more window
			t.writeCapsule(capsule.CloseSession{})
			time.Sleep(transport.DefaultCloseTimeout - time.Millisecond)
			t.s.End()
			if n := t.cancels(); n != 0 {
				t.Fatalf("cancelled %d times before the timeout", n)
			}
			time.Sleep(time.Millisecond)
			if n := t.cancels(); n != 1 {
				t.Fatalf("cancelled %d times at the timeout", n)
			}
		})
	})
	t.Run("H2-175 the answer needs no window", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(capsule.CloseSession{})
			if t.carrier.wakes.Load() == 0 {
				t.Fatal("the carrier was not woken")
			}
			if n, end := t.s.Fill(nil); n != 0 || !end {
				t.Fatalf("Fill with an empty dst = %d, %t", n, end)
			}
		})
	})
	t.Run("H2-175 a capsule that was begun is finished before the answer", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.ok(t.s.SendDatagram([]byte(strings.Repeat("x", 1000))))
			t.dst = t.dst[:100]
			t.fill()
			t.writeCapsule(capsule.CloseSession{ErrorCode: 1})
			t.wantCapsule("the datagram", datagram(strings.Repeat("x", 1000)))
			t.wantEndStream("behind it")
		})
	})
	for _, n := range []int{0, 1, 1023, 1024} {
		t.Run(fmt.Sprintf("H2-176 a reason of %d bytes is sent whole", n), func(t *testing.T) {
			bubble(t, func(t *tester) {
				t.s.StartClose(0, strings.Repeat("r", n))
				t.wantCapsule("close", capsule.CloseSession{Message: strings.Repeat("r", n)})
			})
		})
	}
	for _, c := range []struct{ reason, sent string }{
		{strings.Repeat("r", 1025), strings.Repeat("r", 1024)},
		{strings.Repeat("r", 1023) + "€", strings.Repeat("r", 1023)},
		{strings.Repeat("r", 1022) + "é!", strings.Repeat("r", 1022) + "é"},
		{strings.Repeat("🚢", 300), strings.Repeat("🚢", 256)},
	} {
		t.Run(fmt.Sprintf("H2-177 a reason of %d bytes is cut to %d at a rune", len(c.reason), len(c.sent)), func(t *testing.T) {
			bubble(t, func(t *tester) {
				t.s.StartClose(0, c.reason)
				t.wantCapsule("close", capsule.CloseSession{Message: c.sent})
			})
		})
	}
	for _, c := range []struct {
		what string
		b    raw
	}{
		{"1025 bytes", append(header(capsule.TypeCloseSession, 4+1025), make([]byte, 4+1025)...)},
		{"a byte that is no UTF-8", append(header(capsule.TypeCloseSession, 5), 0, 0, 0, 0, 0xff)},
		{"a rune that is cut", append(header(capsule.TypeCloseSession, 6), 0, 0, 0, 0, 0xe2, 0x82)},
	} {
		t.Run("H2-178 a received reason of "+c.what, func(t *testing.T) {
			bubble(t, func(t *tester) {
				t.writeCapsule(c.b)
				t.wantViolation("refused", transport.ViolationGeneric)
			})
		})
	}
	t.Run("H2-178 a received reason of 1024 bytes", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(capsule.CloseSession{Message: strings.Repeat("r", 1024)})
			t.wantClosed(0, strings.Repeat("r", 1024), true)
		})
	})
	t.Run("H2-179 END_STREAM alone is a clean close", func(t *testing.T) {
		bubble(t, func(t *tester) {
			st := open0(t)
			t.s.End()
			t.wantClosed(0, "", true)
			t.wantEndStream("answer")
			<-t.s.Done()
			_, err := st.Read(make([]byte, 1))
			if !errors.Is(err, context.Cause(t.s.Context())) || errors.Is(err, io.EOF) {
				t.Fatalf("Read: %v", err)
			}
		})
	})
	t.Run("H2-180 a reset ends the session without a code of the application", func(t *testing.T) {
		bubble(t, func(t *tester) {
			reset := &transport.ResetError{Protocol: transport.HTTP2, Code: 0x4d2}
			t.s.Lost(reset)
			got, ok := errors.AsType[*transport.SessionError](context.Cause(t.s.Context()))
			if !ok || got.Code != 0 || got.Reason != "" || !got.Remote || got.Err != error(reset) {
				t.Fatalf("%+v", got)
			}
			if n, end := t.s.Fill(t.dst); n != 0 || end || len(t.carrier.resets)+t.cancels() > 0 {
				t.Fatal("something goes out of a lost session")
			}
			<-t.s.Done()
		})
	})
	t.Run("H2-180 a loss while closing ends the waiting", func(t *testing.T) {
		bubble(t, func(t *tester) {
			st := t.openUni()
			t.send(st, "12345")
			t.ok(st.Close())
			closing := runAsync(t, func() error { return t.s.CloseWithError(1, "") })
			closing.wantWaiting("nothing was taken")
			t.s.Lost(io.ErrUnexpectedEOF)
			err := closing.result()
			if unsent, ok := errors.AsType[*transport.UnsentError](err); !ok || unsent.Bytes != 5 {
				t.Fatal(err)
			}
			t.wantClosed(1, "", false)
		})
	})
	t.Run("H2-181 every call that waits fails, finished streams stay readable", func(t *testing.T) {
		for _, end := range []struct {
			name string
			f    func(t *tester)
		}{
			{"close", func(t *tester) { t.writeCapsule(capsule.CloseSession{ErrorCode: 5}) }},
			{"end", func(t *tester) { t.s.End() }},
			{"loss", func(t *tester) { t.s.Lost(io.ErrUnexpectedEOF) }},
			{"violation", func(t *tester) { t.writeCapsule(wtStream{id: 1, data: "x"}) }},
			{"own close", func(t *tester) { t.s.StartClose(5, "") }},
			{"own abort", func(t *tester) { t.s.Abort(io.ErrClosedPipe) }},
		} {
			bubble(t, func(t *tester) {
				t.writeCapsule(wtStream{id: 0, data: "x"}, wtStream{id: 2, fin: true, data: "finished"}, wtStream{id: 6, fin: true, data: "not accepted"})
				st, whole := t.accept(), t.acceptUni()
				t.wantRead(st, "x")
				ctx := t.Context()
				var calls []async[error]
				for _, f := range []func() error{
					func() error { _, err := t.s.AcceptStream(ctx); return err },
					func() error { _, err := t.s.AcceptStream(ctx); return err },
					func() error { _, err := t.s.ReceiveDatagram(ctx); return err },
					func() error { _, err := t.s.OpenStream(ctx); return err },
					func() error { _, err := st.Read(make([]byte, 1)); return err },
					func() error { _, err := st.Write(make([]byte, 1<<20)); return err },
				} {
					calls = append(calls, runAsync(t, f))
				}
				for _, c := range calls {
					c.wantWaiting(end.name)
				}
				end.f(t)
				want := context.Cause(t.s.Context())
				for i, c := range calls {
					if err := c.result(); err != want {
						t.Fatalf("%s: call %d returned %v, want %v", end.name, i, err, want)
					}
				}
				got, err := io.ReadAll(whole)
				if string(got) != "finished" || err != nil {
					t.Fatalf("%s: a finished stream reads %q, %v", end.name, got, err)
				}
				if _, err := t.s.AcceptUniStream(ctx); err != want {
					t.Fatal(err)
				}
				if t.s.held != 0 {
					t.Fatalf("%s: %d bytes are held after the end", end.name, t.s.held)
				}
			}, peerAllows(InitialLimits{MaxStreamDataBidiLocal: 1000, MaxData: 1000}))
		}
	})
	t.Run("H2-183 what follows WT_CLOSE_SESSION is discarded up to a bound", func(t *testing.T) {
		for _, over := range []int{0, 1} {
			for _, first := range []int{0, 100, 64 << 10} { // bytes in the same call as the capsule
				bubble(t, func(t *tester) {
					rest := make([]byte, 64<<10+over)
					t.writeCapsule(capsule.CloseSession{ErrorCode: 6}, raw(rest[:first]))
					t.s.Data(rest[first:])
					t.wantClosed(6, "", true)
					if over == 0 {
						t.wantEndStream("all is well")
						return
					}
					if len(t.carrier.resets) != 1 || t.carrier.resets[0] != transport.ViolationMalformed {
						t.Fatalf("reset with %v, want once with malformed", t.carrier.resets)
					}
					t.s.Data(rest)
					if len(t.carrier.resets) != 1 {
						t.Fatal("reset again")
					}
				})
			}
		}
	})
}
