package h2wt

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/internal/handshake"
	"github.com/towpath-go/towpath/internal/session"
	"github.com/towpath-go/towpath/transport"
)

// upgrader is implemented by the ResponseWriter of every request of this
// package. Upgrade finds it behind middleware.
type upgrader interface {
	upgrade(r *http.Request, opts *transport.UpgradeOptions) (transport.Session, error)
}

// exchangeKey is where a request's context has its *exchange.
type exchangeKey struct{}

// Upgrade accepts the WebTransport session that a request asks for. W and r are
// those of an http.Handler, as they are or changed by middleware: it is enough
// that w, if it is wrapped, has a method Unwrap() http.ResponseWriter, or that
// r's context comes from the original's. What Upgrade answers then does not pass
// through the wrapper. A nil opts is the zero UpgradeOptions.
//
// It checks the Origin (403), the WebTransport-Init field (400), and the
// application protocol (400 if one is required and none fits), sends the
// response, and returns once that was handed to the connection. The session is
// not bound to the request's context and outlives the handler.
//
// On error a response was written: the one named, 405 if the request does not
// ask for a session, or 500 if opts are not valid.
func Upgrade(w http.ResponseWriter, r *http.Request, opts *transport.UpgradeOptions) (transport.Session, error) {
	u, ok := handshake.Find[upgrader](w)
	if x, found := r.Context().Value(exchangeKey{}).(*exchange); !ok && found && x.tunnel != nil {
		response := x.response()
		if response == nil {
			return nil, errAnswered
		}
		u, ok = sessionWriter{response}, true
	}
	if !ok {
		w.WriteHeader(http.StatusMethodNotAllowed)
		if r.Method == http.MethodConnect {
			return nil, errWrapped
		}
		return nil, errNotUpgradable
	}
	if opts == nil {
		opts = new(transport.UpgradeOptions)
	}
	return u.upgrade(r, opts)
}

func (w *response) upgrade(r *http.Request, opts *transport.UpgradeOptions) (transport.Session, error) {
	x := w.x
	if x.tunnel == nil {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return nil, errNotUpgradable
	}
	if w.status != 0 || w.done || x.taken() {
		return nil, errAnswered
	}
	header, local, ok := x.asked() // the handler may return before this is done
	if !ok {
		return nil, errAnswered
	}
	c := x.conn
	cfg := opts.Config
	var shared *transport.Config
	if cfg == nil {
		cfg, shared = c.cfg.Session, &c.srv.session
	}
	init, protocol, fields, code, err := w.negotiate(r, opts, dialectOf(cfg))
	if err == nil && !x.decide(takenOver) {
		return nil, errUndecided
	}
	if err != nil {
		w.refusal = err
		w.WriteHeader(code)
		if startErr := w.start(nil, true); startErr != nil {
			return nil, startErr
		}
		return nil, err
	}
	peer, err := x.accept(fields)
	if err != nil {
		return nil, fmt.Errorf("h2wt: Upgrade: %w", err)
	}
	a := serverAgreement(dialectOf(cfg), peer, header, answersTowpath(dialectOf(cfg), init))
	s := session.New(session.Params{
		Config: cfg,
		Shared: shared,
		Local:  limitsOf(local, handshake.Init{}, false),
		Peer:   limitsOf(peer, init, a.oneBidiLimit()),
		Info: transport.Info{
			Protocol:            transport.HTTP2,
			ApplicationProtocol: protocol,
			LocalAddr:           c.tc.LocalAddr(),
			RemoteAddr:          c.tc.RemoteAddr(),
			TLS:                 c.tls,
			ID:                  uint64(x.st.ID()),
			Header:              header,
		},
		Carrier: carrier{x.tunnel},
		Budget:  c.budget,
		Dialect: a.dialect,
		Parity:  a.parity,
	})
	a.log(cfg, uint64(x.st.ID()))
	x.hold()
	c.sessions.add(s)
	if !x.tunnel.attach(s) {
		err := lostError(x.tunnel.cause())
		s.Lost(err)
		c.sessions.remove(s)
		x.release()
		return nil, fmt.Errorf("h2wt: Upgrade: %w", err)
	}
	if handshake.Holds(r.Context()) {
		handshake.Keep(r.Context(), s.Context())
	}
	s.Charge(headerMemory(header))
	if x.tellOnce() { // not if memory ran out meanwhile
		c.watch.sessionOpened(s)
	}
	return s, nil
}

// negotiate makes all decisions that the header fields allow. Code is the
// status to answer if err is not nil.
func (w *response) negotiate(r *http.Request, opts *transport.UpgradeOptions, d transport.Dialect) (init handshake.Init, protocol string, fields []hpack.HeaderField, code int, err error) {
	status, err := handshake.AcceptStatus(opts.StatusCode)
	if err == nil {
		err = handshake.CheckResponseHeader(opts.Header)
	}
	if err == nil {
		err = handshake.CheckPatterns(opts.Origins)
	}
	if err == nil {
		err = handshake.CheckProtocols(opts.Protocols)
	}
	if err != nil {
		return init, "", nil, http.StatusInternalServerError, fmt.Errorf("h2wt: Upgrade: %w", err)
	}
	if !handshake.OriginAllowed(r, opts) {
		return init, "", nil, http.StatusForbidden, fmt.Errorf("h2wt: Upgrade: origin %q is not allowed", r.Header["Origin"])
	}
	init, err = handshake.ParseInit(r.Header[handshake.InitField])
	if err != nil {
		return init, "", nil, http.StatusBadRequest, fmt.Errorf("h2wt: Upgrade: %w", err)
	}
	offers := handshake.ParseAvailableProtocols(r.Header[handshake.AvailableProtocols])
	protocol = handshake.SelectProtocol(offers, opts.Protocols)
	if protocol == "" && opts.RequireProtocol {
		return init, "", nil, http.StatusBadRequest, errors.New("h2wt: Upgrade: none of the client's application protocols fits")
	}

	fields = append(fields, hpack.HeaderField{Name: ":status", Value: strconv.Itoa(status)})
	if protocol != "" {
		value := handshake.FormatProtocol(protocol)
		if isFailsRequest(d, r.Header) {
			value = handshake.FormatBareProtocol(protocol)
		}
		fields = append(fields, hpack.HeaderField{Name: "wt-protocol", Value: value})
	}
	if answersTowpath(d, init) {
		fields = append(fields, hpack.HeaderField{Name: "towpath", Value: handshake.FormatTowpath()})
	}
	fields = append(fields,
		hpack.HeaderField{Name: "capsule-protocol", Value: "?1"},
		hpack.HeaderField{Name: "date", Value: httpDate()})
	// Middleware may have set fields on the writer before. Those that cannot
	// stand on this response are left out, the handler's own were checked.
	before := w.header.Clone()
	for key := range before {
		if handshake.CheckResponseHeader(http.Header{key: nil}) != nil {
			delete(before, key)
		}
	}
	for key, values := range opts.Header {
		before[http.CanonicalHeaderKey(key)] = values
	}
	return init, protocol, appendFields(fields, before, ""), 0, nil
}

// accept sends the response and waits until it is encoded. The client's limits
// are those of its SETTINGS that we had acknowledged at that moment
// (draft-ietf-webtrans-http2 "Flow Control SETTINGS").
func (x *exchange) accept(fields []hpack.HeaderField) (peer h2conn.Settings, err error) {
	written, ended := make(chan h2conn.Settings, 1), x.tunnel.done()
	err = x.st.WriteHeaders(fields, false, func(acked h2conn.Settings) { written <- acked })
	if err != nil {
		x.abort(http2.ErrCodeInternal, err)
		return peer, lostError(err)
	}
	select {
	case peer = <-written:
		return peer, nil
	case <-ended:
		return peer, lostError(x.tunnel.cause())
	}
}
