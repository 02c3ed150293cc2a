package h2conn_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/internal/memconn"
)

// prefixes are how far a connection has come before the fuzzer's bytes: nothing;
// SETTINGS; streams in several states; an open header block; and GOAWAY.
func prefix(kind byte, server bool) []byte {
	var b []byte
	if server {
		b = append(b, http2.ClientPreface...)
	}
	if kind%5 == 0 {
		return b
	}
	b = frame(b, http2.FrameSettings, 0, 0, "")
	b = frame(b, http2.FrameSettings, http2.FlagSettingsAck, 0, "")
	block := okBlock
	if server {
		block = postBlock
	}
	switch kind % 5 {
	case 2, 3:
		b = frame(b, http2.FrameHeaders, endHeaders, 1, block)
		b = frame(b, http2.FrameData, 0, 1, "abc")
		b = frame(b, http2.FrameHeaders, endHeaders|endStream, 3, block)
		b = frame(b, http2.FrameHeaders, endHeaders, 5, block)
		b = frame(b, http2.FrameRSTStream, 0, 5, number(uint32(http2.ErrCodeCancel)))
		if kind%5 == 3 {
			b = frame(b, http2.FrameHeaders, 0, 7, block)
		}
	case 4:
		b = frame(b, http2.FrameGoAway, 0, 0, number(1)+number(0))
	}
	return b
}

// FuzzInput feeds any bytes to a server and to a client: neither may panic, hang,
// hold more than its limits, or keep a goroutine or a stream.
func FuzzInput(f *testing.F) {
	for kind := range byte(5) {
		f.Add(kind, []byte(nil))
		f.Add(kind, frame(nil, http2.FramePing, 0, 0, "12345678"))
		f.Add(kind, frame(nil, http2.FrameData, 0, 1, "x"))
		f.Add(kind, frame(nil, http2.FrameContinuation, endHeaders, 7, ""))
		f.Add(kind, frame(nil, http2.FrameHeaders, endHeaders|endStream, 9, getBlock))
		f.Add(kind, frame(nil, http2.FrameSettings, 0, 0, "\x00\x04\x00\x00\x00\x00"))
		f.Add(kind, []byte("GET / HTTP/1.1\r\n\r\n"))
		f.Add(kind, []byte{0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1})
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		if len(b) > 8192 {
			return
		}
		for _, server := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				// Bytes arrive one by one, too.
				here, there := memconn.Pipe(&memconn.Options{Buffer: 1 << 20, MaxRead: 1 + int(kind/5)*100})
				running, most := 0, 0
				cfg := &h2conn.Config{ConnectProtocol: server, MaxConcurrentStreams: 4}
				var c *h2conn.Conn
				if server {
					c = h2conn.Server(there, cfg, handlerFunc(func(st *h2conn.Stream, h *h2conn.Header) h2conn.Receiver {
						running++ // none is ever Done
						most = max(most, st.Conn().Streams())
						return &stream{st: st, request: clone(h)}
					}))
					h2test.RunAsync(func() (int, error) { return 0, c.Serve() })
				} else {
					c = h2conn.Client(there, cfg)
				}
				h2test.RunAsync(func() (int64, error) { return io.Copy(io.Discard, here) })
				here.Write(prefix(kind, server))
				synctest.Wait()
				if !server && c.Err() == nil && kind%5 != 0 {
					ctx, cancel := context.WithCancel(t.Context())
					cancel()
					for range 3 {
						s := &stream{out: []byte("hello")}
						c.OpenStream(ctx, &h2conn.Open{Fields: fields(post...), Receiver: s, Source: source{s}}) // fails if the connection goes away
					}
				}
				here.Write(b)
				time.Sleep(time.Second)
				here.CloseWrite()
				<-c.Done()
				here.Close()
				if n := c.Streams(); n != 0 {
					t.Errorf("%d streams are left", n)
				}
				if running > 8 || most > 4 {
					t.Errorf("%d handlers and %d streams, the limits are 8 and 4", running, most)
				}
				if c.Err() == nil {
					t.Error("ended without a reason")
				}
			})
		}
	})
}

// FuzzFields sends any header list to a server: what reaches the handler is well
// formed by RFC 9113, section 8, and RFC 8441, section 4.
func FuzzFields(f *testing.F) {
	list := func(kv ...string) string { return strings.Join(kv, "\x00") }
	f.Add(list(get...), true)
	f.Add(list(connect...), false)
	f.Add(list(":method", "CONNECT", ":authority", "a.example:443"), false)
	f.Add(list(":method", "CONNECT", ":protocol", "webtransport", ":scheme", "https", ":path", "/"), false)
	f.Add(list(":method", "GET", ":protocol", "webtransport", ":scheme", "https", ":authority", "a", ":path", "/"), false)
	f.Add(list(":method", "OPTIONS", ":scheme", "https", ":authority", "a", ":path", "*"), true)
	f.Add(list(with(get, "te", "gzip")...), true)
	f.Add(list(with(get, "connection", "close")...), true)
	f.Add(list(with(post, "content-length", "+1")...), false)
	f.Add(list(with(get, "host", "b.example")...), true)
	f.Add(list(with(get, "A", "b")...), true)
	f.Add(list(append([]string{"a", "b"}, get...)...), true)
	f.Fuzz(func(t *testing.T, kv string, end bool) {
		parts := strings.Split(kv, "\x00")
		if len(kv) > 4096 {
			return
		}
		var block bytes.Buffer
		enc := hpack.NewEncoder(&block)
		for i := 0; i+1 < len(parts); i += 2 {
			enc.WriteField(hpack.HeaderField{Name: parts[i], Value: parts[i+1]})
		}
		synctest.Test(t, func(t *testing.T) {
			here, there := memconn.Pipe(nil)
			c := h2conn.Server(there, &h2conn.Config{ConnectProtocol: true}, handlerFunc(func(st *h2conn.Stream, h *h2conn.Header) h2conn.Receiver {
				wellFormed(t, h)
				return nil
			}))
			h2test.RunAsync(func() (int, error) { return 0, c.Serve() })
			h2test.RunAsync(func() (int64, error) { return io.Copy(io.Discard, here) })
			var flags http2.Flags
			if end {
				flags = endStream
			}
			b := prefix(1, true)
			b = frame(b, http2.FrameHeaders, flags|endHeaders, 1, block.String())
			here.Write(b)
			synctest.Wait()
			here.Close()
			<-c.Done()
		})
	})
}

// wellFormed checks a request once more, in other words than the package does.
func wellFormed(t *testing.T, h *h2conn.Header) {
	t.Helper()
	plain := h.Method == "CONNECT" && h.Protocol == ""
	switch {
	case h.Method == "", plain != (h.Scheme == ""), plain != (h.Path == ""):
		t.Errorf("pseudo-header fields are missing, or there are too many: %+v", h)
	case h.Protocol != "" && h.Method != "CONNECT":
		t.Errorf(":protocol with %s", h.Method)
	case h.Method == "CONNECT" && h.Authority == "":
		t.Errorf("CONNECT without :authority: %+v", h)
	case h.Scheme == "https" && h.Path[0] != '/' && h.Path != "*":
		t.Errorf(":path %q", h.Path)
	}
	for _, f := range h.Fields {
		if f.Name == "" || f.Name != strings.ToLower(f.Name) || strings.ContainsAny(f.Name, ": \t\r\n\x00") {
			t.Errorf("name %q", f.Name)
		}
		if strings.ContainsAny(f.Value, "\r\n\x00") || f.Value != strings.Trim(f.Value, " \t") {
			t.Errorf("value %q", f.Value)
		}
		switch f.Name {
		case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
			t.Errorf("connection-specific field %s", f.Name)
		case "te":
			if f.Value != "trailers" {
				t.Errorf("te: %s", f.Value)
			}
		}
	}
}
