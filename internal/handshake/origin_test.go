package handshake

import (
	"net/http"
	"testing"

	"github.com/towpath-go/towpath/transport"
)

func TestOrigin(t *testing.T) {
	for _, tt := range []struct {
		name     string
		host     string
		origin   []string
		patterns []string
		want     bool
	}{
		{"absent", "example.com", nil, nil, true},
		{"absent with patterns", "example.com", nil, []string{"other.example"}, true},
		{"same", "example.com", []string{"https://example.com"}, nil, true},
		{"same, letter case", "Example.COM", []string{"https://exAmple.com"}, nil, true},
		{"same, port", "example.com:8443", []string{"https://example.com:8443"}, nil, true},
		{"default port on the request", "example.com:443", []string{"https://example.com"}, nil, true},
		{"default port on the origin", "example.com", []string{"https://example.com:443"}, nil, true},
		{"IPv6", "[::1]:8443", []string{"https://[::1]:8443"}, nil, true},
		{"IPv6 default port", "[::1]", []string{"https://[::1]:443"}, nil, true},
		{"other port", "example.com:8443", []string{"https://example.com"}, nil, false},
		{"port 80 is not https's", "example.com", []string{"https://example.com:80"}, nil, false},
		{"http origin", "example.com", []string{"http://example.com"}, nil, false},
		{"http origin on 443", "example.com", []string{"http://example.com:443"}, nil, false},
		{"other host", "example.com", []string{"https://evil.example"}, nil, false},
		{"suffix host", "example.com", []string{"https://notexample.com"}, nil, false},
		{"prefix host", "example.com", []string{"https://example.com.evil.example"}, nil, false},
		{"user information", "example.com", []string{"https://example.com@evil.example"}, nil, false},
		{"user information, host last", "example.com", []string{"https://evil@example.com"}, nil, false},
		{"path", "example.com", []string{"https://example.com/"}, nil, false},
		{"query", "example.com", []string{"https://example.com?"}, nil, false},
		{"fragment", "example.com", []string{"https://example.com#"}, nil, false},
		{"empty port", "example.com", []string{"https://example.com:"}, nil, false},
		{"no scheme", "example.com", []string{"example.com"}, nil, false},
		{"empty", "example.com", []string{""}, nil, false},
		{"unparsable", "example.com", []string{"https://exa mple.com"}, nil, false},
		{"list in one line", "example.com", []string{"https://example.com https://example.com"}, nil, false},
		{"two lines", "example.com", []string{"https://example.com", "https://example.com"}, nil, false},
		{"empty authority", "", []string{"https://example.com"}, nil, false},

		{"pattern host", "a.example", []string{"https://b.example"}, []string{"b.example"}, true},
		{"pattern host, any scheme", "a.example", []string{"http://b.example"}, []string{"b.example"}, true},
		{"pattern host, letter case", "a.example", []string{"https://b.example"}, []string{"B.Example"}, true},
		{"pattern wildcard", "a.example", []string{"https://x.b.example"}, []string{"*.b.example"}, true},
		{"pattern wildcard wants a label", "a.example", []string{"https://b.example"}, []string{"*.b.example"}, false},
		{"pattern is anchored", "a.example", []string{"https://b.example.evil"}, []string{"b.example"}, false},
		{"pattern wants its port", "a.example", []string{"https://b.example:8443"}, []string{"b.example"}, false},
		{"pattern with port", "a.example", []string{"https://b.example:8443"}, []string{"b.example:8443"}, true},
		{"pattern with default port", "a.example", []string{"https://b.example"}, []string{"b.example:443"}, true},
		{"pattern with any port", "a.example", []string{"https://b.example"}, []string{"b.example:*"}, true},
		{"pattern with scheme", "a.example", []string{"https://b.example"}, []string{"https://b.example"}, true},
		{"pattern with other scheme", "a.example", []string{"http://b.example"}, []string{"https://b.example"}, false},
		{"pattern with scheme and wildcard", "a.example", []string{"https://x.b.example:1"}, []string{"https://*.b.example:*"}, true},
		{"pattern extension scheme", "a.example", []string{"chrome-extension://abcdef"}, []string{"chrome-extension://*"}, true},
		{"pattern IPv6 literally", "a.example", []string{"https://[::1]:8443"}, []string{"[::1]:8443"}, true},
		{"pattern malformed matches nothing", "a.example", []string{"https://b.example"}, []string{"[b.example"}, false},
		{"second pattern", "a.example", []string{"https://b.example"}, []string{"c.example", "b.example"}, true},

		{"null unlisted", "example.com", []string{"null"}, nil, false},
		{"null not by wildcard", "example.com", []string{"null"}, []string{"n*", "*:*"}, false},
		{"null listed", "example.com", []string{"null"}, []string{"null"}, true},
		{"null pattern is no host", "example.com", []string{"https://evil.example"}, []string{"null"}, false},
		{"star any", "example.com", []string{"https://evil.example"}, []string{"*"}, true},
		{"star null", "example.com", []string{"null"}, []string{"*"}, true},
		{"star unparsable", "example.com", []string{"localhost"}, []string{"*"}, true},
		{"star two lines", "example.com", []string{"a", "b"}, []string{"*"}, true},
	} {
		t.Run("H2-027 H3-012 "+tt.name, func(t *testing.T) {
			r := &http.Request{Host: tt.host, Header: http.Header{}}
			if tt.origin != nil {
				r.Header["Origin"] = tt.origin
			}
			if got := OriginAllowed(r, &transport.UpgradeOptions{Origins: tt.patterns}); got != tt.want {
				t.Errorf("OriginAllowed(host %q, Origin %q, patterns %q) = %v, want %v", tt.host, tt.origin, tt.patterns, got, tt.want)
			}
		})
	}
}

// Clients that leave the scheme out are admitted where the server says so, and
// gain nothing else by it.
func TestOriginWithoutScheme(t *testing.T) {
	for _, tt := range []struct {
		name     string
		host     string
		origin   []string
		patterns []string
		want     bool
	}{
		{"host", "example.com", []string{"example.com"}, nil, true},
		{"letter case", "Example.com", []string{"exAMPLE.com"}, nil, true},
		{"host, the request on a port", "localhost:4433", []string{"localhost"}, nil, true},
		{"host and port", "localhost:4433", []string{"localhost:4433"}, nil, true},
		{"default port", "example.com", []string{"example.com:443"}, nil, true},
		{"default port on the request", "example.com:443", []string{"example.com"}, nil, true},
		{"IPv4", "127.0.0.1:4433", []string{"127.0.0.1"}, nil, true},
		{"IPv6", "[::1]:4433", []string{"[::1]"}, nil, true},
		{"IPv6 and port", "[::1]:4433", []string{"[::1]:4433"}, nil, true},
		{"other port", "example.com:4433", []string{"example.com:4434"}, nil, false},
		{"default port is not any port", "example.com:4433", []string{"example.com:443"}, nil, false},
		{"port 80 is not https's", "example.com", []string{"example.com:80"}, nil, false},
		{"other host", "example.com", []string{"evil.example"}, nil, false},
		{"suffix host", "example.com", []string{"notexample.com"}, nil, false},
		{"prefix host", "example.com", []string{"example.com.evil.example"}, nil, false},
		{"user information", "example.com", []string{"evil@example.com"}, nil, false},
		{"path", "example.com", []string{"example.com/"}, nil, false},
		{"query", "example.com", []string{"example.com?"}, nil, false},
		{"empty port", "example.com", []string{"example.com:"}, nil, false},
		{"port that is no number", "example.com", []string{"example.com:x"}, nil, false},
		{"scheme without slashes", "example.com", []string{"https:example.com"}, nil, false},
		{"empty", "example.com", []string{""}, nil, false},
		{"empty, empty authority", "", []string{""}, nil, false},
		{"a list", "example.com", []string{"example.com example.com"}, nil, false},
		{"two lines", "example.com", []string{"example.com", "example.com"}, nil, false},
		{"null", "null", []string{"null"}, nil, false},
		{"pattern", "a.example", []string{"b.example"}, []string{"b.example"}, true},
		{"pattern with scheme", "a.example", []string{"b.example"}, []string{"https://b.example"}, true},
		{"pattern with http", "a.example", []string{"b.example"}, []string{"http://b.example"}, false},
		{"pattern with default port", "a.example", []string{"b.example"}, []string{"b.example:443"}, true},
		{"pattern with another port", "a.example", []string{"b.example"}, []string{"b.example:8443"}, false},
		{"with a scheme all is as ever", "example.com:8443", []string{"https://example.com:8443"}, nil, true},
		{"with a scheme the port counts", "example.com:8443", []string{"https://example.com"}, nil, false},
		{"with http", "example.com", []string{"http://example.com"}, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &http.Request{Host: tt.host, Header: http.Header{"Origin": tt.origin}}
			opts := &transport.UpgradeOptions{Origins: tt.patterns, AllowOriginWithoutScheme: true}
			if got := OriginAllowed(r, opts); got != tt.want {
				t.Errorf("OriginAllowed(host %q, Origin %q, patterns %q) = %v, want %v", tt.host, tt.origin, tt.patterns, got, tt.want)
			}
		})
	}
	t.Run("CheckOrigin decides alone", func(t *testing.T) {
		for _, want := range []bool{true, false} {
			r := &http.Request{Host: "a", Header: http.Header{"Origin": {"a"}}}
			opts := &transport.UpgradeOptions{Origins: []string{"*"}, AllowOriginWithoutScheme: true,
				CheckOrigin: func(*http.Request) bool { return want }}
			if got := OriginAllowed(r, opts); got != want {
				t.Errorf("OriginAllowed = %v, CheckOrigin said %v", got, want)
			}
		}
	})
	t.Run("without options", func(t *testing.T) {
		if OriginAllowed(&http.Request{Host: "a", Header: http.Header{"Origin": {"a"}}}, nil) {
			t.Error("an Origin without a scheme is allowed")
		}
	})
}

func TestCheckPatterns(t *testing.T) {
	for _, good := range [][]string{nil, {"*"}, {"null"}, {"*.example.com:*", "https://a"}} {
		if err := CheckPatterns(good); err != nil {
			t.Errorf("CheckPatterns(%q) = %v", good, err)
		}
	}
	for _, bad := range [][]string{{"a", "[x"}, {""}, {`x\`}} {
		if err := CheckPatterns(bad); err == nil {
			t.Errorf("CheckPatterns(%q) found nothing wrong", bad)
		}
	}
}
