package browsers

import (
	"context"
	"encoding/base64"
	"errors"
	"testing"
	"time"

	"github.com/towpath-go/towpath/e2e/clients"
	"github.com/towpath-go/towpath/transport"
)

// TestPageEndsInTransfer: whatever ends a page in the midst of a transfer, the
// server's session ends too, in bounded time, and leaves nothing.
func TestPageEndsInTransfer(t *testing.T) {
	t.Parallel()
	const bound = idleTimeout + 3*time.Second
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			for _, end := range []struct {
				name string
				do   func(ctx context.Context, p loaded) error
			}{
				{"the tab is closed", func(ctx context.Context, p loaded) error { return p.close(ctx) }},
				{"navigation", func(ctx context.Context, p loaded) error { return p.visit(ctx, "about:blank") }},
				{"the browser is killed", func(_ context.Context, p loaded) error {
					p.browser.process.Kill() // which takes the browser with it
					return nil
				}},
			} {
				t.Run(end.name, func(t *testing.T) {
					b := launch(t, k, launchOptions{insecure: true})
					s := newLoadServer(t)
					p := s.open(t, b)
					sessions := map[string]transport.Session{}
					ended := map[string]chan time.Time{}
					for _, way := range ways {
						number, session := p.connect(t, "/transfer", way)
						p.call(t, nil, "transfer", number)
						at := make(chan time.Time, 1)
						sessions[way], ended[way] = session, at
						context.AfterFunc(session.Context(), func() { at <- time.Now() })
					}
					ctx := clients.Limited(t)
					began := time.Now()
					clients.Must(t, end.do(ctx, p))
					for _, way := range ways {
						session := sessions[way]
						var took time.Duration
						if k == firefox && way == "h3" && end.name != "the browser is killed" {
							// Firefox does not always end its own session with the page.
							select {
							case end := <-ended[way]:
								ended[way] <- end
							case <-time.After(bound):
								t.Logf("%s by h3, %s: the session outlives its page; the browser is killed", b.version, end.name)
								p.browser.process.Kill()
								began = time.Now()
							}
						}
						select {
						case end := <-ended[way]:
							took = end.Sub(began)
						case <-ctx.Done():
							t.Fatalf("%s: the session goes on", way)
						}
						if took > bound {
							t.Errorf("%s: the session ended after %v", way, took)
						}
						se, ok := errors.AsType[*transport.SessionError](context.Cause(session.Context()))
						if !ok || !se.Remote {
							t.Errorf("%s: the session ended with %v", way, context.Cause(session.Context()))
							continue
						}
						t.Logf("%s by %s, %s: after %v, code %d, %v", b.version, way, end.name, took.Round(time.Millisecond), se.Code, se)
					}
					// What serves the sessions ends with them.
					left := make(chan struct{})
					go func() { // ends with the transfers
						s.transfers.Wait()
						close(left)
					}()
					select {
					case <-left:
					case <-ctx.Done():
						t.Error("a call on a stream goes on after its session's end")
					}
				})
			}
		})
	}
}

// TestWrongOrigin: a page of another origin gets no session by any way unless
// the server names it.
func TestWrongOrigin(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			b := launch(t, k, launchOptions{insecure: true})
			home := newLoadServer(t)
			p := home.open(t, b)
			other := newLoadServer(t)
			h1 := newLoadServer(t, transport.HTTP3, transport.WebSocket)
			var warm bool
			// Chromium opens a WebSocket over HTTP/2 where it has a connection.
			p.call(t, &warm, "warm", other.url("/hostile/blank.html"))
			if !warm {
				t.Fatal("there is no HTTP/2 connection to the other server")
			}
			for _, tt := range []struct {
				name   string
				server *loadServer
				way    string
				alpn   string
			}{
				{"h3", other, "h3", "h3"},
				{"h2-ws", other, "ws", "h2"},
				{"h1-ws", h1, "ws", "http/1.1"},
			} {
				t.Run(tt.name, func(t *testing.T) {
					c := p.try(t, tt.server, "/echo", tt.way)
					if c.Error == "" || c.Source == nil || *c.Source != "session" {
						t.Errorf("the page got %+v", c)
					}
					got := <-tt.server.refused
					if want := (refusal{"https://" + home.addr, tt.alpn, got.proto}); got != want {
						t.Errorf("refused: %+v, want %+v", got, want)
					}
				})
			}
			for _, tt := range []struct{ name, origin string }{
				{"serve without --origin", ""}, {"serve with --origin", home.addr},
			} {
				t.Run(tt.name, func(t *testing.T) {
					flags := []string{"-v"}
					if tt.origin != "" {
						flags = append(flags, "--origin", tt.origin)
					}
					srv := serve(t, flags...)
					for _, way := range ways {
						var c connected
						p.call(t, &c, "connect", srv.url("/echo"), way, base64.StdEncoding.EncodeToString(srv.hash))
						if (c.Error == "") != (tt.origin != "") {
							t.Errorf("by %s the page got %+v", way, c)
						}
						if c.Error == "" {
							p.call(t, nil, "finish", c.Session, 0, "")
						}
					}
				})
			}
		})
	}
}

// TestOtherWebSockets: endpoints of other libraries on the same port work for
// pages as they always did, beside a session of the package.
func TestOtherWebSockets(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			b := launch(t, k, launchOptions{insecure: true})
			for _, tt := range []struct {
				name       string
				transports []transport.Protocol
			}{
				{"over HTTP/2", nil},
				{"over HTTP/1.1", []transport.Protocol{transport.HTTP3, transport.WebSocket}},
			} {
				t.Run(tt.name, func(t *testing.T) {
					s := newLoadServer(t, tt.transports...)
					p := s.open(t, b)
					number, session := p.connect(t, "/echo", "ws")
					if alpn := session.Info().TLS.NegotiatedProtocol; (alpn == "h2") != (tt.transports == nil) {
						t.Errorf("the session's connection speaks %q", alpn)
					}
					for _, library := range []string{"gorilla", "coder"} {
						t.Run(library, func(t *testing.T) {
							var got struct {
								Protocol                     string
								Text, Binary, Long, WasClean bool
								Code                         int
							}
							p.call(t, &got, "plain", "wss://"+s.addr+"/"+library, 1<<20)
							if got.Protocol != "chat" || !got.Text || !got.Binary || !got.Long || got.Code != 4000 || !got.WasClean {
								t.Errorf("the page got %+v", got)
							}
						})
					}
					var same bool
					p.call(t, &same, "echo", number, 1<<20)
					if !same {
						t.Error("the session's echo is another")
					}
					p.call(t, nil, "finish", number, 5, "bye")
					<-session.Context().Done()
					if se, ok := errors.AsType[*transport.SessionError](context.Cause(session.Context())); !ok || se.Code != 5 || se.Reason != "bye" {
						t.Errorf("the session ended with %v", context.Cause(session.Context()))
					}
				})
			}
		})
	}
}
