package h2wt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2test"
)

// get writes a request without content.
func get(p *h2test.Peer, id uint32, method, path string, more ...string) {
	p.WriteHeaders(id, true, append([]string{":method", method, ":scheme", "https", ":authority", "example.com", ":path", path}, more...)...)
}

// post writes a request's header, content to follow.
func post(p *h2test.Peer, id uint32, more ...string) {
	p.WriteHeaders(id, false, append([]string{":method", "POST", ":scheme", "https", ":authority", "example.com", ":path", "/"}, more...)...)
}

// serve starts a server with that handler, and a scripted client.
func serve(t testing.TB, h http.HandlerFunc, set ...func(*http.Server)) (*testServer, *h2test.Peer) {
	t.Helper()
	srv := newServer(t, h, &Config{KeepAlive: -1}, set...)
	p, _ := srv.peer()
	return srv, p
}

// without returns a response's fields, names and values, without the date.
func without(h h2test.Headers, name string) []string {
	f := slices.Clone(h.Fields)
	for i := 0; i < len(f); i += 2 {
		if f[i] == name {
			return slices.Delete(f, i, i+2)
		}
	}
	return f
}

func TestResponse(t *testing.T) {
	for _, tt := range []struct {
		name    string
		method  string
		handler http.HandlerFunc
		fields  []string // but the date
		data    string
		trailer []string
	}{
		{"nothing", "GET", func(w http.ResponseWriter, r *http.Request) {}, []string{":status", "200", "content-length", "0"}, "", nil},
		{"short content is sniffed and measured", "GET", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>x") },
			[]string{":status", "200", "content-type", "text/html; charset=utf-8", "content-length", "7"}, "<html>x", nil},
		{"content type of the handler", "GET", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "x/y")
			io.WriteString(w, "<html>")
		}, []string{":status", "200", "content-length", "6", "content-type", "x/y"}, "<html>", nil},
		{"no content type wanted", "GET", func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = nil
			io.WriteString(w, "<html>")
		}, []string{":status", "200", "content-length", "6"}, "<html>", nil},
		{"encoded content is not sniffed", "GET", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			io.WriteString(w, "<html>")
		}, []string{":status", "200", "content-length", "6", "content-encoding", "gzip"}, "<html>", nil},
		{"flushed content has no length", "GET", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "abc")
			w.(http.Flusher).Flush()
			io.WriteString(w, "def")
		}, []string{":status", "200", "content-type", "text/plain; charset=utf-8"}, "abcdef", nil},
		{"flushed before any content", "GET", func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			io.WriteString(w, "<html>")
		}, []string{":status", "200"}, "<html>", nil},
		{"HEAD", "HEAD", func(w http.ResponseWriter, r *http.Request) {
			if n, err := io.WriteString(w, "<html>"); n != 6 || err != nil {
				t.Errorf("Write = %d, %v", n, err)
			}
		}, []string{":status", "200", "content-type", "text/html; charset=utf-8", "content-length", "6"}, "", nil},
		{"HEAD without content", "HEAD", func(w http.ResponseWriter, r *http.Request) {}, []string{":status", "200"}, "", nil},
		{"HEAD with a length", "HEAD", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Length", "1000") },
			[]string{":status", "200", "content-length", "1000"}, "", nil},
		{"status without content", "GET", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5")
			w.WriteHeader(204)
			if _, err := io.WriteString(w, "hello"); err != http.ErrBodyNotAllowed {
				t.Errorf("Write: %v", err)
			}
		}, []string{":status", "204"}, "", nil},
		{"304 keeps its length", "GET", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5")
			w.WriteHeader(304)
		}, []string{":status", "304", "content-length", "5"}, "", nil},
		{"more than was declared", "GET", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "3")
			io.WriteString(w, "abc")
			if _, err := io.WriteString(w, "d"); err != http.ErrContentLength {
				t.Errorf("Write: %v", err)
			}
		}, []string{":status", "200", "content-type", "text/plain; charset=utf-8", "content-length", "3"}, "abc", nil},
		{"a length that is none", "GET", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "-1")
			io.WriteString(w, "abc")
		}, []string{":status", "200", "content-type", "text/plain; charset=utf-8", "content-length", "3"}, "abc", nil},
		{"the second WriteHeader and later fields do not count", "GET", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-A", "1")
			w.WriteHeader(404)
			w.WriteHeader(500)
			w.Header().Set("X-A", "2")
		}, []string{":status", "404", "content-length", "0", "x-a", "1"}, "", nil},
		{"fields that HTTP/2 does not have, and invalid ones", "GET", func(w http.ResponseWriter, r *http.Request) {
			for _, name := range []string{"Connection", "Upgrade", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "TE"} {
				w.Header().Set(name, "x")
			}
			w.Header()["bad name"] = []string{"x"}
			w.Header()["X-Bad"] = []string{"a\r\nb"}
			w.Header()["X-Good"] = []string{" a ", "b"}
		}, []string{":status", "200", "content-length", "0", "x-good", "a", "x-good", "b"}, "", nil},
		{"declared trailers", "GET", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-A, x-b")
			w.Header().Add("Trailer", "Content-Length") // never a trailer
			io.WriteString(w, "abc")
			w.Header().Set("X-A", "1")
			w.Header().Set("X-C", "not declared")
		}, []string{":status", "200", "content-type", "text/plain; charset=utf-8", "trailer", "X-A, x-b", "trailer", "Content-Length"}, "abc", []string{"x-a", "1"}},
		{"trailers by prefix", "GET", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "abc")
			w.(http.Flusher).Flush()
			w.Header().Set(http.TrailerPrefix+"X-A", "1")
			w.Header().Set(http.TrailerPrefix+"Content-Length", "1")
		}, []string{":status", "200", "content-type", "text/plain; charset=utf-8"}, "abc", []string{"x-a", "1"}},
		{"trailers without content", "GET", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(http.TrailerPrefix+"X-A", "1")
		}, []string{":status", "200"}, "", []string{"x-a", "1"}},
		{"101 is not possible", "GET", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(101) },
			[]string{":status", "500", "content-length", "0"}, "", nil},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			srv, p := serve(t, tt.handler)
			defer srv.stop()
			defer p.Close()
			get(p, 1, tt.method, "/")
			h := p.WantHeaders("response", 1)
			if got := without(h, "date"); !slices.Equal(got, tt.fields) {
				t.Errorf("fields\n got %q\nwant %q", got, tt.fields)
			}
			if _, err := http.ParseTime(h.Value("date")); err != nil {
				t.Errorf("date: %v", err)
			}
			data, end := "", h.EndStream
			for !end {
				switch f := p.Next("content").(type) {
				case h2test.Data:
					data, end = data+f.Data, f.EndStream
				case h2test.Headers:
					if !slices.Equal(f.Fields, tt.trailer) {
						t.Errorf("trailers %q, want %q", f.Fields, tt.trailer)
					}
					tt.trailer, end = nil, f.EndStream
				default:
					t.Fatalf("got %v", f)
				}
			}
			if data != tt.data || tt.trailer != nil {
				t.Errorf("content %q, want %q; trailers %q not seen", data, tt.data, tt.trailer)
			}
			p.WantIdle("the stream has ended")
		})
	}
	bubble(t, "interim responses", func(t *testing.T) {
		srv, p := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</a>")
			w.WriteHeader(103)
			w.Header().Del("Link")
			w.WriteHeader(102)
			w.WriteHeader(200)
		})
		defer srv.stop()
		defer p.Close()
		get(p, 1, "GET", "/")
		if h := wantStatus(t, p, 1, "103", false); h.Value("link") != "</a>" {
			t.Errorf("fields %q", h.Fields)
		}
		wantStatus(t, p, 1, "102", false)
		wantStatus(t, p, 1, "200", true)
	})
	bubble(t, "an invalid status panics, as in net/http", func(t *testing.T) {
		srv, p := serve(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(99) })
		defer srv.stop()
		defer p.Close()
		get(p, 1, "GET", "/")
		p.WantRST("panic", 1, http2.ErrCodeInternal)
	})
	for name, write := range map[string]func(w http.ResponseWriter){
		"less than was declared": func(w http.ResponseWriter) {
			io.WriteString(w, "abc")
			w.(http.Flusher).Flush()
		},
		"more than was declared at once": func(w http.ResponseWriter) {
			if n, err := io.WriteString(w, "abcdef"); n != 0 || err != http.ErrContentLength {
				t.Errorf("Write = %d, %v", n, err)
			}
		},
	} {
		bubble(t, name+" is no complete response", func(t *testing.T) {
			srv, p := serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Length", "5")
				write(w)
			})
			defer srv.stop()
			defer p.Close()
			get(p, 1, "GET", "/")
			p.SkipUntil("reset", func(f h2test.Frame) bool {
				if d, ok := f.(h2test.Data); ok && d.EndStream {
					t.Error("END_STREAM")
				}
				return f == h2test.RSTStream{StreamID: 1, Code: http2.ErrCodeInternal}
			})
		})
	}
	bubble(t, "panics are logged and reset; ErrAbortHandler quietly", func(t *testing.T) {
		var logged bytes.Buffer
		srv, p := serve(t, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "abc")
			w.(http.Flusher).Flush()
			switch r.URL.Path {
			case "/abort":
				panic(http.ErrAbortHandler)
			case "/panic":
				panic("oh no")
			case "/nil":
				panic(nil)
			}
		}, func(hs *http.Server) { hs.ErrorLog = log.New(&logged, "", 0) })
		defer srv.stop()
		defer p.Close()
		for i, path := range []string{"/abort", "/panic", "/nil"} {
			id := uint32(1 + 2*i)
			get(p, id, "GET", path)
			p.SkipUntil("reset", func(f h2test.Frame) bool { return f == h2test.RSTStream{StreamID: id, Code: http2.ErrCodeInternal} })
			if has := strings.Contains(logged.String(), "panic serving"); has != (i > 0) {
				t.Errorf("%s: log %q", path, logged.String())
			}
		}
		if !strings.Contains(logged.String(), "oh no") {
			t.Errorf("log %q", logged.String())
		}
		get(p, 7, "GET", "/")
		wantStatus(t, p, 7, "200", false)
	})
	bubble(t, "a response that outlives its handler is still sent, without a goroutine", func(t *testing.T) {
		big := strings.Repeat("x", sendBufferSize)
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, big) }), &Config{KeepAlive: -1})
		defer srv.stop()
		p, _ := srv.peer(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
		defer p.Close()
		get(p, 1, "GET", "/")
		wantStatus(t, p, 1, "200", false)
		p.WantData("as much as the window", 1, false, big[:10])
		p.WriteWindowUpdate(1, 1<<20)
		n := 10
		for n < len(big) {
			f, ok := p.Next("content").(h2test.Data)
			if !ok {
				t.Fatal("not DATA")
			}
			n += len(f.Data)
			if f.EndStream != (n == len(big)) && n == len(big) {
				p.WantData("end", 1, true, "")
			}
			if n == 65_535 {
				p.WriteWindowUpdate(0, 1<<20)
			}
		}
	})
	bubble(t, "DS-04 DS-10 DS-14 a client that takes nothing holds the rest for LingerTimeout", func(t *testing.T) {
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "0123456789abc") }), &Config{KeepAlive: -1})
		defer srv.stop()
		p, _ := srv.peer(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
		defer p.Close()
		get(p, 1, "GET", "/")
		wantStatus(t, p, 1, "200", false)
		p.WantData("as much as the window", 1, false, "0123456789")
		time.Sleep(DefaultLingerTimeout - time.Nanosecond)
		p.WantIdle("waiting")
		time.Sleep(time.Nanosecond)
		p.WantRST("no longer", 1, http2.ErrCodeCancel)
	})
	bubble(t, "Connection: close ends the connection behind the response", func(t *testing.T) {
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Connection", "close") }), nil)
		defer srv.stop()
		p := h2test.NewClient(t, srv.clientTLS())
		defer p.Close()
		p.AnswerPings = true
		p.Greet()
		get(p, 1, "GET", "/")
		seen := false
		p.SkipUntil("GOAWAY", func(f h2test.Frame) bool {
			if h, ok := f.(h2test.Headers); ok {
				seen = h.Value(":status") == "200" && h.Value("connection") == ""
			}
			_, ok := f.(h2test.GoAway)
			return ok
		})
		if !seen {
			synctest.Wait()
			p.SkipUntil("response", func(f h2test.Frame) bool { _, ok := f.(h2test.Headers); return ok })
		}
		time.Sleep(5 * time.Second)
		p.SkipUntil("closed", func(f h2test.Frame) bool { _, ok := f.(h2test.Closed); return ok })
	})
	bubble(t, "nothing works after the handler has returned", func(t *testing.T) {
		var w0 http.ResponseWriter
		var r0 *http.Request
		srv, p := serve(t, func(w http.ResponseWriter, r *http.Request) { w0, r0 = w, r })
		defer srv.stop()
		defer p.Close()
		post(p, 1)
		wantStatus(t, p, 1, "200", true)
		synctest.Wait()
		if _, err := w0.Write([]byte("x")); err == nil {
			t.Error("Write succeeded")
		}
		if err := http.NewResponseController(w0).Flush(); err == nil {
			t.Error("Flush succeeded")
		}
		if _, err := r0.Body.Read(make([]byte, 1)); err == nil {
			t.Error("Read succeeded")
		}
		w0.WriteHeader(500)
		p.WantRST("the rest of the request is not wanted", 1, http2.ErrCodeNo)
		p.WriteData(1, true, "late")
		p.WantIdle("late bytes are dropped")
	})
}

func TestRequest(t *testing.T) {
	bubble(t, "what the handler sees", func(t *testing.T) {
		type key struct{}
		var got *http.Request
		srv, p := serve(t, func(w http.ResponseWriter, r *http.Request) { got = r }, func(hs *http.Server) {
			hs.BaseContext = func(net.Listener) context.Context { return context.WithValue(context.Background(), key{}, "base") }
		})
		defer srv.stop()
		defer p.Close()
		get(p, 1, "PATCH", "/a%20b?c=d", "cookie", "a=1", "cookie", "b=2", "x-a", "1", "x-a", "2", "host", "example.com")
		wantStatus(t, p, 1, "200", true)
		synctest.Wait()
		r := got
		if r.Method != "PATCH" || r.Proto != "HTTP/2.0" || r.ProtoMajor != 2 || r.ProtoMinor != 0 || r.Host != "example.com" ||
			r.URL.Path != "/a b" || r.URL.RawQuery != "c=d" || r.RequestURI != "/a%20b?c=d" || r.ContentLength != 0 || r.Body != http.NoBody ||
			r.Header.Get("Cookie") != "a=1; b=2" || !slices.Equal(r.Header["X-A"], []string{"1", "2"}) || r.Header.Get("Host") != "" ||
			r.TLS == nil || r.TLS.NegotiatedProtocol != "h2" || r.RemoteAddr != "192.0.2.1:50000" {
			t.Errorf("request %+v", r)
		}
		if r.Context().Value(key{}) != "base" || r.Context().Value(http.ServerContextKey) != srv.hs || r.Context().Value(http.LocalAddrContextKey) == nil {
			t.Error("the context's values are not net/http's")
		}
	})
	bubble(t, "OPTIONS * and CONNECT without :protocol", func(t *testing.T) {
		var got []*http.Request
		srv, p := serve(t, func(w http.ResponseWriter, r *http.Request) { got = append(got, r) })
		defer srv.stop()
		defer p.Close()
		p.WriteHeaders(1, true, ":method", "CONNECT", ":authority", "target.example:22")
		wantStatus(t, p, 1, "200", true)
		if r := got[0]; r.Method != "CONNECT" || r.Host != "target.example:22" || r.URL.Host != "target.example:22" || r.RequestURI != "target.example:22" {
			t.Errorf("request %+v", r)
		}
		get(p, 3, "OPTIONS", "*")
		wantStatus(t, p, 3, "200", true)
	})
	for _, tt := range []struct{ name, path, authority string }{
		{"bad path", "nothing", "example.com"},
		{"bad escape", "/%zz", "example.com"},
		{"bad authority", "/", "exa mple"},
	} {
		bubble(t, tt.name+" gets 400", func(t *testing.T) {
			srv, p := serve(t, func(w http.ResponseWriter, r *http.Request) { t.Error("the handler ran") })
			defer srv.stop()
			defer p.Close()
			p.WriteHeaders(1, true, ":method", "GET", ":scheme", "https", ":authority", tt.authority, ":path", tt.path)
			f := p.Next("refused")
			if h, ok := f.(h2test.Headers); ok && h.Value(":status") != "400" || !ok && f != (h2test.RSTStream{StreamID: 1, Code: http2.ErrCodeProtocol}) {
				t.Errorf("got %v", f)
			}
		})
	}
	bubble(t, "content with flow control and trailers", func(t *testing.T) {
		var body []byte
		var trailer http.Header
		var length int64
		srv, p := serve(t, func(w http.ResponseWriter, r *http.Request) {
			length = r.ContentLength
			if _, ok := r.Trailer["X-T"]; !ok || len(r.Trailer) != 1 {
				t.Errorf("trailer before the content's end: %v", r.Trailer)
			}
			var err error
			if body, err = io.ReadAll(r.Body); err != nil {
				t.Error(err)
			}
			trailer = r.Trailer
		})
		defer srv.stop()
		defer p.Close()
		post(p, 1, "trailer", "x-t, content-length")
		want := strings.Repeat("0123456789", 50_000)
		for i := 0; i < len(want); i += 10_000 {
			p.WriteData(1, false, want[i:i+10_000])
			p.Drain() // credit
		}
		p.WriteHeaders(1, true, "x-t", "1", "x-u", "2", "content-length", "3")
		p.SkipUntil("response", func(f h2test.Frame) bool { _, ok := f.(h2test.Headers); return ok })
		if string(body) != want || length != -1 {
			t.Errorf("%d bytes, ContentLength %d", len(body), length)
		}
		if trailer.Get("X-T") != "1" || trailer.Get("X-U") != "2" || trailer.Get("Content-Length") != "" {
			t.Errorf("trailer %v", trailer)
		}
	})
	bubble(t, "BP-019 credit comes back as the handler reads, not before", func(t *testing.T) {
		read := make(chan struct{})
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-read
			io.Copy(io.Discard, r.Body)
		}), &Config{KeepAlive: -1})
		defer srv.stop()
		p, set := srv.peer()
		defer p.Close()
		window, _ := set.Value(http2.SettingInitialWindowSize)
		post(p, 1)
		for n := int(window); n > 0; n -= 16384 {
			p.WriteData(1, false, strings.Repeat("x", min(16384, n)))
		}
		for _, f := range p.Drain() {
			if u, ok := f.(h2test.WindowUpdate); !ok || u.StreamID == 1 {
				t.Errorf("got %v, want no stream credit", f)
			}
		}
		close(read)
		credit := 0
		for _, f := range p.Drain() {
			if u, ok := f.(h2test.WindowUpdate); ok && u.StreamID == 1 {
				credit += int(u.Increment)
			}
		}
		if credit < int(window)/2 {
			t.Errorf("credit of %d after reading %d", credit, window)
		}
	})
	bubble(t, "100 (Continue) when the handler reads, and not otherwise", func(t *testing.T) {
		srv, p := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Read") != "" {
				io.Copy(w, r.Body)
			}
		})
		defer srv.stop()
		defer p.Close()
		post(p, 1, "expect", "100-continue", "x-read", "1")
		wantStatus(t, p, 1, "100", false)
		p.WriteData(1, true, "abc")
		wantStatus(t, p, 1, "200", false)
		if got := wantContent(t, p); got != "abc" {
			t.Errorf("echo %q", got)
		}
		post(p, 3, "expect", "100-continue")
		wantStatus(t, p, 3, "200", true)
		p.WantRST("no content wanted", 3, http2.ErrCodeNo)
		post(p, 5, "x-read", "1")
		p.WantIdle("nobody asked for 100")
	})
	bubble(t, "100 is not sent behind the response", func(t *testing.T) {
		srv, p := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			io.Copy(io.Discard, r.Body)
		})
		defer srv.stop()
		defer p.Close()
		post(p, 1, "expect", "100-continue")
		wantStatus(t, p, 1, "200", false)
		p.WantIdle("no 100")
		p.WriteData(1, true, "")
		p.WantData("end", 1, true, "")
	})
	for _, tt := range []struct {
		name string
		send func(p *h2test.Peer)
	}{
		{"more than content-length", func(p *h2test.Peer) { p.WriteData(1, false, "abcdef") }},
		{"less than content-length", func(p *h2test.Peer) { p.WriteData(1, true, "abc") }},
		{"less than content-length, trailers", func(p *h2test.Peer) { p.WriteHeaders(1, true, "x-a", "1") }},
	} {
		bubble(t, tt.name+" is malformed", func(t *testing.T) {
			var err error
			srv, p := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.ContentLength != 5 {
					t.Errorf("ContentLength %d", r.ContentLength)
				}
				_, err = io.ReadAll(r.Body)
			})
			defer srv.stop()
			defer p.Close()
			post(p, 1, "content-length", "5")
			tt.send(p)
			p.WantRST("malformed", 1, http2.ErrCodeProtocol)
			if err == nil {
				t.Error("the handler read a clean end")
			}
		})
	}
	bubble(t, "a reset ends the context, the content and the response", func(t *testing.T) {
		var readErr, writeErr, ctxErr error
		srv, p := serve(t, func(w http.ResponseWriter, r *http.Request) {
			_, readErr = io.ReadAll(r.Body)
			<-r.Context().Done()
			ctxErr = context.Cause(r.Context())
			_, writeErr = w.Write(make([]byte, 1<<20))
		})
		defer srv.stop()
		defer p.Close()
		post(p, 1)
		p.WriteRST(1, http2.ErrCodeCancel)
		p.WantIdle("no answer to a reset")
		if readErr == nil || writeErr == nil || ctxErr == nil {
			t.Errorf("Read: %v, Write: %v, context: %v", readErr, writeErr, ctxErr)
		}
	})
	bubble(t, "the end of the connection ends the context", func(t *testing.T) {
		done := make(chan struct{})
		srv, p := serve(t, func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			close(done)
		})
		defer srv.stop()
		get(p, 1, "GET", "/")
		p.Close()
		<-done
	})
	bubble(t, "full duplex: the response begins before the request ends", func(t *testing.T) {
		srv, p := serve(t, func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			if err := rc.EnableFullDuplex(); err != nil {
				t.Error(err)
			}
			b := make([]byte, 10)
			for {
				n, err := r.Body.Read(b)
				if err != nil {
					return
				}
				w.Write(b[:n])
				if err := rc.Flush(); err != nil {
					t.Error(err)
				}
			}
		})
		defer srv.stop()
		defer p.Close()
		post(p, 1)
		p.WantIdle("nothing yet")
		p.WriteData(1, false, "ping")
		wantStatus(t, p, 1, "200", false)
		p.WantData("echo", 1, false, "ping")
		p.WriteData(1, false, "pong")
		p.WantData("echo", 1, false, "pong")
		p.WriteData(1, true, "")
		p.WantData("end", 1, true, "")
	})
}

func TestDeadlines(t *testing.T) {
	bubble(t, "SetReadDeadline fails reads, and may be renewed", func(t *testing.T) {
		srv, p := serve(t, func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			rc.SetReadDeadline(time.Now().Add(time.Second))
			start := time.Now()
			if _, err := r.Body.Read(make([]byte, 1)); !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err) || time.Since(start) != time.Second {
				t.Errorf("Read: %v after %v", err, time.Since(start))
			}
			rc.SetReadDeadline(time.Time{})
			io.Copy(w, r.Body)
		})
		defer srv.stop()
		defer p.Close()
		post(p, 1)
		time.Sleep(2 * time.Second)
		p.WriteData(1, true, "abc")
		wantStatus(t, p, 1, "200", false)
		if got := wantContent(t, p); got != "abc" {
			t.Errorf("echo %q", got)
		}
	})
	bubble(t, "SetWriteDeadline resets the stream", func(t *testing.T) {
		var err error
		srv, p := serve(t, func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).SetWriteDeadline(time.Now().Add(3 * time.Second))
			_, err = w.Write(make([]byte, 1<<20)) // more than the window
		})
		defer srv.stop()
		defer p.Close()
		get(p, 1, "GET", "/")
		p.Drain()
		time.Sleep(3*time.Second - time.Nanosecond)
		p.WantIdle("the deadline is in the future")
		time.Sleep(time.Nanosecond)
		p.WantRST("the deadline passed", 1, http2.ErrCodeInternal)
		if !isTimeout(err) {
			t.Errorf("Write: %v", err)
		}
	})
	bubble(t, "the server's ReadTimeout and WriteTimeout are an ordinary request's alone", func(t *testing.T) {
		var readErr error
		h, up := upgradeHandler(nil)
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodConnect {
				h.ServeHTTP(w, r)
				return
			}
			_, readErr = r.Body.Read(make([]byte, 1))
			<-r.Context().Done()
		}), &Config{KeepAlive: -1}, func(hs *http.Server) {
			hs.ReadTimeout, hs.WriteTimeout, hs.IdleTimeout = time.Second, 2*time.Second, time.Minute
		})
		defer srv.stop()
		p, _ := srv.peer(wtLimits(100)...)
		defer p.Close()
		p.WriteHeaders(1, false, connectFields()...)
		wantStatus(t, p, 1, "200", false)
		post(p, 3)
		time.Sleep(2*time.Second - time.Nanosecond)
		p.WantIdle("WriteTimeout is in the future")
		if !isTimeout(readErr) {
			t.Errorf("Read: %v", readErr)
		}
		time.Sleep(time.Nanosecond)
		p.WantRST("WriteTimeout", 3, http2.ErrCodeInternal)
		time.Sleep(time.Hour)
		if a := <-up; a.s.SendDatagram([]byte("hi")) != nil {
			t.Error("the session did not live on")
		}
		p.WantData("the session lives on", 1, false, "\x00\x02hi")
	})
	bubble(t, "DS-14 DS-15 the server's IdleTimeout ends a connection without streams", func(t *testing.T) {
		h, up := upgradeHandler(nil)
		srv := newServer(t, h, &Config{KeepAlive: -1}, func(hs *http.Server) { hs.IdleTimeout = time.Minute })
		defer srv.stop()
		p, _ := srv.peer(wtLimits(100)...)
		defer p.Close()
		p.WriteHeaders(1, false, connectFields()...)
		wantStatus(t, p, 1, "200", false)
		time.Sleep(time.Hour)
		p.WantIdle("a session keeps the connection")
		a := <-up
		p.WriteData(1, true, "")
		p.WantData("the session ends", 1, true, "")
		<-a.s.Context().Done()
		time.Sleep(time.Minute - time.Nanosecond)
		p.WantIdle("not yet")
		time.Sleep(time.Nanosecond)
		p.WantGoAway("idle", http2.ErrCodeNo)
		time.Sleep(5 * time.Second)
		p.SkipUntil("closed", func(f h2test.Frame) bool { _, ok := f.(h2test.Closed); return ok })
	})
	bubble(t, "DS-03 BP-023 MaxHeaderBytes of the server", func(t *testing.T) {
		srv, p := serve(t, func(w http.ResponseWriter, r *http.Request) {}, func(hs *http.Server) { hs.MaxHeaderBytes = 1000 })
		defer srv.stop()
		defer p.Close()
		get(p, 1, "GET", "/", "x-a", strings.Repeat("x", 900))
		wantStatus(t, p, 1, "200", true)
		get(p, 3, "GET", "/", "x-a", strings.Repeat("x", 1300))
		wantStatus(t, p, 3, "431", true)
	})
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func TestHandlersBounded(t *testing.T) {
	bubble(t, "DS-01 DS-02 BP-031 a reset stream counts until its handler has returned", func(t *testing.T) {
		release := make(chan struct{})
		var mu sync.Mutex
		running, most := 0, 0
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			<-release // ignores its context
			mu.Lock()
			running--
			mu.Unlock()
		}), &Config{MaxConcurrentStreams: 10, KeepAlive: -1})
		defer srv.stop()
		p, _ := srv.peer()
		defer p.Close()
		p.AllowWriteErrors = true
		refused := 0
		id := uint32(1)
		for range 100 {
			get(p, id, "GET", "/")
			p.WriteRST(id, http2.ErrCodeCancel)
			id += 2
			time.Sleep(5 * time.Millisecond) // reading may pause, see Config.Glitches
			for _, f := range p.Drain() {
				if r, ok := f.(h2test.RSTStream); ok && r.Code == http2.ErrCodeRefusedStream {
					refused++
				}
			}
		}
		synctest.Wait()
		mu.Lock()
		if most != 10 || refused != 90 {
			t.Errorf("%d handlers at once, want 10; %d refused, want 90", most, refused)
		}
		mu.Unlock()
		close(release)
		synctest.Wait()
		get(p, id, "GET", "/")
		p.SkipUntil("response", func(f h2test.Frame) bool { h, ok := f.(h2test.Headers); return ok && h.StreamID == id })
	})
	bubble(t, "DS-01 CONNECTs in a loop end the connection", func(t *testing.T) {
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { Upgrade(w, r, nil) }), &Config{KeepAlive: -1})
		defer srv.stop()
		p, _ := srv.peer(wtLimits(10)...)
		defer p.Close()
		p.AllowWriteErrors = true
		id := uint32(1)
		for range 5000 {
			p.WriteHeaders(id, false, connectFields()...)
			p.WriteRST(id, http2.ErrCodeCancel)
			id += 2
			if id%64 == 1 {
				synctest.Wait()
			}
		}
		p.SkipUntil("ENHANCE_YOUR_CALM", func(f h2test.Frame) bool {
			g, ok := f.(h2test.GoAway)
			return ok && g.Code == http2.ErrCodeEnhanceYourCalm
		})
	})
	bubble(t, "DS-02 DS-07 capsule errors in a loop end the connection", func(t *testing.T) {
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { Upgrade(w, r, nil) }), &Config{KeepAlive: -1})
		defer srv.stop()
		p, _ := srv.peer(wtLimits(10)...)
		defer p.Close()
		p.AllowWriteErrors = true
		id := uint32(1)
		for range 5000 {
			p.WriteHeaders(id, false, connectFields()...)
			p.WriteData(id, false, "\x80\x00\x78\xae\x01x")
			id += 2
			synctest.Wait()
		}
		p.SkipUntil("ENHANCE_YOUR_CALM", func(f h2test.Frame) bool {
			g, ok := f.(h2test.GoAway)
			return ok && g.Code == http2.ErrCodeEnhanceYourCalm
		})
	})
}

// A client that net/http brings, beside sessions on other connections.
func TestNetHTTPClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, up := upgradeHandler(nil)
		mux := http.NewServeMux()
		mux.Handle("CONNECT /wt", h)
		mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Length")
			n, _ := io.Copy(w, r.Body)
			w.Header().Set("X-Length", fmt.Sprint(n))
		})
		mux.Handle("GET /", http.FileServer(http.Dir(".")))
		srv := newServer(t, mux, nil)
		defer srv.stop()
		tr := &http.Transport{
			ForceAttemptHTTP2: true,
			TLSClientConfig:   srv.cert.ClientConfig("example.com"),
			DialContext:       srv.ln.DialContext,
		}
		defer tr.CloseIdleConnections()
		client := &http.Client{Transport: tr}
		conn := srv.conn(nil)
		defer conn.Close()
		s, err := conn.Dial(t.Context(), "https://example.com/wt", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.CloseWithError(0, "")
		<-up

		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				body := bytes.Repeat([]byte{byte(i)}, 300_000)
				resp, err := client.Post("https://example.com/echo", "x/y", bytes.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || !bytes.Equal(got, body) || resp.ProtoMajor != 2 || resp.Trailer.Get("X-Length") != "300000" {
					t.Errorf("%d bytes, %v, %s, trailer %v", len(got), err, resp.Proto, resp.Trailer)
				}
			})
		}
		wg.Wait()
		resp, err := client.Get("https://example.com/doc.go")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !bytes.Contains(b, []byte("package h2wt")) || resp.ContentLength != int64(len(b)) || resp.Header.Get("Last-Modified") == "" {
			t.Errorf("%d bytes, %v, %v", len(b), err, resp.Header)
		}
		if resp, err = client.Head("https://example.com/doc.go"); err != nil || resp.ContentLength != int64(len(b)) {
			t.Errorf("HEAD: %v, %v", resp, err)
		}
		// HTTP/1.1 on the same port stays net/http's.
		h1 := &http.Transport{TLSClientConfig: srv.cert.ClientConfig("example.com", "http/1.1"), DialContext: srv.ln.DialContext}
		defer h1.CloseIdleConnections()
		resp, err = (&http.Client{Transport: h1}).Get("https://example.com/doc.go")
		if err != nil || resp.ProtoMajor != 1 {
			t.Fatalf("HTTP/1.1: %v, %v", resp, err)
		}
		resp.Body.Close()
	})
}

// Handlers of the standard library that lean on the optional interfaces.
func TestReverseProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(103)
			io.WriteString(w, "hello ")
			w.(http.Flusher).Flush()
			io.Copy(w, r.Body)
			w.Header().Set(http.TrailerPrefix+"X-T", "1")
		}), nil)
		defer backend.stop()
		tr := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: backend.cert.ClientConfig("example.com"), DialContext: backend.ln.DialContext}
		defer tr.CloseIdleConnections()
		target, _ := url.Parse("https://example.com")
		proxy := httputil.NewSingleHostReverseProxy(target)
		proxy.Transport = tr
		srv := newServer(t, proxy, nil)
		defer srv.stop()
		ct := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: srv.cert.ClientConfig("example.com"), DialContext: srv.ln.DialContext}
		defer ct.CloseIdleConnections()
		resp, err := (&http.Client{Transport: ct}).Post("https://example.com/x", "x/y", strings.NewReader("world"))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(b) != "hello world" || err != nil || resp.Trailer.Get("X-T") != "1" {
			t.Errorf("%q, %v, trailer %v", b, err, resp.Trailer)
		}
	})
}
