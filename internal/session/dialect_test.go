package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// A pupil is a tester whose session has to learn what the script speaks.
type pupil struct {
	*tester
	learned  []transport.Dialect
	evidence string
}

// learning runs a script in one of the readings against a session with
// DialectAuto. What the session sends is decoded as that peer reads it.
func learning(t *testing.T, truth capsule.Dialect, f func(*pupil), change ...func(*Params)) {
	t.Helper()
	p := &pupil{}
	auto := func(params *Params) {
		params.Dialect = transport.DialectAuto
		c := *params.Config
		c.Trace = &transport.Trace{DialectLearned: func(d transport.Dialect, evidence string) {
			p.learned, p.evidence = append(p.learned, d), evidence
		}}
		params.Config = &c
	}
	bubble(t, func(t *tester) {
		p.tester = t
		t.dialect, t.decoder.Dialect = truth, truth
		f(p)
	}, append(slices.Clone(change), auto)...)
}

func (p *pupil) wantLearned(why string, want transport.Dialect) {
	p.Helper()
	if !slices.Equal(p.learned, []transport.Dialect{want}) {
		p.Fatalf("%s: learned %v, want %v", why, p.learned, want)
	}
}

func (p *pupil) wantUndecided(why string) {
	p.Helper()
	p.s.mu.Lock()
	prior := p.s.dialect.reading == readingPrior
	p.s.mu.Unlock()
	if len(p.learned) > 0 || !prior {
		p.Fatalf("%s: learned %v by %q", why, p.learned, p.evidence)
	}
}

// wantMisread expects that the session has ended because it learned too late.
func (p *pupil) wantMisread(why string) {
	p.Helper()
	synctest.Wait()
	p.wantLearned(why, transport.DialectDraft15)
	cause := context.Cause(p.s.Context())
	if de, ok := errors.AsType[*transport.DialectError](cause); !ok || de.Evidence == "" {
		p.Fatalf("%s: the session's end is %v", why, cause)
	}
	if se, ok := errors.AsType[*transport.SessionError](cause); !ok || se.Remote {
		p.Fatalf("%s: the session's end is %v", why, cause)
	}
	if n := p.carrier.cancels.Load(); n != 1 || len(p.carrier.resets) > 0 {
		p.Fatalf("%s: Carrier.Cancel was called %d times, Reset with %v", why, n, p.carrier.resets)
	}
}

// knows reports whether the session has state for a stream. It locks, since a
// timer may run later.
func (p *pupil) knows(id uint64) bool {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return p.s.streams[id] != nil
}

// holds returns how many ends are held back, and for how many there is room.
func (p *pupil) holds() (n, room int) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return len(p.s.dialect.held), cap(p.s.dialect.held)
}

// unread returns the bytes that count as unread, and the memory held.
func (p *pupil) unread() (bytes uint64, memory int) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return p.s.window.Unread(), p.s.held
}

// a3b and a3c are WT_STREAM capsules by their type.
func a3b(id uint64, data string) raw { return ofType(capsule.Draft15, id, data) }
func a3c(id uint64, data string) raw { return ofType(capsule.Legacy, id, data) }

func ofType(fin capsule.Dialect, id uint64, data string) raw {
	return append(capsule.AppendStreamHeader(nil, true, fin, id, uint64(len(data))), data...)
}

func TestDialectEvidence(t *testing.T) {
	legacy, draft := transport.DialectLegacy, transport.DialectDraft15
	blocked := capsule.StreamDataBlocked{StreamID: 0}
	for _, c := range []struct {
		what     string
		capsules []any
		want     transport.Dialect
	}{
		{"3b and then 3b", []any{a3b(0, "ab"), a3b(0, "cd")}, legacy},
		{"3b and then 3c", []any{a3b(0, "ab"), a3c(0, "cd")}, legacy},
		{"3b and then an empty 3c", []any{a3b(0, "ab"), a3c(0, "")}, legacy},
		{"3b and then a reset", []any{a3b(0, "ab"), capsule.ResetStream{StreamID: 0, ReliableSize: 2}}, legacy},
		{"3b and then a blocked report", []any{a3b(0, "ab"), blocked}, legacy},
		{"an empty opening 3b and then data", []any{a3b(0, ""), a3b(0, "ab")}, legacy},
		{"a reset without Reliable Size", []any{capsule.ResetStream{StreamID: 0, SizeAbsent: true}}, legacy},
		{"3c and then 3c", []any{a3c(0, "ab"), a3c(0, "cd")}, draft},
		{"3c and then 3b", []any{a3c(0, "ab"), a3b(0, "cd")}, draft},
		{"3c and then an empty 3b", []any{a3c(0, "ab"), a3b(0, "")}, draft},
		{"3c and then a reset", []any{a3c(0, "ab"), capsule.ResetStream{StreamID: 0, ReliableSize: 2}}, draft},
		{"3c and then a blocked report", []any{a3c(0, "ab"), blocked}, draft},
		{"an empty opening 3c and then data", []any{a3c(0, ""), a3c(0, "ab")}, draft},
		{"evidence that comes late", []any{a3c(0, "ab"), a3b(4, "cd"), a3c(8, ""), a3b(2, "x"), a3c(0, "ef")}, draft},
	} {
		for _, split := range []int{1, 1 << 20} {
			t.Run(fmt.Sprintf("%s, in pieces of %d", c.what, split), func(t *testing.T) {
				learning(t, capsule.Legacy, func(p *pupil) {
					for b := p.encode(c.capsules...); len(b) > 0; {
						n := min(split, len(b))
						p.s.Data(b[:n])
						b = b[n:]
					}
					p.wantLearned("evidence", c.want)
					p.wantAlive("evidence is no error")
					if p.evidence == "" {
						p.Fatal("no evidence is told")
					}
				})
			})
		}
	}
	for _, c := range []struct {
		what     string
		capsules []any
	}{
		{"one 3b with data", []any{a3b(0, "ab")}},
		{"one 3c with data", []any{a3c(0, "ab")}},
		{"an empty opening 3b", []any{a3b(0, "")}},
		{"an empty opening 3c", []any{a3c(0, "")}},
		{"both on different streams", []any{a3b(0, "ab"), a3c(4, "ab"), a3b(2, ""), a3c(6, "")}},
		{"an empty 3b on a stream that a higher one opened", []any{a3b(4, "ab"), a3b(0, "")}},
		{"an empty 3c on a stream that a higher one opened", []any{a3c(4, "ab"), a3c(0, "")}},
		{"a reset before anything else", []any{capsule.ResetStream{StreamID: 0}}},
		{"a blocked report before anything else", []any{blocked, a3b(0, "ab")}},
		{"capsules about the other direction", []any{a3c(0, "ab"), capsule.MaxStreamData{StreamID: 0, MaximumStreamData: 1 << 20}, capsule.StopSending{StreamID: 0}}},
		{"capsules of the session", []any{a3c(0, "ab"), capsule.MaxData{MaximumData: 1 << 30}, datagram("x"), capsule.StreamsBlocked{}, capsule.DrainSession{}}},
	} {
		t.Run("not conclusive: "+c.what, func(t *testing.T) {
			learning(t, capsule.Legacy, func(p *pupil) {
				p.writeCapsule(c.capsules...)
				p.wantUndecided("it can mean both")
				time.Sleep(time.Hour)
				p.wantUndecided("time proves nothing")
				p.wantAlive("it can mean both")
			})
		})
	}
	for _, c := range []struct {
		what string
		c    raw
		want transport.Dialect
	}{{"3b", a3b(1, ""), draft}, {"3c", a3c(1, ""), legacy}} {
		t.Run("an empty "+c.what+" as the answer on a stream opened here can only be FIN", func(t *testing.T) {
			learning(t, capsule.Legacy, func(p *pupil) {
				st := p.open()
				p.writeCapsule(c.c)
				p.wantLearned("neither opens nor carries anything", c.want)
				start := time.Now()
				p.wantReadError(st, io.EOF)
				if d := time.Since(start); d != 0 {
					p.Fatalf("the end was held back for %v", d)
				}
			})
		})
		t.Run("data before an empty "+c.what+" on a stream opened here", func(t *testing.T) {
			learning(t, capsule.Legacy, func(p *pupil) {
				p.open()
				p.writeCapsule(ofType(capsule.Draft15, 1, "x"), c.c)
				p.wantLearned("3b was followed by something", legacy)
			})
		})
	}
	t.Run("with swapped parity an empty 3b on a stream opened here proves nothing", func(t *testing.T) {
		// fails-components begins its answers with one.
		learning(t, capsule.Legacy, func(p *pupil) {
			st := p.open()
			p.writeCapsule(a3b(0, ""))
			p.wantUndecided("it may be a beginning")
			p.writeCapsule(capsule.MaxStreamData{StreamID: 0, MaximumStreamData: 16384}, a3b(0, "answer"), a3c(0, ""))
			p.wantLearned("3b was followed by something", legacy)
			p.wantRead(st, "answer")
			p.wantReadError(st, io.EOF)
		}, swapped)
		learning(t, capsule.Legacy, func(p *pupil) {
			p.open()
			p.writeCapsule(a3c(0, ""))
			p.wantLearned("an empty 3c can still only be FIN", legacy)
		}, swapped)
	})
}

func swapped(p *Params) { p.Parity = ParitySwapped }

func TestDialectSettled(t *testing.T) {
	// What would be evidence to the contrary is an error once the reading is
	// settled, whichever way it was.
	for _, c := range []struct {
		what  string
		given transport.Dialect
		first []any
		then  []any
		want  error
	}{
		{"legacy learned", transport.DialectAuto, []any{a3b(0, "ab"), a3b(0, "cd")}, []any{a3c(4, "ab"), a3c(4, "cd")}, nil},
		{"legacy learned, on the same stream", transport.DialectAuto, []any{a3b(0, "ab"), a3c(0, "cd")}, []any{a3c(0, "ef")}, nil},
		{"draft 15 learned", transport.DialectAuto, []any{a3c(0, "ab"), a3c(0, "cd")}, []any{a3b(4, "ab"), a3b(4, "cd")}, nil},
		{"draft 15 learned, on the same stream", transport.DialectAuto, []any{a3c(0, "ab"), a3b(0, "cd")}, []any{a3b(0, "ef")}, nil},
		{"legacy configured", transport.DialectLegacy, nil, []any{a3c(0, "ab"), a3c(0, "cd")}, nil},
		{"draft 15 configured", transport.DialectDraft15, nil, []any{a3b(0, "ab"), a3b(0, "cd")}, nil},
	} {
		t.Run("H2-116 "+c.what, func(t *testing.T) {
			var learned int
			bubble(t, func(t *tester) {
				t.writeCapsule(c.first...)
				t.wantAlive("the first evidence is none")
				before := learned
				t.writeCapsule(c.then...)
				t.wantViolation("data after FIN", transport.ViolationStreamState)
				if learned != before || c.given != transport.DialectAuto && learned > 0 {
					t.Fatalf("learned %d times", learned)
				}
			}, func(p *Params) {
				p.Dialect = c.given
				p.Config = &transport.Config{Trace: &transport.Trace{DialectLearned: func(transport.Dialect, string) { learned++ }}}
			})
		})
	}
	t.Run("H2-116 a stream that was reset, not ended, is no evidence", func(t *testing.T) {
		learning(t, capsule.Legacy, func(p *pupil) {
			p.writeCapsule(capsule.ResetStream{StreamID: 0}, a3c(0, "x"))
			p.wantViolation("data after a reset", transport.ViolationStreamState)
		})
		learning(t, capsule.Legacy, func(p *pupil) {
			p.writeCapsule(capsule.ResetStream{StreamID: 2})
			p.wantReadError(p.acceptUni(), streamError(2, 0, true))
			if p.knows(2) {
				p.Fatal("the stream was not forgotten")
			}
			p.writeCapsule(a3c(2, "x"))
			p.wantViolation("data after a reset, on a forgotten stream", transport.ViolationStreamState)
		})
	})
	t.Run("a reset without Reliable Size behind 3c is of an older draft, and an error", func(t *testing.T) {
		learning(t, capsule.Legacy, func(p *pupil) {
			p.writeCapsule(a3c(0, "x"), capsule.ResetStream{StreamID: 0, SizeAbsent: true})
			p.wantLearned("no draft with the new reading has it", transport.DialectLegacy)
			p.wantViolation("a reset after FIN", transport.ViolationStreamState)
		})
	})
	t.Run("what is learned is logged once at Info", func(t *testing.T) {
		var log bytes.Buffer
		bubble(t, func(t *tester) {
			t.writeCapsule(a3c(0, "ab"), a3c(0, "cd"), a3b(0, "ef"))
		}, withConfig(transport.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}), func(p *Params) { p.Dialect = transport.DialectAuto })
		for _, want := range []string{"dialect=auto", `level=INFO msg="dialect learned" session=1 dialect=draft-15 evidence="WT_STREAM(0x190b4d3c) was followed by WT_STREAM on stream 0"`} {
			if strings.Count(log.String(), want) != 1 {
				t.Errorf("not exactly one %q in\n%s", want, &log)
			}
		}
	})
}

func TestDialectSwitch(t *testing.T) {
	t.Run("H2-127 a stream that begins in draft 15 arrives whole", func(t *testing.T) {
		learning(t, capsule.Draft15, func(p *pupil) {
			p.writeCapsule(wtStream{id: 0, data: "ab"})
			st := p.accept()
			p.wantRead(st, "ab")
			p.writeCapsule(wtStream{id: 0, data: "cd"}, wtStream{id: 0, data: "ef", fin: true})
			p.wantLearned("two capsules", transport.DialectDraft15)
			p.wantRead(st, "cdef")
			p.wantReadError(st, io.EOF)
		})
	})
	t.Run("streams that one 3b ended are ended when it is known", func(t *testing.T) {
		learning(t, capsule.Draft15, func(p *pupil) {
			p.writeCapsule(wtStream{id: 2, data: "one", fin: true}, wtStream{id: 6, fin: true})
			a, b := p.acceptUni(), p.acceptUni()
			p.wantRead(a, "one")
			end := runAsync(p.tester, func() error { _, err := a.Read(make([]byte, 1)); return err })
			end.wantWaiting("3b may be data")
			p.writeCapsule(wtStream{id: 0, data: "x"}, wtStream{id: 0, data: "y"})
			if err := end.result(); err != io.EOF {
				p.Fatalf("Read = %v", err)
			}
			p.wantReadError(b, io.EOF)
			p.wantAlive("nothing was lost")
		})
	})
	t.Run("H2-185 a stream that one 3b ended pays for a reset", func(t *testing.T) {
		learning(t, capsule.Draft15, func(p *pupil) {
			p.writeCapsule(wtStream{id: 2, fin: true}, capsule.ResetStream{StreamID: 6}, wtStream{id: 10, data: "x"}, wtStream{id: 10, data: "y"})
			p.wantLearned("two capsules", transport.DialectDraft15)
			p.writeCapsule(capsule.ResetStream{StreamID: 14})
			p.wantAlive("one is allowed, and one was paid for")
			p.writeCapsule(capsule.ResetStream{StreamID: 18})
			p.wantViolation("the third", transport.ViolationExcess)
		}, func(p *Params) { p.Config.Floods.Resets = transport.Rate{Burst: 1, PerSecond: 1} })
	})
	t.Run("H2-126 a cancelled stream goes on being discarded", func(t *testing.T) {
		learning(t, capsule.Draft15, func(p *pupil) {
			p.writeCapsule(capsule.MaxStreamData{StreamID: 0, MaximumStreamData: 1 << 20})
			st := p.accept()
			st.CancelRead(7)
			p.wantCapsule("asked to stop", capsule.StopSending{StreamID: 0, ErrorCode: 7})
			p.writeCapsule(wtStream{id: 0, data: "ab"}, wtStream{id: 0, data: "cd"})
			p.wantLearned("two capsules", transport.DialectDraft15)
			p.wantIdle("H2-123: asked once")
			p.writeCapsule(wtStream{id: 0, fin: true})
			p.wantReadError(st, streamError(0, 7, false))
		})
		learning(t, capsule.Draft15, func(p *pupil) {
			p.writeCapsule(wtStream{id: 0, data: "ab"})
			st := p.accept()
			st.CancelRead(7)
			p.wantIdle("the stream may have ended")
			p.writeCapsule(wtStream{id: 0, data: "cd"})
			p.wantLearned("two capsules", transport.DialectDraft15)
			p.wantCapsule("it has not", capsule.StopSending{StreamID: 0, ErrorCode: 7})
			p.writeCapsule(capsule.ResetStream{StreamID: 0, ErrorCode: 7, ReliableSize: 4})
			p.wantReadError(st, streamError(0, 7, false))
			if got, _ := p.unread(); got != 0 {
				p.Fatalf("%d bytes count as unread", got)
			}
		})
	})
	t.Run("H2-152 stream credit stays right", func(t *testing.T) {
		learning(t, capsule.Draft15, func(p *pupil) {
			p.writeCapsule(wtStream{id: 2, data: "a"}, wtStream{id: 6, data: "b", fin: true})
			x, y := p.acceptUni(), p.acceptUni()
			p.wantRead(x, "a")
			p.wantRead(y, "b")
			p.wantIdle("nothing has ended for sure")
			p.writeCapsule(wtStream{id: 2, data: "c"})
			p.wantReadError(y, io.EOF)
			p.wantCapsule("one has ended", capsule.MaxStreams{Uni: true, MaximumStreams: 3})
			p.writeCapsule(wtStream{id: 2, fin: true})
			p.wantRead(x, "c")
			p.wantReadError(x, io.EOF)
			p.wantCapsule("both have ended", capsule.MaxStreams{Uni: true, MaximumStreams: 4})
			p.writeCapsule(wtStream{id: 14})
			p.wantAlive("the last one of four")
			p.writeCapsule(wtStream{id: 18})
			p.wantViolation("one too many", transport.ViolationFlowControl)
		}, withConfig(transport.Config{MaxIncomingUniStreams: 2}))
	})
	t.Run("H2-142 a window that grew nothing while the end was held back grows again", func(t *testing.T) {
		learning(t, capsule.Draft15, func(p *pupil) {
			p.writeCapsule(wtStream{id: 2, data: strings.Repeat("x", 999)})
			st := p.acceptUni()
			if _, err := io.ReadFull(st, make([]byte, 999)); err != nil {
				p.Fatal(err)
			}
			p.wantIdle("no credit for what may have ended")
			p.writeCapsule(capsule.StreamDataBlocked{StreamID: 2, MaximumStreamData: 1000})
			if c, ok := p.hear().(capsule.MaxStreamData); !ok || c.StreamID != 2 || c.MaximumStreamData < 1999 {
				p.Fatalf("sent %v", c)
			}
		}, withConfig(transport.Config{InitialStreamWindow: 1000}))
	})
}
