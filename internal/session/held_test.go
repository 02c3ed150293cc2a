package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// TestHeldEnd is about ends that rest on the prior alone.
func TestHeldEnd(t *testing.T) {
	t.Run("data comes at once, the end after the grace", func(t *testing.T) {
		learning(t, capsule.Legacy, func(p *pupil) {
			p.writeCapsule(wtStream{id: 0, data: "data", fin: true})
			st := p.accept()
			start := time.Now()
			p.wantRead(st, "data")
			if d := time.Since(start); d != 0 {
				p.Fatalf("data held back for %v", d)
			}
			p.wantReadError(st, io.EOF)
			if d := time.Since(start); d != 100*time.Millisecond {
				p.Fatalf("the end came after %v", d)
			}
			p.wantUndecided("time proves nothing")
			p.wantAlive("one stream has ended")
		})
	})
	t.Run("each end has its own grace", func(t *testing.T) {
		learning(t, capsule.Legacy, func(p *pupil) {
			start := time.Now()
			var ends [3]async[time.Duration]
			for i := range ends {
				id := uint64(2 + 4*i)
				p.writeCapsule(wtStream{id: id, data: "x", fin: true})
				st := p.acceptUni()
				p.wantRead(st, "x")
				ends[i] = runAsync(p.tester, func() time.Duration {
					if _, err := st.Read(make([]byte, 1)); err != io.EOF {
						p.Errorf("Read = %v", err)
					}
					return time.Since(start)
				})
				time.Sleep(40 * time.Millisecond)
			}
			for i, end := range ends {
				if got, want := end.result(), finGrace+time.Duration(i)*40*time.Millisecond; got != want {
					p.Fatalf("stream %d ended after %v, want %v", i, got, want)
				}
			}
			time.Sleep(time.Hour)
			p.writeCapsule(wtStream{id: 14, fin: true})
			st, start := p.acceptUni(), time.Now()
			p.wantReadError(st, io.EOF)
			if d := time.Since(start); d != finGrace {
				p.Fatalf("the end after a pause came after %v", d)
			}
		})
	})
	t.Run("evidence for the prior tells every end that is held back", func(t *testing.T) {
		learning(t, capsule.Legacy, func(p *pupil) {
			p.writeCapsule(wtStream{id: 2, data: "x", fin: true}, wtStream{id: 6, fin: true}, wtStream{id: 10, data: "y"})
			a, b := p.acceptUni(), p.acceptUni()
			p.wantRead(a, "x")
			end := runAsync(p.tester, func() error { _, err := a.Read(make([]byte, 1)); return err })
			time.Sleep(finGrace - 1)
			end.wantWaiting("the grace is not over")
			start := time.Now()
			p.writeCapsule(wtStream{id: 10, fin: true})
			p.wantLearned("two capsules", transport.DialectLegacy)
			if err := end.result(); err != io.EOF {
				p.Fatalf("Read = %v", err)
			}
			p.wantReadError(b, io.EOF)
			if n, _ := p.holds(); n != 0 || time.Since(start) != 0 {
				p.Fatalf("%d ends still held after %v", n, time.Since(start))
			}
			// From now on nothing is held back.
			p.writeCapsule(wtStream{id: 14, fin: true})
			p.acceptUni()
			p.wantReadError(p.acceptUni(), io.EOF)
			if d := time.Since(start); d != 0 {
				p.Fatalf("held back for %v after the evidence", d)
			}
		})
	})
	t.Run("H2-127 evidence against it within the grace takes it back unseen", func(t *testing.T) {
		learning(t, capsule.Draft15, func(p *pupil) {
			p.writeCapsule(wtStream{id: 2, data: "ab"}, wtStream{id: 6, data: "x"})
			a, b := p.acceptUni(), p.acceptUni()
			time.Sleep(finGrace - 1)
			p.writeCapsule(wtStream{id: 2, data: "cd"})
			time.Sleep(time.Hour)
			p.wantRead(a, "abcd")
			p.wantRead(b, "x")
			for _, st := range []transport.ReceiveStream{a, b} {
				end := runAsync(p.tester, func() error { _, err := st.Read(make([]byte, 1)); return err })
				end.wantWaiting("it has not ended")
			}
			p.writeCapsule(wtStream{id: 2, fin: true}, wtStream{id: 6, data: "y", fin: true})
			p.wantReadError(a, io.EOF)
			p.wantRead(b, "y")
			p.wantReadError(b, io.EOF)
		})
	})
	t.Run("H2-127 evidence against it after the grace, before the end was read", func(t *testing.T) {
		learning(t, capsule.Draft15, func(p *pupil) {
			p.writeCapsule(wtStream{id: 2, data: "ab"})
			st := p.acceptUni()
			time.Sleep(time.Hour)
			p.writeCapsule(wtStream{id: 2, data: "cd", fin: true})
			p.wantAlive("nobody was told of an end")
			p.wantRead(st, "abcd")
			p.wantReadError(st, io.EOF)
		})
	})
	t.Run("evidence against it after the end was read ends the session", func(t *testing.T) {
		for what, contradiction := range map[string]any{
			"data on the stream":            wtStream{id: 0, data: "cd"},
			"its true end":                  wtStream{id: 0, fin: true},
			"a reset":                       capsule.ResetStream{StreamID: 0, ReliableSize: 2},
			"a blocked report":              capsule.StreamDataBlocked{StreamID: 0},
			"data on a stream it forgot":    wtStream{id: 2, data: "cd"},
			"a reset of a stream it forgot": capsule.ResetStream{StreamID: 2, ReliableSize: 2},
			"evidence on another stream":    wtStream{id: 4, data: "cd"},
		} {
			learning(t, capsule.Draft15, func(p *pupil) {
				p.writeCapsule(wtStream{id: 0, data: "ab"}, wtStream{id: 2, data: "ab"})
				st, u := p.accept(), p.acceptUni()
				p.wantRead(st, "ab")
				p.wantRead(u, "ab")
				p.wantReadError(st, io.EOF)
				p.wantReadError(u, io.EOF)
				if !p.knows(0) || p.knows(2) {
					p.Fatal("stream 0 is still open for sending, stream 2 is over")
				}
				// The end of another stream was not read: it is not told after
				// the session's end either.
				p.writeCapsule(wtStream{id: 4, data: "wrong"})
				other := p.accept()
				time.Sleep(time.Hour)
				p.writeCapsule(contradiction)
				p.wantMisread(what)
				p.wantReadError(st, context.Cause(p.s.Context())) // not the wrong end again
				n, err := io.ReadAll(other)
				if de, ok := errors.AsType[*transport.DialectError](err); !ok {
					p.Fatalf("%s: read %q, %v (%v) of a stream that has no end", what, n, err, de)
				}
			})
		}
	})
	t.Run("a true end is readable after the session ended for evidence that came too late", func(t *testing.T) {
		learning(t, capsule.Draft15, func(p *pupil) {
			p.writeCapsule(wtStream{id: 0, data: "ab"}, wtStream{id: 4, data: "whole", fin: true})
			st, other := p.accept(), p.accept()
			p.wantRead(st, "ab")
			p.wantReadError(st, io.EOF)
			p.writeCapsule(wtStream{id: 0, data: "cd"})
			p.wantMisread("the end was read")
			p.wantRead(other, "whole")
			p.wantReadError(other, io.EOF)
		})
	})
	t.Run("evidence for the prior after the end was read", func(t *testing.T) {
		learning(t, capsule.Legacy, func(p *pupil) {
			p.writeCapsule(wtStream{id: 2, data: "ab", fin: true})
			st := p.acceptUni()
			p.wantRead(st, "ab")
			p.wantReadError(st, io.EOF)
			p.writeCapsule(wtStream{id: 6, data: "ab"}, wtStream{id: 6, data: "cd", fin: true})
			p.wantLearned("two capsules", transport.DialectLegacy)
			p.wantAlive("the prior was right")
			p.writeCapsule(wtStream{id: 2, data: "x"})
			p.wantViolation("H2-116: data after FIN", transport.ViolationStreamState)
		})
	})
	t.Run("H2-123 a cancelled stream is not asked to stop while it may have ended", func(t *testing.T) {
		learning(t, capsule.Legacy, func(p *pupil) {
			p.writeCapsule(wtStream{id: 2, data: "ab", fin: true})
			p.acceptUni().CancelRead(7)
			p.wantIdle("within the grace")
			if !p.knows(2) {
				p.Fatal("forgotten within the grace")
			}
			time.Sleep(finGrace)
			synctest.Wait()
			p.wantIdle("after the grace")
			if n, _ := p.unread(); n != 0 || p.knows(2) {
				p.Fatal("not forgotten, or credit kept")
			}
			p.writeCapsule(a3c(2, "cd"))
			p.wantMisread("the stream went on")
		})
		learning(t, capsule.Legacy, func(p *pupil) {
			p.writeCapsule(wtStream{id: 2, data: "ab", fin: true}, wtStream{id: 6})
			p.acceptUni().CancelRead(7)
			p.writeCapsule(wtStream{id: 6, data: "x"})
			p.wantLearned("two capsules", transport.DialectLegacy)
			p.wantIdle("it has ended")
			if p.knows(2) {
				p.Fatal("not forgotten")
			}
		})
	})
	t.Run("H2-152 a stream whose end is held back keeps its place", func(t *testing.T) {
		learning(t, capsule.Legacy, func(p *pupil) {
			for i := range uint64(4) {
				p.writeCapsule(wtStream{id: 2 + 4*i, data: "x", fin: true})
			}
			if n, _ := p.holds(); n != 4 {
				p.Fatalf("%d ends are held back", n)
			}
			for range 4 {
				st := p.acceptUni()
				p.wantRead(st, "x")
			}
			p.wantIdle("none has ended for sure")
			time.Sleep(finGrace)
			synctest.Wait()
			if n, _ := p.holds(); n != 0 {
				p.Fatalf("%d ends are held back after the grace", n)
			}
			p.s.mu.Lock()
			for _, e := range p.s.dialect.held[:cap(p.s.dialect.held)] {
				if e.st != nil {
					p.Error("a stream is referred to whose end was told")
				}
			}
			p.s.mu.Unlock()
			p.writeCapsule(wtStream{id: 18, data: "x", fin: true})
			p.wantViolation("one stream above the bound", transport.ViolationFlowControl)
		}, withConfig(transport.Config{MaxIncomingUniStreams: 4}))
		learning(t, capsule.Legacy, func(p *pupil) {
			for i := range uint64(1000) { // many more than may be open at once
				p.writeCapsule(wtStream{id: 2 + 4*i, data: "x", fin: true})
				st := p.acceptUni()
				p.wantRead(st, "x")
				p.wantReadError(st, io.EOF)
				for p.hear() != nil {
				}
				if _, room := p.holds(); room > 8 || p.knows(2+4*i) {
					p.Fatalf("stream %d is known %t, %d places for held ends", 2+4*i, p.knows(2+4*i), room)
				}
			}
			p.wantUndecided("every stream was one capsule")
		}, withConfig(transport.Config{MaxIncomingUniStreams: 4}))
	})
}

// TestHeldEndWithoutCredit is about a capsule that uses up the stream's credit:
// nothing can follow it until there is more, whether it was FIN or not.
func TestHeldEndWithoutCredit(t *testing.T) {
	window := withConfig(transport.Config{InitialStreamWindow: 1000, MaxStreamWindow: 1000, MaxIncomingUniStreams: 1})
	full := strings.Repeat("x", 1000)
	readAll := func(p *pupil, st transport.ReceiveStream) {
		p.Helper()
		if n, err := io.ReadFull(st, make([]byte, 1000)); err != nil {
			p.Fatalf("Read = %d, %v", n, err)
		}
	}
	more := capsule.MaxStreamData{StreamID: 2, MaximumStreamData: 2000}
	for _, late := range []time.Duration{0, finGrace - 1, time.Hour} {
		t.Run(fmt.Sprintf("H2-127 H2-151 a peer of draft 15 goes on when it can, read after %v", late), func(t *testing.T) {
			learning(t, capsule.Draft15, func(p *pupil) {
				p.writeCapsule(wtStream{id: 2, data: full})
				st := p.acceptUni()
				time.Sleep(late)
				readAll(p, st)
				end := runAsync(p.tester, func() error { _, err := io.ReadFull(st, make([]byte, 4)); return err })
				p.wantCapsule("credit", more)
				time.Sleep(finGrace - 1)
				end.wantWaiting("the grace begins with the credit")
				p.writeCapsule(wtStream{id: 2, data: "rest", fin: true})
				p.wantLearned("two capsules", transport.DialectDraft15)
				p.ok(end.result())
				p.wantReadError(st, io.EOF)
			}, window)
		})
		t.Run(fmt.Sprintf("the end of a peer of an older draft, read after %v", late), func(t *testing.T) {
			learning(t, capsule.Legacy, func(p *pupil) {
				p.writeCapsule(wtStream{id: 2, data: full, fin: true})
				st := p.acceptUni()
				time.Sleep(late)
				readAll(p, st)
				p.wantCapsule("credit", more)
				start := time.Now()
				p.wantReadError(st, io.EOF)
				if d := time.Since(start); d != finGrace {
					p.Fatalf("the end came after %v", d)
				}
				p.wantCapsule("its place", capsule.MaxStreams{Uni: true, MaximumStreams: 2})
				p.wantIdle("it has ended")
			}, window)
		})
	}
	t.Run("the way to the peer and back is added", func(t *testing.T) {
		learning(t, capsule.Legacy, func(p *pupil) {
			p.carrier.rtt = 300 * time.Millisecond
			p.writeCapsule(wtStream{id: 2, data: full, fin: true})
			st := p.acceptUni()
			readAll(p, st)
			if c, ok := p.hear().(capsule.MaxStreamData); !ok || c.StreamID != 2 {
				p.Fatalf("sent %v", c)
			}
			p.writeCapsule(wtStream{id: 0, data: "x", fin: true})
			other, start := p.accept(), time.Now()
			p.wantRead(other, "x")
			p.wantReadError(other, io.EOF)
			if d := time.Since(start); d != finGrace {
				p.Fatalf("the end of a stream with credit came after %v", d)
			}
			p.wantReadError(st, io.EOF)
			if d := time.Since(start); d != finGrace+300*time.Millisecond {
				p.Fatalf("the end came after %v", d)
			}
		}, window)
	})
	t.Run("credit was given while the capsule came", func(t *testing.T) {
		learning(t, capsule.Legacy, func(p *pupil) {
			b := p.encode(wtStream{id: 2, data: full, fin: true})
			p.s.Data(b[:len(b)-1])
			st := p.acceptUni()
			if _, err := io.ReadFull(st, make([]byte, 999)); err != nil {
				p.Fatal(err)
			}
			p.wantCapsule("credit", capsule.MaxStreamData{StreamID: 2, MaximumStreamData: 1999})
			p.s.Data(b[len(b)-1:])
			start := time.Now()
			p.wantRead(st, "x")
			p.wantReadError(st, io.EOF)
			if d := time.Since(start); d != finGrace {
				p.Fatalf("the end came after %v", d)
			}
		}, window)
	})
	t.Run("a stream that is not read keeps its place, and a cancelled one does not", func(t *testing.T) {
		learning(t, capsule.Legacy, func(p *pupil) {
			p.writeCapsule(wtStream{id: 2, data: full, fin: true})
			time.Sleep(time.Hour)
			synctest.Wait()
			if n, _ := p.holds(); n != 0 || !p.knows(2) {
				p.Fatalf("%d graces run, known %t", n, p.knows(2))
			}
			p.acceptUni().CancelRead(7)
			p.wantIdle("it may have ended")
			time.Sleep(finGrace)
			synctest.Wait()
			if n, _ := p.holds(); n != 0 || p.knows(2) {
				p.Fatalf("%d graces run, known %t", n, p.knows(2))
			}
			if n, memory := p.unread(); n != 0 || memory != 0 {
				p.Fatalf("%d bytes count as unread, %d are held", n, memory)
			}
		}, window)
	})
	t.Run("evidence tells the end at once", func(t *testing.T) {
		learning(t, capsule.Legacy, func(p *pupil) {
			p.writeCapsule(wtStream{id: 2, data: full, fin: true}, wtStream{id: 0, data: "x"}, wtStream{id: 0, data: "y"})
			p.wantLearned("two capsules", transport.DialectLegacy)
			st, start := p.acceptUni(), time.Now()
			readAll(p, st)
			p.wantReadError(st, io.EOF)
			if d := time.Since(start); d != 0 {
				p.Fatalf("the end came after %v", d)
			}
			p.wantCapsule("its place", capsule.MaxStreams{Uni: true, MaximumStreams: 2})
			p.wantIdle("it has ended")
		}, window)
	})
}

// TestHeldEndOfSession is about what becomes of an end that is held back when
// the session ends.
func TestHeldEndOfSession(t *testing.T) {
	for _, c := range []struct {
		what string
		end  func(p *pupil)
		eof  bool
	}{
		{"a close by the peer", func(p *pupil) { p.writeCapsule(capsule.CloseSession{ErrorCode: 1, Message: "bye"}) }, true},
		{"END_STREAM of the peer", func(p *pupil) { p.s.End() }, true},
		{"a reset", func(p *pupil) { p.s.Lost(&transport.ResetError{Protocol: transport.HTTP2, Code: 8}) }, false},
		{"a violation", func(p *pupil) { p.writeCapsule(capsule.StopSending{StreamID: 2}) }, false},
		{"an abort", func(p *pupil) { p.s.Abort(errors.New("gone")) }, false},
		{"a close of its own", func(p *pupil) { p.s.StartClose(1, "bye") }, false},
	} {
		for _, waited := range []bool{false, true} {
			name := "H2-181 " + c.what + " within the grace"
			if waited {
				name = "H2-181 " + c.what + " after the grace"
			}
			t.Run(name, func(t *testing.T) {
				learning(t, capsule.Legacy, func(p *pupil) {
					p.writeCapsule(wtStream{id: 0, data: "data", fin: true}, wtStream{id: 4, data: "open"})
					st, open := p.accept(), p.accept()
					if waited {
						time.Sleep(finGrace)
						synctest.Wait()
					}
					c.end(p)
					end := context.Cause(p.s.Context())
					if n, _ := p.holds(); end == nil || n != 0 {
						p.Fatalf("ended with %v, %d ends held back", end, n)
					}
					if n, err := st.Read(nil); n != 0 || err != nil {
						p.Fatalf("Read of nothing = %d, %v with data there", n, err)
					}
					p.wantRead(st, "data")
					want := end
					if c.eof {
						want = io.EOF
					}
					for range 2 {
						p.wantReadError(st, want)
					}
					p.wantReadError(open, end)
					time.Sleep(time.Hour) // for what timers are left
					synctest.Wait()
					if _, memory := p.unread(); memory != 0 {
						p.Fatalf("%d bytes held", memory)
					}
				})
			})
		}
	}
	t.Run("CancelRead gives up what a lost session left readable", func(t *testing.T) {
		learning(t, capsule.Legacy, func(p *pupil) {
			p.writeCapsule(wtStream{id: 0, data: "data", fin: true})
			st := p.accept()
			p.s.Lost(errors.New("gone"))
			if _, memory := p.unread(); memory == 0 {
				p.Fatal("nothing is left to read")
			}
			st.CancelRead(1)
			if _, memory := p.unread(); memory != 0 {
				p.Fatalf("%d bytes held", memory)
			}
			p.wantReadError(st, context.Cause(p.s.Context()))
		})
	})
}
