package peers

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"github.com/towpath-go/towpath/e2e/clients"
	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/negotiate"
	"github.com/towpath-go/towpath/transport"
)

// A requestServer serves ordinary requests beside sessions, over HTTP/2.
//
//	/session    a session whose server answers what comes
//	/small      a short answer
//	/mebibyte   pattern(1<<20)
//	/echo       the request's content, while it comes, and a trailer X-Checksum:
//	            the request's, or ?x-checksum= for those who cannot send one
//	/check      200 if the content is the pattern of the length in ?n=, else 400
//	/together   an answer once so many of these are there at once as ?n= says
//	/endless    an answer that goes on until the client cancels it
//	/swallow    reads the request until the client cancels it
type requestServer struct {
	addr      string
	cert      *testcert.Cert
	begun     chan struct{} // gets a value from each /swallow that has read something
	cancelled chan error    // how each /endless and /swallow ended

	mu       sync.Mutex // guards the following
	waiting  int        // requests of /together
	together chan struct{}
}

const smallAnswer = "a small answer\n"

// newRequestServer serves until the test ends.
func newRequestServer(t *testing.T, config *transport.Config) *requestServer {
	t.Helper()
	s := &requestServer{cert: testcert.New(t), begun: make(chan struct{}, 1), cancelled: make(chan error, 1), together: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("/session", s.session)
	mux.HandleFunc("/small", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, smallAnswer) })
	mux.HandleFunc("/mebibyte", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(1<<20))
		w.Write(clients.Pattern(1 << 20))
	})
	mux.HandleFunc("/echo", echoRequest)
	mux.HandleFunc("/check", checkRequest)
	mux.HandleFunc("/together", s.waitTogether)
	mux.HandleFunc("/endless", s.endless)
	mux.HandleFunc("/swallow", s.swallow)
	ln, _, err := negotiate.Listen("127.0.0.1:0", transport.HTTP2)
	clients.Must(t, err)
	s.addr = ln.Addr().String()
	srv := &negotiate.Server{
		TLSConfig: s.cert.ServerConfig(), Handler: mux, Config: config,
		Transports: []transport.Protocol{transport.HTTP2},
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln, nil) }() // ends when the server is closed
	t.Cleanup(func() {
		srv.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve returned %v", err)
		}
	})
	return s
}

func (s *requestServer) url(path string) string { return "https://" + s.addr + path }

// session answers what comes on a session until it ends.
func (s *requestServer) session(w http.ResponseWriter, r *http.Request) {
	session, err := negotiate.Upgrade(w, r, nil)
	if err != nil {
		return // the client has been told
	}
	ctx := session.Context()
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() {
		for {
			st, err := session.AcceptStream(ctx)
			if err != nil {
				return
			}
			all.Go(func() { answerStream(st, st) })
		}
	})
	all.Go(func() {
		for {
			in, err := session.AcceptUniStream(ctx)
			if err != nil {
				return
			}
			all.Go(func() {
				if out, err := session.OpenUniStream(ctx); err == nil {
					answerStream(out, in)
				}
			})
		}
	})
	for {
		p, err := session.ReceiveDatagram(ctx)
		if err != nil || session.SendDatagram(p) != nil {
			return
		}
	}
}

func answerStream(out transport.SendStream, in transport.ReceiveStream) {
	if _, err := io.Copy(out, in); err != nil {
		out.CancelWrite(0)
		in.CancelRead(0)
		return
	}
	out.Close()
}

func echoRequest(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Trailer", "X-Checksum")
	w.Header().Set("Content-Type", "application/octet-stream")
	if _, err := io.Copy(w, r.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("X-Checksum", cmp.Or(r.Trailer.Get("X-Checksum"), r.URL.Query().Get("x-checksum")))
}

func checkRequest(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.URL.Query().Get("n"))
	got, readErr := io.ReadAll(r.Body)
	if err != nil || readErr != nil || !bytes.Equal(got, clients.Pattern(n)) {
		http.Error(w, fmt.Sprintf("%d bytes arrived (%v)", len(got), readErr), http.StatusBadRequest)
	}
}

// waitTogether answers once n requests wait, or never.
func (s *requestServer) waitTogether(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.URL.Query().Get("n"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.waiting++
	all := s.together
	if s.waiting == n {
		close(s.together)
		s.waiting, s.together = 0, make(chan struct{})
	}
	s.mu.Unlock()
	select {
	case <-all:
		io.WriteString(w, smallAnswer)
	case <-r.Context().Done():
		s.mu.Lock()
		if s.together == all {
			s.waiting--
		}
		s.mu.Unlock()
	}
}

func (s *requestServer) endless(w http.ResponseWriter, r *http.Request) {
	var err error
	for p := clients.Pattern(10_000); err == nil; {
		_, err = w.Write(p)
	}
	<-r.Context().Done()
	s.cancelled <- err
}

func (s *requestServer) swallow(w http.ResponseWriter, r *http.Request) {
	_, err := io.ReadFull(r.Body, make([]byte, 100_000))
	s.begun <- struct{}{}
	if err == nil {
		_, err = io.Copy(io.Discard, r.Body)
	}
	<-r.Context().Done()
	s.cancelled <- err
}

func (s *requestServer) hasBegun(ctx context.Context) error {
	select {
	case <-s.begun:
		return nil
	case <-ctx.Done():
		return errors.New("nothing of the upload arrived")
	}
}

// wasCancelled waits until the handler has seen a cancellation.
func (s *requestServer) wasCancelled(ctx context.Context) error {
	select {
	case err := <-s.cancelled:
		if err == nil {
			return errors.New("the handler saw the clean end of a request that was cancelled")
		}
		return nil
	case <-ctx.Done():
		return errors.New("the handler did not see the cancellation")
	}
}
