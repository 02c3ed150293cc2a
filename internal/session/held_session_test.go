package session

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// TestHeldEndWithoutSessionCredit: a peer that has used up the session's credit
// cannot go on either, so that its silence means nothing.
func TestHeldEndWithoutSessionCredit(t *testing.T) {
	full := strings.Repeat("x", 1000)
	window := withConfig(transport.Config{
		MaxIncomingStreams: 1, MaxIncomingUniStreams: 2, InitialStreamWindow: 4000, MaxStreamWindow: 4000,
		InitialSessionWindow: 1000, MaxSessionWindow: 1000,
	})
	more := capsule.MaxData{MaximumData: 2000}
	read := func(p *pupil, st transport.ReceiveStream) {
		p.Helper()
		if _, err := io.ReadFull(st, make([]byte, len(full))); err != nil {
			p.Fatal(err)
		}
	}
	for _, late := range []time.Duration{0, finGrace - 1, time.Hour} {
		t.Run("H2-127 H2-151 a peer of draft 15 goes on when it can, read after "+late.String(), func(t *testing.T) {
			learning(t, capsule.Draft15, func(p *pupil) {
				p.writeCapsule(wtStream{id: 2, data: full})
				st := p.acceptUni()
				time.Sleep(late)
				read(p, st)
				end := runAsync(p.tester, func() error { _, err := io.ReadFull(st, make([]byte, 4)); return err })
				time.Sleep(finGrace)
				end.wantWaiting("no credit was given")
				p.wantCapsule("credit", more)
				time.Sleep(finGrace - 1)
				end.wantWaiting("the grace begins with the credit")
				p.writeCapsule(wtStream{id: 2, data: "rest", fin: true})
				p.wantLearned("two capsules", transport.DialectDraft15)
				p.ok(end.result())
				p.wantReadError(st, io.EOF)
			}, window)
		})
		t.Run("the end of a peer of an older draft, read after "+late.String(), func(t *testing.T) {
			learning(t, capsule.Legacy, func(p *pupil) {
				p.writeCapsule(wtStream{id: 2, data: full, fin: true})
				st := p.acceptUni()
				time.Sleep(late)
				read(p, st)
				p.wantCapsule("credit", more)
				start := time.Now()
				p.wantReadError(st, io.EOF)
				if d := time.Since(start); d != finGrace {
					p.Fatalf("the end came after %v", d)
				}
			}, window)
		})
	}
	t.Run("an end without data waits for nobody's credit", func(t *testing.T) {
		learning(t, capsule.Legacy, func(p *pupil) {
			p.writeCapsule(wtStream{id: 0, data: full}, wtStream{id: 2, fin: true})
			start := time.Now()
			p.wantReadError(p.acceptUni(), io.EOF)
			if d := time.Since(start); d != finGrace {
				p.Fatalf("the end came after %v", d)
			}
		}, window)
	})
	t.Run("a stream that is cancelled returns the session's credit", func(t *testing.T) {
		learning(t, capsule.Legacy, func(p *pupil) {
			p.writeCapsule(wtStream{id: 2, data: full, fin: true})
			p.acceptUni().CancelRead(7)
			p.wantCapsule("credit", more)
			time.Sleep(finGrace)
			p.wantCapsule("its place", capsule.MaxStreams{Uni: true, MaximumStreams: 3})
		}, window)
	})
	t.Run("credit withheld for a rate", func(t *testing.T) {
		learning(t, capsule.Draft15, func(p *pupil) {
			p.writeCapsule(wtStream{id: 2, data: full})
			st := p.acceptUni()
			read(p, st)
			p.wantCapsule("the burst", capsule.MaxData{MaximumData: 1001})
			end := runAsync(p.tester, func() error { _, err := io.ReadFull(st, make([]byte, 5)); return err })
			p.writeCapsule(wtStream{id: 2, data: "x"})
			p.wantLearned("two capsules", transport.DialectDraft15)
			time.Sleep(time.Second)
			end.wantWaiting("the rate is slow")
			p.wantCapsule("the rate", capsule.MaxData{MaximumData: 1002})
		}, window, func(p *Params) { p.Config.IncomingByteRate = transport.Rate{PerSecond: 1, Burst: 1} })
	})
}
