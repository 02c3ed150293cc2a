package negotiate

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/wswt"
)

// The third rung.

// noALPN is the TLS alert no_application_protocol (RFC 7301 section 3.2): the
// server accepts none of the application protocols offered.
const noALPN tls.AlertError = 120

// openWebSocket opens a connection that speaks HTTP/1.1. If HTTP/2 came by one it
// is that. A server that refuses HTTP/1.1 may still take WebSockets over HTTP/2.
func (j *job) openWebSocket(ctx context.Context, s signs) (leg, error) {
	if tc := j.takeHanded(); tc != nil {
		return &wsLeg{job: j, tc: tc, shared: true}, nil
	}
	tc, err := j.openTLS(ctx, s, "http/1.1")
	switch {
	case err == nil && tc.ConnectionState().NegotiatedProtocol == "" && j.extended.Load():
		// ALPN is known there, and HTTP/1.1 is not: a handshake without choice
		// is how some say so (RFC 7301 section 3.2 asks for an alert).
		_ = tc.Close()
	case err == nil:
		return &wsLeg{job: j, tc: tc}, nil
	case !sentAlert(err, noALPN):
		return nil, err
	}
	if tc, err = j.openTLS(ctx, s, "h2"); err != nil {
		return nil, fmt.Errorf("the server refused HTTP/1.1; over HTTP/2: %w", err)
	}
	cfg := j.h2Config(tc.took)
	cfg.AcceptWebSocketOnly = true
	conn, err := h2wt.NewClientConn(ctx, tc.Conn, cfg)
	if err != nil {
		return nil, fmt.Errorf("the server refused HTTP/1.1; over HTTP/2: %w", err)
	}
	return &wsLeg{job: j, tc: tc, h2: conn}, nil
}

// handOver keeps a connection of HTTP/2 for WebSocket.
func (j *job) handOver(tc *tlsConn) {
	if j.apart {
		_ = tc.Close()
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.handed = tc // there is one such way, which is tried once
}

func (j *job) takeHanded() *tlsConn {
	j.mu.Lock()
	defer j.mu.Unlock()
	tc := j.handed
	j.handed = nil
	return tc
}

// dropHanded closes a connection that nobody took.
func (j *job) dropHanded() {
	if tc := j.takeHanded(); tc != nil {
		_ = tc.Close()
	}
}

// wsConfig is the configuration of a WebSocket.
func (j *job) wsConfig() *wswt.Config {
	var c wswt.Config
	if j.d.WS != nil {
		c = *j.d.WS
	}
	c.Session = cmp.Or(c.Session, j.opts.Config)
	if c.Monitor == nil {
		c.Monitor = j.d.Monitor
	}
	return &c
}

// A wsLeg is a connection for one WebSocket, for the race.
type wsLeg struct {
	job    *job
	tc     *tlsConn
	h2     *h2wt.ClientConn // nil on HTTP/1.1
	shared bool             // the connection was opened for HTTP/2

	// closing is as in connLeg.
	closing atomic.Bool
}

func (l *wsLeg) request(ctx context.Context) (s transport.Session, err error) {
	if l.h2 != nil {
		s, err = wswt.DialHTTP2(ctx, l.h2, l.job.url, l.job.opts, l.job.wsConfig())
	} else {
		s, err = wswt.DialConn(ctx, l.tc.Conn, l.job.url, l.job.opts, l.job.wsConfig())
	}
	if isALPNError(err) {
		l.closing.Store(true)
	}
	return s, proxyAnswer(err)
}

func (l *wsLeg) patience() time.Duration {
	return max(minPatience, 4*l.tc.took)
}

// watch has nothing to look at: TCP does not tell of acknowledgements.
func (l *wsLeg) watch() (func(bool) sight, time.Duration) { return nil, 0 }

func (l *wsLeg) discard() {
	end := func() {
		if l.h2 != nil {
			_ = l.h2.Close()
		}
		_ = l.tc.Close()
	}
	if l.closing.Load() {
		// The server is still to be told why; nobody waits for it.
		time.AfterFunc(l.job.closeTimeout(), end)
		return
	}
	end()
}

// keep leaves the connection to its session.
func (l *wsLeg) keep(s transport.Session) {
	if l.h2 != nil {
		l.h2.CloseAfter(s)
	}
}

// note says which road the WebSocket takes.
func (l *wsLeg) note() string {
	switch {
	case l.h2 != nil:
		return "over HTTP/2, because the server refuses HTTP/1.1"
	case l.shared:
		return "on the same connection"
	}
	return ""
}
