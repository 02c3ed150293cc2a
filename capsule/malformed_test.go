package capsule

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// feedBytes feeds b byte by byte until an error, and returns it with the number
// of bytes that it took.
func feedBytes(d *Decoder, b []byte, h Handler) (int, error) {
	for i := range b {
		if err := d.Feed(b[i:i+1], h); err != nil {
			return i + 1, err
		}
	}
	return len(b), nil
}

// fixed has one value for each type with a fixed layout.
var fixed = []Capsule{
	ResetStream{StreamID: 1000, ErrorCode: 1 << 20, ReliableSize: 5},
	StopSending{1000, 7},
	MaxData{1 << 40},
	MaxStreamData{1000, 1 << 20},
	MaxStreams{false, 100},
	MaxStreams{true, 100},
	DataBlocked{1 << 40},
	StreamDataBlocked{1000, 1 << 20},
	StreamsBlocked{false, 100},
	StreamsBlocked{true, 100},
}

func TestMalformed(t *testing.T) {
	t.Run("H2-091 H3-065 one byte too few or too many for the fields", func(t *testing.T) {
		for _, c := range fixed {
			value := c.appendValue(nil)
			_, longest, _ := c.Type().valueRange()
			for _, v := range [][]byte{
				value[:len(value)-1],
				append(bytes.Clone(value), 0),
				append(bytes.Clone(value), 0x40), // begins an integer
				value[:0],
			} {
				b := append(appendHeader(nil, c.Type(), uint64(len(v))), v...)
				var d, bytewise Decoder
				var r recorder
				wantSyntaxError(t, d.Feed(b, &r), c.Type(), FaultMalformed)
				_, err := feedBytes(&bytewise, b, &r)
				wantSyntaxError(t, err, c.Type(), FaultMalformed)
				if len(r.events) > 0 {
					t.Errorf("%x: delivered %s", b, show(r.events))
				}
				if uint64(len(v)) <= longest {
					_, err := Parse(c.Type(), v)
					wantSyntaxError(t, err, c.Type(), FaultMalformed)
				}
			}
		}
	})
	t.Run("H2-091 WT_STREAM too short for its Stream ID", func(t *testing.T) {
		for _, typ := range []Type{TypeStream, TypeStreamFin} {
			for _, dialect := range []Dialect{Draft15, Legacy} {
				for _, idLen := range []int{1, 2, 4, 8} {
					for length := range idLen {
						b := withLen(appendHeader(nil, typ, uint64(length)), 3, idLen)
						d, bytewise := Decoder{Dialect: dialect}, Decoder{Dialect: dialect}
						var r recorder
						wantSyntaxError(t, d.Feed(b, &r), typ, FaultMalformed)
						_, err := feedBytes(&bytewise, b, &r)
						wantSyntaxError(t, err, typ, FaultMalformed)
						if len(r.events) > 0 {
							t.Errorf("%x: delivered %s", b, show(r.events))
						}
					}
				}
			}
		}
	})
	t.Run("H2-096 a Length above the maximum is refused with the header", func(t *testing.T) {
		for _, c := range append([]Capsule{DrainSession{}, CloseSession{}}, fixed...) {
			_, longest, _ := c.Type().valueRange()
			for _, length := range []uint64{longest + 1, 1 << 32, MaxVarint} {
				fault := FaultMalformed
				if c.Type() == TypeCloseSession {
					fault = FaultCloseMessage
				}
				header := appendHeader(nil, c.Type(), length)
				var d, bytewise Decoder
				var r recorder
				wantSyntaxError(t, d.Feed(append(header, make([]byte, 2000)...), &r), c.Type(), fault)
				if d.Unread() != 2000 {
					t.Errorf("%v with Length %d: %d bytes of the value were read", c.Type(), length, 2000-d.Unread())
				}
				n, err := feedBytes(&bytewise, header, &r)
				wantSyntaxError(t, err, c.Type(), fault)
				if n != len(header) || cap(bytewise.value) > 0 {
					t.Errorf("%v with Length %d: refused after %d bytes of %d, %d gathered",
						c.Type(), length, n, len(header), cap(bytewise.value))
				}
			}
		}
	})
	t.Run("H2-091 a Length that cannot hold the fields is refused with the header", func(t *testing.T) {
		for _, typ := range []Type{
			TypeResetStream, TypeStopSending, TypeMaxData, TypeMaxStreamData, TypeMaxStreamsBidi, TypeMaxStreamsUni,
			TypeDataBlocked, TypeStreamDataBlocked, TypeStreamsBlockedBidi, TypeStreamsBlockedUni,
			TypeCloseSession, TypeStream, TypeStreamFin,
		} {
			// One byte at least for each field, four for the code of CLOSE.
			shortest := map[Type]uint64{
				TypeResetStream: 3, TypeStopSending: 2, TypeMaxStreamData: 2, TypeStreamDataBlocked: 2, TypeCloseSession: 4,
			}[typ]
			for length := range max(shortest, 1) {
				header := appendHeader(nil, typ, length)
				var d Decoder
				n, err := feedBytes(&d, append(header, 0, 0, 0, 0), &recorder{})
				wantSyntaxError(t, err, typ, FaultMalformed)
				if n != len(header) {
					t.Errorf("%v with Length %d: refused after %d bytes of %d", typ, length, n, len(header))
				}
			}
		}
	})
	t.Run("H2-096 the maximum itself is read", func(t *testing.T) {
		for _, c := range fixed {
			_, longest, _ := c.Type().valueRange()
			var value []byte
			for range longest / maxVarintLen {
				value = withLen(value, 5, 8)
			}
			b := append(appendHeader(nil, c.Type(), longest), value...)
			var d Decoder
			if got := decode(t, &d, b); len(got) != 1 {
				t.Errorf("%v of %d bytes: %s", c.Type(), longest, show(got))
			}
		}
	})
	t.Run("H2-099 DRAIN with Length 1", func(t *testing.T) {
		var d Decoder
		b := append(appendHeader(nil, TypeDrainSession, 1), 0)
		wantSyntaxError(t, d.Feed(b, &recorder{}), TypeDrainSession, FaultMalformed)
	})
	t.Run("H2-099 CLOSE with Length below 4", func(t *testing.T) {
		for length := range uint64(4) {
			var d Decoder
			b := append(appendHeader(nil, TypeCloseSession, length), make([]byte, length)...)
			wantSyntaxError(t, d.Feed(b, &recorder{}), TypeCloseSession, FaultMalformed)
		}
	})
	t.Run("H2-176 H2-178 CLOSE with a message of 1024 bytes and of 1025", func(t *testing.T) {
		c := CloseSession{9, strings.Repeat("m", MaxCloseMessage)}
		var d Decoder
		if got := decode(t, &d, c.Append(nil)); len(got) != 1 || got[0] != Capsule(c) {
			t.Errorf("1024 bytes: %.80s…", show(got))
		}
		d = Decoder{}
		var r recorder
		if _, err := feedBytes(&d, c.Append(nil), &r); err != nil || len(r.events) != 1 || r.events[0] != Capsule(c) {
			t.Errorf("1024 bytes one by one: %v, %.80s…", err, show(r.events))
		}
		d = Decoder{}
		b := append(appendHeader(nil, TypeCloseSession, 4+1025), make([]byte, 4+1025)...)
		wantSyntaxError(t, d.Feed(b, &recorder{}), TypeCloseSession, FaultCloseMessage)
		wantPanic(t, "sending 1025 bytes", func() { CloseSession{0, c.Message + "m"}.Append(nil) })
	})
	t.Run("a message that is not UTF-8 is delivered for the session to judge", func(t *testing.T) {
		var d Decoder
		b := append(appendHeader(nil, TypeCloseSession, 5), 0, 0, 0, 1, 0xff)
		if got := decode(t, &d, b); len(got) != 1 || got[0] != Capsule(CloseSession{1, "\xff"}) {
			t.Errorf("got %s", show(got))
		}
	})
	t.Run("values out of range are delivered for the session to judge", func(t *testing.T) {
		for _, c := range []Capsule{
			ResetStream{StreamID: 0, ErrorCode: 1 << 32, ReliableSize: 0}, StopSending{0, 1 << 32},
			MaxStreams{false, MaxStreamCount + 1}, StreamsBlocked{true, MaxVarint},
		} {
			var d Decoder
			if got := decode(t, &d, c.Append(nil)); len(got) != 1 || got[0] != c {
				t.Errorf("%v: %s", c, show(got))
			}
		}
	})
	t.Run("the error is final", func(t *testing.T) {
		var d Decoder
		first := d.Feed(appendHeader(nil, TypeDrainSession, 1), &recorder{})
		var r recorder
		if err := d.Feed(DrainSession{}.Append(nil), &r); err == nil || err != first || len(r.events) > 0 {
			t.Errorf("second Feed: %v, %s; want %v", err, show(r.events), first)
		}
	})
	t.Run("the text names the type", func(t *testing.T) {
		var d Decoder
		err := d.Feed(appendHeader(nil, TypeMaxData, 9), &recorder{})
		if want := "capsule: WT_MAX_DATA: Length 9, at most 8 expected"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}

func TestParse(t *testing.T) {
	t.Run("what has no fixed layout is refused", func(t *testing.T) {
		for _, typ := range []Type{TypeDatagram, TypeStream, TypeStreamFin, TypePadding, 0x21} {
			var e *SyntaxError
			if c, err := Parse(typ, []byte{0}); !errors.As(err, &e) || c != nil {
				t.Errorf("%v: %v, %v", typ, c, err)
			}
		}
	})
	t.Run("keeps nothing of the value", func(t *testing.T) {
		value := []byte{0, 0, 0, 1, 'a', 'b'}
		c, err := Parse(TypeCloseSession, value)
		clear(value)
		if err != nil || c != Capsule(CloseSession{1, "ab"}) {
			t.Errorf("got %v, %v", c, err)
		}
	})
}
