package session

import (
	"math/rand/v2"
	"testing"
)

// FuzzDialect has a peer that keeps to one of the readings, and a session that
// does not know which. Every stream arrives exactly, in both directions, or the
// session ends: with a DialectError, or because the peer saw what draft 15
// forbids before the session could know.
func FuzzDialect(f *testing.F) {
	for seed := range uint64(16) {
		rng := rand.New(rand.NewPCG(seed, 2))
		program := make([]byte, 40+10*seed)
		for i := range program {
			program[i] = byte(rng.Uint32())
		}
		program[0] = byte(seed)
		f.Add(program)
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) > 1000 {
			return
		}
		holdParley(t, program)
	})
}

func TestRandomParleys(t *testing.T) {
	for range 500 {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 0))
		program := make([]byte, 10+rng.IntN(300))
		for i := range program {
			program[i] = byte(rng.Uint32())
		}
		func() {
			defer func() {
				if t.Failed() {
					t.Logf("seed %#x", seed)
				}
			}()
			holdParley(t, program)
		}()
	}
}
