package browsers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/towpath-go/towpath/e2e/clients"
)

// closings are what sessions are closed with.
var closings = []struct {
	code   uint32
	reason string
}{
	{0, ""},
	{0, "a reason without a code"},
	{1, ""},
	{255, "as an octet"},
	{256, "no octet"},
	{1<<31 - 1, "still positive"},
	{1 << 31, "as a negative number"},
	{1<<32 - 1, "the greatest"},
	{4321, "so long, ünd tschüss 👋"},
	{77, strings.Repeat("r", 1024)}, // the longest there is
}

// TestNativeCloses: every code and reason of twenty closes in each direction
// arrives, and the end that closes has them too.
func TestNativeCloses(t *testing.T) {
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			l := newNativeLink(t, launch(t, k, launchOptions{}))
			for _, by := range []string{"page", "server"} {
				t.Run("by the "+by, func(t *testing.T) {
					for i := range 2 * len(closings) {
						closes(t, l, i, by == "page")
					}
				})
			}
		})
	}
}

// closes closes one session; every second time there was traffic before.
func closes(t *testing.T, l *nativeLink, i int, byPage bool) {
	t.Helper()
	ctx := clients.Limited(t)
	c := closings[i%len(closings)]
	client, server := l.Session(t)
	if i%2 == 1 {
		clients.Asked(t, ctx, client, server)
	}
	closer, other := client, server
	if !byPage {
		closer, other = server, client
	}
	clients.Must(t, closer.Close(ctx, c.code, c.reason))
	if code, reason, err := other.Closed(ctx); err != nil || code != c.code || reason != c.reason {
		t.Errorf("close %d: the other end was told %d %q (%v), want %d %q", i, code, reason, err, c.code, c.reason)
	}
	if !byPage {
		return
	}
	if code, reason, err := client.Closed(ctx); err != nil || code != c.code || reason != c.reason {
		t.Errorf("close %d: the page itself was told %d %q (%v), want %d %q", i, code, reason, err, c.code, c.reason)
	}
}

// TestNativeServe has the command at the other end.
func TestNativeServe(t *testing.T) {
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			b := launch(t, k, launchOptions{})
			at := blank(t, "127.0.0.1")
			p := b.open(t, at)
			s := serve(t, "-v", "--origin", strings.TrimSuffix(at, "/"))
			dial := func(t *testing.T, path string) clients.End {
				t.Helper()
				e, err := p.dial(clients.Limited(t), dialing{url: s.url(path), hash: s.hash})
				clients.Must(t, err)
				return e
			}
			t.Run("echo", func(t *testing.T) {
				ctx := clients.Limited(t)
				e := dial(t, "/echo")
				st, err := e.Open(ctx, false)
				clients.Must(t, err)
				sent := make(chan error, 1)
				want := clients.Pattern(1 << 20)
				go func() { sent <- errors.Join(st.Write(ctx, want), st.Finish(ctx)) }() // ends with ctx
				clients.Must(t, errors.Join(clients.Expect(st, ctx, string(want)), <-sent))
				clients.Must(t, clients.OneWay(ctx, e, e, "there and back"))
				clients.Must(t, clients.Datagram(ctx, e, e, "a datagram"))
			})
			t.Run("server-opened streams", func(t *testing.T) {
				ctx := clients.Limited(t)
				e := dial(t, "/echo?srv=1")
				for uni, want := range map[bool]string{true: "hello from server uni", false: "hello from server bidi"} {
					st, err := e.Accept(ctx, uni)
					clients.Must(t, err)
					clients.Must(t, clients.Expect(st, ctx, want))
				}
			})
			t.Run("source", func(t *testing.T) {
				ctx := clients.Limited(t)
				st, err := dial(t, "/source?bytes=1048576").Accept(ctx, true)
				clients.Must(t, err)
				clients.Must(t, clients.Expect(st, ctx, string(make([]byte, 1<<20))))
			})
			t.Run("close", func(t *testing.T) {
				for i, c := range closings {
					e := dial(t, fmt.Sprintf("/echo?close=%d&after=0&reason=%s", c.code, url.QueryEscape(c.reason)))
					code, reason, err := e.Closed(clients.Limited(t))
					if err != nil || code != c.code || reason != c.reason {
						t.Errorf("close %d: the page was told %d %q (%v), want %d %q", i, code, reason, err, c.code, c.reason)
					}
				}
			})
			t.Run("wrong origin", func(t *testing.T) {
				ctx := clients.Limited(t)
				other := b.open(t, strings.Replace(at, "127.0.0.1", "localhost", 1))
				_, err := other.dial(ctx, dialing{url: s.url("/echo"), hash: s.hash})
				if err == nil || !strings.Contains(err.Error(), "WebTransportError") {
					t.Errorf("a page of another origin was told %v", err)
				}
				_, err = s.logged(ctx, "session refused", "origin is not allowed")
				clients.Must(t, err)
				dial(t, "/echo") // the right one is still served
			})
			t.Run("wrong hash", func(t *testing.T) {
				hash := append([]byte(nil), s.hash...)
				hash[0] ^= 1
				if _, err := p.dial(clients.Limited(t), dialing{url: s.url("/echo"), hash: hash}); err == nil {
					t.Error("the page took a certificate that it was not told of")
				}
			})
		})
	}
}

// TestNativeTabClosed: a tab that is closed in the middle of transfers in both
// directions ends the session on the server. Firefox ends what the page sent, as
// if that were all, and keeps the session: the server has to notice.
func TestNativeTabClosed(t *testing.T) {
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			ctx := clients.Limited(t)
			l := newNativeLink(t, launch(t, k, launchOptions{}))
			hash := l.server.Cert.Hash()
			client, err := l.page.dial(ctx, dialing{url: l.server.URL("/"), hash: hash[:]})
			clients.Must(t, err)
			server := l.server.Accept(t, ctx)
			_, theirs := clients.Asked(t, ctx, client, server)
			clients.Must(t, l.page.run(ctx, `() => {
				const { reader, writer } = towpath.ends.streams.at(-1)
				const both = [async () => { for (;;) await writer.write(new Uint8Array(65536)) }, async () => { while (!(await reader.read()).done); }]
				for (const f of both) f().catch(() => {})
			}`, nil, nil))
			// The server does both as well, until the end.
			written, read := make(chan error, 1), make(chan error, 1)
			moved := make(chan struct{})
			go func() { // ends with the session, at the latest with ctx
				var err error
				for err == nil {
					err = theirs.Write(ctx, make([]byte, 64<<10))
				}
				written <- err
			}()
			go func() { // as above
				_, err := theirs.Read(ctx, 1<<20)
				close(moved)
				if err == nil {
					_, err = theirs.ReadAll(ctx)
				}
				if err == nil {
					err = io.EOF // the clean end
				}
				read <- err
			}()
			<-moved
			clients.Must(t, l.page.close(ctx))
			session := server.(clients.TowpathEnd).S
			if k == firefox {
				if err := <-read; !errors.Is(err, io.EOF) || session.Context().Err() != nil {
					t.Errorf("reading ended with %v, the session with %v", err, context.Cause(session.Context()))
				}
				session.CloseWithError(1, "the page has gone")
				if err := <-written; err == nil || ctx.Err() != nil {
					t.Errorf("writing ended with %v", err)
				}
				return
			}
			select {
			case <-session.Context().Done():
				t.Logf("the session ended with: %v", context.Cause(session.Context()))
			case <-ctx.Done():
				t.Fatal("the session has not ended")
			}
			for what, err := range map[string]error{"writing": <-written, "reading": <-read} {
				if err == nil || ctx.Err() != nil {
					t.Errorf("%s ended with %v", what, err)
				}
			}
		})
	}
}

// TestNativeManySessions: two tabs with sessions at once, all of which work.
func TestNativeManySessions(t *testing.T) {
	const each = 8
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			ctx := clients.Limited(t)
			b := launch(t, k, launchOptions{})
			first := newNativeLink(t, b)
			second := &nativeLink{page: b.open(t, first.origin), server: first.server, origin: first.origin}
			var ends [][2]clients.End
			for range each {
				for _, l := range []*nativeLink{first, second} {
					client, server := l.Session(t)
					ends = append(ends, [2]clients.End{client, server})
				}
			}
			var all sync.WaitGroup
			errs := make([]error, len(ends))
			for i, e := range ends {
				all.Go(func() { // ends with ctx
					errs[i] = clients.Echo(ctx, e[0], e[1], true, fmt.Sprintf("session %d: %s", i, clients.Pattern(50_000)))
				})
			}
			all.Wait()
			clients.Must(t, errors.Join(errs...))
		})
	}
}
