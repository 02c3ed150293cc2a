package session

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/towpath-go/towpath/transport"
)

func TestRandomPrograms(t *testing.T) {
	t.Run("H2-113 H2-115 H2-117 H2-123 H2-129 H2-140 H2-145 H2-147 H2-149 random programs keep the sender's rules", func(t *testing.T) {
		runPrograms(t, 600, draft15)
	})
	for _, speak := range []tongue{
		{transport.DialectLegacy, ParityDraft}, {transport.DialectLegacy, ParitySwapped},
		{transport.DialectAuto, ParityDraft}, {transport.DialectAuto, ParitySwapped},
		{transport.DialectDraft15, ParitySwapped},
	} {
		t.Run(fmt.Sprintf("in the dialect %v with parity %d", speak.dialect, speak.parity), func(t *testing.T) {
			runPrograms(t, 100, speak)
		})
	}
}

func runPrograms(t *testing.T, n int, speak tongue) {
	for range n {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 0))
		program := make([]byte, 50+rng.IntN(2000))
		for i := range program {
			program[i] = byte(rng.Uint32())
		}
		func() {
			defer func() {
				if t.Failed() {
					t.Logf("seed %#x", seed)
				}
			}()
			newWorld(t, program, speak).run()
		}()
	}
}

func FuzzPrograms(f *testing.F) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		program := make([]byte, 400)
		for i := range program {
			program[i] = byte(rng.Uint32())
		}
		f.Add(program)
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) > 4000 {
			return
		}
		newWorld(t, program, draft15).run()
	})
}
