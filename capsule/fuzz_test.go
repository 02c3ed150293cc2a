package capsule

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"
)

// encode turns events back into bytes.
func encode(events []any) []byte {
	var b []byte
	for _, e := range events {
		switch e := e.(type) {
		case *streamEvent:
			b = AppendStreamHeader(b, e.Fin, Draft15, e.ID, e.Size)
			b = append(b, e.Data...)
		case *datagramEvent:
			b = append(AppendDatagramHeader(b, e.Size), e.Data...)
		case *skipEvent:
			b = append(appendHeader(b, e.Type, e.N), make([]byte, e.N)...)
		case Capsule:
			b = e.Append(b)
		}
	}
	return b
}

// FuzzDecoder decodes anything, whole and in random pieces, and encodes what
// came out: that must decode to the same again and be encoded to the same
// bytes.
func FuzzDecoder(f *testing.F) {
	for i, v := range vectors {
		f.Add(unhex(f, v.hex), uint64(i))
	}
	all, _ := allVectors(f)
	f.Add(all, uint64(0))
	f.Add(appendHeader(nil, 0x21, MaxVarint), uint64(1))
	f.Add(appendHeader(nil, TypeMaxData, 1<<32), uint64(2))
	f.Add(withLen(withLen(nil, uint64(TypeDrainSession), 8), 0, 8), uint64(3))
	f.Fuzz(checkDecoder)
}

func checkDecoder(t *testing.T, b []byte, seed uint64) {
	var whole Decoder
	var r recorder
	err := whole.Feed(b, &r)
	r.check(t)
	if cap(whole.value) > 2*(closeCodeLen+MaxCloseMessage) {
		t.Fatalf("%d bytes gathered", cap(whole.value))
	}

	// The way it is cut must not matter, to the events nor to the error.
	var pieces Decoder
	var r2 recorder
	var err2 error
	random := rand.New(rand.NewPCG(seed, 0))
	rest := b
	for len(rest) > 0 && err2 == nil {
		n := 1 + random.IntN(min(len(rest), 1+random.IntN(40)))
		err2 = pieces.Feed(rest[:n], &r2)
		rest = rest[n:]
	}
	r2.check(t)
	if !reflect.DeepEqual(r.events, r2.events) {
		t.Fatalf("in pieces: %s\nwhole: %s", show(r2.events), show(r.events))
	}
	if !reflect.DeepEqual(err, err2) {
		t.Fatalf("in pieces: error %v, whole: %v", err2, err)
	}
	if unread := len(rest) + pieces.Unread(); whole.Unread() != unread || err == nil && whole.Partial() != pieces.Partial() {
		t.Fatalf("in pieces: %d unread, Partial %v; whole: %d, %v", unread, pieces.Partial(), whole.Unread(), whole.Partial())
	}
	var syntax *SyntaxError
	if err != nil && !errors.As(err, &syntax) {
		t.Fatalf("error %v of type %T", err, err)
	}

	// The last event may lack its end.
	events := r.events
	if n := len(events); err == nil && whole.Partial() && n > 0 {
		switch e := events[n-1].(type) {
		case *streamEvent:
			if !e.Done {
				events = events[:n-1]
			}
		case *datagramEvent:
			if !e.Done {
				events = events[:n-1]
			}
		case *skipEvent:
			events = events[:n-1]
		}
	}
	canonical := encode(events)
	var again Decoder
	var r3 recorder
	if err := again.Feed(canonical, &r3); err != nil || again.Partial() {
		t.Fatalf("what was encoded: error %v, Partial %v", err, again.Partial())
	}
	if len(events)+len(r3.events) > 0 && !reflect.DeepEqual(events, r3.events) {
		t.Fatalf("what was encoded: %s\nbefore: %s", show(r3.events), show(events))
	}
	if !bytes.Equal(encode(r3.events), canonical) {
		t.Fatal("the encoding is not stable")
	}
	if len(canonical) > len(b) {
		t.Fatalf("%d bytes encode what came in %d", len(canonical), len(b))
	}
}

// TestDecoderRandom is what FuzzDecoder does, on capsules put together at
// random with integers of random lengths.
func TestDecoderRandom(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 2))
	for range 500 {
		checkDecoder(t, randomCapsules(random), random.Uint64())
	}
}

func randomCapsules(random *rand.Rand) []byte {
	integer := func(b []byte, v uint64) []byte {
		n := VarintLen(v)
		for n < maxVarintLen && random.IntN(3) == 0 {
			n *= 2
		}
		return withLen(b, v, n)
	}
	value := func() uint64 { return random.Uint64() >> (2 + random.IntN(62)) }
	var b []byte
	for range random.IntN(8) {
		typ := TypePadding + Type(random.IntN(13))
		var v []byte
		switch random.IntN(6) {
		case 0:
			typ = TypeCloseSession
			v = bytes.Repeat([]byte{'m'}, 4+random.IntN(1026))
		case 1:
			typ = []Type{TypeDatagram, TypeDrainSession, Type(value())}[random.IntN(3)]
			v = make([]byte, random.IntN(3))
		default:
			for range 1 + random.IntN(3) {
				v = integer(v, value())
			}
		}
		b = integer(b, uint64(typ))
		b = append(integer(b, uint64(len(v))), v...)
	}
	if len(b) > 0 && random.IntN(4) == 0 {
		b = b[:random.IntN(len(b))]
	}
	return b
}

// FuzzVarint compares with a parser that goes bit by bit.
func FuzzVarint(f *testing.F) {
	for _, c := range varints {
		f.Add(unhex(f, c.hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, n := ParseVarint(b)
		if n == 0 {
			if v != 0 || len(b) >= 8 {
				t.Fatalf("ParseVarint(%x) = %d, 0", b, v)
			}
			return
		}
		var want uint64
		for i := 2; i < 8*n; i++ {
			want = want<<1 | uint64(b[i/8]>>(7-i%8)&1)
		}
		if n != []int{1, 2, 4, 8}[b[0]>>6] || v != want {
			t.Fatalf("ParseVarint(%x) = %d, %d; want %d", b, v, n, want)
		}
		if canonical := AppendVarint(nil, v); len(canonical) > n || len(canonical) != VarintLen(v) {
			t.Fatalf("%d takes %d bytes, came in %d", v, len(canonical), n)
		}
	})
}
