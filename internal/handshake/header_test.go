package handshake

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestHeaderChecks(t *testing.T) {
	for _, tt := range []struct {
		name              string
		header            http.Header
		request, response bool
	}{
		{"none", nil, true, true},
		{"own fields", http.Header{"Authorization": {"Bearer x"}, "X-Trace": {"1", "2"}}, true, true},
		{"Priority", http.Header{"Priority": {"u=1"}}, true, true},
		{"Set-Cookie", http.Header{"Set-Cookie": {"a=b"}}, true, true},
		{"Origin", http.Header{"Origin": {"https://a"}}, false, true},
		{"origin in lower case", http.Header{"origin": {"https://a"}}, false, true},
		{"WT-Available-Protocols", http.Header{"Wt-Available-Protocols": {`"a"`}}, false, false},
		{"WT-Protocol", http.Header{"Wt-Protocol": {`"a"`}}, false, false},
		{"wt-protocol", http.Header{"wt-protocol": {`"a"`}}, false, false},
		{"WebTransport-Init", http.Header{"Webtransport-Init": {"u=1"}}, false, false},
		{"Capsule-Protocol", http.Header{"Capsule-Protocol": {"?1"}}, false, false},
		{"Host", http.Header{"Host": {"a"}}, false, true},
		{"Sec-WebSocket-Key", http.Header{"Sec-WebSocket-Key": {"a"}}, false, true},
		{"Sec-WebSocket-Accept", http.Header{"Sec-WebSocket-Accept": {"a"}}, false, true},
		{"Sec-WebSocket-Version", http.Header{"Sec-WebSocket-Version": {"13"}}, false, true},
		{"Sec-WebSocket-Protocol", http.Header{"Sec-WebSocket-Protocol": {"a"}}, false, true},
		{"Sec-WebSocket-Extensions", http.Header{"Sec-WebSocket-Extensions": {"a"}}, false, true},
		{"Date", http.Header{"Date": {"x"}}, true, false},
		{"H2-030 Content-Length", http.Header{"Content-Length": {"0"}}, false, false},
		{"H2-030 Content-Type", http.Header{"Content-Type": {"text/plain"}}, false, false},
		{"H2-030 Transfer-Encoding", http.Header{"Transfer-Encoding": {"chunked"}}, false, false},
		{"Connection", http.Header{"Connection": {"close"}}, false, false},
		{"TE", http.Header{"Te": {"trailers"}}, false, false},
		{"pseudo field", http.Header{":path": {"/"}}, false, false},
		{"name with space", http.Header{"a b": {"x"}}, false, false},
		{"empty name", http.Header{"": {"x"}}, false, false},
		{"value with newline", http.Header{"X-A": {"x\r\ny: z"}}, false, false},
		{"value with NUL", http.Header{"X-A": {"\x00"}}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := CheckRequestHeader(tt.header); (err == nil) != tt.request {
				t.Errorf("CheckRequestHeader = %v, want ok %v", err, tt.request)
			}
			if err := CheckResponseHeader(tt.header); (err == nil) != tt.response {
				t.Errorf("CheckResponseHeader = %v, want ok %v", err, tt.response)
			}
		})
	}
	t.Run("H2-030 BodyField", func(t *testing.T) {
		if got := BodyField(http.Header{"Content-Type": {"x"}, "A": {"b"}}); got != "content-type" {
			t.Errorf("BodyField = %q", got)
		}
		if got := BodyField(http.Header{"A": {"b"}}); got != "" {
			t.Errorf("BodyField = %q", got)
		}
	})
}

func TestAcceptStatus(t *testing.T) {
	for code, want := range map[int]int{0: 200, 200: 200, 201: 201, 299: 299} {
		if got, err := AcceptStatus(code); got != want || err != nil {
			t.Errorf("AcceptStatus(%d) = %d, %v, want %d", code, got, err, want)
		}
	}
	for _, code := range []int{101, 199, 204, 205, 206, 300, 404, -1} {
		t.Run("H2-029 refused "+http.StatusText(code), func(t *testing.T) {
			if got, err := AcceptStatus(code); err == nil {
				t.Errorf("AcceptStatus(%d) = %d, want an error", code, got)
			}
		})
	}
}

type wrapper struct{ http.ResponseWriter }

func (w wrapper) Unwrap() http.ResponseWriter { return w.ResponseWriter }

type opaque struct{ http.ResponseWriter }

type loop struct{ http.ResponseWriter }

func (l *loop) Unwrap() http.ResponseWriter { return l }

type target struct {
	http.ResponseWriter
	id int
}

func (t *target) Mark() int { return t.id }

func TestFind(t *testing.T) {
	type marker interface{ Mark() int }
	base := &target{httptest.NewRecorder(), 7}
	for _, w := range []http.ResponseWriter{base, wrapper{base}, wrapper{wrapper{base}}} {
		if m, ok := Find[marker](w); !ok || m.Mark() != 7 {
			t.Errorf("Find(%T) = %v, %v", w, m, ok)
		}
	}
	l := &loop{base}
	for _, w := range []http.ResponseWriter{opaque{base}, wrapper{opaque{base}}, wrapper{nil}, l, nil} {
		if m, ok := Find[marker](w); ok {
			t.Errorf("Find(%T) = %v, want none", w, m)
		}
	}
}
