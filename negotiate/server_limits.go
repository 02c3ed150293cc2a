package negotiate

import (
	"bufio"
	"bytes"
	"context"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/internal/admission"
	"github.com/towpath-go/towpath/internal/handshake"
	"github.com/towpath-go/towpath/internal/quota"
	"github.com/towpath-go/towpath/transport"
)

// What a Server lets in.

// Defaults of Server.
const (
	DefaultMaxSessions           = 20_000
	DefaultMaxSessionsPerAddress = 4_000
	DefaultSessionRate           = 1_000
)

// Seconds that the Retry-After field of a refusal says: the rate brings new
// requests all the time, a place becomes free when somebody goes.
const (
	retryRate  = 1
	retryPlace = 5
)

// setupLimits makes the tables and puts the sessions' one in front of a handler.
func (s *Server) setupLimits(next http.Handler) http.Handler {
	s.refusals.Logger = s.Logger
	s.connections = quota.NewTable(quota.Limits{
		Open:          orDefault(s.MaxConnections, h2wt.DefaultMaxConnections),
		OpenPerClient: orDefault(s.MaxConnectionsPerAddress, h2wt.DefaultMaxConnectionsPerAddress),
		Rate:          orDefault(s.ConnectionRate, h2wt.DefaultConnectionRate),
	})
	s.sessions = quota.NewTable(quota.Limits{
		Open:          orDefault(s.MaxSessions, DefaultMaxSessions),
		OpenPerClient: orDefault(s.MaxSessionsPerAddress, DefaultMaxSessionsPerAddress),
		Rate:          orDefault(s.SessionRate, DefaultSessionRate),
	})
	return &sessionLimiter{server: s, next: next}
}

// limitListener has TCP connections counted, and those that are too many closed.
func (s *Server) limitListener(ln net.Listener) net.Listener {
	return &admission.Listener{Listener: ln, Table: s.connections, Refused: func(remote net.Addr, limit transport.Limit) {
		s.connectionRefused(remote.String(), limit)
	}}
}

// connectionRefused tells of a TCP connection that was turned away: nobody knows
// what it would have spoken.
func (s *Server) connectionRefused(remote string, limit transport.Limit) {
	if s.Monitor != nil {
		s.Monitor.ConnectionRefused(transport.ProtocolUnknown, limit)
	}
	s.refusals.Refused("connection refused", remote, transport.ProtocolUnknown, limit)
}

// admitQUIC counts a QUIC connection; h3wt tells of those that are refused.
func (s *Server) admitQUIC(remote net.Addr) (release func(), limit transport.Limit, ok bool) {
	hold, v := s.connections.Take(quota.ClientAt(remote), time.Now())
	if v != quota.Granted {
		return nil, admission.Limit(v), false
	}
	return hold.Release, "", true
}

// wouldRefuse has clients prove their address that would be refused anyway: then
// that costs a packet and no handshake.
func (s *Server) wouldRefuse(remote net.Addr) bool {
	return s.connections.Ask(quota.ClientAt(remote), time.Now()) != quota.Granted
}

// A sessionLimiter answers 429 to requests for sessions that are too many.
// Ordinary requests pass, and WebSockets that are none of ours: a session lives on
// and holds memory, a request does not.
type sessionLimiter struct {
	server *Server
	next   http.Handler
}

func (l *sessionLimiter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !IsUpgrade(r) {
		l.next.ServeHTTP(w, r)
		return
	}
	hold, v := l.server.sessions.Take(quota.Client(r.RemoteAddr), time.Now())
	if v != quota.Granted {
		l.refuse(w, r, v)
		return
	}
	ctx, returned := handshake.WithHold(r.Context(), hold.Release)
	defer returned()
	r = r.WithContext(ctx)
	if !isWebSocket(r) {
		l.next.ServeHTTP(w, r) // its transport sees the answer
		return
	}
	answer := &webSocketAnswer{ResponseWriter: w}
	r = r.WithContext(context.WithValue(ctx, writerKey{}, answer))
	panicked := true
	defer func() {
		if refusal, ok := answer.refusal(ctx, panicked); ok {
			l.tell(refusal)
		}
	}()
	l.next.ServeHTTP(answer, r)
	panicked = false
}

// A webSocketAnswer is the ResponseWriter of a request for a session over
// WebSocket. It keeps the status of an answer that is no session: package wswt
// knows only of those that its Upgrade gives.
type webSocketAnswer struct {
	http.ResponseWriter
	status   int  // 0: none was written
	hijacked bool // somebody has the connection, Upgrade mostly
	told     bool // the Monitor was, by wswt
}

// refusal is what became of the request, unless it got a session or the Monitor
// was told of the refusal. Ctx is that of the request.
func (a *webSocketAnswer) refusal(ctx context.Context, panicked bool) (_ transport.Refusal, ok bool) {
	f := transport.Refusal{Protocol: transport.WebSocket}
	limit, _ := transport.ReachedLimit(context.Cause(ctx))
	switch {
	case a.hijacked || a.told:
		return f, false
	case limit == transport.LimitUpgradeTime: // package h2wt answered in the handler's place
		f.Status, f.Limit = http.StatusServiceUnavailable, limit
	case panicked: // the connection is reset
	case a.status != 0:
		f.Status = a.status
	case ctx.Err() != nil: // nobody gets an answer
		f.Limit = limit
		return f, limit == transport.LimitMemory // otherwise the client has gone
	default:
		f.Status = http.StatusOK // net/http's
	}
	return f, true
}

func (a *webSocketAnswer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *webSocketAnswer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(p)
}

// Hijack implements http.Hijacker, by what it wraps.
func (a *webSocketAnswer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(a.ResponseWriter).Hijack()
	if err == nil {
		a.hijacked = true
	}
	return nc, rw, err
}

// Told is found by handshake.Told.
func (a *webSocketAnswer) Told() { a.told = true }

// Unwrap is for http.ResponseController.
func (a *webSocketAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// tell tells the Monitor of a transport that a session was refused.
func (l *sessionLimiter) tell(r transport.Refusal) {
	m := l.server.Monitor
	switch s := l.server; {
	case r.Protocol == transport.HTTP3 && s.H3 != nil && s.H3.Monitor != nil:
		m = s.H3.Monitor
	case r.Protocol == transport.HTTP2 && s.H2 != nil && s.H2.Monitor != nil:
		m = s.H2.Monitor
	case r.Protocol == transport.WebSocket && s.WS != nil && s.WS.Monitor != nil:
		m = s.WS.Monitor
	}
	if m != nil {
		m.SessionRefused(r)
	}
}

func (l *sessionLimiter) refuse(w http.ResponseWriter, r *http.Request, v quota.Verdict) {
	limit, after := transport.LimitSessionRate, retryRate
	switch v {
	case quota.Full:
		limit, after = transport.LimitSessions, retryPlace
	case quota.TooMany:
		limit, after = transport.LimitSessionsPerAddress, retryPlace
	}
	w.Header().Set("Retry-After", strconv.Itoa(after))
	p := protocolOf(r)
	if told := handshake.Refuse(w, http.StatusTooManyRequests, limit); !told {
		l.tell(transport.Refusal{Protocol: p, Status: http.StatusTooManyRequests, Limit: limit})
	}
	l.server.refusals.Refused("session refused", r.RemoteAddr, p, limit)
}

// protocolOf is the way by which a request for a session came.
func protocolOf(r *http.Request) transport.Protocol {
	switch {
	case r.ProtoMajor == 3:
		return transport.HTTP3
	case isWebSocket(r):
		return transport.WebSocket
	case r.ProtoMajor == 2:
		return transport.HTTP2
	}
	return transport.ProtocolUnknown
}

// handshakeLog takes net/http's lines about TLS handshakes that failed, which
// every port scanner causes: it drops them, but tells of those that took too long.
type handshakeLog struct {
	server *Server
	rest   *log.Logger // where other lines go
}

func (h handshakeLog) Write(p []byte) (int, error) {
	// At the beginning only: the text of a panic may hold what a client sent.
	failed, ok := strings.CutPrefix(string(p), "http: TLS handshake error from ")
	if !ok {
		h.rest.Print(string(p))
		return len(p), nil
	}
	if bytes.HasSuffix(bytes.TrimSpace(p), []byte("i/o timeout")) {
		remote, _, _ := strings.Cut(failed, ": ")
		h.server.connectionRefused(remote, transport.LimitHandshakeTime)
	}
	return len(p), nil
}
