package capsule

import (
	"bytes"
	"fmt"
	"testing"
)

// varints has the examples of RFC 9000 section A.1 and the borders.
var varints = []struct {
	hex string
	v   uint64
}{
	{"c2 19 7c 5e ff 14 e8 8c", 151288809941952652},
	{"9d 7f 3e 7d", 494878333},
	{"7b bd", 15293},
	{"25", 37},
	{"00", 0},
	{"3f", 63},
	{"40 40", 64},
	{"7f ff", 16383},
	{"80 00 40 00", 16384},
	{"bf ff ff ff", 1<<30 - 1},
	{"c0 00 00 00 40 00 00 00", 1 << 30},
	{"ff ff ff ff ff ff ff ff", MaxVarint},
}

func TestVarint(t *testing.T) {
	for _, c := range varints {
		t.Run(c.hex, func(t *testing.T) {
			want := unhex(t, c.hex)
			if got := AppendVarint([]byte{1}, c.v); !bytes.Equal(got[1:], want) || got[0] != 1 {
				t.Errorf("appended %x, want %x", got[1:], want)
			}
			if got := VarintLen(c.v); got != len(want) {
				t.Errorf("VarintLen = %d, want %d", got, len(want))
			}
			if v, n := ParseVarint(append(want, 0xff)); v != c.v || n != len(want) {
				t.Errorf("parsed %d from %d bytes, want %d from %d", v, n, c.v, len(want))
			}
			for i := range want {
				if _, n := ParseVarint(want[:i]); n != 0 {
					t.Errorf("parsed from the first %d bytes", i)
				}
			}
		})
	}
	t.Run("H2-094 longer encodings than needed", func(t *testing.T) {
		for _, s := range []string{"25", "40 25", "80 00 00 25", "c0 00 00 00 00 00 00 25"} {
			b := unhex(t, s)
			if v, n := ParseVarint(b); v != 37 || n != len(b) {
				t.Errorf("%s: parsed %d from %d bytes, want 37", s, v, n)
			}
		}
	})
	t.Run("more than 62 bits panic", func(t *testing.T) {
		for name, f := range map[string]func(){
			"AppendVarint": func() { AppendVarint(nil, MaxVarint+1) },
			"VarintLen":    func() { VarintLen(MaxVarint + 1) },
		} {
			wantPanic(t, name, f)
		}
	})
}

func wantPanic(t testing.TB, what string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if recover() == nil {
			t.Errorf("%s did not panic", what)
		}
	}()
	f()
}

// withLen encodes v in n bytes: 1, 2, 4 or 8.
func withLen(b []byte, v uint64, n int) []byte {
	prefix := map[int]byte{1: 0, 2: 1, 4: 2, 8: 3}[n]
	for i := n - 1; i >= 0; i-- {
		c := byte(v >> (8 * i))
		if i == n-1 {
			if c >= 0x40 {
				panic(fmt.Sprintf("%d does not fit %d bytes", v, n))
			}
			c |= prefix << 6
		}
		b = append(b, c)
	}
	return b
}
