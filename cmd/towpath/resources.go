package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/towpath-go/towpath/negotiate"
	"github.com/towpath-go/towpath/transport"
)

// resources is the http.Handler of serve and demo.
type resources struct {
	upgrade transport.UpgradeOptions
	static  http.Handler // nil: 404, but for the page
	page    *page        // nil: none
	open    atomic.Int64 // sessions
}

// newResources makes the handler; root may be empty.
func newResources(root string, origins []string) (*resources, error) {
	h := &resources{upgrade: transport.UpgradeOptions{
		Origins:                  origins,
		AllowOriginWithoutScheme: true, // fails-components in Node sends no other
	}}
	if root != "" {
		r, err := os.OpenRoot(root) // nothing outside, whatever links say
		if err != nil {
			return nil, err
		}
		h.static = http.FileServerFS(r.FS())
	}
	return h, nil
}

// ServeHTTP finds the resource. It is no http.ServeMux, since that redirects
// "//echo", which the fails-components polyfill asks for, as it puts a slash in
// front of every path.
func (h *resources) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if strings.HasPrefix(path, "//") {
		path = path[1:]
	}
	switch path {
	case "/echo":
		o, err := parseEcho(r.URL.Query())
		h.session(w, r, err, func(s transport.Session) { echo(s, o) })
	case "/discard":
		h.session(w, r, nil, discard)
	case "/source":
		n, err := parseSource(r.URL.Query())
		h.session(w, r, err, func(s transport.Session) { source(s, n) })
	default:
		switch {
		case r.Method == http.MethodConnect:
			w.WriteHeader(http.StatusMethodNotAllowed)
		case h.static != nil:
			h.static.ServeHTTP(w, r)
		case h.page != nil && h.page.serve(w, r, path):
		default:
			http.NotFound(w, r)
		}
	}
}

// session accepts a session and runs f with it until it ends.
func (h *resources) session(w http.ResponseWriter, r *http.Request, badQuery error, f func(transport.Session)) {
	if !negotiate.IsUpgrade(r) {
		w.Header().Set("Allow", http.MethodConnect)
		http.Error(w, "this resource speaks WebTransport only", http.StatusMethodNotAllowed)
		return
	}
	if badQuery != nil {
		http.Error(w, badQuery.Error(), http.StatusBadRequest)
		return
	}
	s, err := negotiate.Upgrade(w, r, &h.upgrade)
	if err != nil { // the status is written, and the server's Logger was told
		return
	}
	h.open.Add(1)
	context.AfterFunc(s.Context(), func() { h.open.Add(-1) })
	go f(s) // ends with the session
}

// An echoQuery is what the query of /echo asks for besides echoes.
type echoQuery struct {
	serverStreams bool
	reset         bool
	resetCode     transport.StreamErrorCode
	closing       bool
	closeCode     transport.SessionErrorCode
	closeReason   string
	closeAfter    time.Duration
}

func parseEcho(q url.Values) (o echoQuery, err error) {
	number := func(name string, bits int) (v uint64, ok bool) {
		s := q.Get(name)
		if s == "" || err != nil {
			return 0, false
		}
		v, perr := strconv.ParseUint(s, 10, bits)
		if perr != nil {
			err = errors.New(name + " is not a number of " + strconv.Itoa(bits) + " bits")
			return 0, false
		}
		return v, true
	}
	srv, _ := number("srv", 1)
	o.serverStreams = srv == 1
	reset, ok := number("reset", 32)
	o.reset, o.resetCode = ok, transport.StreamErrorCode(reset)
	code, ok := number("close", 32)
	o.closing, o.closeCode = ok, transport.SessionErrorCode(code)
	o.closeReason = "server bye"
	if q.Has("reason") {
		o.closeReason = q.Get("reason")
	}
	o.closeAfter = 300 * time.Millisecond
	if after, ok := number("after", 31); ok {
		o.closeAfter = time.Duration(after) * time.Millisecond
	}
	return o, err
}

func parseSource(q url.Values) (n int64, err error) {
	s := q.Get("bytes")
	if s == "" {
		return 1 << 20, nil
	}
	n, err = strconv.ParseInt(s, 10, 63)
	if err != nil || n < 0 {
		return 0, errors.New("bytes is not a number")
	}
	return n, nil
}

// each calls f on its own goroutine for whatever next returns, until it fails:
// at the session's end. The peer's limit on streams bounds the goroutines.
func each[T any](next func(context.Context) (T, error), f func(T)) {
	for {
		v, err := next(context.Background())
		if err != nil {
			return
		}
		go f(v) // ends with the stream, at the latest with the session
	}
}

// echo sends everything back.
func echo(s transport.Session, o echoQuery) {
	ctx := context.Background()
	if o.closing {
		timer := time.AfterFunc(o.closeAfter, func() { _ = s.CloseWithError(o.closeCode, o.closeReason) })
		defer timer.Stop()
	}
	if o.serverStreams {
		go greet(s) // ends with the session
	}
	go each(s.AcceptStream, func(st transport.Stream) { echoStream(st, st, o) }) // ends with the session
	go each(s.AcceptUniStream, func(in transport.ReceiveStream) {                // ends with the session
		out, err := s.OpenUniStream(ctx)
		if err != nil {
			return
		}
		echoStream(in, out, o)
	})
	for {
		p, err := s.ReceiveDatagram(ctx)
		if err != nil {
			return
		}
		// One that does not fit this way back is lost, as datagrams may be.
		_ = s.SendDatagram(p)
	}
}

// echoStream copies a stream to another. A reset stays a reset: it is never
// turned into a clean end.
func echoStream(in transport.ReceiveStream, out transport.SendStream, o echoQuery) {
	if o.reset {
		b := make([]byte, 1)
		if n, _ := in.Read(b); n > 0 {
			out.CancelWrite(o.resetCode)
			in.CancelRead(o.resetCode)
			return
		}
	}
	pass(in, out)
}

// pass copies in to out, and its end as well: FIN as FIN, reset as reset.
func pass(in transport.ReceiveStream, out transport.SendStream) {
	_, err := io.Copy(out, in)
	if err == nil {
		_ = out.Close()
		return
	}
	code := transport.StreamErrorCode(0)
	if se, ok := errors.AsType[*transport.StreamError](err); ok {
		code = se.Code
	}
	out.CancelWrite(code)
	in.CancelRead(code)
}

// greet opens what a server may open.
func greet(s transport.Session) {
	ctx := context.Background()
	_ = s.SendDatagram([]byte("hello from server datagram"))
	if st, err := s.OpenUniStream(ctx); err == nil {
		_, _ = io.WriteString(st, "hello from server uni")
		_ = st.Close()
	}
	if st, err := s.OpenStream(ctx); err == nil {
		_, _ = io.WriteString(st, "hello from server bidi")
		_ = st.Close()
		_, _ = io.Copy(io.Discard, st)
	}
}

// discard reads and drops.
func discard(s transport.Session) {
	drop := func(st transport.ReceiveStream) { _, _ = io.Copy(io.Discard, st) }
	go each(s.AcceptUniStream, drop)                    // ends with the session
	go each(s.AcceptStream, func(st transport.Stream) { // ends with the session
		drop(st)
		_ = st.Close()
	})
	for {
		if _, err := s.ReceiveDatagram(context.Background()); err != nil {
			return
		}
	}
}

// source sends n bytes on a unidirectional stream. It serves the client's own
// streams meanwhile: one that does not read must not wait for them forever.
func source(s transport.Session, n int64) {
	go discard(s) // ends with the session
	st, err := s.OpenUniStream(context.Background())
	if err != nil {
		return
	}
	if _, err := io.CopyN(st, zeros{}, n); err != nil {
		st.CancelWrite(0)
		return
	}
	_ = st.Close()
}

// zeros is an endless source.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
