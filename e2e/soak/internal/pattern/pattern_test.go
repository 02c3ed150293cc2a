package pattern

import "testing"

func TestFillAndCheck(t *testing.T) {
	k := NewKey(7, 3, false)
	whole := make([]byte, 200)
	k.Fill(whole, 0)
	for begin := range 24 {
		for size := range 40 {
			p := make([]byte, size)
			k.Fill(p, uint64(begin))
			if string(p) != string(whole[begin:begin+size]) {
				t.Fatalf("the bytes from %d on, %d of them, depend on where they begin", begin, size)
			}
			if i, wrong := k.Check(p, uint64(begin)); wrong {
				t.Fatalf("byte %d of %d from %d is said to be wrong", i, size, begin)
			}
			for bad := range size {
				p[bad] ^= 0x40
				if i, wrong := k.Check(p, uint64(begin)); !wrong || i != bad {
					t.Fatalf("wrong byte %d of %d from %d: found %d, %v", bad, size, begin, i, wrong)
				}
				p[bad] ^= 0x40
			}
		}
	}
}

func TestKeysDiffer(t *testing.T) {
	seen := map[Key]bool{}
	for session := range uint64(50) {
		for serial := range uint64(50) {
			for _, server := range []bool{false, true} {
				k := NewKey(session, serial, server)
				if seen[k] {
					t.Fatalf("session %d serial %d has the key of another", session, serial)
				}
				seen[k] = true
			}
		}
	}
	p := make([]byte, 64)
	NewKey(1, 1, false).Fill(p, 0)
	if _, wrong := NewKey(1, 2, false).Check(p, 0); !wrong {
		t.Error("another stream's bytes are taken")
	}
	if _, wrong := NewKey(1, 1, false).Check(p, 8); !wrong {
		t.Error("bytes of another position are taken")
	}
}

func TestHeader(t *testing.T) {
	h := Header{Kind: EchoStop, Server: true, Code: 0x5a000001, Session: 1 << 40, Serial: 17, Length: 1 << 33, At: 99}
	b := h.Append(nil)
	if len(b) != Size {
		t.Fatalf("%d bytes, want %d", len(b), Size)
	}
	if got, ok := Parse(b); !ok || got != h {
		t.Errorf("got %+v, %v", got, ok)
	}
	for i := range 8 {
		bad := append([]byte(nil), b...)
		bad[i] ^= 0xff
		if _, ok := Parse(bad); ok {
			t.Errorf("byte %d changed: taken as a header", i)
		}
	}
	if _, ok := Parse(b[:Size-1]); ok {
		t.Error("a short header was taken")
	}
}
