package sessionstate

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

func TestExporterContext(t *testing.T) {
	for _, c := range []struct {
		name    string
		id      uint64
		label   string
		context []byte
		want    string
	}{
		{"H2-063 H3-041 the fields in order", 1, "app1", []byte{0xaa, 0xbb}, "0000000000000001 04 61707031 02 aabb"},
		{"H2-064 no context is an empty one", 4, "a", nil, "0000000000000004 01 61 00"},
		{"H2-064 an empty context", 4, "a", []byte{}, "0000000000000004 01 61 00"},
		{"H2-063 the session ID has 8 bytes", 0x0123456789abcdef, "a", nil, "0123456789abcdef 01 61 00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			want, err := hex.DecodeString(strings.ReplaceAll(c.want, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := ExporterContext(c.id, c.label, c.context, 32); err != nil || !bytes.Equal(got, want) {
				t.Errorf("got %x, %v, want %x", got, err, want)
			}
		})
	}
	t.Run("H2-063 different arguments never give the same context", func(t *testing.T) {
		// The lengths keep label and context apart.
		seen := map[string]string{}
		for _, a := range [][2]string{{"a", "bc"}, {"ab", "c"}, {"abc", ""}, {"a", "\x01b"}, {"a\x02b", ""}} {
			got, err := ExporterContext(1, a[0], []byte(a[1]), 32)
			if err != nil {
				t.Fatal(err)
			}
			if other, dup := seen[string(got)]; dup {
				t.Errorf("%q and %q give %x", a, other, got)
			}
			seen[string(got)] = a[0] + "," + a[1]
		}
	})
	t.Run("H2-065 arguments out of range are errors", func(t *testing.T) {
		long := strings.Repeat("x", 255)
		for _, c := range []struct {
			name, label, context string
			length               int
			ok                   bool
		}{
			{"label of 255", long, "", 32, true},
			{"label of 256", long + "x", "", 32, false},
			{"empty label", "", "", 32, false},
			{"context of 255", "a", long, 32, true},
			{"context of 256", "a", long + "x", 32, false},
			{"length 1", "a", "", 1, true},
			{"length 0", "a", "", 0, false},
			{"length -1", "a", "", -1, false},
			{"length 8160", "a", "", 8160, true},
			{"length 8161", "a", "", 8161, false},
		} {
			if _, err := ExporterContext(1, c.label, []byte(c.context), c.length); (err == nil) != c.ok {
				t.Errorf("%s: error %v, want ok = %v", c.name, err, c.ok)
			}
		}
	})
}
