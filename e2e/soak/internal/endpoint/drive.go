package endpoint

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/towpath-go/towpath/e2e/soak/internal/pattern"
	"github.com/towpath-go/towpath/transport"
)

// Reason is what a session is closed with for a code: nothing, a few words, or as
// much as there may be.
func Reason(session uint64, code uint32) string {
	switch code % 4 {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("soak %d, ünïcode ✓", session)
	case 2:
		return fmt.Sprintf("soak %d", session)
	default:
		return strings.Repeat("soak, and so on. ", 64)[:1024]
	}
}

// Drive does random things until ctx ends or the session does.
func (e *Endpoint) Drive(ctx context.Context) {
	o := &opener{Endpoint: e, rand: e.rand}
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for {
		timer.Reset(time.Duration(float64(e.limits.Think) * min(o.rand.ExpFloat64(), 6)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		case <-e.Done():
			return
		}
		release, ok := e.acquire(ctx)
		if !ok {
			return
		}
		if n := o.rand.IntN(20); n == 0 {
			o.sync()
		} else if n == 1 {
			o.several(2 + o.rand.IntN(7))
		} else {
			o.one()
		}
		release()
	}
}

// several does things side by side.
func (o *opener) several(n int) {
	var all sync.WaitGroup
	for range n {
		side := &opener{Endpoint: o.Endpoint, rand: rand.New(rand.NewPCG(o.rand.Uint64(), 4))}
		all.Go(func() {
			switch side.rand.IntN(3) {
			case 0:
				side.echo(side.header(pattern.Echo, side.size()))
			case 1:
				side.uni(side.header(pattern.Uni, side.size()))
			default:
				side.uni(side.header(pattern.UniAbort, side.size()))
			}
		})
	}
	all.Wait()
}

// Sync tells whether everything that was finished here has been received. Drive
// must have returned.
func (e *Endpoint) Sync() bool {
	return (&opener{Endpoint: e, rand: e.rand}).sync()
}

// AskToClose has the other end close the session.
func (e *Endpoint) AskToClose(code uint32) {
	o := &opener{Endpoint: e, rand: e.rand}
	h := o.header(pattern.CloseSession, 0)
	h.Code = code
	o.ask(h)
	e.waitEnd("it was to be closed by the other end")
}

// AskToDrain has the other end ask for the session to wind down, and waits until
// that has come.
func (e *Endpoint) AskToDrain() {
	o := &opener{Endpoint: e, rand: e.rand}
	o.ask(o.header(pattern.DrainSession, 0))
	timer := time.NewTimer(e.limits.Patience)
	defer timer.Stop()
	select {
	case <-e.Draining():
	case <-e.Done():
	case <-timer.C:
		e.violate("", -1, "the other end asked to drain, and this one was not told for %v", e.limits.Patience)
	}
}

// ask opens a stream that carries nothing but a header.
func (o *opener) ask(h pattern.Header) {
	s, ok := open(o.Endpoint, "OpenStream", o.session.OpenStream)
	if !ok {
		return
	}
	name := label(s.StreamID(), h.Kind)
	if _, err := o.write(s, h, 0, o.rand); err != nil {
		o.outcome(name, 0, err, 0)
		return
	}
	s.Close()
	s.SetReadDeadline(o.deadline())
	if p, err := transport.ReadMessage(s, 1); err != nil {
		o.outcome(name, int64(len(p)), err, 0)
	}
}

func (e *Endpoint) waitEnd(why string) {
	timer := time.NewTimer(e.limits.Patience)
	defer timer.Stop()
	select {
	case <-e.Done():
	case <-timer.C:
		e.violate("", -1, "the session has not ended for %v though %s", e.limits.Patience, why)
		e.Close(1, "", false)
	}
}

// Undrained reports that the other end is winding down and has not said so.
func (e *Endpoint) Undrained() {
	e.violate("", -1, "the server shuts down, and the session was not told to wind down")
}
