package transporttest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/towpath-go/towpath/transport"
)

var stressCases = []testCase{
	{name: "FW-10 FW-22 many streams of every kind from both sides", both: true, run: testStress},
	{name: "many streams one after the other", run: func(e *env) {
		e.echo(e.b)
		for i := range 500 { // several times the limit on open streams
			x := e.open(e.a)
			p := []byte(fmt.Sprint(i))
			e.write(x, p)
			e.finish(x)
			e.wantRest(x, p)
		}
	}},
}

const (
	stressWorkers = 8
	stressRounds  = 8
	stressSize    = 100 * kib
)

// testStress lets both sides open bidirectional streams that the other side
// echoes, some of them aborted half-way, and send messages and datagrams.
func testStress(e *env) {
	seed := rand.Uint64()
	e.Logf("seed %#x", seed)
	var work []<-chan error
	for i, side := range [][2]transport.Session{{e.a, e.b}, {e.b, e.a}} {
		from, to := side[0], side[1]
		e.echoBidi(to)
		for w := range stressWorkers {
			rng := rand.New(rand.NewPCG(seed, uint64(i*stressWorkers+w)))
			work = append(work, async(e, func() error {
				for round := range stressRounds {
					if err := stressStream(e, from, rng); err != nil {
						return fmt.Errorf("side %d, worker %d, round %d: %w", i, w, round, err)
					}
				}
				return nil
			}))
		}
		work = append(work, async(e, func() error { return receiveMessages(to, stressWorkers) }))
		for w := range stressWorkers {
			rng := rand.New(rand.NewPCG(seed, uint64(1000+i*stressWorkers+w)))
			work = append(work, async(e, func() error {
				m := pattern(byte(w), rng.IntN(stressSize))
				return transport.SendMessage(context.Background(), from, append(sum(m), m...))
			}))
		}
		work = append(work, async(e, func() error {
			for range 200 { // most are dropped: nobody receives
				if err := from.SendDatagram(make([]byte, 100)); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	for _, w := range work {
		if err := <-w; err != nil {
			e.Error(err)
		}
	}
}

func sum(p []byte) []byte {
	h := sha256.Sum256(p)
	return h[:]
}

// stressStream sends bytes in portions of random size and compares what comes
// back, or aborts and expects the echo's abort.
func stressStream(e *env, s transport.Session, rng *rand.Rand) error {
	st, err := s.OpenStream(context.Background())
	if err != nil {
		return err
	}
	p := pattern(byte(rng.Uint32()), rng.IntN(stressSize))
	abort := rng.IntN(4) == 0
	code := transport.StreamErrorCode(rng.Uint32())
	want := sum(p)
	if abort {
		p = p[:rng.IntN(len(p)+1)]
	}
	portion := 1 + rng.IntN(20*kib)
	sent := async(e, func() error {
		for rest := p; len(rest) > 0; {
			n, err := st.Write(rest[:min(portion, len(rest))])
			if err != nil {
				return err
			}
			rest = rest[n:]
		}
		if abort {
			st.CancelWrite(code)
			return nil
		}
		return st.Close()
	})
	h := sha256.New()
	n, err := io.Copy(h, st)
	if err := <-sent; err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	if abort {
		if se, ok := errors.AsType[*transport.StreamError](err); !ok || se.Code != code || !se.Remote {
			return fmt.Errorf("aborted with %d, the echo ended with %w", code, err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("after %d of %d bytes: %w", n, len(p), err)
	}
	if !bytes.Equal(h.Sum(nil), want) {
		return fmt.Errorf("%d bytes came back, not those %d that were sent", n, len(p))
	}
	return nil
}

// receiveMessages receives n messages, each of which begins with its hash.
func receiveMessages(s transport.Session, n int) error {
	for range n {
		p, err := transport.ReceiveMessage(context.Background(), s, stressSize+sha256.Size)
		if err != nil {
			return err
		}
		if len(p) < sha256.Size || !bytes.Equal(p[:sha256.Size], sum(p[sha256.Size:])) {
			return fmt.Errorf("a message of %d bytes is not what was sent", len(p))
		}
	}
	return nil
}
