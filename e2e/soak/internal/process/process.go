// Package process is what the processes of a soak have in common: orders come in on
// the standard input, messages go out on the standard output, and the process ends
// when its orders do.
package process

import (
	"context"
	"io"
	"os"
	"sync"
	"time"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
	"github.com/towpath-go/towpath/e2e/soak/internal/watch"
)

// A Process is one of them.
type Process struct {
	Side string
	// Orders are those that are not answered by the Process itself. It is never
	// closed.
	Orders chan ledger.Order
	out    *ledger.Writer
}

// Start begins to read orders. When they end, the process does: what started it
// has gone, however that happened.
func Start(side string, in io.Reader, out io.Writer) *Process {
	p := &Process{Side: side, out: ledger.NewWriter(out), Orders: make(chan ledger.Order)}
	go func() { // ends with the process
		ledger.Lines(in, func(o ledger.Order) bool {
			switch {
			case o.Stacks:
				p.Emit(ledger.Message{Stacks: watch.Stacks()})
			case o.Profile != "":
				if err := watch.Profile(o.Profile); err != nil {
					p.Emit(ledger.Message{Failed: err.Error()})
				}
			default:
				p.Orders <- o
			}
			return true
		})
		os.Exit(0)
	}()
	return p
}

// Emit writes a message.
func (p *Process) Emit(m ledger.Message) {
	if p.out.Write(m) != nil {
		os.Exit(0) // nobody listens any more
	}
}

// Begin waits for the first order, which begins the run.
func (p *Process) Begin() ledger.Begin {
	for o := range p.Orders {
		if o.Begin != nil {
			return *o.Begin
		}
	}
	panic("BUG: soak: orders do not end")
}

// UntilStop waits for the order to stop.
func (p *Process) UntilStop() {
	for o := range p.Orders {
		if o.Stop {
			return
		}
	}
}

// Report emits what counts returns every second and looks at memory now and
// then, until the function that it returns is called.
func (p *Process) Report(s ledger.Settings, counts func() ledger.Counts, account func() int64) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	every := func(period time.Duration, f func()) {
		all.Go(func() { // ends when stopped
			t := time.NewTicker(period)
			defer t.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-t.C:
					f()
				}
			}
		})
	}
	begin := time.Now()
	every(time.Second, func() {
		c := counts()
		p.Emit(ledger.Message{Counts: &c})
	})
	every(s.SampleEvery, func() {
		sample := watch.Sample(p.Side, begin)
		if account != nil {
			sample.Account = account()
		}
		p.Emit(ledger.Message{Sample: &sample})
	})
	return func() { cancel(); all.Wait() }
}

// Fail ends the process with a message.
func (p *Process) Fail(err error) int {
	p.Emit(ledger.Message{Failed: err.Error()})
	return 1
}
