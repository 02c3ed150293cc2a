package sessionstate

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTruncateReason(t *testing.T) {
	a := func(n int) string { return strings.Repeat("a", n) }
	for _, c := range []struct {
		name, in, want string
	}{
		{"empty", "", ""},
		{"H2-176 1024 bytes stay", a(1024), a(1024)},
		{"H2-176 1025 bytes are cut", a(1025), a(1024)},
		{"H2-176 a megabyte is cut", a(1 << 20), a(1024)},
		{"H2-177 1023 bytes and a rune of 3", a(1023) + "€", a(1023)},
		{"H2-177 1022 bytes and a rune of 3", a(1022) + "€", a(1022)},
		{"H2-177 1021 bytes and a rune of 3", a(1021) + "€", a(1021) + "€"},
		{"H2-177 1023 bytes and a rune of 2", a(1023) + "é", a(1023)},
		{"H2-177 1022 bytes and a rune of 2", a(1022) + "é", a(1022) + "é"},
		{"H2-177 1021 bytes and a rune of 4", a(1021) + "😀", a(1021)},
		{"H2-177 1020 bytes and a rune of 4", a(1020) + "😀b", a(1020) + "😀"},
		{"H2-177 the cut falls between two runes", a(1022) + "éé", a(1022) + "é"},
		{"H2-178 what is not UTF-8 is replaced", "x\xff\xfey\xc3", "x\uFFFDy\uFFFD"},
		{"H2-178 H2-177 replacements that make it too long", strings.Repeat("a\xff", 600),
			strings.Repeat("a\uFFFD", 256)},
		{"H2-178 continuation bytes only", strings.Repeat("\x80", 3000), "\uFFFD"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := TruncateReason(c.in)
			if got != c.want {
				t.Errorf("got %d bytes %.20q…, want %d bytes %.20q…", len(got), got, len(c.want), c.want)
			}
			if !ValidReason(got) {
				t.Error("the result is not valid")
			}
		})
	}
}

func TestValidReason(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     bool
	}{
		{"empty", "", true},
		{"H2-178 1024 bytes", strings.Repeat("a", 1024), true},
		{"H2-178 1025 bytes", strings.Repeat("a", 1025), false},
		{"H2-178 0xff", "a\xff", false},
		{"H2-178 a cut rune", "a€"[:3], false},
		{"H2-178 a surrogate", "\xed\xa0\x80", false},
		{"H2-178 an overlong encoding", "\xc0\x80", false},
		{"NUL and controls are UTF-8", "\x00\x1b[2J", true},
		{"runes", "héllo €😀", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ValidReason(c.in); got != c.want {
				t.Errorf("ValidReason(%q) = %v, want %v", c.in, got, c.want)
			}
		})
	}
}

func FuzzTruncateReason(f *testing.F) {
	f.Add("hello", 300)
	f.Add("€", 400)
	f.Add("\xff😀", 250)
	f.Fuzz(func(t *testing.T, s string, n int) {
		s = strings.Repeat(s, max(0, min(n, 2000/max(len(s), 1))))
		got := TruncateReason(s)
		if !ValidReason(got) {
			t.Fatalf("TruncateReason(%q) = %q", s, got)
		}
		if ValidReason(s) && got != s {
			t.Fatalf("%q fits and became %q", s, got)
		}
		if utf8.ValidString(s) && (!strings.HasPrefix(s, got) || len(s) > MaxReason && len(got) <= MaxReason-utf8.UTFMax) {
			t.Fatalf("%d bytes were cut to %d", len(s), len(got))
		}
	})
}
