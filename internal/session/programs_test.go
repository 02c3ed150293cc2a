package session

import (
	"math/rand/v2"
	"testing"
)

func TestRandomPrograms(t *testing.T) {
	const n = 600
	t.Run("H2-113 H2-115 H2-117 H2-123 H2-129 H2-140 H2-145 H2-147 H2-149 random programs keep the sender's rules", func(t *testing.T) {
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
				newWorld(t, program).run()
			}()
		}
	})
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
		newWorld(t, program).run()
	})
}
