package capsule

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"testing"
)

// allVectors is every vector one after the other, and what they decode to.
func allVectors(t testing.TB) (b []byte, events []any) {
	for _, v := range vectors {
		b = append(b, unhex(t, v.hex)...)
		events = append(events, v.event)
	}
	return b, events
}

func TestSplits(t *testing.T) {
	t.Run("H2-093 every vector split at every point", func(t *testing.T) {
		for _, v := range vectors {
			b := unhex(t, v.hex)
			for i := range len(b) + 1 {
				for j := i; j <= len(b); j++ {
					var d Decoder
					var r recorder
					for _, p := range [][]byte{b[:i], b[i:j], b[j:]} {
						if err := d.Feed(p, &r); err != nil {
							t.Fatalf("%s split at %d and %d: %v", v.name, i, j, err)
						}
					}
					r.check(t)
					if !reflect.DeepEqual(r.events, []any{v.event}) {
						t.Errorf("%s split at %d and %d: %s", v.name, i, j, show(r.events))
					}
				}
			}
		}
	})
	t.Run("H2-093 all capsules in pieces of every size", func(t *testing.T) {
		b, want := allVectors(t)
		for size := 1; size <= len(b); size++ {
			var d Decoder
			var r recorder
			for rest := b; len(rest) > 0; {
				n := min(size, len(rest))
				// What the Decoder keeps must not be the caller's bytes.
				p := bytes.Clone(rest[:n])
				if err := d.Feed(p, &r); err != nil {
					t.Fatalf("pieces of %d: %v", size, err)
				}
				clear(p)
				rest = rest[n:]
			}
			r.check(t)
			if !reflect.DeepEqual(r.events, want) {
				t.Errorf("pieces of %d: %s", size, show(r.events))
			}
		}
	})
	t.Run("H2-095 data is handed on as it arrives", func(t *testing.T) {
		const size = 10 << 20
		for _, header := range [][]byte{
			AppendStreamHeader(nil, true, Draft15, 0, size),
			AppendDatagramHeader(nil, size),
		} {
			var d Decoder
			var r recorder
			if err := d.Feed(header, &r); err != nil {
				t.Fatal(err)
			}
			piece := make([]byte, 64<<10)
			for i := range size / len(piece) {
				if r.pieces != i {
					t.Fatalf("%d pieces delivered after %d arrived", r.pieces, i)
				}
				if !d.Partial() {
					t.Fatal("complete before the last piece")
				}
				if err := d.Feed(piece, &r); err != nil {
					t.Fatal(err)
				}
			}
			r.check(t)
			if d.Partial() || cap(d.value) > 0 {
				t.Errorf("Partial = %v, %d bytes gathered", d.Partial(), cap(d.value))
			}
		}
	})
}

func TestPartial(t *testing.T) {
	t.Run("H2-092 every truncation of every capsule is inside of it", func(t *testing.T) {
		for _, v := range vectors {
			b := unhex(t, v.hex)
			for i := range b {
				var d Decoder
				var r recorder
				if err := d.Feed(b[:i], &r); err != nil {
					t.Fatalf("%s cut at %d: %v", v.name, i, err)
				}
				if got, want := d.Partial(), i > 0; got != want {
					t.Errorf("%s cut at %d: Partial = %v, want %v", v.name, i, got, want)
				}
				// Nothing may look complete that is not.
				for _, e := range r.events {
					switch e := e.(type) {
					case *streamEvent:
						if e.Done {
							t.Errorf("%s cut at %d: %s", v.name, i, show(r.events))
						}
					case *datagramEvent:
						if e.Done {
							t.Errorf("%s cut at %d: %s", v.name, i, show(r.events))
						}
					case Capsule:
						t.Errorf("%s cut at %d: %s", v.name, i, show(r.events))
					}
				}
			}
		}
	})
	t.Run("H2-092 inside of what is skipped", func(t *testing.T) {
		for _, b := range [][]byte{
			{0x21, 0x02, 0x00},                   // an unknown type
			{0x00, 0x02, 0x68},                   // a refused datagram
			{0x99, 0x0b, 0x4d, 0x38, 0x02, 0x00}, // PADDING
		} {
			var d Decoder
			if err := d.Feed(b, &recorder{refuse: true}); err != nil || !d.Partial() {
				t.Errorf("%x: error %v, Partial %v, want true", b, err, d.Partial())
			}
			if err := d.Feed([]byte{0}, &recorder{refuse: true}); err == nil && d.Partial() {
				t.Errorf("%x and one more byte: still Partial", b)
			}
		}
	})
}

func TestUnknownTypes(t *testing.T) {
	t.Run("H2-090 H3-065 skipped whatever they hold", func(t *testing.T) {
		for _, typ := range []Type{0x01, 0x21, 0x2844, 0x190B4D37, 0x190B4D45, 0x190B4D46, MaxVarint} {
			for _, n := range []int{0, 1, 1000} {
				b := appendHeader(nil, typ, uint64(n))
				b = append(b, bytes.Repeat([]byte{0x99}, n)...)
				b = DrainSession{}.Append(b)
				var d Decoder
				want := []any{&skipEvent{typ, uint64(n)}, DrainSession{}}
				if got := decode(t, &d, b); !reflect.DeepEqual(got, want) {
					t.Errorf("%v of %d bytes: %s", typ, n, show(got))
				}
			}
		}
	})
	t.Run("H2-090 a length of 2^40 is streamed through without buffering", func(t *testing.T) {
		const size, pieces = 1 << 20, 1 << 20
		const length = uint64(size) * pieces
		var d Decoder
		var r recorder
		if err := d.Feed(appendHeader(nil, 0x21, length), &r); err != nil {
			t.Fatal(err)
		}
		piece := make([]byte, size)
		for range pieces {
			if err := d.Feed(piece, &r); err != nil {
				t.Fatal(err)
			}
		}
		if d.Partial() || cap(d.value) > 0 {
			t.Errorf("Partial = %v, %d bytes gathered", d.Partial(), cap(d.value))
		}
		if err := d.Feed(DrainSession{}.Append(nil), &r); err != nil {
			t.Fatal(err)
		}
		r.check(t)
		if want := []any{&skipEvent{0x21, length}, DrainSession{}}; !reflect.DeepEqual(r.events, want) {
			t.Errorf("got %s, want %s", show(r.events), show(want))
		}
	})
	t.Run("H2-090 H2-171 the greatest length of what has no maximum", func(t *testing.T) {
		for name, header := range map[string][]byte{
			"unknown":   appendHeader(nil, 0x21, MaxVarint),
			"PADDING":   appendHeader(nil, TypePadding, MaxVarint),
			"DATAGRAM":  AppendDatagramHeader(nil, MaxVarint),
			"WT_STREAM": AppendStreamHeader(nil, true, Draft15, 0, MaxVarint-1),
		} {
			var d Decoder
			r := recorder{refuse: true}
			if err := d.Feed(append(header, make([]byte, 100)...), &r); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if !d.Partial() || len(r.events) != 1 || cap(d.value) > 0 {
				t.Errorf("%s: Partial = %v, events %s, %d bytes gathered", name, d.Partial(), show(r.events), cap(d.value))
			}
		}
	})
	t.Run("H2-098 PADDING may hold anything", func(t *testing.T) {
		b := append(appendHeader(nil, TypePadding, 3), 1, 2, 3)
		var d Decoder
		if got := decode(t, &d, b); !reflect.DeepEqual(got, []any{&skipEvent{TypePadding, 3}}) {
			t.Errorf("got %s", show(got))
		}
	})
	t.Run("H2-171 a refused datagram is skipped unseen", func(t *testing.T) {
		b := append(AppendDatagramHeader(nil, 3), 1, 2, 3)
		b = append(b, 0x00, 0x00)
		b = DrainSession{}.Append(b)
		for size := 1; size <= len(b); size++ {
			var d Decoder
			r := recorder{refuse: true}
			for rest := b; len(rest) > 0; rest = rest[min(size, len(rest)):] {
				if err := d.Feed(rest[:min(size, len(rest))], &r); err != nil {
					t.Fatal(err)
				}
			}
			r.check(t)
			if want := []any{&refusedEvent{3}, &refusedEvent{0}, DrainSession{}}; !reflect.DeepEqual(r.events, want) {
				t.Errorf("pieces of %d: %s", size, show(r.events))
			}
		}
	})
}

func TestNonMinimal(t *testing.T) {
	t.Run("H2-094 every integer in every length", func(t *testing.T) {
		lens := []int{1, 2, 4, 8}
		for _, typeLen := range []int{4, 8} {
			for _, lengthLen := range lens {
				for _, idLen := range lens {
					for _, vLen := range lens {
						value := withLen(withLen(nil, 7, idLen), 9, vLen)
						b := withLen(nil, uint64(TypeMaxStreamData), typeLen)
						b = append(withLen(b, uint64(len(value)), lengthLen), value...)
						data := append(withLen(nil, 5, idLen), "hi"...)
						b = withLen(b, uint64(TypeStreamFin), typeLen)
						b = append(withLen(b, uint64(len(data)), lengthLen), data...)
						b = withLen(b, 0, typeLen) // DATAGRAM
						b = append(withLen(b, 1, lengthLen), 'd')
						want := []any{MaxStreamData{7, 9}, &streamEvent{5, true, 2, "hi", true}, &datagramEvent{1, "d", true}}
						var whole, bytewise Decoder
						if got := decode(t, &whole, b); !reflect.DeepEqual(got, want) {
							t.Errorf("%x: %s", b, show(got))
						}
						var r recorder
						for i := range b {
							if err := bytewise.Feed(b[i:i+1], &r); err != nil {
								t.Fatalf("%x: %v", b, err)
							}
						}
						if !reflect.DeepEqual(r.events, want) {
							t.Errorf("%x byte by byte: %s", b, show(r.events))
						}
					}
				}
			}
		}
	})
	t.Run("H2-094 H2-099 DRAIN with the length 0 in 8 bytes", func(t *testing.T) {
		var d Decoder
		b := withLen(withLen(nil, uint64(TypeDrainSession), 8), 0, 8)
		if got := decode(t, &d, b); !reflect.DeepEqual(got, []any{DrainSession{}}) {
			t.Errorf("got %s", show(got))
		}
	})
}

// TestHTTP3 has what the HTTP/3 side does not know.
func TestHTTP3(t *testing.T) {
	t.Run("H3-065 capsules of HTTP/2 alone are unknown types", func(t *testing.T) {
		for _, typ := range []Type{TypeStream, TypeStreamFin, TypeResetStream, TypeStopSending} {
			for _, n := range []int{0, 1, 5000} {
				d := Decoder{HTTP3: true}
				got := decode(t, &d, append(appendHeader(nil, typ, uint64(n)), make([]byte, n)...))
				if !reflect.DeepEqual(got, []any{&skipEvent{typ, uint64(n)}}) {
					t.Errorf("%v of %d bytes: %s", typ, n, show(got))
				}
			}
		}
	})
	t.Run("the forbidden ones are delivered", func(t *testing.T) {
		d := Decoder{HTTP3: true}
		b := StreamDataBlocked{4, 5}.Append(MaxStreamData{1, 2}.Append(nil))
		if got := decode(t, &d, b); !reflect.DeepEqual(got, []any{MaxStreamData{1, 2}, StreamDataBlocked{4, 5}}) {
			t.Errorf("got %s", show(got))
		}
	})
}

// failing is a Handler whose methods fail, one of them.
type failing struct {
	method string
	err    error
}

func (f *failing) fail(method string) error {
	if method == f.method {
		return f.err
	}
	return nil
}
func (f *failing) Stream(uint64, bool, uint64) error { return f.fail("Stream") }
func (f *failing) StreamData(p []byte, _ bool) error { return f.fail("StreamData") }
func (f *failing) Datagram(uint64) (bool, error)     { return true, f.fail("Datagram") }
func (f *failing) DatagramData([]byte, bool) error   { return f.fail("DatagramData") }
func (f *failing) Control(c Capsule) error           { return f.fail("Control") }
func (f *failing) Skipped(_ Type, n uint64) error    { return f.fail(fmt.Sprintf("Skipped %d", n)) }

func TestHandlerErrors(t *testing.T) {
	mine := errors.New("mine")
	for _, c := range []struct {
		method, hex string
		unread      int
	}{
		{"Stream", "99 0b 4d 3c 03 00 68 69", 2},
		{"StreamData", "99 0b 4d 3c 03 00 68 69", 0},
		{"StreamData", "99 0b 4d 3b 01 00", 0},
		{"Datagram", "00 02 68 69", 2},
		{"DatagramData", "00 02 68 69", 0},
		{"DatagramData", "00 00", 0},
		{"Control", "99 0b 4d 3d 01 05", 0},
		{"Control", "80 00 78 ae 00", 0},
		{"Skipped 0", "21 02 00 00", 2},
		{"Skipped 2", "21 02 00 00", 0},
	} {
		t.Run(c.method+" "+c.hex, func(t *testing.T) {
			// What follows must not be looked at, although it is malformed.
			const behind = 7
			b := append(unhex(t, c.hex), 0x80, 0x00, 0x78, 0xae, 0x01, 0x00, 0x00)
			h := &failing{method: c.method, err: mine}
			var d Decoder
			if err := d.Feed(b, h); err != mine {
				t.Fatalf("Feed: %v, want the handler's error", err)
			}
			if got := d.Unread(); got != c.unread+behind {
				t.Errorf("Unread = %d, want %d", got, c.unread+behind)
			}
			if err := d.Feed([]byte{1, 2, 3}, &recorder{}); err != mine {
				t.Errorf("second Feed: %v, want the same error", err)
			}
			if d.Unread() != 3 {
				t.Errorf("Unread = %d after the second Feed, want 3", d.Unread())
			}
		})
	}
	t.Run("no error, nothing unread", func(t *testing.T) {
		var d Decoder
		decode(t, &d, []byte{0x21, 0x02, 0x00})
		if d.Unread() != 0 {
			t.Errorf("Unread = %d", d.Unread())
		}
	})
}
