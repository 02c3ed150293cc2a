package h2wt

import (
	"net/http"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/towpath-go/towpath/internal/h2conn"
)

// No request that the connection lets through makes newRequest panic, and none
// reaches a handler without a URL.
func FuzzNewRequest(f *testing.F) {
	f.Add("GET", "example.com", "/a?b#c", "", "content-length", "5", true)
	f.Add("CONNECT", "[::1]:443", "", "", "trailer", "a, b,,", false)
	f.Add("CONNECT", "example.com", "//x", "websocket", "cookie", "a=b", false)
	f.Add("OPTIONS", "", "*", "", "host", "example.com", true)
	f.Fuzz(func(t *testing.T, method, authority, path, protocol, name, value string, end bool) {
		h := &h2conn.Header{
			Method: method, Scheme: "https", Authority: authority, Path: path, Protocol: protocol, EndStream: end,
			Fields: []hpack.HeaderField{{Name: name, Value: value}, {Name: name, Value: value}},
		}
		r, err := newRequest(t.Context(), h)
		if err != nil {
			return
		}
		if r.URL == nil || r.Body == nil || r.Header == nil || end && r.ContentLength != 0 {
			t.Errorf("request %+v", r)
		}
		if method == http.MethodConnect && protocol == "websocket" {
			asUpgrade(r)
			if len(r.Header[":protocol"]) != 0 || r.Header.Get("Sec-Websocket-Key") == "" {
				t.Errorf("request %+v", r)
			}
		}
		_, _ = parseUrgency(r.Header["Priority"])
	})
}
