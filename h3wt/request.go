package h3wt

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/towpath-go/towpath/transport"
)

type requestKey struct{}

// A request is a WebTransport request while its handler decides.
type request struct {
	c      *serverConn
	id     quic.StreamID
	w      http.ResponseWriter // http3's
	r      *http.Request       // http3's own, which gets the trailers
	stream *quic.Stream
	timer  *time.Timer

	mu    sync.Mutex // guards the following
	state requestState
}

// A requestState is what was decided about a request.
type requestState uint8

const (
	requestOpen     requestState = iota
	requestAccepted              // Upgrade has the stream
	requestAnswered              // refused with a status, or about to be
	requestAborted               // its stream was reset
)

// decide makes the decision, once. It reports whether this call did.
func (q *request) decide(st requestState) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.state != requestOpen {
		return false
	}
	q.state = st
	return true
}

func (q *request) decided() requestState {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.state
}

// done runs when the handler has returned or panicked.
func (q *request) done(returned bool) {
	if q.timer != nil {
		q.timer.Stop()
	}
	switch {
	case !returned && q.decide(requestAborted):
		q.c.tellRefused(0, "", errPanic.Error())
		q.stream.CancelRead(quic.StreamErrorCode(http3.ErrCodeInternalError))
		q.stream.CancelWrite(quic.StreamErrorCode(http3.ErrCodeInternalError))
	case q.r.Context().Err() != nil && q.decide(requestAborted):
		// The client has gone: there is nobody to be refused.
	case q.decide(requestAnswered):
		q.refuse(http.StatusMethodNotAllowed, "", errNoAnswer)
	}
	if q.decided() != requestAccepted {
		q.c.freeSlot()
	}
}

// refuse answers a request for a session, and tells of it. The decision was made.
func (q *request) refuse(status int, limit transport.Limit, why error) {
	q.c.tellRefused(status, limit, why.Error())
	refuse(q.w, status)
}

// Why a session is refused, for logs.
var (
	errNoAnswer  = errors.New("the handler does not know WebTransport")
	errByHandler = errors.New("by the handler")
	errPanic     = errors.New("the handler panicked")
)

// refuse answers a request that becomes no session: by the status alone, as over
// HTTP/2. What middleware said of a body is not of this answer.
func refuse(w http.ResponseWriter, status int) {
	for _, name := range bodyFields {
		delete(w.Header(), name)
	}
	w.WriteHeader(status)
}

// bodyFields describe a body, as middleware sets them that knows no other answer.
var bodyFields = []string{"Content-Length", "Content-Type", "Transfer-Encoding", "Trailer"}

// responseWriter is what the handler of a WebTransport request writes to. A
// final answer other than by Upgrade refuses the session: one with a 2xx status
// comes from a handler that does not know WebTransport, and becomes 405.
type responseWriter struct {
	q       *request
	discard bool // the body belongs to an answer that became 405
}

func (w *responseWriter) Header() http.Header { return w.q.w.Header() }

func (w *responseWriter) WriteHeader(status int) {
	if status < 200 {
		if w.q.decided() == requestOpen {
			w.q.w.WriteHeader(status)
		}
		return
	}
	if !w.q.decide(requestAnswered) {
		return
	}
	if status < 300 {
		w.discard = true
		clear(w.q.w.Header())
		w.q.refuse(http.StatusMethodNotAllowed, "", errNoAnswer)
		return
	}
	w.q.c.tellRefused(status, "", errByHandler.Error())
	w.q.w.WriteHeader(status)
}

// RefuseSession implements handshake.Refuser.
func (w *responseWriter) RefuseSession(status int, limit transport.Limit) {
	if w.q.decide(requestAnswered) {
		w.q.refuse(status, limit, errByHandler)
	}
}

func (w *responseWriter) Write(p []byte) (int, error) {
	if w.q.decided() == requestOpen {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case w.discard:
		return len(p), nil
	case w.q.decided() != requestAnswered:
		return 0, http.ErrHijacked
	}
	return w.q.w.Write(p)
}

// FlushError sends an answer that was begun.
func (w *responseWriter) FlushError() error {
	if w.q.decided() != requestAnswered {
		return nil
	}
	return http.NewResponseController(w.q.w).Flush()
}

func (w *responseWriter) Flush() { w.FlushError() }
