package capsule

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// unhex turns "99 0b" into bytes.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Events are what recorder notes: one type per Handler method, pieces of the
// same value joined.
type (
	streamEvent struct {
		ID   uint64
		Fin  bool
		Size uint64
		Data string
		Done bool
	}
	datagramEvent struct {
		Size uint64
		Data string
		Done bool
	}
	refusedEvent struct{ Size uint64 }
	skipEvent    struct {
		Type Type
		N    uint64
	}
)

// recorder is a Handler that notes everything, independent of how the bytes
// were split.
type recorder struct {
	events []any
	refuse bool // refuse datagrams
	broken []string
	pieces int
}

func (r *recorder) last() any {
	if len(r.events) == 0 {
		return nil
	}
	return r.events[len(r.events)-1]
}

func (r *recorder) complain(format string, args ...any) {
	r.broken = append(r.broken, fmt.Sprintf(format, args...))
}

func (r *recorder) Stream(id uint64, fin bool, size uint64) error {
	r.events = append(r.events, &streamEvent{ID: id, Fin: fin, Size: size})
	return nil
}

func (r *recorder) StreamData(p []byte, last bool) error {
	e, ok := r.last().(*streamEvent)
	switch {
	case !ok || e.Done:
		r.complain("StreamData outside of a WT_STREAM")
		return nil
	case len(p) == 0 && (e.Size > 0 || !last):
		r.complain("empty StreamData for %d bytes", e.Size)
	}
	r.pieces++
	e.Data += string(p)
	e.Done = last
	if last != (uint64(len(e.Data)) == e.Size) {
		r.complain("last = %v after %d of %d bytes", last, len(e.Data), e.Size)
	}
	return nil
}

func (r *recorder) Datagram(size uint64) (bool, error) {
	if r.refuse {
		r.events = append(r.events, &refusedEvent{size})
		return false, nil
	}
	r.events = append(r.events, &datagramEvent{Size: size})
	return true, nil
}

func (r *recorder) DatagramData(p []byte, last bool) error {
	e, ok := r.last().(*datagramEvent)
	switch {
	case !ok || e.Done:
		r.complain("DatagramData outside of a DATAGRAM")
		return nil
	case len(p) == 0 && (e.Size > 0 || !last):
		r.complain("empty DatagramData for %d bytes", e.Size)
	}
	r.pieces++
	e.Data += string(p)
	e.Done = last
	if last != (uint64(len(e.Data)) == e.Size) {
		r.complain("last = %v after %d of %d bytes", last, len(e.Data), e.Size)
	}
	return nil
}

func (r *recorder) Control(c Capsule) error {
	r.events = append(r.events, c)
	return nil
}

func (r *recorder) Skipped(t Type, n uint64) error {
	if n == 0 {
		r.events = append(r.events, &skipEvent{Type: t})
		return nil
	}
	e, ok := r.last().(*skipEvent)
	if !ok || e.Type != t {
		r.complain("Skipped(%v, %d) without its header", t, n)
		return nil
	}
	e.N += n
	return nil
}

// check fails the test if the Handler contract was broken.
func (r *recorder) check(t testing.TB) {
	t.Helper()
	for _, s := range r.broken {
		t.Error(s)
	}
}

// decode feeds all of b at once.
func decode(t testing.TB, d *Decoder, b []byte) []any {
	t.Helper()
	var r recorder
	if err := d.Feed(b, &r); err != nil {
		t.Fatalf("Feed(%x): %v", b, err)
	}
	r.check(t)
	return r.events
}

// show prints events so that pointers are followed.
func show(events []any) string {
	var s []string
	for _, e := range events {
		s = append(s, fmt.Sprintf("%T%+v", e, reflect.Indirect(reflect.ValueOf(e))))
	}
	return strings.Join(s, "; ")
}

type vector struct {
	name   string
	hex    string
	append func(b []byte) []byte
	event  any // the one event it decodes to
}

func control(name, hex string, c Capsule) vector {
	return vector{name: name, hex: hex, append: c.Append, event: c}
}

func stream(name, hex string, d Dialect, id uint64, fin bool, data string) vector {
	return vector{
		name: name, hex: hex,
		append: func(b []byte) []byte {
			return append(AppendStreamHeader(b, fin, d, id, uint64(len(data))), data...)
		},
		event: &streamEvent{ID: id, Fin: fin, Size: uint64(len(data)), Data: data, Done: true},
	}
}

func datagram(name, hex, data string) vector {
	return vector{
		name: name, hex: hex,
		append: func(b []byte) []byte {
			return append(AppendDatagramHeader(b, uint64(len(data))), data...)
		},
		event: &datagramEvent{Size: uint64(len(data)), Data: data, Done: true},
	}
}

func padding(name, hex string, n uint64) vector {
	return vector{
		name: name, hex: hex,
		append: Padding{n}.Append,
		event:  &skipEvent{Type: TypePadding, N: n},
	}
}

// vectors are written by hand from the drafts' figures.
var vectors = []vector{
	stream("WT_STREAM id 0 hello", "99 0b 4d 3c 06 00 68 65 6c 6c 6f", Draft15, 0, false, "hello"),
	stream("WT_STREAM id 0 hello FIN", "99 0b 4d 3b 06 00 68 65 6c 6c 6f", Draft15, 0, true, "hello"),
	stream("WT_STREAM opens id 2 without data", "99 0b 4d 3c 01 02", Draft15, 2, false, ""),
	stream("WT_STREAM closes id 0 without data", "99 0b 4d 3b 01 00", Draft15, 0, true, ""),
	stream("WT_STREAM id 400 takes two bytes", "99 0b 4d 3c 03 41 90 78", Draft15, 400, false, "x"),
	control("WT_RESET_STREAM id 4", "99 0b 4d 39 03 04 2a 05", ResetStream{StreamID: 4, ErrorCode: 42, ReliableSize: 5}),
	control("WT_RESET_STREAM largest code", "99 0b 4d 39 0a 04 c0 00 00 00 ff ff ff ff 00", ResetStream{StreamID: 4, ErrorCode: 0xffffffff, ReliableSize: 0}),
	control("WT_STOP_SENDING", "99 0b 4d 3a 02 03 07", StopSending{3, 7}),
	control("WT_MAX_DATA", "99 0b 4d 3d 04 80 10 00 00", MaxData{1 << 20}),
	control("WT_MAX_STREAM_DATA", "99 0b 4d 3e 05 00 80 01 00 00", MaxStreamData{0, 65536}),
	control("WT_MAX_STREAMS bidi", "99 0b 4d 3f 02 40 64", MaxStreams{false, 100}),
	control("WT_MAX_STREAMS uni", "99 0b 4d 40 02 40 64", MaxStreams{true, 100}),
	control("WT_MAX_STREAMS above 2^60 is delivered", "99 0b 4d 40 08 d0 00 00 00 00 00 00 01", MaxStreams{true, MaxStreamCount + 1}),
	control("WT_DATA_BLOCKED", "99 0b 4d 41 04 80 10 00 00", DataBlocked{1 << 20}),
	control("WT_STREAM_DATA_BLOCKED", "99 0b 4d 42 05 00 80 01 00 00", StreamDataBlocked{0, 65536}),
	control("WT_STREAMS_BLOCKED bidi", "99 0b 4d 43 02 40 64", StreamsBlocked{false, 100}),
	control("WT_STREAMS_BLOCKED uni", "99 0b 4d 44 02 40 64", StreamsBlocked{true, 100}),
	datagram("DATAGRAM hi", "00 02 68 69", "hi"),
	datagram("DATAGRAM empty", "00 00", ""),
	padding("PADDING 4 bytes", "99 0b 4d 38 04 00 00 00 00", 4),
	padding("PADDING 0 bytes", "99 0b 4d 38 00", 0),
	control("WT_CLOSE_SESSION bye", "68 43 07 00 00 00 01 62 79 65", CloseSession{1, "bye"}),
	control("WT_CLOSE_SESSION empty", "68 43 04 00 00 00 00", CloseSession{0, ""}),
	control("WT_CLOSE_SESSION largest code", "68 43 04 ff ff ff ff", CloseSession{0xffffffff, ""}),
	control("WT_DRAIN_SESSION", "80 00 78 ae 00", DrainSession{}),
}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			want := unhex(t, v.hex)
			if got := v.append([]byte("before")); string(got) != "before"+string(want) {
				t.Errorf("encoded %x, want %x behind what was there", got, want)
			}
			var d Decoder
			if got := decode(t, &d, want); !reflect.DeepEqual(got, []any{v.event}) {
				t.Errorf("decoded %s, want %s", show(got), show([]any{v.event}))
			}
			if d.Partial() {
				t.Error("Partial at the end of a capsule")
			}
		})
	}
	t.Run("H2-097 PADDING is sent as zero bytes", func(t *testing.T) {
		// The room behind b is dirty, so the zeros must be written.
		b := bytes.Repeat([]byte{0xff}, 64)[:0]
		b = Padding{20}.Append(b)
		if want := append(unhex(t, "99 0b 4d 38 14"), make([]byte, 20)...); !bytes.Equal(b, want) {
			t.Errorf("got %x, want %x", b, want)
		}
	})
	t.Run("H2-170 DATAGRAM is type 0 and the raw payload", func(t *testing.T) {
		for _, n := range []int{0, 1, 63, 64, 65535} {
			payload := bytes.Repeat([]byte{7}, n)
			b := append(AppendDatagramHeader(nil, uint64(n)), payload...)
			want := append(AppendVarint([]byte{0}, uint64(n)), payload...)
			if !bytes.Equal(b, want) {
				t.Fatalf("payload of %d bytes: got %.16x…, want %.16x…", n, b, want)
			}
			var d Decoder
			got := decode(t, &d, b)
			if !reflect.DeepEqual(got, []any{&datagramEvent{uint64(n), string(payload), true}}) {
				t.Errorf("payload of %d bytes was not delivered as it was sent", n)
			}
		}
	})
}

// TestDialects also pins that the two readings differ in nothing but FIN.
func TestDialects(t *testing.T) {
	t.Run("H2-110 FIN type is 3B in draft 15 and 3C to legacy peers", func(t *testing.T) {
		for _, c := range []struct {
			dialect Dialect
			typ     byte
			fin     bool
		}{
			{Draft15, 0x3b, true}, {Draft15, 0x3c, false},
			{Legacy, 0x3b, false}, {Legacy, 0x3c, true},
		} {
			want := []byte{0x99, 0x0b, 0x4d, c.typ, 0x03, 0x04, 'h', 'i'}
			got := append(AppendStreamHeader(nil, c.fin, c.dialect, 4, 2), "hi"...)
			if !bytes.Equal(got, want) {
				t.Errorf("%v fin=%v: encoded %x, want %x", c.dialect, c.fin, got, want)
			}
			d := Decoder{Dialect: c.dialect}
			events := decode(t, &d, want)
			if !reflect.DeepEqual(events, []any{&streamEvent{4, c.fin, 2, "hi", true}}) {
				t.Errorf("%v type %#x: decoded %s, want fin=%v", c.dialect, c.typ, show(events), c.fin)
			}
		}
	})
	t.Run("changed between capsules", func(t *testing.T) {
		d := Decoder{Dialect: Legacy}
		b := unhex(t, "99 0b 4d 3c 01 00")
		first := decode(t, &d, b)[0].(*streamEvent)
		d.Dialect = Draft15
		second := decode(t, &d, b)[0].(*streamEvent)
		if !first.Fin || second.Fin {
			t.Errorf("fin = %v then %v, want true then false", first.Fin, second.Fin)
		}
	})
	t.Run("names", func(t *testing.T) {
		if Draft15.String() != "draft15" || Legacy.String() != "legacy" {
			t.Errorf("got %v, %v", Draft15, Legacy)
		}
	})
}

func TestStreamHeaderLen(t *testing.T) {
	for _, id := range []uint64{0, 63, 64, 1 << 14, 1 << 30, MaxVarint} {
		for _, n := range []uint64{0, 55, 56, 62, 63, 64, 16382, 16383, 16384, 1 << 30, MaxVarint - 8} {
			b := AppendStreamHeader(nil, false, Draft15, id, n)
			if got := StreamHeaderLen(id, n); got != len(b) || got > MaxStreamHeader {
				t.Errorf("id %d, %d bytes: StreamHeaderLen = %d, header has %d, MaxStreamHeader %d",
					id, n, got, len(b), MaxStreamHeader)
			}
		}
	}
	if n := len(AppendDatagramHeader(nil, MaxVarint)); n != MaxDatagramHeader {
		t.Errorf("longest datagram header has %d bytes, MaxDatagramHeader is %d", n, MaxDatagramHeader)
	}
}

// wantSyntaxError checks the error of a Feed.
func wantSyntaxError(t testing.TB, err error, typ Type, fault Fault) {
	t.Helper()
	var e *SyntaxError
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a SyntaxError", err)
	}
	if e.Type != typ || e.Fault != fault {
		t.Errorf("got type %v fault %d (%v), want %v fault %d", e.Type, e.Fault, e, typ, fault)
	}
}
