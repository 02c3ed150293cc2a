package h2wt

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/towpath-go/towpath/transport"
)

// responseBuffer is how much of a response is gathered before it goes to the
// connection without a Flush. A response that is complete in it gets a
// Content-Length.
const responseBuffer = 4 << 10

// response is the http.ResponseWriter of one exchange. The handler uses it from
// one goroutine at a time.
type response struct {
	x      *exchange
	send   *sendBuffer
	header http.Header

	// mu guards the following two, which the goroutine that reads the body
	// looks at as well. It is held while a header list is queued, so that 100
	// cannot come behind the final response; queueing waits for nothing.
	mu           sync.Mutex
	wantContinue bool // the client waits for 100 (Continue)
	started      bool // the final header was given to the connection

	begun    bool        // start was called
	snapshot http.Header // header as of WriteHeader
	status   int         // 0 before WriteHeader
	declared int64       // Content-Length that the handler set, -1 if none
	written  int64       // bytes that the handler wrote
	pending  []byte      // of them, those not given to send yet
	trailers []string    // keys that the handler declared
	done     bool        // the handler has returned

	// Why a session is refused, if it is known.
	limit   transport.Limit
	refusal error
}

func newResponse(x *exchange) *response {
	return &response{x: x, send: newSendBuffer(x.st.Wake), header: make(http.Header), declared: -1}
}

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter. As in package net/http, a 1xx
// status is sent at once and may be followed by others.
func (w *response) WriteHeader(code int) {
	if code < 100 || code > 999 {
		panic("h2wt: invalid WriteHeader code " + strconv.Itoa(code))
	}
	if w.status != 0 || w.done || w.x.taken() {
		return
	}
	if code == http.StatusSwitchingProtocols {
		// RFC 9113 section 8.6: HTTP/2 has no 101. Only a bridged WebSocket
		// may answer so, and that has a writer of its own.
		w.x.conn.logf("h2wt: handler answered 101 to an HTTP/2 request for %q", w.x.req.URL.Path)
		code = http.StatusInternalServerError
	}
	if code < 200 {
		w.interim(code)
		return
	}
	if w.x.tunnel != nil && code < 300 {
		// draft-ietf-webtrans-http2 "Session Establishment": a resource that
		// does not do WebTransport says 405. A 2xx without Upgrade would
		// promise a session that nobody serves.
		code = http.StatusMethodNotAllowed
	}
	w.status, w.snapshot = code, w.header.Clone()
	if v := w.snapshot.Get("Content-Length"); v != "" {
		if n, err := strconv.ParseInt(v, 10, 64); err == nil && n >= 0 {
			w.declared = n
		} else {
			w.snapshot.Del("Content-Length")
		}
	}
	for _, v := range w.snapshot["Trailer"] {
		for name := range strings.SplitSeq(v, ",") {
			key := http.CanonicalHeaderKey(strings.TrimSpace(name))
			if httpguts.ValidTrailerHeader(key) && !slices.Contains(w.trailers, key) {
				w.trailers = append(w.trailers, key)
			}
		}
	}
}

// interim sends a 1xx response with the header as it is now.
func (w *response) interim(code int) {
	w.mu.Lock()
	w.wantContinue = w.wantContinue && code != http.StatusContinue
	w.mu.Unlock()
	fields := []hpack.HeaderField{{Name: ":status", Value: strconv.Itoa(code)}}
	fields = appendFields(fields, w.header, "Content-Length")
	_ = w.x.st.WriteHeaders(fields, false, nil) // an error shows with the final response
}

// sendContinue tells a client that waits for it to send the body, when the
// handler begins to read it.
func (w *response) sendContinue() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wantContinue && !w.started {
		_ = w.x.st.WriteHeaders([]hpack.HeaderField{{Name: ":status", Value: "100"}}, false, nil)
	}
	w.wantContinue = false
}

// Write implements http.ResponseWriter.
func (w *response) Write(p []byte) (int, error) {
	switch {
	case w.done:
		return 0, errHandlerDone
	case w.x.taken():
		return 0, http.ErrHijacked
	case w.status == 0:
		w.WriteHeader(http.StatusOK)
	}
	if !w.bodyAllowed() {
		return 0, http.ErrBodyNotAllowed
	}
	if w.declared >= 0 && int64(len(p)) > w.declared-w.written {
		return 0, http.ErrContentLength
	}
	w.written += int64(len(p))
	if len(w.pending)+len(p) <= responseBuffer {
		w.pending = append(w.pending, p...)
		return len(p), nil
	}
	if len(w.pending) == 0 {
		return w.give(p)
	}
	if err := w.givePending(); err != nil {
		return 0, err
	}
	if len(p) <= responseBuffer/2 {
		w.pending = append(w.pending, p...)
		return len(p), nil
	}
	return w.give(p)
}

// WriteString implements io.StringWriter.
func (w *response) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// give hands content to the connection, after the header.
func (w *response) give(p []byte) (int, error) {
	if err := w.start(p, false); err != nil {
		return 0, err
	}
	if w.x.req.Method == http.MethodHead {
		return len(p), nil
	}
	return w.send.Write(p)
}

func (w *response) givePending() error {
	p := w.pending
	w.pending = w.pending[:0]
	_, err := w.give(p)
	return err
}

// Flush implements http.Flusher.
func (w *response) Flush() { _ = w.FlushError() }

// FlushError is Flush for http.ResponseController. It returns once the bytes
// are the connection's to send, which may wait for room among those before.
func (w *response) FlushError() error {
	switch {
	case w.done:
		return errHandlerDone
	case w.x.taken():
		return http.ErrHijacked
	case w.status == 0:
		w.WriteHeader(http.StatusOK)
	}
	if len(w.pending) > 0 {
		return w.givePending()
	}
	if err := w.start(nil, false); err != nil {
		return err
	}
	return w.send.state()
}

// SetReadDeadline implements http.ResponseController's: from t on, reading the
// body fails with os.ErrDeadlineExceeded.
func (w *response) SetReadDeadline(t time.Time) error {
	w.x.setReadDeadline(t)
	return nil
}

// SetWriteDeadline implements http.ResponseController's. When t passes before
// the response was sent, the stream is reset: its client must not take a part
// for the whole.
func (w *response) SetWriteDeadline(t time.Time) error {
	w.x.setWriteDeadline(t)
	return nil
}

// EnableFullDuplex implements http.ResponseController's: HTTP/2 is full duplex.
func (w *response) EnableFullDuplex() error { return nil }

// start gives the header to the connection, once. first are the first bytes of
// the content; final says that they are all of it.
func (w *response) start(first []byte, final bool) error {
	if w.begun {
		return nil
	}
	w.begun = true
	if w.x.undecided() && !w.x.decide(responded) {
		return errHandlerDone
	}
	h := w.snapshot
	fields := make([]hpack.HeaderField, 1, len(h)+4)
	fields[0] = hpack.HeaderField{Name: ":status", Value: strconv.Itoa(w.status)}
	if _, ok := h["Content-Type"]; !ok && len(first) > 0 && h.Get("Content-Encoding") == "" {
		fields = append(fields, hpack.HeaderField{Name: "content-type", Value: http.DetectContentType(first)})
	}
	head := w.x.req.Method == http.MethodHead
	hasTrailers := len(w.trailers) > 0 || hasTrailerPrefix(w.header)
	if final && w.declared < 0 && w.bodyAllowed() && !hasTrailers && (len(first) > 0 || !head) {
		fields = append(fields, hpack.HeaderField{Name: "content-length", Value: strconv.Itoa(len(first))})
	}
	if _, ok := h["Date"]; !ok {
		fields = append(fields, hpack.HeaderField{Name: "date", Value: httpDate()})
	}
	// A status without content may still tell the length for 304 (RFC 9110
	// section 8.6), for the others it must not.
	skip := ""
	if !w.bodyAllowed() && w.status != http.StatusNotModified {
		skip = "Content-Length"
	}
	fields = appendFields(fields, h, skip)
	end := head || !w.bodyAllowed() || final && len(first) == 0 && !hasTrailers
	w.mu.Lock()
	w.started = true
	err := w.x.st.WriteHeaders(fields, end, nil)
	w.mu.Unlock()
	if httpguts.HeaderValuesContainsToken(h["Connection"], "close") {
		// net/http's way to end a connection after this response.
		w.x.conn.h2.GoAway()
	}
	if err != nil {
		w.x.abort(http2.ErrCodeInternal, err) // the stream has ended, or nothing can be sent on it
		return err
	}
	w.x.refusedSession(w.status, w.limit, w.refusal)
	if end {
		w.x.sent()
		return nil
	}
	w.x.st.SetSource(w.send)
	return nil
}

// finish completes the response when the handler has returned.
func (w *response) finish() {
	if w.x.taken() {
		w.done = true
		return
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.done = true
	head := w.x.req.Method == http.MethodHead
	if w.declared > w.written && !head && w.bodyAllowed() {
		// Less than was promised must not look like all of it.
		w.x.abort(http2.ErrCodeInternal, http.ErrContentLength)
		return
	}
	err := w.start(w.pending, true)
	if err == nil && len(w.pending) > 0 && !head {
		_, err = w.send.Write(w.pending)
	}
	w.pending = nil
	if err != nil {
		return // the stream has ended, which is what the error says
	}
	w.x.linger()
	w.send.close(w.trailerFields())
}

func (w *response) bodyAllowed() bool {
	if w.x.tunnel != nil && w.status == http.StatusMethodNotAllowed {
		return false
	}
	return w.status >= 200 && w.status != http.StatusNoContent && w.status != http.StatusNotModified
}
