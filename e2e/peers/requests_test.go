package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/towpath-go/towpath/e2e/clients"
	"github.com/towpath-go/towpath/transport"
)

//lint:file-ignore SA1019 deprecated or not, x/net/http2 is the client that these tests are about

// The rows of Go's clients.
var (
	requestsNetHTTP      = &clients.Row{Name: "net/http", Table: requests, Peer: "net/http client", Module: "the Go that runs the tests"}
	requestsXNet         = &clients.Row{Name: "x/net http2", Table: requests, Peer: "x/net/http2 client", Module: xnetModule}
	requestsXNetSessions = &clients.Row{Name: "x/net http2 with sessions", Table: requests, Peer: "x/net/http2 client, the sessions (by hand) on the same connection", Module: xnetModule}
)

func TestRequestsOfGo(t *testing.T) {
	t.Run("net http", func(t *testing.T) {
		s := newRequestServer(t, nil)
		measureRequests(t, requestsNetHTTP, goRequests{s, netHTTP(t, s), otherSessions(s)}.checks())
	})
	t.Run("x net", func(t *testing.T) {
		s := newRequestServer(t, nil)
		rt := newXNetConn(t, s.addr, s.cert.ClientConfig("127.0.0.1", "h2"))
		measureRequests(t, requestsXNet, goRequests{s, rt, otherSessions(s)}.checks())
	})
	t.Run("x net with sessions", func(t *testing.T) {
		s, rt, sessions := sameConnection(t)
		measureRequests(t, requestsXNetSessions, goRequests{s, rt, sessions}.checks())
	})
}

// TestRequestsCancelled has requests end in the middle of their content in both
// directions, beside sessions that lose nothing by it.
func TestRequestsCancelled(t *testing.T) {
	t.Run("net http", func(t *testing.T) {
		s := newRequestServer(t, nil)
		goRequests{s, netHTTP(t, s), otherSessions(s)}.cancelled(t)
	})
	t.Run("x net", func(t *testing.T) {
		s := newRequestServer(t, nil)
		rt := newXNetConn(t, s.addr, s.cert.ClientConfig("127.0.0.1", "h2"))
		goRequests{s, rt, otherSessions(s)}.cancelled(t)
	})
	t.Run("x net with sessions", func(t *testing.T) {
		s, rt, sessions := sameConnection(t)
		goRequests{s, rt, sessions}.cancelled(t)
	})
}

func netHTTP(t *testing.T, s *requestServer) http.RoundTripper {
	tr := &http.Transport{TLSClientConfig: s.cert.ClientConfig("127.0.0.1"), ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// otherSessions makes sessions on other connections than the requests'.
func otherSessions(s *requestServer) func(t *testing.T, n int) []clients.End {
	return func(t *testing.T, n int) []clients.End { return otherConnections(t, s, n) }
}

// sameConnection is one connection of x/net/http2's client for requests and
// sessions.
func sameConnection(t *testing.T) (*requestServer, http.RoundTripper, func(t *testing.T, n int) []clients.End) {
	t.Helper()
	s := newRequestServer(t, &transport.Config{Dialect: transport.DialectDraft15})
	conn := newXNetConn(t, s.addr, s.cert.ClientConfig("127.0.0.1", "h2"))
	return s, conn, func(t *testing.T, n int) []clients.End {
		var ends []clients.End
		for range n {
			client, err := dialByHand(clients.Limited(t), conn, s.url("/session"), nil, handDraft15)
			clients.Must(t, err)
			t.Cleanup(func() { client.Close(context.Background(), 0, "") })
			ends = append(ends, client)
		}
		return ends
	}
}

// goRequests are the requests of a client that is Go's.
type goRequests struct {
	server   *requestServer
	client   http.RoundTripper
	sessions func(t *testing.T, n int) []clients.End
}

func (g goRequests) checks() [requestColumnCount]requestCheck {
	var checks [requestColumnCount]requestCheck
	for c, f := range [requestColumnCount]func(ctx context.Context) error{
		requestGET: func(ctx context.Context) error {
			return errors.Join(g.get(ctx, "/small", []byte(smallAnswer)), g.get(ctx, "/mebibyte", clients.Pattern(1<<20)))
		},
		requestPOST: func(ctx context.Context) error {
			_, err := g.request(ctx, http.MethodPost, "/check?n=100000", clients.Pattern(100_000), []byte{}, nil)
			return errors.Join(err, g.echo(ctx, 1000))
		},
		requestTrailers: g.trailers,
		requestHEAD: func(ctx context.Context) error {
			rsp, err := g.request(ctx, http.MethodHead, "/mebibyte", nil, []byte{}, nil)
			if err == nil && rsp.ContentLength != 1<<20 {
				err = fmt.Errorf("the answer to HEAD has the length %d", rsp.ContentLength)
			}
			return err
		},
		requestMebibyte: func(ctx context.Context) error { return g.echo(ctx, 1<<20) },
		requestConcurrent: func(ctx context.Context) error {
			return atOnce(100, func(int) error { return g.get(ctx, "/together?n=100", []byte(smallAnswer)) })
		},
		requestCrowd: func(ctx context.Context) error {
			return atOnce(100, func(i int) error {
				if i%10 == 0 {
					return g.echo(ctx, 100_000)
				}
				return errors.Join(g.get(ctx, "/small", []byte(smallAnswer)), g.echo(ctx, 1000))
			})
		},
	} {
		n := 4
		if clients.Column(c) == requestCrowd {
			n = 32
		}
		checks[c].run = func(t *testing.T) {
			l := startLoad(t, g.sessions(t, n))
			defer l.end(t)
			l.beside(t, func(ctx context.Context) {
				if err := f(ctx); err != nil {
					t.Error(err)
				}
			})
		}
	}
	return checks
}

// atOnce runs f n times at once.
func atOnce(n int, f func(i int) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = f(i) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// request makes a request over HTTP/2 and reads its answer, whose content must
// be want.
func (g goRequests) request(ctx context.Context, method, path string, content, want []byte, trailer http.Header) (*http.Response, error) {
	var body io.Reader
	if content != nil {
		body = bytes.NewReader(content)
	}
	r, err := http.NewRequestWithContext(ctx, method, g.server.url(path), body)
	if err != nil {
		return nil, err
	}
	if trailer != nil {
		r.Trailer, r.ContentLength = trailer, -1
	}
	rsp, err := g.client.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer rsp.Body.Close()
	got, err := io.ReadAll(rsp.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: after %d bytes: %w", method, path, len(got), err)
	}
	if rsp.ProtoMajor != 2 || rsp.StatusCode != http.StatusOK || !bytes.Equal(got, want) {
		return nil, fmt.Errorf("%s %s: %s %s with %d bytes, want %d: %.100q", method, path, rsp.Proto, rsp.Status, len(got), len(want), got)
	}
	return rsp, nil
}

func (g goRequests) get(ctx context.Context, path string, want []byte) error {
	_, err := g.request(ctx, http.MethodGet, path, nil, want, nil)
	return err
}

func (g goRequests) echo(ctx context.Context, n int) error {
	_, err := g.request(ctx, http.MethodPost, "/echo", clients.Pattern(n), clients.Pattern(n), nil)
	return err
}

func (g goRequests) trailers(ctx context.Context) error {
	const sum = "a checksum, say"
	rsp, err := g.request(ctx, http.MethodPost, "/echo", clients.Pattern(10_000), clients.Pattern(10_000), http.Header{"X-Checksum": {sum}})
	if err == nil && rsp.Trailer.Get("X-Checksum") != sum {
		err = fmt.Errorf("the trailers %v came back", rsp.Trailer)
	}
	return err
}

// cancelled ends a download and an upload in the middle, and shows that the
// server learns of it and that the connection goes on.
func (g goRequests) cancelled(t *testing.T) {
	l := startLoad(t, g.sessions(t, 4))
	defer l.end(t)
	l.beside(t, func(ctx context.Context) {
		clients.Must(t, g.cancelledDownload(ctx))
		clients.Must(t, g.cancelledUpload(ctx))
		clients.Must(t, g.get(ctx, "/small", []byte(smallAnswer)))
	})
}

func (g goRequests) cancelledDownload(ctx context.Context) error {
	short, cancel := context.WithCancel(ctx)
	defer cancel()
	r, err := http.NewRequestWithContext(short, http.MethodGet, g.server.url("/endless"), nil)
	if err != nil {
		return err
	}
	rsp, err := g.client.RoundTrip(r)
	if err != nil {
		return err
	}
	defer rsp.Body.Close()
	got := make([]byte, 50_000)
	if _, err := io.ReadFull(rsp.Body, got); err != nil {
		return err
	}
	if !bytes.Equal(got[:10_000], clients.Pattern(10_000)) {
		return errors.New("other bytes came than were sent")
	}
	cancel()
	if _, err := io.Copy(io.Discard, rsp.Body); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("reading after the cancellation: %w", err)
	}
	return g.server.wasCancelled(ctx)
}

func (g goRequests) cancelledUpload(ctx context.Context) error {
	short, cancel := context.WithCancel(ctx)
	defer cancel()
	in, out := io.Pipe()
	defer out.Close()
	r, err := http.NewRequestWithContext(short, http.MethodPost, g.server.url("/swallow"), in)
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() { // ends with in, which the client closes
		var err error
		for p := clients.Pattern(10_000); err == nil; {
			_, err = out.Write(p)
		}
		sent <- err
	}()
	begun := make(chan error, 1)
	go func() { // cancels once the handler has read some
		begun <- g.server.hasBegun(ctx)
		cancel()
	}()
	if rsp, err := g.client.RoundTrip(r); !errors.Is(err, context.Canceled) {
		if err == nil {
			rsp.Body.Close()
		}
		return fmt.Errorf("the cancelled request ended with %w", err)
	}
	return errors.Join(<-begun, g.server.wasCancelled(ctx), wantErr(<-sent))
}

// wantErr is an error if there was none.
func wantErr(err error) error {
	if err == nil {
		return errors.New("the upload went on after its cancellation")
	}
	return nil
}
