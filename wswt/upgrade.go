package wswt

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/towpath-go/towpath/internal/handshake"
	"github.com/towpath-go/towpath/internal/quota"
	"github.com/towpath-go/towpath/transport"
)

// Upgrade accepts the session that the opening handshake of a WebSocket asks
// for: over HTTP/1.1, or over HTTP/2 where package h2wt serves. W and r are those
// of an http.Handler; w may be wrapped by middleware that has a method Unwrap()
// http.ResponseWriter. A nil opts is the zero UpgradeOptions; its StatusCode is
// checked and then of no consequence, since a WebSocket is accepted with 101.
//
// It checks the Origin and that the request came by TLS (403), the handshake (400,
// 426 for another version than 13), the application protocol (400 if one is
// required and none fits), that the Server has room, for this client too (429),
// and is not shutting down (503). Extensions are not answered, so none is in force. The session is
// not bound to the request's context and outlives the handler; the request's
// deadlines do not hold for it.
//
// On error a response was written, or the connection has ended: the status named,
// 405 if the request does not ask for a WebSocket with a subprotocol of this
// package, 500 if opts are not valid or the connection cannot be taken over.
func (s *Server) Upgrade(w http.ResponseWriter, r *http.Request, opts *transport.UpgradeOptions) (transport.Session, error) {
	if opts == nil {
		opts = new(transport.UpgradeOptions)
	}
	var place *quota.Hold
	chosen, code, err := s.negotiate(w, r, opts)
	if err == nil {
		place, code, err = s.reserve(r.RemoteAddr)
	}
	if err != nil {
		s.refused(w, r, code, err)
		return nil, err
	}
	// What is written on the connection from here is ours alone.
	head := responseHead(w.Header(), r, opts, chosen)
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		s.release(place)
		code = http.StatusInternalServerError
		if limit, _ := transport.ReachedLimit(err); limit == transport.LimitUpgradeTime {
			code = http.StatusServiceUnavailable // as package h2wt has answered
		}
		err = fmt.Errorf("wswt: Upgrade: the connection cannot be taken over: %w", err)
		s.refused(w, r, code, err)
		return nil, err
	}
	early, _ := rw.Reader.Peek(rw.Reader.Buffered()) // there is as much
	early = bytes.Clone(early)
	// The http.Server's deadlines are not the session's.
	var deadline time.Time
	if d := s.cfg.handshakeTimeout(); d > 0 {
		deadline = time.Now().Add(d)
	}
	_ = nc.SetReadDeadline(time.Time{}) // Write tells if it has ended
	_ = nc.SetWriteDeadline(deadline)
	if _, err := nc.Write(head); err != nil {
		hangUp(nc)
		s.release(place)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = errHandshakeTimeout
		}
		err = fmt.Errorf("wswt: Upgrade: %w", err)
		s.refused(w, r, 0, err)
		return nil, err
	}
	_ = nc.SetWriteDeadline(time.Time{})
	c := newConn(params{
		nc:      nc,
		early:   early,
		cfg:     s.cfg,
		session: opts.Config,
		kdraft:  chosen.kdraft,
		info: transport.Info{
			ApplicationProtocol: chosen.application,
			TLS:                 r.TLS,
			Header:              r.Header,
			ID:                  streamID(nc),
		},
		budget: s.account(r.Context()),
		place:  place,
		onEnd:  s.remove,
	})
	s.add(c) // before it can end, which takes it out again
	c.opened(true)
	c.run()
	if handshake.Holds(r.Context()) {
		handshake.Keep(r.Context(), c.sess.Context())
	}
	return c.sess, nil
}

var (
	errNotUpgrade = errors.New("wswt: Upgrade: the request does not ask for a WebSocket with a subprotocol of this package")
	errPlain      = errors.New("wswt: Upgrade: the request did not come by TLS, and Config.TLSTerminated is not set")
	errNoProtocol = errors.New("wswt: Upgrade: none of the client's application protocols fits")
)

// negotiate makes all decisions that the header fields allow. Code is the
// status to answer if err is not nil.
func (s *Server) negotiate(w http.ResponseWriter, r *http.Request, opts *transport.UpgradeOptions) (chosen offer, code int, err error) {
	_, err = handshake.AcceptStatus(opts.StatusCode)
	if err == nil {
		err = handshake.CheckResponseHeader(opts.Header)
	}
	if err == nil {
		err = checkHeader(opts.Header)
	}
	if err == nil {
		err = handshake.CheckPatterns(opts.Origins)
	}
	if err == nil {
		err = handshake.CheckProtocols(opts.Protocols)
	}
	if err != nil {
		return offer{}, http.StatusInternalServerError, fmt.Errorf("wswt: Upgrade: %w", err)
	}
	if !isWebSocket(r) {
		return offer{}, http.StatusMethodNotAllowed, errNotUpgrade
	}
	if versions := r.Header[fieldVersion]; len(versions) != 1 || versions[0] != "13" {
		w.Header().Set("Sec-WebSocket-Version", "13") // RFC 6455 section 4.4
		return offer{}, http.StatusUpgradeRequired, fmt.Errorf("wswt: Upgrade: version %q of the WebSocket protocol", versions)
	}
	all, ok := s.cfg.offers(r.Header)
	if !ok {
		return offer{}, http.StatusRequestHeaderFieldsTooLarge, errOffers
	}
	if len(all) == 0 {
		return offer{}, http.StatusMethodNotAllowed, errNotUpgrade
	}
	if err := checkRequest(r); err != nil {
		return offer{}, http.StatusBadRequest, fmt.Errorf("wswt: Upgrade: %w", err)
	}
	if r.TLS == nil && !s.cfg.TLSTerminated {
		return offer{}, http.StatusForbidden, errPlain
	}
	if !handshake.OriginAllowed(r, opts) {
		return offer{}, http.StatusForbidden, fmt.Errorf("wswt: Upgrade: origin %q is not allowed", r.Header["Origin"])
	}
	chosen, ok = selectOffer(all, opts.Protocols)
	if !ok || chosen.application == "" && opts.RequireProtocol {
		return offer{}, http.StatusBadRequest, errNoProtocol
	}
	return chosen, 0, nil
}

// checkRequest wants what RFC 6455 section 4.2.1 does besides what makes a
// request an upgrade.
func checkRequest(r *http.Request) error {
	if !r.ProtoAtLeast(1, 1) {
		return errors.New("HTTP/1.0")
	}
	if r.Host == "" {
		return errors.New("no Host")
	}
	if r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
		return errors.New("the request has content")
	}
	keys := r.Header[fieldKey]
	if len(keys) != 1 {
		return fmt.Errorf("%d Sec-WebSocket-Key fields", len(keys))
	}
	if key, err := base64.StdEncoding.Strict().DecodeString(keys[0]); err != nil || len(key) != 16 || len(keys[0]) != 24 {
		return errors.New("the Sec-WebSocket-Key is not 16 bytes in base64")
	}
	return nil
}

// webSocketFields are set by the opening handshake itself.
var webSocketFields = []string{fieldKey, fieldAccept, fieldVersion, fieldProtocol, fieldExtensions}

// checkHeader refuses the handshake's own fields in an application's header.
func checkHeader(h http.Header) error {
	for name := range h {
		if canonical := http.CanonicalHeaderKey(name); slices.Contains(webSocketFields, canonical) {
			return fmt.Errorf("header field %s cannot be set on a WebSocket handshake", canonical)
		}
	}
	return nil
}

// responseHead is the response that accepts: RFC 6455 section 4.2.2. Before is
// what middleware has set on the writer; fields that cannot stand on this
// response are left out.
func responseHead(before http.Header, r *http.Request, opts *transport.UpgradeOptions, chosen offer) []byte {
	h := make(http.Header, len(before)+len(opts.Header))
	for key, values := range before {
		one := http.Header{key: values}
		if handshake.CheckResponseHeader(one) == nil && checkHeader(one) == nil {
			h[http.CanonicalHeaderKey(key)] = values
		}
	}
	for key, values := range opts.Header {
		h[http.CanonicalHeaderKey(key)] = values
	}
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	writeFields(&b,
		"Upgrade", "websocket",
		"Connection", "Upgrade",
		"Sec-WebSocket-Accept", acceptOf(r.Header[fieldKey][0]),
		"Sec-WebSocket-Protocol", chosen.subprotocol)
	writeHeader(&b, h)
	b.WriteString("\r\n")
	return b.Bytes()
}

func writeFields(b *bytes.Buffer, fields ...string) {
	for i := 0; i < len(fields); i += 2 {
		b.WriteString(fields[i])
		b.WriteString(": ")
		b.WriteString(fields[i+1])
		b.WriteString("\r\n")
	}
}

// writeHeader writes fields that were checked, in the order of their names.
func writeHeader(b *bytes.Buffer, h http.Header) {
	for _, key := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[key] {
			writeFields(b, key, v)
		}
	}
}

// acceptOf is the answer to a Sec-WebSocket-Key: RFC 6455 section 4.2.2, where
// SHA-1 protects nothing.
func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}
