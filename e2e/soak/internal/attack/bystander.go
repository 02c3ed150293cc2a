package attack

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
	"github.com/towpath-go/towpath/e2e/soak/internal/peers"
	"github.com/towpath-go/towpath/e2e/soak/internal/process"
	"github.com/towpath-go/towpath/e2e/soak/internal/watch"
	"github.com/towpath-go/towpath/transport"
)

const (
	period     = 4 * time.Millisecond // between two echoes of a session
	patience   = 5 * time.Second      // that an echo has
	neighbours = 20                   // sessions beside the pooled one
)

// Bystander is the process of the client that is measured.
func Bystander(in io.Reader, out io.Writer) int {
	p := process.Start(ledger.Bystander, in, out)
	begin := p.Begin()
	way := begin.Settings.Transports[0]
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	own, end, err := peers.Sessions(ctx, begin, way, 1)
	if err != nil {
		return p.Fail(fmt.Errorf("the bystander's session: %w", err))
	}
	defer end()
	watched := []*probe{{session: own[0]}}
	pool := map[string]string{ledger.WS: ledger.WSH2}[way]
	if pool == "" {
		pool = way
	}
	many, end, err := peers.Sessions(ctx, begin, pool, 1+neighbours)
	if err != nil {
		return p.Fail(fmt.Errorf("the bystander's pool of sessions: %w", err))
	}
	defer end()
	watched = append(watched, &probe{session: many[neighbours/2]})
	for _, w := range watched {
		if w.stream, err = w.session.OpenStream(ctx); err != nil {
			return p.Fail(err)
		}
	}
	p.Emit(ledger.Message{Opened: true})
	for o := range p.Orders {
		switch {
		case o.Measure > 0:
			l := measure(watched, o.Measure)
			p.Emit(ledger.Message{Latency: &l})
		case o.Usage:
			u := watch.Used(p.Side)
			p.Emit(ledger.Message{Usage: &u})
		case o.Stop:
			for _, w := range watched {
				w.session.CloseWithError(0, "")
			}
			p.Emit(ledger.Message{Left: &ledger.Left{Side: p.Side, Usage: watch.Used(p.Side)}})
			return 0
		}
	}
	return 0
}

// A probe is a session on which echoes are timed.
type probe struct {
	session transport.Session
	stream  transport.Stream
}

// measure times echoes on all of them, side by side.
func measure(probes []*probe, d time.Duration) ledger.Latency {
	var l ledger.Latency
	times := make([][]float64, len(probes))
	broken := make([]error, len(probes))
	var all sync.WaitGroup
	for i, p := range probes {
		all.Go(func() { times[i], broken[i] = p.measure(d, time.Duration(i)*period/2) })
	}
	all.Wait()
	l.Own, l.Pooled = times[0], times[1]
	for i, err := range broken {
		if err != nil {
			l.Broken = fmt.Sprintf("%s session: %v", []string{"own", "pooled"}[i], err)
		}
	}
	return l
}

// measure returns milliseconds. An echo that comes late holds up those that were
// due meanwhile, and their times tell that.
func (p *probe) measure(d, offset time.Duration) (ms []float64, err error) {
	var b [32]byte
	begin := time.Now().Add(offset)
	for due := begin; due.Sub(begin) < d; due = due.Add(period) {
		time.Sleep(time.Until(due))
		p.stream.SetDeadline(time.Now().Add(patience))
		if _, err = p.stream.Write(b[:]); err == nil {
			_, err = io.ReadFull(p.stream, b[:])
		}
		if err != nil {
			return ms, err
		}
		ms = append(ms, float64(time.Since(due).Microseconds())/1000)
	}
	return ms, nil
}
