package capsule

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

// TestLegacyReset reads WT_RESET_STREAM of drafts up to 08, which has two
// fields, and of later ones, which has three.
func TestLegacyReset(t *testing.T) {
	for _, v := range []struct {
		hex     string
		want    ResetStream
		minimal bool
	}{
		{"99 0b 4d 39 02 04 2a", ResetStream{StreamID: 4, ErrorCode: 42, SizeAbsent: true}, true},
		{"99 0b 4d 39 09 04 c0 00 00 00 ff ff ff ff", ResetStream{StreamID: 4, ErrorCode: 0xffffffff, SizeAbsent: true}, true},
		{"99 0b 4d 39 03 40 04 2a", ResetStream{StreamID: 4, ErrorCode: 42, SizeAbsent: true}, false},
		{"99 0b 4d 39 03 04 2a 05", ResetStream{StreamID: 4, ErrorCode: 42, ReliableSize: 5}, true},
	} {
		b := unhex(t, v.hex)
		t.Run("H2-118 legacy "+v.hex, func(t *testing.T) {
			for cut := range b {
				d := Decoder{Dialect: Legacy}
				var r recorder
				if err := errors.Join(d.Feed(b[:cut], &r), d.Feed(b[cut:], &r)); err != nil {
					t.Fatalf("cut at %d: %v", cut, err)
				}
				r.check(t)
				if !slices.Equal(r.events, []any{v.want}) || d.Partial() {
					t.Fatalf("cut at %d: %v", cut, r.events)
				}
			}
			if got := v.want.Append(nil); v.minimal && !bytes.Equal(got, b) {
				t.Fatalf("appended as % x", got)
			}
		})
		t.Run("H2-091 draft 15 "+v.hex, func(t *testing.T) {
			var d Decoder
			var r recorder
			err := d.Feed(b, &r)
			if _, refused := errors.AsType[*SyntaxError](err); refused != v.want.SizeAbsent {
				t.Fatalf("Feed = %v", err)
			}
		})
	}
	for _, h := range []string{
		"99 0b 4d 39 00", "99 0b 4d 39 01", // no room for two fields
		"99 0b 4d 39 02 40 04", "99 0b 4d 39 02 04 40", // cut inside a field
		"99 0b 4d 39 04 04 2a 05 00", // a fourth field
		"99 0b 4d 39 19",             // longer than three fields can be
	} {
		t.Run("H2-091 legacy "+h, func(t *testing.T) {
			d := Decoder{Dialect: Legacy}
			var r recorder
			if _, ok := errors.AsType[*SyntaxError](d.Feed(unhex(t, h), &r)); !ok || len(r.events) > 0 {
				t.Fatalf("accepted as %v", r.events)
			}
		})
	}
	t.Run("other capsules keep their bounds", func(t *testing.T) {
		d := Decoder{Dialect: Legacy}
		var r recorder
		if err := d.Feed(unhex(t, "99 0b 4d 3a 01 00"), &r); err == nil {
			t.Fatal("a WT_STOP_SENDING of one field was accepted")
		}
	})
}
