package session

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"

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
	withPrograms(t, n, 50, 2050, func(program []byte) { holdWorld(t, program, speak) })
}

func holdWorld(t *testing.T, program []byte, speak tongue) {
	synctest.Test(t, func(t *testing.T) { newWorld(t, program, speak, true).run() })
}

func FuzzPrograms(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(randomProgram(rand.New(rand.NewPCG(seed, 1)), 400))
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) > 4000 {
			return
		}
		holdWorld(t, program, draft15)
	})
}

func randomProgram(rng *rand.Rand, size int) []byte {
	program := make([]byte, size)
	for i := range program {
		program[i] = byte(rng.Uint32())
	}
	return program
}

// withPrograms runs n random programs of least to under most bytes, and logs the
// seed of one that fails.
func withPrograms(t *testing.T, n, least, most int, run func(program []byte)) {
	for range n {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 0))
		program := randomProgram(rng, least+rng.IntN(most-least))
		func() {
			defer func() {
				if t.Failed() {
					t.Logf("seed %#x", seed)
				}
			}()
			run(program)
		}()
	}
}

// fuzzPrograms fuzzes with programs of up to 1000 bytes. The first byte of each
// that it begins with is another one; they grow by step from size.
func fuzzPrograms(f *testing.F, stream, size, step uint64, run func(t *testing.T, program []byte)) {
	for seed := range uint64(16) {
		program := randomProgram(rand.New(rand.NewPCG(seed, stream)), int(size+step*seed))
		program[0] = byte(seed)
		f.Add(program)
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) > 1000 {
			return
		}
		run(t, program)
	})
}
