package h3wt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/towpath-go/towpath/internal/handshake"
	"github.com/towpath-go/towpath/transport"
)

// errNoRoom is why Dial did not ask: the connection has all sessions it may.
var errNoRoom = errors.New("h3wt: the connection can take no further session")

// errGoAway is why Dial did not ask: the server takes no further requests here.
var errGoAway = errors.New("h3wt: the server is going away")

// Dial opens a session for an https URL on the connection. The certificate was
// checked when the connection was made; whether it also serves this URL's host
// is the caller's to know.
//
// It returns *transport.RejectedError for an answer other than 2xx, also for
// redirects; *transport.NotProcessedError where the request was certainly not
// acted on; *transport.ProtocolError with ViolationALPN where the selection of
// the application protocol failed; *transport.ResetError where the server reset
// the request; the cause of ctx; or the connection's error.
func (c *ClientConn) Dial(ctx context.Context, rawURL string, opts *transport.DialOptions) (transport.Session, error) {
	s, err := c.dial(ctx, rawURL, opts)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (c *ClientConn) dial(ctx context.Context, rawURL string, opts *transport.DialOptions) (*Session, error) {
	if opts == nil {
		opts = &transport.DialOptions{}
	}
	req, err := c.newRequest(rawURL, opts)
	if err != nil {
		return nil, fmt.Errorf("h3wt: %w", err)
	}
	if c.goingAway() {
		return nil, &transport.NotProcessedError{Err: errGoAway}
	}
	if _, ok := c.takeSlot(); !ok {
		if err := context.Cause(c.qc.Context()); err != nil {
			return nil, c.connectionError(err)
		}
		return nil, &transport.NotProcessedError{Err: errNoRoom}
	}
	s, err := c.connect(ctx, req, opts)
	if s == nil {
		c.freeSlot() // otherwise the session does
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// newRequest makes the CONNECT request, with the token of the highest version
// that both sides speak.
func (c *ClientConn) newRequest(rawURL string, opts *transport.DialOptions) (*http.Request, error) {
	target, err := handshake.ParseURL(rawURL)
	if err == nil {
		err = handshake.CheckRequestHeader(opts.Header)
	}
	if err == nil {
		err = handshake.CheckProtocols(opts.Protocols)
	}
	if err != nil {
		return nil, err
	}
	u, err := url.ParseRequestURI(target.Path)
	if err != nil {
		return nil, errors.New("invalid URL: its path or query")
	}
	u.Scheme, u.Host = "https", target.Authority
	header := make(http.Header)
	for name, values := range opts.Header {
		header[http.CanonicalHeaderKey(name)] = slices.Clone(values)
	}
	if opts.Origin != "" {
		header[handshake.OriginField] = []string{opts.Origin}
	}
	if len(opts.Protocols) > 0 {
		header[handshake.AvailableProtocols] = []string{handshake.FormatProtocols(opts.Protocols)}
	}
	header[handshake.CapsuleProtocol] = []string{"?1"}
	if _, ok := header["User-Agent"]; !ok {
		header["User-Agent"] = []string{""} // none, instead of quic-go's
	}
	rules := c.draftInUse()
	if rules.versionHeader {
		header[draftOffered] = []string{draftOfferedValue}
	}
	return &http.Request{Method: http.MethodConnect, Proto: rules.token, URL: u, Host: target.Authority, Header: header}, nil
}

// connect sends the request and makes a session of the answer. With an error it
// may return a session all the same, which is being closed.
func (c *ClientConn) connect(ctx context.Context, req *http.Request, opts *transport.DialOptions) (*Session, error) {
	str, err := c.raw.OpenRequestStream(ctx)
	if err != nil {
		return nil, c.openError(ctx, err)
	}
	id := str.StreamID()
	c.mu.Lock()
	c.next = max(c.next, id+4)
	c.awaitLocked(id).request = true
	c.mu.Unlock()
	abort := func(code quic.StreamErrorCode) {
		str.CancelRead(code)
		str.CancelWrite(code)
	}
	stop := context.AfterFunc(ctx, func() { abort(requestCancelled) })
	rsp, err := c.exchange(str, req)
	if err == nil && (rsp.StatusCode < 200 || rsp.StatusCode > 299) {
		err = rejected(rsp)
		str.Close()
		str.CancelRead(quic.StreamErrorCode(http3.ErrCodeNoError))
	} else if err == nil {
		err = c.checkAnswer(rsp)
	}
	_, answered := errors.AsType[*transport.RejectedError](err)
	if !stop() && !answered {
		err = context.Cause(ctx)
	}
	if err != nil {
		if !answered {
			abort(requestCancelled)
		}
		c.abandon(id, codeSessionGone)
		return nil, c.dialError(err)
	}

	protocol, err := c.selected(rsp, opts)
	rsp.Trailer = nil
	s := newSession(sessionParams{
		conn:     &c.conn,
		id:       id,
		str:      str,
		config:   opts.Config,
		protocol: protocol,
		header:   rsp.Header,
		trailer:  func() http.Header { return rsp.Trailer },
		urgency:  max(sessionUrgency(req.Header), defaultUrgency),
	})
	c.establish(s)
	s.run(nil)
	if err != nil {
		// The session exists for the server, so it is closed, not just dropped.
		// The wait for its answer is not the caller's; it is bounded by
		// CloseTimeout.
		go s.CloseWithError(handshake.AlpnError, "")
		return s, err
	}
	c.watchGoAway(s)
	return s, nil
}

// exchange sends the request and waits for the final response.
func (c *ClientConn) exchange(str *http3.RequestStream, req *http.Request) (*http.Response, error) {
	if err := str.SendRequestHeader(req); err != nil {
		return nil, err
	}
	return readResponse(str)
}

// checkAnswer checks an accepting response.
func (c *ClientConn) checkAnswer(rsp *http.Response) error {
	if _, err := handshake.AcceptStatus(rsp.StatusCode); err != nil {
		return &transport.ProtocolError{Violation: transport.ViolationMalformed, Reason: err.Error()}
	}
	if field := handshake.BodyField(rsp.Header); field != "" {
		return &transport.ProtocolError{Violation: transport.ViolationMalformed, Reason: field + " on an accepting response"}
	}
	return nil
}

// selected returns the application protocol that the server selected. One that
// was not offered, and none where one is required, is an error.
func (c *ClientConn) selected(rsp *http.Response, opts *transport.DialOptions) (string, error) {
	protocol, ok := c.draftInUse().selected(rsp.Header, opts.Protocols)
	alpn := func(reason string) error {
		return &transport.ProtocolError{Violation: transport.ViolationALPN, Reason: reason}
	}
	switch {
	case ok && !slices.Contains(opts.Protocols, protocol):
		return "", alpn(fmt.Sprintf("the server selected %q, which was not offered", protocol))
	case !ok && opts.RequireProtocol:
		return "", alpn("the server selected no application protocol")
	}
	return protocol, nil
}

// maxRejectedBody bounds the body of a RejectedError, and rejectedWait how long
// it is waited for.
const (
	maxRejectedBody = 4 << 10
	rejectedWait    = time.Second
)

// rejected makes the error of a final answer that is no acceptance.
func rejected(rsp *http.Response) error {
	body := make(chan []byte, 1)
	// Ends when the body has come, or is cancelled below.
	go func() {
		b, _ := io.ReadAll(io.LimitReader(rsp.Body, maxRejectedBody))
		body <- b
	}()
	e := &transport.RejectedError{StatusCode: rsp.StatusCode, Header: rsp.Header}
	t := time.NewTimer(rejectedWait)
	defer t.Stop()
	select {
	case e.Body = <-body:
		rsp.Body.Close()
	case <-t.C:
		rsp.Body.Close()
		e.Body = <-body
	}
	return e
}

// openError is Dial's error where no request stream could be opened.
func (c *ClientConn) openError(ctx context.Context, err error) error {
	switch {
	case c.goingAway():
		return &transport.NotProcessedError{Err: errGoAway}
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return c.connectionError(err)
}

// dialError is Dial's error for one of http3's.
func (c *ClientConn) dialError(err error) error {
	reset := resetError(err)
	switch {
	case reset == nil && c.qc.Context().Err() != nil && !isContext(err):
		return c.connectionError(context.Cause(c.qc.Context()))
	case reset == nil:
		return err
	case !reset.Connection && reset.Code == uint64(http3.ErrCodeRequestRejected):
		return &transport.NotProcessedError{Err: reset}
	}
	return reset
}

func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// QUIC completes a quic.Config for a connection that is given to
// [NewClientConn]. Base is not changed and may be nil; c may be nil.
//
// A client's connection sends a keep-alive after 15 s of silence, unless
// KeepAlivePeriod is set. A peer that vanishes is noticed after MaxIdleTimeout
// (quic-go's default is 30 s), which also counts anew from the first packet sent
// into the silence: an idle session ends 30 to 45 s later.
func (c *Config) QUIC(base *quic.Config) *quic.Config {
	d := c.settle()
	return d.quicConfig(base, false)
}

// ClientTransport returns the QUIC transport of a socket for one connection of a
// client. The server addresses the connection by the socket alone, which nothing
// else may use then. An address that a NAT changes needs no fresh connection ID so:
// quic-go as a server keeps those that it has used for earlier paths, and with the
// four that a client gives it, it follows three changes and no more.
func ClientTransport(pc net.PacketConn) *quic.Transport {
	return &quic.Transport{Conn: pc, ConnectionIDGenerator: noConnectionIDs{}}
}

type noConnectionIDs struct{}

func (noConnectionIDs) GenerateConnectionID() (quic.ConnectionID, error) {
	return quic.ConnectionID{}, nil
}
func (noConnectionIDs) ConnectionIDLen() int { return 0 }

// Dial opens a session for an https URL on a connection of its own. TLSConf may
// be nil; its ALPN protocol is set to "h3", its ServerName, if empty, to the
// URL's host. The connection lives as long as the session, and after its end
// until the peer has seen it and what was finished has had time to arrive, but
// no longer than opts.Config.CloseTimeout. Its socket is bound to no address, so
// that transport.Info.LocalAddr tells the port alone. The errors are those of
// [ClientConn.Dial] and [NewClientConn].
func Dial(ctx context.Context, rawURL string, tlsConf *tls.Config, opts *transport.DialOptions) (transport.Session, error) {
	target, err := handshake.ParseURL(rawURL)
	if err != nil {
		return nil, fmt.Errorf("h3wt: %w", err)
	}
	cfg := &Config{MaxSessions: 1}
	if opts != nil {
		cfg.Session = opts.Config
	}
	addr, err := resolve(ctx, target)
	if err != nil {
		return nil, fmt.Errorf("h3wt: %w", err)
	}
	pc, err := net.ListenUDP("udp", nil)
	if err != nil {
		return nil, fmt.Errorf("h3wt: %w", err)
	}
	tr := ClientTransport(pc)
	closeSocket := func() {
		tr.Close()
		pc.Close()
	}
	qc, err := tr.Dial(ctx, addr, target.ClientTLS(tlsConf, http3.NextProtoH3), cfg.QUIC(nil))
	if err != nil {
		closeSocket()
		return nil, fmt.Errorf("h3wt: %w", err)
	}
	c, err := NewClientConn(ctx, qc, cfg)
	if err != nil {
		closeSocket()
		return nil, err
	}
	s, err := c.dial(ctx, rawURL, opts)
	if err != nil {
		end := func() {
			c.Close()
			closeSocket()
		}
		if p, ok := errors.AsType[*transport.ProtocolError](err); ok && p.Violation == transport.ViolationALPN {
			// The server accepted, and is being told why the session ends.
			time.AfterFunc(cfg.Session.WithDefaults().CloseTimeout, end)
		} else {
			end()
		}
		return nil, err
	}
	// Ends with the connection.
	go func() {
		<-s.done
		s.linger()
		c.Close()
		closeSocket()
	}()
	return s, nil
}

// linger waits, for CloseTimeout, while the end of the connection would take
// something away: finished streams that are not read, here or there.
func (s *Session) linger() {
	s.mu.Lock()
	unread := len(s.streams) > 0
	local := s.err != nil && !s.err.Remote
	s.mu.Unlock()
	if !unread && !local {
		return
	}
	t := time.NewTimer(s.cfg.CloseTimeout)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.c.qc.Context().Done():
	}
}

// resolve returns the first address of the URL's host.
func resolve(ctx context.Context, target handshake.Target) (*net.UDPAddr, error) {
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", target.Host)
	if err != nil {
		return nil, err
	}
	if len(ips) == 0 {
		return nil, fmt.Errorf("no address for %s", target.Host)
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "udp", target.Port)
	if err != nil {
		return nil, err
	}
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(ips[0].Unmap(), uint16(port))), nil
}
