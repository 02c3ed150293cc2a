package handshake

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestAvailableProtocols(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat(`"a", `, MaxMembers), ", ")
	for _, tt := range []struct {
		name  string
		lines []string
		want  []string
	}{
		{"H2-050 one", []string{`"chat"`}, []string{"chat"}},
		{"H2-050 in order", []string{`"chat-v2", "chat-v1"`}, []string{"chat-v2", "chat-v1"}},
		{"H2-050 quoting", []string{`"a\"b\\c"`}, []string{`a"b\c`}},
		{"H2-052 H3-019 Token list", []string{`chat, talk`}, nil},
		{"H2-052 H3-019 one Token", []string{`"a", b`}, nil},
		{"H2-052 H3-019 inner list", []string{`("a" "b")`}, nil},
		{"H2-052 H3-019 Integer", []string{`"a", 1`}, nil},
		{"H2-052 H3-019 Boolean", []string{`"a", ?1`}, nil},
		{"H2-052 H3-019 bytes", []string{`"a", :YQ==:`}, nil},
		{"H2-052 H3-019 open string", []string{`"a`}, nil},
		{"H2-052 H3-019 trailing comma", []string{`"a",`}, nil},
		{"H2-052 H3-019 bare word", []string{`"a" "b"`}, nil},
		{"H2-052 H3-019 control character", []string{"\"a\x01\""}, nil},
		{"H2-052 H3-019 empty line", []string{""}, nil},
		{"H2-053 H3-019 parameters", []string{`"a";x=1;y, "b";q=0.5`}, []string{"a", "b"}},
		{"H2-058 two lines", []string{`"a"`, `"b"`}, []string{"a", "b"}},
		{"H2-058 H2-052 two lines, one bad", []string{`"a"`, `b`}, nil},
		{"DS-22 members at the bound", []string{many}, slices.Repeat([]string{"a"}, MaxMembers)},
		{"DS-22 members at the bound + 1", []string{many + `, "a"`}, nil},
		{"DS-22 size at the bound", []string{`"` + strings.Repeat("a", MaxFieldSize-4) + `"`}, []string{strings.Repeat("a", MaxFieldSize-4)}},
		{"DS-22 size at the bound + 1", []string{`"` + strings.Repeat("a", MaxFieldSize-3) + `"`}, nil},
		{"DS-22 64 KiB list", []string{strings.Repeat(`"aaaaaaa",`, 1<<13) + `"a"`}, nil},
		{"DS-22 many empty lines", make([]string, MaxFieldSize), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := ParseAvailableProtocols(tt.lines); !slices.Equal(got, tt.want) {
				t.Errorf("ParseAvailableProtocols(%.60q) = %q, want %q", tt.lines, got, tt.want)
			}
		})
	}
	t.Run("H2-050 what is formatted parses back", func(t *testing.T) {
		in := []string{"chat-v2", `quo"te`, `back\slash`, " ", "~", strings.Repeat("x", MaxProtocol)}
		if err := CheckProtocols(in); err != nil {
			t.Fatal(err)
		}
		if got := ParseAvailableProtocols([]string{FormatProtocols(in)}); !slices.Equal(got, in) {
			t.Errorf("got %q, want %q", got, in)
		}
		if got, want := FormatProtocols(in[:2]), `"chat-v2", "quo\"te"`; got != want {
			t.Errorf("FormatProtocols = %s, want %s", got, want)
		}
	})
}

func TestSelectedProtocol(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []string
		want  string
		ok    bool
	}{
		{"H2-051 String", []string{`"chat"`}, "chat", true},
		{"H2-053 H3-019 parameters", []string{`"chat";v=2`}, "chat", true},
		{"H2-057 Token", []string{`chat`}, "", false},
		{"H2-057 list", []string{`"a", "b"`}, "", false},
		{"H2-057 empty", []string{``}, "", false},
		{"H2-057 absent", nil, "", false},
		{"H2-057 open string", []string{`"chat`}, "", false},
		{"H2-057 H2-058 two lines", []string{`"a"`, `"b"`}, "", false},
		{"DS-22 H2-057 too long", []string{`"` + strings.Repeat("a", MaxFieldSize) + `"`}, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := ParseProtocol(tt.lines)
			if got != tt.want || ok != tt.ok {
				t.Errorf("ParseProtocol(%.60q) = %q, %v, want %q, %v", tt.lines, got, ok, tt.want, tt.ok)
			}
		})
	}
	t.Run("H2-051 quoting", func(t *testing.T) {
		if got, ok := ParseProtocol([]string{FormatProtocol(`a"\b`)}); got != `a"\b` || !ok {
			t.Errorf("got %q, %v", got, ok)
		}
	})
}

func TestSelectProtocol(t *testing.T) {
	for _, tt := range []struct {
		name              string
		offers, supported []string
		want              string
	}{
		{"H2-051 H3-020 client's order decides", []string{"b", "a"}, []string{"a", "b"}, "b"},
		{"H2-051 H3-020 first that fits", []string{"x", "a"}, []string{"a", "b"}, "a"},
		{"H2-051 H3-020 none fits", []string{"x"}, []string{"a"}, ""},
		{"H2-051 H3-020 nothing offered", nil, []string{"a"}, ""},
		{"H2-051 H3-020 nothing supported", []string{"a"}, nil, ""},
		{"H2-051 H3-020 empty name", []string{""}, []string{""}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := SelectProtocol(tt.offers, tt.supported); got != tt.want {
				t.Errorf("SelectProtocol(%q, %q) = %q, want %q", tt.offers, tt.supported, got, tt.want)
			}
		})
	}
}

func TestAvailableTokens(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat("a, ", MaxMembers), ", ")
	for _, tt := range []struct {
		name  string
		lines []string
		want  []string
	}{
		{"absent", nil, nil},
		{"in order", []string{"chat-v2, chat-v1"}, []string{"chat-v2", "chat-v1"}},
		{"parameters, two lines", []string{"a;q=1", "*b:/c"}, []string{"a", "*b:/c"}},
		{"a String among them", []string{`a, "b"`}, nil},
		{"Strings", []string{`"a"`}, nil},
		{"Integer", []string{"1"}, nil},
		{"inner list", []string{"(a b)"}, nil},
		{"DS-22 members at the bound", []string{many}, slices.Repeat([]string{"a"}, MaxMembers)},
		{"DS-22 members at the bound + 1", []string{many + ", a"}, nil},
		{"DS-22 size at the bound + 1", []string{strings.Repeat("a", MaxFieldSize+1)}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := ParseAvailableTokens(tt.lines); !slices.Equal(got, tt.want) {
				t.Errorf("ParseAvailableTokens(%.60q) = %q, want %q", tt.lines, got, tt.want)
			}
		})
	}
}

func TestBareProtocol(t *testing.T) {
	offered := []string{"chat", "a b", `"x"`}
	for _, tt := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"a Token", []string{"chat"}, "chat"},
		{"white space around", []string{" chat\t"}, "chat"},
		{"text that is no Token", []string{"a b"}, "a b"},
		{"not offered", []string{"other"}, ""},
		{"other letter case", []string{"Chat"}, ""},
		{"parameters", []string{"chat;a=1"}, ""},
		{"two lines", []string{"chat", "chat"}, ""},
		{"empty", []string{""}, ""},
		{"absent", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := IsBareProtocol(tt.lines, offered)
			if ok != (tt.want != "") || got != tt.want {
				t.Errorf("IsBareProtocol(%q) = %q, %v, want %q", tt.lines, got, ok, tt.want)
			}
		})
	}
	t.Run("an empty name is never selected", func(t *testing.T) {
		if got, ok := IsBareProtocol([]string{""}, []string{""}); ok {
			t.Errorf("IsBareProtocol = %q", got)
		}
	})
	for protocol, want := range map[string]string{"chat": "chat", "chat-v2.1": "chat-v2.1", "h3/x:y": "h3/x:y",
		"a b": `"a b"`, "1a": `"1a"`, `q"`: `"q\""`, "a,b": `"a,b"`} {
		t.Run("format "+protocol, func(t *testing.T) {
			if got := FormatBareProtocol(protocol); got != want {
				t.Errorf("FormatBareProtocol(%q) = %s, want %s", protocol, got, want)
			}
		})
	}
}

func TestTowpath(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []string
		want  bool
	}{
		{"1", []string{"1"}, true},
		{"parameters", []string{"1;a=2"}, true},
		{"another version", []string{"2"}, false},
		{"String", []string{`"1"`}, false},
		{"Boolean", []string{"?1"}, false},
		{"Decimal", []string{"1.0"}, false},
		{"Token", []string{"x"}, false},
		{"inner list", []string{"(1)"}, false},
		{"two lines", []string{"1", "1"}, false},
		{"empty", []string{""}, false},
		{"absent", nil, false},
		{"too long", []string{"1" + strings.Repeat(" ", MaxFieldSize)}, false},
	} {
		t.Run("the answer: "+tt.name, func(t *testing.T) {
			if got := ParseTowpath(tt.lines); got != tt.want {
				t.Errorf("ParseTowpath(%.20q) = %v, want %v", tt.lines, got, tt.want)
			}
		})
	}
	t.Run("what is formatted parses back", func(t *testing.T) {
		if !ParseTowpath([]string{FormatTowpath()}) {
			t.Errorf("%q is not recognised", FormatTowpath())
		}
	})
	for _, tt := range []struct {
		name, value string
		want        bool
	}{
		{"1", "towpath=1", true},
		{"among the others", "u=1, towpath=1;x, br=2", true},
		{"the last of two", "towpath=2, towpath=1", true},
		{"another version", "towpath=2", false},
		{"bare key", "towpath", false},
		{"String", `towpath="1"`, false},
		{"Boolean", "towpath=?1", false},
		{"Decimal", "towpath=1.0", false},
		{"negative", "towpath=-1", false},
		{"inner list", "towpath=(1)", false},
		{"Token", "towpath=one", false},
		{"absent", "u=1", false},
	} {
		t.Run("H2-077 the key is unknown to others and never an error: "+tt.name, func(t *testing.T) {
			got, err := ParseInit([]string{tt.value})
			if err != nil || got.Towpath != tt.want {
				t.Errorf("ParseInit(%q) = %+v, %v, want %v", tt.value, got, err, tt.want)
			}
		})
	}
}

func TestCheckProtocols(t *testing.T) {
	numbered := make([]string, MaxMembers+1)
	for i := range numbered {
		numbered[i] = fmt.Sprint(i)
	}
	for _, tt := range []struct {
		name string
		in   []string
		ok   bool
	}{
		{"none", nil, true},
		{"512 bytes", []string{strings.Repeat("x", 512)}, true},
		{"513 bytes", []string{strings.Repeat("x", 513)}, false},
		{"empty", []string{""}, false},
		{"duplicate", []string{"a", "b", "a"}, false},
		{"not ASCII", []string{"é"}, false},
		{"control character", []string{"a\n"}, false},
		{"DEL", []string{"\x7f"}, false},
		{"as many as fit", numbered[:MaxMembers], true},
		{"one more", numbered, false},
	} {
		t.Run("H2-050 "+tt.name, func(t *testing.T) {
			if err := CheckProtocols(tt.in); (err == nil) != tt.ok {
				t.Errorf("CheckProtocols = %v, want ok %v", err, tt.ok)
			}
		})
	}
}

func TestInit(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []string
		want  Init
		ok    bool
	}{
		{"H2-078 all three", []string{"u=1, bl=2, br=3"}, Init{Uni: 1, BidiLocal: 2, BidiRemote: 3}, true},
		{"H2-078 one", []string{"br=65536"}, Init{BidiRemote: 65536}, true},
		{"H2-078 largest Integer", []string{"u=999999999999999"}, Init{Uni: 999999999999999}, true},
		{"H2-078 two lines", []string{"u=1", "bl=2"}, Init{Uni: 1, BidiLocal: 2}, true},
		{"H2-078 duplicate key, the last wins", []string{"u=1, u=7"}, Init{Uni: 7}, true},
		{"H2-078 duplicate key, the last is bad", []string{"u=1, u"}, Init{}, false},
		{"H2-079 absent", nil, Init{}, true},
		{"H2-079 empty", []string{""}, Init{}, true},
		{"H2-077 unknown keys and parameters", []string{"x=1, u=5;p=2"}, Init{Uni: 5}, true},
		{"H2-077 unknown key of any type", []string{`a, b=(1 2), c="x", d=?0, *e=1.5, u=5`}, Init{Uni: 5}, true},
		{"H2-076 no value", []string{"u="}, Init{}, false},
		{"H2-076 List", []string{`"u", "bl"`}, Init{}, false},
		{"H2-076 String", []string{`u="1"`}, Init{}, false},
		{"H2-076 Boolean", []string{"u=?1"}, Init{}, false},
		{"H2-076 Decimal", []string{"u=1.5"}, Init{}, false},
		{"H2-076 negative", []string{"u=-1"}, Init{}, false},
		{"H2-076 bare key", []string{"u"}, Init{}, false},
		{"H2-076 bare key with parameter", []string{"bl;x=1"}, Init{}, false},
		{"H2-076 inner list", []string{"br=(1)"}, Init{}, false},
		{"H2-076 Token", []string{"br=x"}, Init{}, false},
		{"H2-076 too large", []string{"u=1000000000000000"}, Init{}, false},
		{"H2-076 upper-case key", []string{"U=1"}, Init{}, false},
		{"H2-076 trailing comma", []string{"u=1,"}, Init{}, false},
		{"DS-22 H2-076 too long", []string{"u=1" + strings.Repeat(" ", MaxFieldSize)}, Init{}, false},
		{"DS-22 H2-076 too many keys", []string{func() string {
			var b strings.Builder
			for i := range MaxMembers + 1 {
				fmt.Fprintf(&b, "k%d, ", i)
			}
			return b.String() + "k0"
		}()}, Init{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseInit(tt.lines)
			if got != tt.want || (err == nil) != tt.ok {
				t.Errorf("ParseInit(%.60q) = %+v, %v, want %+v, ok %v", tt.lines, got, err, tt.want, tt.ok)
			}
		})
	}
	t.Run("H2-078 what is formatted parses back", func(t *testing.T) {
		in := Init{Uni: 65536, BidiLocal: 1, BidiRemote: 1 << 62, Towpath: true}
		got, err := ParseInit([]string{in.String()})
		if want := (Init{65536, 1, 999999999999999, true}); err != nil || got != want {
			t.Errorf("ParseInit(%q) = %+v, %v, want %+v", in.String(), got, err, want)
		}
	})
}

// No input makes the parsers panic, and what they return is within the bounds.
func FuzzFields(f *testing.F) {
	f.Add(`"a";x=1, "b"`, "u=1, bl=2;p, br=3")
	f.Add(`("a" b);q=-1.5`, `u="1", *a=@1659578233`)
	f.Add(`%"f%c3%bc"`, ":AAA=:")
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, lines := range [][]string{{a}, {a, b}, {b}} {
			if p := ParseAvailableProtocols(lines); len(p) > MaxMembers {
				t.Errorf("%d protocols", len(p))
			} else if CheckProtocols(p) == nil && len(p) > 0 {
				if again := ParseAvailableProtocols([]string{FormatProtocols(p)}); !slices.Equal(again, p) {
					t.Errorf("%q came back as %q", p, again)
				}
			}
			if p, ok := ParseProtocol(lines); ok && p != "" {
				if again, ok := ParseProtocol([]string{FormatProtocol(p)}); !ok || again != p {
					t.Errorf("%q came back as %q, %v", p, again, ok)
				}
			}
			if i, err := ParseInit(lines); err == nil {
				if again, err := ParseInit([]string{i.String()}); err != nil || again != i {
					t.Errorf("%+v came back as %+v, %v", i, again, err)
				}
			}
		}
	})
}
