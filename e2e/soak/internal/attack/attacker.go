package attack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
	"github.com/towpath-go/towpath/e2e/soak/internal/process"
	"github.com/towpath-go/towpath/e2e/soak/internal/watch"
)

// Attacker is the process of the hostile client.
func Attacker(in io.Reader, out io.Writer) int {
	p := process.Start(ledger.Attacker, in, out)
	t, err := newTarget(p.Begin())
	if err != nil {
		return p.Fail(err)
	}
	p.Emit(ledger.Message{Opened: true})
	for o := range p.Orders {
		switch {
		case o.Attack != nil:
			a, ok := Find(o.Attack.Name)
			if !ok {
				return p.Fail(fmt.Errorf("there is no attack %q", o.Attack.Name))
			}
			done := t.attack(a, o.Attack.For)
			p.Emit(ledger.Message{Attacked: &done})
		case o.Stop:
			p.Emit(ledger.Message{Left: &ledger.Left{Side: p.Side, Usage: watch.Used(p.Side)}})
			return 0
		}
	}
	return 0
}

// attack attacks for a time, and returns what came of it.
func (t *Target) attack(a Attack, d time.Duration) ledger.Attacked {
	before, cpu := t.counts(), watch.Used("").CPU
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var all sync.WaitGroup
	var mu sync.Mutex // guards last
	var last error
	for range a.Loops {
		all.Go(func() { // ends with the time
			for ctx.Err() == nil {
				err := a.run(ctx, t)
				if err != nil && ctx.Err() == nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					mu.Lock()
					last = err
					mu.Unlock()
					wait(ctx)
				}
			}
		})
	}
	all.Wait()
	done := t.counts()
	done.Frames -= before.Frames
	done.Bytes -= before.Bytes
	done.Connections -= before.Connections
	done.Cut -= before.Cut
	done.CPU = watch.Used("").CPU - cpu
	if last != nil {
		done.Err = last.Error()
	}
	return done
}

func (t *Target) counts() ledger.Attacked {
	return ledger.Attacked{Frames: t.frames.Load(), Bytes: t.bytes.Load(), Connections: t.connections.Load(), Cut: t.cut.Load()}
}
