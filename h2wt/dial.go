package h2wt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/internal/handshake"
	"github.com/towpath-go/towpath/internal/session"
	"github.com/towpath-go/towpath/transport"
)

// Bounds on what is kept of a response that rejects a session.
const (
	maxRejectBody  = 4 << 10
	rejectBodyWait = time.Second
)

// Dial connects to the URL's server over TCP and TLS and asks for a session on a
// connection of its own, which is closed with the session. A nil tlsConf is the
// zero one; its ALPN is set to "h2", MinVersion to TLS 1.3 unless it is set, and
// ServerName to the URL's host unless it is set. See [NewClientConn] and
// [ClientConn.Dial] for the errors.
func Dial(ctx context.Context, rawURL string, tlsConf *tls.Config, opts *transport.DialOptions) (transport.Session, error) {
	r, err := newConnect(rawURL, opts)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", r.target.Addr())
	if err != nil {
		return nil, err
	}
	tlsConf = r.target.ClientTLS(tlsConf, "h2")
	c, err := NewClientConn(ctx, tls.Client(Cork(nc), tlsConf), &Config{Session: r.opts.Config})
	if err != nil {
		return nil, err
	}
	r.own = true
	s, err := c.connect(ctx, r)
	if err != nil {
		if p, ok := errors.AsType[*transport.ProtocolError](err); ok && p.Violation == transport.ViolationALPN {
			return nil, err // the connection ends when the server was told
		}
		c.Close()
		return nil, err
	}
	return s, nil
}

// Dial asks for a session on the connection. It waits while the server's limit
// on streams is reached, and for the answer; ctx bounds only this call. A nil
// opts is the zero DialOptions. Redirections are not followed.
//
// Errors: [*transport.RejectedError] if the server answered with another status
// than 2xx; [*transport.NotProcessedError] if it did nothing with the request;
// [transport.ErrNotWebTransport] if its SETTINGS no longer offer WebTransport;
// [transport.ErrUnsupported] for RequireUnreliable; [*transport.ProtocolError]
// for an answer that breaks the rules; [*transport.ResetError] or the
// connection's error; the context's cause; and an error for options or a URL that
// are not valid.
func (c *ClientConn) Dial(ctx context.Context, rawURL string, opts *transport.DialOptions) (transport.Session, error) {
	r, err := newConnect(rawURL, opts)
	if err != nil {
		return nil, err
	}
	s, err := c.connect(ctx, r)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// connectRequest is one CONNECT for a session under way.
type connectRequest struct {
	*connectAnswer
	target handshake.Target
	opts   *transport.DialOptions
	own    bool // the connection ends with the session

	init handshake.Init // what we sent
	peer h2conn.Settings
}

// newConnect checks a URL and options.
func newConnect(rawURL string, opts *transport.DialOptions) (*connectRequest, error) {
	if opts == nil {
		opts = new(transport.DialOptions)
	}
	if opts.RequireUnreliable {
		return nil, fmt.Errorf("h2wt: unreliable delivery: %w", transport.ErrUnsupported)
	}
	target, err := handshake.ParseURL(rawURL)
	if err == nil {
		err = handshake.CheckProtocols(opts.Protocols)
	}
	if err == nil {
		err = handshake.CheckRequestHeader(opts.Header)
	}
	if err == nil && !httpguts.ValidHeaderFieldValue(opts.Origin) {
		err = errors.New("the origin is not valid")
	}
	if err == nil && opts.RequireProtocol && len(opts.Protocols) == 0 {
		err = errors.New("RequireProtocol without Protocols")
	}
	if err != nil {
		return nil, fmt.Errorf("h2wt: dial: %w", err)
	}
	return &connectRequest{connectAnswer: newConnectAnswer(), target: target, opts: opts}, nil
}

// fields are the request's. Draft-ietf-webtrans-http2 "Session Establishment".
func (r *connectRequest) fields() []hpack.HeaderField {
	fields := []hpack.HeaderField{
		{Name: ":method", Value: http.MethodConnect},
		{Name: ":protocol", Value: "webtransport"},
		{Name: ":scheme", Value: "https"},
		{Name: ":authority", Value: r.target.Authority},
		{Name: ":path", Value: r.target.Path},
	}
	if r.opts.Origin != "" {
		fields = append(fields, hpack.HeaderField{Name: "origin", Value: r.opts.Origin})
	}
	if len(r.opts.Protocols) > 0 {
		fields = append(fields, hpack.HeaderField{Name: "wt-available-protocols", Value: handshake.FormatProtocols(r.opts.Protocols)})
	}
	fields = append(fields,
		hpack.HeaderField{Name: "webtransport-init", Value: r.init.String()},
		hpack.HeaderField{Name: "capsule-protocol", Value: "?1"})
	return appendFields(fields, r.opts.Header, "")
}

// connect sends the CONNECT and waits for the answer.
func (c *ClientConn) connect(ctx context.Context, r *connectRequest) (*session.Session, error) {
	cfg := r.opts.Config
	if cfg == nil {
		cfg = c.cfg.Session
	}
	if s, _ := c.h2.PeerSettings(); !c.OffersWebTransport() || !offersWebTransport(s, dialectOf(cfg)) {
		return nil, transport.ErrNotWebTransport
	}
	if !c.reserve() {
		return nil, &transport.NotProcessedError{Err: errMaxSessions}
	}
	r.init = initOf(c.cfg.Session, cfg)
	t := newTunnel(c.tc)
	t.onEnd = func(error) {}
	t.onClosed = func() {
		c.sessions.remove(t.session())
		c.unreserve()
		if r.own {
			c.h2.GoAway() // no stream is left: the connection closes
		}
	}
	t.answered = r.received
	st, err := c.h2.OpenStream(ctx, &h2conn.Open{
		Fields:   r.fields(),
		Receiver: t,
		OnWrite: func(st *h2conn.Stream, peer h2conn.Settings) error {
			t.opened(st)
			// "The latest SETTINGS that it has acknowledged" decide, and these
			// are they. They are also the session's limits, whatever comes
			// later.
			r.peer = peer
			if !offersWebTransport(peer, dialectOf(c.cfg.Session)) || !offersWebTransport(peer, dialectOf(cfg)) {
				r.written <- transport.ErrNotWebTransport
				return transport.ErrNotWebTransport
			}
			r.written <- nil
			return nil
		},
	})
	if err != nil {
		c.unreserve()
		return nil, dialError(err)
	}
	resp, err := r.wait(ctx, t.done(), t.cause)
	if err == nil {
		err = c.check(ctx, r, t, resp)
	}
	if err != nil {
		st.Reset(http2.ErrCodeCancel)
		c.unreserve()
		return nil, err
	}
	return c.open(r, t, resp, cfg)
}

// check looks at the final response: nil means that it accepts.
func (c *ClientConn) check(ctx context.Context, r *connectRequest, t *tunnel, resp *connectResponse) error {
	if resp.status > 299 {
		return &transport.RejectedError{
			StatusCode: resp.status,
			Header:     resp.header,
			Body:       t.collect(ctx, maxRejectBody, rejectBodyWait),
		}
	}
	reason := ""
	if _, err := handshake.AcceptStatus(resp.status); err != nil {
		reason = err.Error()
	} else if name := handshake.BodyField(resp.header); name != "" {
		reason = name + " on the response to a WebTransport request"
	}
	if reason != "" {
		t.stream().Fault(http2.ErrCodeProtocol)
		return &transport.ProtocolError{Violation: transport.ViolationMalformed, Reason: reason}
	}
	return nil
}

// open makes the session of an accepted CONNECT.
func (c *ClientConn) open(r *connectRequest, t *tunnel, resp *connectResponse, cfg *transport.Config) (*session.Session, error) {
	a := clientAgreement(dialectOf(cfg), r.peer, r.init.Towpath && handshake.ParseTowpath(resp.header[handshake.TowpathField]))
	protocol, given := handshake.ParseProtocol(resp.header[handshake.SelectedProtocol])
	if !given && a.dialect != transport.DialectDraft15 {
		protocol, given = handshake.IsBareProtocol(resp.header[handshake.SelectedProtocol], r.opts.Protocols)
	}
	// The text defines the field for the request only. A well-formed one in
	// a response can only raise what we may send, so it is honoured.
	init, err := handshake.ParseInit(resp.header[handshake.InitField])
	if err != nil {
		init = handshake.Init{}
	}
	s := session.New(session.Params{
		Client: true,
		Config: cfg,
		Local:  limitsOf(resp.local, r.init, false),
		Peer:   limitsOf(r.peer, init, a.oneBidiLimit()),
		Info: transport.Info{
			Protocol:            transport.HTTP2,
			ApplicationProtocol: protocol,
			LocalAddr:           c.tc.LocalAddr(),
			RemoteAddr:          c.tc.RemoteAddr(),
			TLS:                 &c.tls,
			ID:                  uint64(t.stream().ID()),
			Header:              resp.header,
		},
		Carrier: carrier{t},
		Budget:  c.budget,
		Dialect: a.dialect,
		Parity:  a.parity,
	})
	a.log(cfg, uint64(t.stream().ID()))
	c.sessions.add(s)
	if !t.attach(s) {
		err := lostError(t.cause())
		s.Lost(err)
		c.sessions.remove(s)
		c.unreserve()
		return nil, err
	}
	// draft-ietf-webtrans-http3 "Application Protocol Negotiation", to which
	// the HTTP/2 draft refers: what was not offered, or nothing where
	// something was required, ends the session with WT_ALPN_ERROR.
	reason := ""
	switch {
	case given && !slices.Contains(r.opts.Protocols, protocol):
		reason = "the server selected a protocol that was not offered"
	case !given && r.opts.RequireProtocol:
		reason = "the server selected no protocol"
	}
	if reason != "" {
		s.StartClose(handshake.AlpnError, "")
		return nil, &transport.ProtocolError{Violation: transport.ViolationALPN, Reason: reason}
	}
	s.Charge(headerMemory(resp.header))
	c.watch.sessionOpened(s)
	return s, nil
}
