package h2wt

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/cork"
	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/internal/handshake"
	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// serverConn is one connection of a server: it hands requests to handlers and
// keeps the sessions.
type serverConn struct {
	srv     *server
	cfg     *Config
	hs      *http.Server
	h2      *h2conn.Conn
	tc      *tls.Conn
	tls     *tls.ConnectionState
	tlsErr  error // why no session may be here, or nil
	remote  string
	ctx     context.Context // the parent of every request's
	handler http.Handler
	budget  *sessionstate.Budget // of sessions
	bodies  *sessionstate.Budget // of what is held for requests, see account
	state   stateHook
	watch   *watch

	sessions sessionSet

	mu     sync.Mutex // guards the following
	active int        // exchanges
	undone int        // of them, WebTransport requests and sessions
}

// newServerConn prepares the connection; serve runs it.
func newServerConn(srv *server, hs *http.Server, tc *tls.Conn, h http.Handler) *serverConn {
	cs := tc.ConnectionState()
	c := &serverConn{
		srv:     srv,
		cfg:     srv.cfg,
		hs:      hs,
		tc:      tc,
		tls:     &cs,
		tlsErr:  checkWebTransportTLS(&cs, cs.ExportKeyingMaterial),
		remote:  tc.RemoteAddr().String(),
		handler: h,
	}
	c.watch = c.cfg.watch(transport.ServerSide, c.remote)
	c.ctx = context.WithValue(context.Background(), http.ServerContextKey, hs)
	if b, ok := h.(interface{ BaseContext() context.Context }); ok {
		c.ctx = b.BaseContext()
	}
	account := sessionstate.BudgetOf(c.ctx) // of a server with other transports besides
	if account == nil {
		account = srv.budget
	}
	memory := orNone(c.cfg.MaxConnectionMemory, DefaultMaxConnectionMemory)
	c.budget, c.bodies = newBudget(memory, account), newBodyBudget(memory, account)
	if hook := hs.ConnState; hook != nil {
		c.state.hook = func(s http.ConnState) { hook(tc, s) }
		c.state.current = c.current
	}
	cfg := c.cfg.h2()
	cfg.Settings = append(cfg.Settings, http2.Setting{ID: settingEnabled, Val: 1})
	cfg.ConnectProtocol = true
	cfg.MaxConcurrentStreams = c.cfg.maxStreams()
	cfg.OnGoAway = func(uint32, http2.ErrCode) { c.sessions.peerAway() }
	cipherErr := checkCipher(c.tls)
	cfg.OnSettings = func(h2conn.Settings) error {
		if cipherErr != nil {
			return &h2conn.ConnError{Code: http2.ErrCodeInadequateSecurity, Reason: cipherErr.Error()}
		}
		c.watch.opened()
		return nil
	}
	cfg.OnEnd = c.watch.ended
	cfg.OnRefused = func(protocol string, status int, limit transport.Limit) {
		if protocol == "webtransport" {
			c.watch.sessionRefused(status, limit, nil)
		}
	}
	serverTimeouts(cfg, hs)
	c.h2 = h2conn.Server(cork.NewTLSConn(tc), cfg, c)
	return c
}

// newBudget returns a budget of that size inside another; 0 means no limit of
// its own.
func newBudget(limit int64, parent *sessionstate.Budget) *sessionstate.Budget {
	if limit == 0 {
		limit = 1 << 62
	}
	return sessionstate.NewBudget(limit, parent)
}

// serverTimeouts applies what the http.Server says, as net/http does for its own
// HTTP/2 connections.
func serverTimeouts(cfg *h2conn.Config, hs *http.Server) {
	if hs.MaxHeaderBytes > 0 {
		// net/http counts bytes without HTTP/2's 32 for each field; it adds
		// room for ten of them.
		cfg.MaxHeaderListSize = uint32(min(int64(hs.MaxHeaderBytes)+10*32, 1<<31))
	}
	if d := firstSet(hs.ReadHeaderTimeout, hs.ReadTimeout); d != 0 {
		cfg.HeaderTimeout = d
	}
	if d := firstSet(hs.IdleTimeout, hs.ReadTimeout); d != 0 {
		cfg.IdleTimeout = d
	}
}

func firstSet(ds ...time.Duration) time.Duration {
	for _, d := range ds {
		if d != 0 {
			return d
		}
	}
	return 0
}

// serve runs the connection until it ends.
func (c *serverConn) serve() {
	if c.state.hook != nil {
		c.state.hook(http.StateActive) // as net/http's own connections do
	}
	c.state.changed()
	_ = c.h2.Serve() // OnEnd has the error
}

// logf writes to the http.Server's log.
func (c *serverConn) logf(format string, args ...any) {
	if c.hs.ErrorLog != nil {
		c.hs.ErrorLog.Printf(format, args...)
		return
	}
	log.Printf(format, args...)
}

// Request implements h2conn.ServerHandler. The order of the decisions is: TLS,
// malformed, overload, :protocol, and then the handler, which finds the route,
// and in Upgrade the Origin, WebTransport-Init and the application protocol.
func (c *serverConn) Request(st *h2conn.Stream, h *h2conn.Header) h2conn.Receiver {
	isSession := h.Method == http.MethodConnect && h.Protocol == "webtransport"
	if isSession && c.tlsErr != nil {
		// "A server MUST treat the request as malformed."
		st.Fault(http2.ErrCodeProtocol)
		st.Done()
		c.watch.sessionRefused(0, "", c.tlsErr)
		return discard{}
	}
	ctx, cancel := context.WithCancelCause(c.ctx)
	x := &exchange{conn: c, st: st, cancel: cancel, holds: 1}
	r, err := newRequest(context.WithValue(ctx, exchangeKey{}, x), h)
	if err == nil && h.Protocol != "" {
		err = checkExtendedConnect(h, r)
	}
	if err != nil {
		cancel(err)
		if isSession {
			c.watch.sessionRefused(refusalStatus(err), "", err)
		}
		return refuse(st, err)
	}
	r.RemoteAddr, r.TLS = c.remote, c.tls
	x.req, x.w = r, newResponse(x)
	x.w.send.onEnd = x.sent
	setPriority(st, r.Header["Priority"])
	if h.Priority != "" {
		setPriority(st, []string{h.Priority}) // a frame overrides the field: RFC 9218 section 7
	}
	switch {
	case isSession && withdrawn(h.Local):
		c.watch.sessionRefused(http.StatusNotImplemented, "", errWithdrawn)
		return c.decline(x, http.StatusNotImplemented)
	case isSession:
		return c.startSession(x, h)
	case h.Protocol == "websocket":
		return c.startBridge(x, h)
	case h.Protocol != "":
		return c.decline(x, http.StatusNotImplemented)
	}
	return c.startRequest(x, h)
}

// checkExtendedConnect checks what RFC 8441 section 4 and the drafts want of a
// CONNECT with :protocol. What is missing or misplaced in the pseudo-header
// fields was found before.
func checkExtendedConnect(h *h2conn.Header, r *http.Request) error {
	if h.Protocol != "webtransport" {
		return nil
	}
	if h.Scheme != "https" {
		return errMalformed(":scheme is not https")
	}
	// RFC 9297 section 3.2: these on a message of capsules are malformed.
	if name := handshake.BodyField(r.Header); name != "" {
		return errMalformed(name + " on a WebTransport request")
	}
	return nil
}

// startRequest starts the handler of an ordinary request.
func (c *serverConn) startRequest(x *exchange, h *h2conn.Header) h2conn.Receiver {
	body := &requestBody{x: x, recv: newRecvBuffer(x.st.Consume)}
	x.recv = body.recv
	if h.EndStream {
		x.recv.end(io.EOF)
	} else {
		x.memory = x.openAccount()
		x.recv.account = x.memory
		x.req.Body = body
		x.w.wantContinue = httpguts.HeaderValuesContainsToken(x.req.Header["Expect"], "100-continue")
	}
	if d := c.hs.ReadTimeout; d > 0 {
		x.setReadDeadline(time.Now().Add(d))
	}
	if d := c.hs.WriteTimeout; d > 0 {
		x.setWriteDeadline(time.Now().Add(d))
	}
	c.remember(x)
	go x.run() // ends with the handler; see run
	return body
}

// startSession starts the handler of a WebTransport request.
func (c *serverConn) startSession(x *exchange, h *h2conn.Header) h2conn.Receiver {
	t := newTunnel(c.tc)
	t.st = x.st
	t.onEnd = x.ended
	t.onClosed = func() {
		c.sessions.remove(t.session())
		x.end(context.Canceled)
		x.release()
	}
	x.tunnel = t
	if h.EndStream {
		// The session would be born half closed.
		x.refusedSession(http.StatusBadRequest, "", errBornClosed)
		return c.decline(x, http.StatusBadRequest)
	}
	if !c.remember(x) {
		x.refusedSession(http.StatusTooManyRequests, errMaxSessions.limit, errMaxSessions)
		return c.decline(x, http.StatusTooManyRequests)
	}
	x.local = &h.Local
	x.memory = x.openAccount()
	t.account = x.memory
	x.st.HoldCredit()
	x.expectDecision()
	go x.run() // ends with the handler; see run
	return t
}

// decline answers without a handler.
func (c *serverConn) decline(x *exchange, code int) h2conn.Receiver {
	x.cancel(errHandlerDone)
	return answer(x.st, code)
}

// remember counts an exchange. It returns false, and does not count it, if it
// would be one session too many.
func (c *serverConn) remember(x *exchange) bool {
	c.mu.Lock()
	if x.tunnel != nil {
		if c.undone >= c.cfg.maxSessions() {
			c.mu.Unlock()
			return false
		}
		c.undone++
	}
	c.active++
	c.mu.Unlock()
	c.state.changed()
	return true
}

// forget is called when an exchange has ended.
func (c *serverConn) forget(x *exchange) {
	c.mu.Lock()
	c.active--
	if x.tunnel != nil {
		c.undone--
	}
	c.mu.Unlock()
	c.state.changed()
}

// current is the state that the http.Server's ConnState hook is to know.
func (c *serverConn) current() http.ConnState {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.active > 0 {
		return http.StateActive
	}
	return http.StateIdle
}

// stateHook calls the ConnState hook when the state has changed. Changes may
// come from any goroutine; the calls come one after the other, and the last one
// tells the truth.
type stateHook struct {
	hook    func(http.ConnState) // nil: nobody wants to know
	current func() http.ConnState

	mu      sync.Mutex // guards the following
	calling bool
	again   bool
	last    http.ConnState
}

func (s *stateHook) changed() {
	if s.hook == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calling {
		s.again = true
		return
	}
	s.calling = true
	for again := true; again; again = s.again {
		s.again = false
		s.mu.Unlock()
		now := s.current()
		if now != s.last {
			s.hook(now)
			s.last = now // only the goroutine that is calling touches last
		}
		s.mu.Lock()
	}
	s.calling = false
}
