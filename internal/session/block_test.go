package session

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/block"
	"github.com/towpath-go/towpath/transport"
)

// inBlocks gives p to a session as HTTP/2 does, in blocks, and overwrites those
// that the session has not kept.
func inBlocks(s *Session, p []byte) {
	for len(p) > 0 {
		b := block.Get()
		n := copy(b[:], p)
		p = p[n:]
		if !s.DataBlock(b, b[:n]) {
			for i := range b {
				b[i] = 0xee
			}
			block.Put(b)
		}
	}
}

// writeBlock gives one block to the session, the capsules at offset, and reports
// whether it was kept.
func (t *tester) writeBlock(offset int, cs ...any) bool {
	t.Helper()
	b := block.Get()
	n := copy(b[offset:], t.encode(cs...))
	return t.s.DataBlock(b, b[offset:offset+n])
}

func TestBlocks(t *testing.T) {
	const most = block.Size - 100
	full := strings.Repeat("0123456789", most/10)
	read := func(t *tester, r transport.ReceiveStream, want string) {
		t.Helper()
		got := make([]byte, len(want)+1)
		n := 0
		for n < len(want) {
			m, err := r.Read(got[n:])
			t.ok(err)
			n += m
		}
		if string(got[:n]) != want {
			t.Fatalf("read %d bytes that differ from the %d sent", n, len(want))
		}
	}
	held := func(t *tester, why string, want int) {
		t.Helper()
		if t.s.held != want {
			t.Fatalf("%s: %d bytes are held, want %d", why, t.s.held, want)
		}
	}
	t.Run("a full block is kept, counted, and given back", func(t *testing.T) {
		bubble(t, func(t *tester) {
			for _, offset := range []int{0, 50} {
				if !t.writeBlock(offset, wtStream{id: 2, data: full}) {
					t.Fatal("a full block was copied")
				}
			}
			held(t, "two blocks", 2*block.Size)
			st := t.acceptUni()
			read(t, st, full+full)
			held(t, "all is read", 0)
		})
	})
	t.Run("bytes go behind what a kept block has", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeBlock(0, wtStream{id: 2, data: full})
			t.writeCapsule(wtStream{id: 2, data: "and more"})
			held(t, "in its room", block.Size)
			read(t, t.acceptUni(), full+"and more")
		})
	})
	t.Run("a block is copied if keeping it would waste memory", func(t *testing.T) {
		bubble(t, func(t *tester) {
			if t.writeBlock(0, wtStream{id: 2, data: full[:block.Size-keepRest-1]}) {
				t.Error("one that is not full enough")
			}
			if t.writeBlock(0, wtStream{id: 6, data: full[:block.Size-keepRest]}) != true {
				t.Error("one that is just full enough was copied")
			}
		})
	})
	t.Run("what is before a kept block does not hold room without use", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(wtStream{id: 2, data: full[:5000]}) // in a large chunk
			t.writeBlock(0, wtStream{id: 2, data: full})
			held(t, "5000 bytes are left where they are", 2*block.Size)
			t.writeCapsule(wtStream{id: 2, data: full[:200]}) // fills the block, and begins a large chunk
			held(t, "the third", 3*block.Size)
			t.writeBlock(0, wtStream{id: 2, data: full})
			held(t, "the rest of it is moved", 3*block.Size+chunkSmall)
			read(t, t.acceptUni(), full[:5000]+full+full[:200]+full)
		})
	})
	t.Run("a block is copied if more than stream data is in it", func(t *testing.T) {
		bubble(t, func(t *tester) {
			if t.writeBlock(0, wtStream{id: 2, data: full}, capsule.DataBlocked{MaximumData: 1}) {
				t.Error("another capsule follows")
			}
			if !t.writeBlock(0, capsule.StreamDataBlocked{StreamID: 2, MaximumStreamData: 1}, wtStream{id: 2, data: full}) {
				t.Error("nothing follows, and it was copied")
			}
			read(t, t.acceptUni(), full+full)
		})
	})
	t.Run("a block for nobody is not kept", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(wtStream{id: 2, data: "x"})
			st := t.acceptUni()
			st.CancelRead(1)
			if t.writeBlock(0, wtStream{id: 2, data: full}) {
				t.Error("of a stream that is not read any more")
			}
			held(t, "nothing", 0)
			t.s.Lost(errors.New("lost"))
			if t.writeBlock(0, wtStream{id: 6, data: full}) {
				t.Error("of a session that is over")
			}
			held(t, "nothing at the end", 0)
		})
	})
	t.Run("unread blocks go with a reset", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeBlock(0, wtStream{id: 2, data: full})
			t.writeCapsule(capsule.ResetStream{StreamID: 2, ErrorCode: 7, ReliableSize: uint64(len(full))})
			held(t, "after the reset", 0)
		})
	})
	t.Run("keeping blocks allocates nothing", func(t *testing.T) {
		if raceDetector {
			t.Skip("the race detector has pools drop what they are given")
		}
		script(t, func(t *tester) {
			t.writeCapsule(wtStream{id: 2, data: "x"})
			st := t.acceptUni()
			p := make([]byte, block.Size)
			st.Read(p)
			encoded := t.encode(wtStream{id: 2, data: full})
			cycle := func() {
				b := block.Get()
				if !t.s.DataBlock(b, b[:copy(b[:], encoded)]) {
					t.Fatal("copied")
				}
				st.Read(p)
				t.s.Fill(t.dst)
			}
			if n := testing.AllocsPerRun(1000, cycle); n != 0 {
				t.Fatalf("%v allocations", n)
			}
		})
	})
}

// TestBufferIsAQueue compares a buffer with the bytes that were put into it.
func TestBufferIsAQueue(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 100 {
		var b buffer
		var want []byte
		next := byte(0)
		fill := func(p []byte) []byte {
			for i := range p {
				p[i] = next
				next++
			}
			want = append(want, p...)
			return p
		}
		for range 100 {
			switch rnd.IntN(4) {
			case 0:
				b.write(fill(make([]byte, rnd.IntN(1+1<<rnd.IntN(17)))))
			case 1:
				blk, copied := block.Get(), len(want)
				from := rnd.IntN(2 * keepRest)
				p := fill(blk[from : block.Size-rnd.IntN(2*keepRest)])
				if !b.keep(blk, p) {
					want = want[:copied]
					next -= byte(len(p))
					block.Put(blk)
				}
			default:
				p := make([]byte, rnd.IntN(1+1<<rnd.IntN(18)))
				n := b.read(p)
				if n != min(len(p), len(want)) || !bytes.Equal(p[:n], want[:n]) {
					t.Fatalf("read %d of %d bytes, or they differ", n, len(want))
				}
				want = want[n:]
			}
			if b.n != len(want) {
				t.Fatalf("%d bytes, want %d", b.n, len(want))
			}
			if most := len(want)*7/4 + 2*chunkLarge; b.held > most || b.n == 0 && b.held != 0 {
				t.Fatalf("%d bytes of memory for %d, more than %d", b.held, b.n, most)
			}
		}
		if n := b.discard(); n != len(want) || b.held != 0 {
			t.Fatalf("discarded %d of %d, %d held", n, len(want), b.held)
		}
	}
}

func TestGrowthOnShortPaths(t *testing.T) {
	for _, c := range []struct {
		name  string
		rtt   time.Duration
		every time.Duration // in which a quarter of the window is read
		grows bool
	}{
		{"a path that is not measured", 0, 0, false},
		{"half a window in less than the least round-trip time", 10 * time.Microsecond, leastRTT/2 - 1, true},
		{"no more than that", 10 * time.Microsecond, leastRTT / 2, false},
		{"half a window in less than a long round-trip time", 8 * time.Millisecond, 4*time.Millisecond - 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *tester) {
				t.carrier.rtt = c.rtt
				var st transport.ReceiveStream
				p := make([]byte, 1000)
				for i := range 4 {
					time.Sleep(c.every)
					t.writeCapsule(wtStream{id: 2, data: string(p)})
					if i == 0 {
						st = t.acceptUni()
					}
					st.Read(p)
					t.hear()
				}
				if grown := t.s.streams[2].recv.win.Window() > 4000; grown != c.grows {
					t.Errorf("grown: %v", grown)
				}
			}, withConfig(transport.Config{InitialStreamWindow: 4000}))
		})
	}
}
