package handshake

import (
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	for _, tt := range []struct {
		name, url string
		want      Target
	}{
		{"H2-022 no path", "https://example.com", Target{"example.com", "/", "example.com", "443"}},
		{"H2-022 no path but a query", "https://example.com?a=b", Target{"example.com", "/?a=b", "example.com", "443"}},
		{"H2-022 path and query", "https://example.com/wt/x?a=b&c", Target{"example.com", "/wt/x?a=b&c", "example.com", "443"}},
		{"H2-022 empty query", "https://example.com/?", Target{"example.com", "/?", "example.com", "443"}},
		{"H2-022 doubled slash", "https://example.com//echo", Target{"example.com", "//echo", "example.com", "443"}},
		{"H2-022 escapes stay", "https://example.com/a%2Fb%20c", Target{"example.com", "/a%2Fb%20c", "example.com", "443"}},
		{"H2-022 what cannot stand in a path", "https://example.com/ä b", Target{"example.com", "/%C3%A4%20b", "example.com", "443"}},
		{"H2-022 what cannot stand in a query", "https://example.com/?q=ä \"", Target{"example.com", "/?q=%C3%A4%20%22", "example.com", "443"}},
		{"H2-022 default port", "https://example.com:443/", Target{"example.com", "/", "example.com", "443"}},
		{"H2-022 empty port", "https://example.com:/", Target{"example.com", "/", "example.com", "443"}},
		{"H2-022 port", "https://example.com:8443/", Target{"example.com:8443", "/", "example.com", "8443"}},
		{"H2-022 letter case", "HTTPS://Example.COM/A", Target{"example.com", "/A", "example.com", "443"}},
		{"H2-022 IPv4", "https://127.0.0.1:4433/echo", Target{"127.0.0.1:4433", "/echo", "127.0.0.1", "4433"}},
		{"H2-022 IPv6", "https://[::1]:4433/echo", Target{"[::1]:4433", "/echo", "::1", "4433"}},
		{"H2-022 IPv6 default port", "https://[2001:DB8::1]", Target{"[2001:db8::1]", "/", "2001:db8::1", "443"}},
		{"H2-022 IPv6 zone is not sent", "https://[fe80::1%25eth0]/", Target{"[fe80::1]", "/", "fe80::1%eth0", "443"}},
		{"H2-022 international name", "https://Bücher.example/", Target{"xn--bcher-kva.example", "/", "xn--bcher-kva.example", "443"}},
		{"H2-022 underscore", "https://a_b.example/", Target{"a_b.example", "/", "a_b.example", "443"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseURL(tt.url)
			if err != nil || got != tt.want {
				t.Errorf("ParseURL(%q) = %+v, %v, want %+v", tt.url, got, err, tt.want)
			}
		})
	}
	if got := (Target{Host: "::1", Port: "443"}).Addr(); got != "[::1]:443" {
		t.Errorf("Addr = %q", got)
	}
	for _, tt := range []struct{ name, url string }{
		{"H2-021 http", "http://example.com/"},
		{"H2-021 wss", "wss://example.com/"},
		{"H2-021 no scheme", "example.com/x"},
		{"H2-021 opaque", "https:example.com"},
		{"H2-022 no host", "https:///path"},
		{"H2-022 port alone", "https://:443/"},
		{"H2-022 empty", ""},
		{"user information", "https://user:secret@example.com/"},
		{"fragment", "https://example.com/#x"},
		{"empty fragment", "https://example.com/#"},
		{"port 0", "https://example.com:0/"},
		{"port 65536", "https://example.com:65536/"},
		{"port not a number", "https://example.com:x/secret"},
		{"space in host", "https://exa mple.com/"},
		{"control character", "https://example.com/\x00"},
		{"bad international name", "https://\u200d.example/"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseURL(tt.url)
			if err == nil {
				t.Fatalf("ParseURL(%q) = %+v, want an error", tt.url, got)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error repeats the URL: %v", err)
			}
		})
	}
}
