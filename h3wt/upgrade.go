package h3wt

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/towpath-go/towpath/internal/handshake"
	"github.com/towpath-go/towpath/transport"
)

// serverConn is a connection with what a server needs besides. As http.Handler
// it stands between http3 and the Server's handler.
type serverConn struct {
	conn
	server *Server
	raw    *http3.RawServerConn
	rate   *rate
}

// serveRequest runs a request stream from its header to the handler's return.
func (c *serverConn) serveRequest(str *quic.Stream) {
	id := str.StreamID()
	if why := c.enter(); why != nil {
		// Nothing of the request was looked at.
		limit, _ := transport.ReachedLimit(why)
		c.log("request refused", limit, why)
		if limit != "" {
			c.charge("request too many")
		}
		c.abandon(id, codeBufferedStreamRejected)
		str.CancelRead(requestRejected)
		str.CancelWrite(requestRejected)
		return
	}
	defer c.leave()
	c.mu.Lock()
	a := c.awaited[id]
	if a != nil {
		a.stream = str
	}
	c.mu.Unlock()
	late := time.Now().Add(c.cfg.EarlyTimeout)
	str.SetReadDeadline(late) // until the handler runs
	c.raw.HandleRequestStream(str)
	c.mu.Lock()
	established := c.sessions[id] != nil
	c.mu.Unlock()
	if !established {
		c.abandon(id, codeSessionGone)
		c.requestOver(str, a, late)
	}
}

// requestOver judges a request that has come to its end without a session, by how
// its stream ended: one that failed counts against the client, whoever reset it.
func (c *serverConn) requestOver(str *quic.Stream, a *awaited, late time.Time) {
	c.mu.Lock()
	handled := a != nil && a.handled
	c.mu.Unlock()
	_, failed := errors.AsType[*quic.StreamError](context.Cause(str.Context()))
	switch {
	case failed && !handled && !time.Now().Before(late):
		c.log("request refused", transport.LimitHeaderTime, errNoRequest)
	case !failed && !handled && c.qc.Context().Err() == nil:
		c.log("request refused", transport.LimitHeaderSize, errLargeHeader) // with 431, by http3
	}
	c.requestEnded(failed)
}

// Why a request is refused, for logs.
var (
	errNoRequest   = errors.New("its header did not come in time")
	errLargeHeader = errors.New("its header is too large")
)

// requestRejected says that a request was not processed and may be repeated.
const requestRejected = quic.StreamErrorCode(http3.ErrCodeRequestRejected)

// ServeHTTP takes the steps that come before a handler's decision, in the order:
// the client's SETTINGS and requirements, the form of the request, its
// :protocol, the limits on sessions.
func (c *serverConn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	handler := c.server.Handler
	if handler == nil {
		handler = http.DefaultServeMux
	}
	id, ok := requestID(r)
	c.mu.Lock()
	a := c.awaited[id]
	if a != nil {
		a.handled = true
	}
	c.mu.Unlock()
	if !ok || a == nil || a.stream == nil {
		// http3 calls this for streams that serveRequest gave to it only.
		panic(http.ErrAbortHandler)
	}
	str := a.stream
	str.SetReadDeadline(time.Time{})
	abort := func(code quic.StreamErrorCode) {
		str.CancelRead(code)
		str.CancelWrite(code)
	}
	if r.Method != http.MethodConnect || r.Proto == "HTTP/3.0" {
		c.abandon(id, codeSessionGone)
		if !c.takeRequest() {
			c.log("request refused", transport.LimitRequests, errTooBusy)
			abort(requestRejected)
			return
		}
		defer c.freeRequest()
		handler.ServeHTTP(w, r)
		return
	}
	if !c.speaks(r.Proto) {
		c.abandon(id, codeSessionGone)
		if r.Proto == protocolLegacy { // otherwise it is not about a session
			c.tellRefused(http.StatusNotImplemented, "", "the draft is not spoken")
		}
		refuse(w, http.StatusNotImplemented)
		return
	}
	if limit, why := c.awaitSettings(w); why != "" {
		c.tellRefused(0, limit, why)
		abort(quic.StreamErrorCode(http3.ErrCodeMessageError))
		return
	}
	if field := handshake.BodyField(r.Header); field != "" {
		c.tellRefused(0, "", field+" on a WebTransport request")
		abort(quic.StreamErrorCode(http3.ErrCodeMessageError))
		return
	}
	if !c.rate.take(time.Now()) {
		c.tellRefused(http.StatusTooManyRequests, transport.LimitSessionRate, "too many requests for sessions")
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusTooManyRequests)
		return
	}
	if limit, ok := c.takeSlot(); !ok {
		// Before any answer, so that the client may try elsewhere.
		c.tellRefused(0, limit, "no room for a further session")
		abort(requestRejected)
		return
	}
	q := &request{c: c, id: id, w: w, r: r, stream: str}
	if t := c.cfg.UpgradeTimeout; t > 0 {
		q.timer = time.AfterFunc(t, func() {
			if q.decide(requestAborted) {
				c.tellRefused(0, transport.LimitUpgradeTime, "undecided for too long")
				abort(quic.StreamErrorCode(http3.ErrCodeExcessiveLoad))
			}
		})
	}
	returned := false
	defer func() { q.done(returned) }()
	r.Header[":protocol"] = []string{r.Proto}
	handler.ServeHTTP(&responseWriter{q: q}, r.WithContext(context.WithValue(r.Context(), requestKey{}, q)))
	returned = true
}

// awaitSettings waits for the client's SETTINGS: while the drafts change they
// tell the version, and a server does not process requests before they are
// here. It returns what the client lacks, "" if nothing, and the limit if it is
// late.
func (c *serverConn) awaitSettings(w http.ResponseWriter) (limit transport.Limit, lacks string) {
	peer, ok := w.(http3.Settingser)
	if !ok {
		return "", "no access to SETTINGS"
	}
	select {
	case <-peer.ReceivedSettings(): // as a rule
	default:
		t := time.NewTimer(c.cfg.SettingsTimeout)
		defer t.Stop()
		select {
		case <-peer.ReceivedSettings():
		case <-c.qc.Context().Done():
			return "", "connection lost"
		case <-t.C:
			return transport.LimitHandshakeTime, "no SETTINGS"
		}
	}
	p := peerSettings(peer.Settings(), c.qc.ConnectionState())
	if why := p.invalid(c.cfg.MinDraft, true); why != "" {
		c.closeConn(http3.ErrCodeSettingsError, violation(why))
		return "", why
	}
	rules, why := p.clientRules(c.cfg.MinDraft)
	if why != "" {
		return "", why
	}
	c.settle(p, rules)
	return "", ""
}

// Upgrade accepts a WebTransport request that came over HTTP/3 and returns its
// session, or answers it with an error status: 403 where the origin is not
// allowed, 400 where no application protocol fits though one is required, 500
// for options that are not possible. It may be called in any handler below a
// [Server]. The session outlives the handler.
//
// The request's :protocol is in r.Proto and in r.Header[":protocol"].
func Upgrade(w http.ResponseWriter, r *http.Request, opts *transport.UpgradeOptions) (transport.Session, error) {
	q, ok := r.Context().Value(requestKey{}).(*request)
	if !ok {
		if r.ProtoMajor == 3 {
			refuse(w, http.StatusMethodNotAllowed)
		}
		return nil, errors.New("h3wt: not a WebTransport request of a Server of this package")
	}
	if opts == nil {
		opts = &transport.UpgradeOptions{}
	}
	fail := func(status int, err error) (transport.Session, error) {
		if q.decide(requestAnswered) {
			q.refuse(status, "", err)
		}
		return nil, fmt.Errorf("h3wt: %w", err)
	}
	status, err := handshake.AcceptStatus(opts.StatusCode)
	if err == nil {
		err = handshake.CheckProtocols(opts.Protocols)
	}
	if err == nil {
		err = handshake.CheckPatterns(opts.Origins)
	}
	if err == nil {
		err = handshake.CheckResponseHeader(opts.Header)
	}
	if err != nil {
		return fail(http.StatusInternalServerError, err)
	}
	if !handshake.OriginAllowed(r, opts) {
		return fail(http.StatusForbidden, fmt.Errorf("the request's origin is not allowed: %q", r.Header["Origin"]))
	}
	offers, format := q.c.offers(r.Header)
	protocol := handshake.SelectProtocol(offers, opts.Protocols)
	if protocol == "" && opts.RequireProtocol {
		return fail(http.StatusBadRequest, errors.New("the client offers no application protocol that fits"))
	}
	fields := q.c.draftFields(q.r.Header)
	if protocol != "" {
		fields.Set(handshake.SelectedProtocol, format(protocol))
	}
	return q.accept(r, status, protocol, fields, opts)
}

// accept sends the accepting response, with fields beside those of opts, and makes
// the session.
func (q *request) accept(r *http.Request, status int, protocol string, fields http.Header, opts *transport.UpgradeOptions) (transport.Session, error) {
	if !q.decide(requestAccepted) {
		return nil, errors.New("h3wt: the request was answered before")
	}
	c := q.c
	header := q.w.Header()
	for name, values := range opts.Header {
		header[http.CanonicalHeaderKey(name)] = append([]string(nil), values...)
	}
	for _, name := range bodyFields {
		delete(header, name)
	}
	maps.Copy(header, fields)
	header[handshake.CapsuleProtocol] = []string{"?1"}
	str, err := takeStream(q.w, status)
	if err != nil {
		c.freeSlot()
		c.tellRefused(0, "", err.Error())
		q.stream.CancelRead(requestCancelled)
		q.stream.CancelWrite(requestCancelled)
		if r := resetError(err); r != nil {
			err = r
		}
		return nil, fmt.Errorf("h3wt: accepting the session: %w", err)
	}
	setConnectUrgency(str, 0) // capsules before data
	// The session holds http3's request, which gets the trailers, and nothing else of q.
	r3 := q.r
	r3.Trailer = nil
	s := newSession(sessionParams{
		conn:     &c.conn,
		id:       q.id,
		str:      str,
		config:   opts.Config,
		protocol: protocol,
		header:   r3.Header,
		trailer:  func() http.Header { return r3.Trailer },
		urgency:  sessionUrgency(r3.Header),
	})
	c.establish(s)
	s.run(q.stream)
	s.holdEnd(q.stream)
	c.mu.Lock()
	closing := c.closing
	c.mu.Unlock()
	if closing {
		s.Drain() // an error says that the session is over already
	}
	handshake.Keep(r.Context(), s.Context())
	return s, nil
}
