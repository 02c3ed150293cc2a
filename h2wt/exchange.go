package h2wt

import (
	"context"
	"log/slog"
	"net/http"
	"runtime"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2conn"
)

// exchange is one request on a server's connection from its arrival until both
// its handler has returned and its stream has ended. It is held once for each of
// the two, and the stream counts against the client's limit until the last hold
// is gone: a client cannot start more handlers by resetting streams.
type exchange struct {
	conn   *serverConn
	st     *h2conn.Stream
	req    *http.Request
	w      *response
	recv   *recvBuffer      // nil for a WebTransport request: its bytes are capsules
	tunnel *tunnel          // of a WebTransport request, else nil
	local  *h2conn.Settings // ours, as the client knew them when it asked; of a WebTransport request
	bridge *bridge          // of a WebSocket request, else nil
	cancel context.CancelCauseFunc
	memory *account // what is held for it; nil if nothing can be

	mu       sync.Mutex // guards the following, and that shed forgets the above
	holds    int
	decided  decision
	told     bool        // what became of a request for a session
	over     bool        // the response was sent, or the stream ended
	deciding *time.Timer // answers 503 if nothing is decided
	timer    *time.Timer // of the write deadline, or of lingering
	deadline int         // counts setTimer, so that an overtaken timer does nothing
}

// decision is what became of an extended CONNECT.
type decision uint8

const (
	undecided decision = iota
	responded          // the handler answers as to any request
	takenOver          // Upgrade or Hijack has the stream
	timedOut           // answered 503
)

// hold keeps the exchange alive until one more release.
func (x *exchange) hold() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.holds++
}

func (x *exchange) release() {
	x.mu.Lock()
	x.holds--
	last := x.holds == 0
	x.mu.Unlock()
	if last {
		x.memory.close()
		x.conn.forget(x)
		x.st.Done()
	}
}

// shed forgets what only the handler has used, if it has accepted a session: that
// outlives it by far.
func (x *exchange) shed() {
	if x.tunnel == nil || !x.taken() {
		return
	}
	settled := x.tunnel.settled()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.req, x.w, x.cancel, x.local = nil, nil, nil, nil
	if settled {
		x.memory = nil
	}
}

// response returns the handler's ResponseWriter, nil once it is forgotten.
func (x *exchange) response() *response {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.w
}

// asked returns the header of a request for a session, and our settings as the
// client knew them; false once they are forgotten.
func (x *exchange) asked() (header http.Header, local h2conn.Settings, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.req == nil {
		return nil, local, false
	}
	return x.req.Header, *x.local, true
}

// end ends the request's context.
func (x *exchange) end(err error) {
	x.mu.Lock()
	cancel := x.cancel
	x.mu.Unlock()
	if cancel != nil {
		cancel(err)
	}
}

// decide makes the decision about an extended CONNECT, which is made once: by
// the handler's response, by Upgrade or Hijack, or because the handler takes too
// long. It reports whether d is the decision now.
func (x *exchange) decide(d decision) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.decided == undecided {
		x.decided = d
		if x.deciding != nil {
			x.deciding.Stop()
			x.deciding = nil
		}
	}
	return x.decided == d
}

// taken tells whether the stream is not the handler's response any more.
func (x *exchange) taken() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.decided == takenOver
}

// expectDecision answers 503 if the handler does not decide in time.
func (x *exchange) expectDecision() {
	d := x.conn.cfg.upgradeTimeout()
	if d == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.deciding = time.AfterFunc(d, func() {
		if !x.decide(timedOut) {
			return
		}
		if x.st.WriteHeaders(statusFields(http.StatusServiceUnavailable), true, nil) == nil {
			x.refusedSession(http.StatusServiceUnavailable, errUndecided.limit, errUndecided)
			if x.bridge != nil {
				// Whether it is a session's only the handler knows: package wswt
				// tells of those that it is asked to accept too late.
				x.conn.watch.log("WebSocket refused", errUndecided.limit, errUndecided, slog.Int("status", http.StatusServiceUnavailable))
			}
		}
		if x.tunnel != nil {
			x.tunnel.refuse()
		}
		x.end(errUndecided)
	})
}

// run runs the handler, on a goroutine of its own that ends when the handler
// returns. Nobody waits for it, as net/http does not wait for handlers: when the
// stream or the connection ends, the request's context does.
func (x *exchange) run() {
	defer x.release()
	defer x.shed()
	defer x.end(errHandlerDone)
	if x.call() {
		x.w.finish()
		if x.bridge != nil {
			x.bridge.conn.unclaimed()
		}
	}
	if x.recv != nil && !x.taken() {
		x.recv.abandon(http.ErrBodyReadAfterClose)
	}
	if x.tunnel != nil {
		x.tunnel.refuse()
	}
}

// call calls the handler and reports whether it returned. If it panicked, the
// stream is reset: as in net/http, the client must not see a complete response.
func (x *exchange) call() (returned bool) {
	defer func() {
		if returned {
			return
		}
		v := recover()
		if v != nil && v != http.ErrAbortHandler {
			stack := make([]byte, 64<<10)
			stack = stack[:runtime.Stack(stack, false)]
			x.conn.logf("h2wt: panic serving %v: %v\n%s", x.conn.remote, v, stack)
		}
		// v is nil if the handler ended its goroutine (runtime.Goexit).
		x.w.done = true
		x.abandon()
	}()
	x.conn.handler.ServeHTTP(x.writer(), x.req)
	return true
}

// writer is the ResponseWriter that the handler gets.
func (x *exchange) writer() http.ResponseWriter {
	switch {
	case x.bridge != nil:
		return x.bridge
	case x.tunnel != nil:
		return sessionWriter{x.w}
	}
	return x.w
}

// abandon ends what a handler that did not return leaves behind. A session that
// it accepted is not bound to it and lives on.
func (x *exchange) abandon() {
	if !x.taken() {
		x.abort(http2.ErrCodeInternal, http.ErrAbortHandler)
		x.refusedSession(0, "", http.ErrAbortHandler)
	} else if x.bridge != nil {
		_ = x.bridge.conn.Close()
	}
}

// abort resets the stream for a local reason.
func (x *exchange) abort(code http2.ErrCode, err error) {
	x.st.Reset(code)
	x.ended(err)
}

// ended is called when the stream has ended abruptly, whoever ended it.
func (x *exchange) ended(err error) {
	err = lostError(err)
	if x.recv != nil {
		x.recv.fail(err)
	}
	if w := x.response(); w != nil {
		w.send.fail(err)
	}
	x.end(err)
	x.sent()
}

// overMemory ends the exchange because of what is held for it: it is the newest of
// those that hold most.
func (x *exchange) overMemory() {
	x.abort(http2.ErrCodeEnhanceYourCalm, errBodyMemory)
	if x.recv != nil {
		x.recv.abandon(errBodyMemory) // also if it was complete
	}
	if x.tunnel != nil {
		x.tunnel.over(errBodyMemory)
		x.refusedSession(0, errBodyMemory.limit, errBodyMemory)
	}
}

// sent is called when there is nothing left to wait for: the response was taken
// by the connection, or will never be.
func (x *exchange) sent() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.over = true
	x.stopTimerLocked()
	if x.deciding != nil {
		x.deciding.Stop()
		x.deciding = nil
	}
}

func (x *exchange) stopTimerLocked() {
	x.deadline++
	if x.timer != nil {
		x.timer.Stop()
		x.timer = nil
	}
}

// setWriteDeadline has the stream reset at t if the response was not sent by
// then. The zero time means never.
func (x *exchange) setWriteDeadline(t time.Time) {
	x.setTimer(t, func() { x.abort(http2.ErrCodeInternal, errWriteTimeout) })
}

// linger bounds how long the rest of the response may wait for the client once
// the handler has returned; a write deadline that is set already stays.
func (x *exchange) linger() {
	x.mu.Lock()
	set := x.timer != nil
	x.mu.Unlock()
	if d := x.conn.cfg.lingerTimeout(); d > 0 && !set {
		x.setTimer(time.Now().Add(d), func() { x.abort(http2.ErrCodeCancel, errLingered) })
	}
}

// setTimer has f called at t unless the response was sent by then, or another
// call of setTimer came in between.
func (x *exchange) setTimer(t time.Time, f func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.stopTimerLocked()
	if x.over || t.IsZero() {
		return
	}
	n := x.deadline
	x.timer = time.AfterFunc(time.Until(t), func() {
		x.mu.Lock()
		due := x.deadline == n && !x.over
		x.mu.Unlock()
		if due {
			f()
		}
	})
}

// setReadDeadline applies to reads of the body.
func (x *exchange) setReadDeadline(t time.Time) {
	if x.recv != nil {
		x.recv.deadline.Set(t)
	}
}

// undecided tells whether the exchange is one that Upgrade or Hijack may take.
func (x *exchange) undecided() bool { return x.tunnel != nil || x.bridge != nil }
