package wswt

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/towpath-go/towpath/internal/handshake"
	"github.com/towpath-go/towpath/transport"
)

// Bounds on what is kept of a response.
const (
	maxHead        = 64 << 10
	maxInterim     = 8 // responses before the final one
	maxRejectBody  = 4 << 10
	rejectBodyWait = time.Second
)

// Dial connects to the URL's server over TCP and TLS and opens a session on a
// WebSocket, over HTTP/1.1. The URL is an https or wss URL. A nil tlsConf is the
// zero one; its ALPN is set to "http/1.1", MinVersion to TLS 1.3 unless it is
// set, and ServerName to the URL's host unless it is set. See [DialConn] for the
// errors. Package negotiate, unlike this, knows proxies and other ways.
func Dial(ctx context.Context, rawURL string, tlsConf *tls.Config, opts *transport.DialOptions) (transport.Session, error) {
	r, err := newRequest(rawURL, opts)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", r.target.Addr())
	if err != nil {
		return nil, err
	}
	tlsConf = r.target.ClientTLS(tlsConf, "http/1.1")
	return r.dial(ctx, tls.Client(nc, tlsConf), new(Config))
}

// DialConn opens a session on a WebSocket, over HTTP/1.1 on a connection whose
// TLS handshake was done, or is done now. It owns tc, which ends with the session
// and on every error. Ctx bounds this call alone. Nil opts and cfg are the zero
// ones. Redirections are not followed.
//
// Errors: [*transport.RejectedError] if the server answered with another status
// than 101; [*transport.ProtocolError] for an answer that breaks the rules, with
// ViolationALPN if the server selected a subprotocol that was not offered, or no
// application protocol where one is required; [transport.ErrUnsupported] for
// RequireUnreliable; the connection's error; the context's cause; and an error
// for options or a URL that are not valid.
func DialConn(ctx context.Context, tc *tls.Conn, rawURL string, opts *transport.DialOptions, cfg *Config) (transport.Session, error) {
	r, err := newRequest(rawURL, opts)
	if err != nil {
		tc.Close()
		return nil, err
	}
	return r.dial(ctx, tc, cfg.clone())
}

// request is one opening handshake of a client.
type request struct {
	target handshake.Target
	opts   *transport.DialOptions
	offers []offer
}

// newRequest checks a URL and options.
func newRequest(rawURL string, opts *transport.DialOptions) (*request, error) {
	if opts == nil {
		opts = new(transport.DialOptions)
	}
	if opts.RequireUnreliable {
		return nil, fmt.Errorf("wswt: unreliable delivery: %w", transport.ErrUnsupported)
	}
	target, err := handshake.ParseURL(asHTTPS(rawURL))
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
		return nil, fmt.Errorf("wswt: dial: %w", err)
	}
	r := &request{target: target, opts: opts}
	for _, p := range opts.Protocols {
		r.offers = append(r.offers, offer{subprotocol: subprotocolOf(p), application: p})
	}
	// The bare name is last, so that a server that speaks none of the protocols
	// can accept all the same.
	r.offers = append(r.offers, offer{subprotocol: Subprotocol})
	return r, nil
}

// asHTTPS makes an https URL of a wss URL.
func asHTTPS(rawURL string) string {
	if len(rawURL) >= 4 && strings.EqualFold(rawURL[:4], "wss:") {
		return "https:" + rawURL[4:]
	}
	return rawURL
}

// subprotocols is the value of Sec-WebSocket-Protocol.
func (r *request) subprotocols() string {
	names := make([]string, len(r.offers))
	for i, o := range r.offers {
		names[i] = o.subprotocol
	}
	return strings.Join(names, ", ")
}

// dial does the handshake on a connection and owns it.
func (r *request) dial(ctx context.Context, tc *tls.Conn, cfg *Config) (transport.Session, error) {
	bound, cancel := ctx, context.CancelFunc(func() {})
	if d := cfg.handshakeTimeout(); d > 0 {
		bound, cancel = context.WithTimeoutCause(ctx, d, errHandshakeTimeout)
	}
	defer cancel()
	resp, early, err := r.exchange(bound, tc)
	if err != nil {
		hangUp(tc)
		if bound.Err() != nil {
			if _, ok := errors.AsType[*transport.RejectedError](err); !ok {
				err = context.Cause(bound)
			}
		}
		return nil, err
	}
	state := tc.ConnectionState()
	return r.open(tc, early, resp, &state, cfg)
}

// exchange sends the request and reads the response. Early is what came behind
// it.
func (r *request) exchange(ctx context.Context, tc *tls.Conn) (header http.Header, early []byte, err error) {
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, nil, fmt.Errorf("wswt: TLS handshake: %w", err)
	}
	if p := tc.ConnectionState().NegotiatedProtocol; p != "" && p != "http/1.1" {
		return nil, nil, fmt.Errorf("wswt: the TLS connection negotiated %q instead of http/1.1", p)
	}
	stop := context.AfterFunc(ctx, func() { _ = tc.SetDeadline(past) })
	defer func() {
		if !stop() && err == nil {
			header, early, err = nil, nil, context.Cause(ctx)
		}
	}()
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	key := base64.StdEncoding.EncodeToString(nonce[:])
	if _, err := tc.Write(r.head(key)); err != nil {
		return nil, nil, err
	}
	limited := &io.LimitedReader{R: tc, N: maxHead}
	br := bufio.NewReader(limited)
	for range maxInterim {
		resp, err := http.ReadResponse(br, &http.Request{Method: http.MethodGet})
		switch {
		case err != nil && limited.N == 0:
			return nil, nil, longResponse(fmt.Sprintf("the response's head is longer than %d bytes", maxHead))
		case errors.Is(err, io.ErrUnexpectedEOF), err == io.EOF:
			return nil, nil, fmt.Errorf("wswt: the connection ended before the response: %w", io.ErrUnexpectedEOF)
		case err != nil:
			if _, ok := errors.AsType[net.Error](err); ok {
				return nil, nil, err
			}
			return nil, nil, badResponse(err.Error())
		case resp.StatusCode == http.StatusSwitchingProtocols:
			early, _ := br.Peek(br.Buffered()) // there is as much
			return resp.Header, bytes.Clone(early), checkResponse(resp, key)
		case resp.StatusCode >= 200:
			limited.N = maxRejectBody
			return nil, nil, rejected(tc, resp)
		}
	}
	return nil, nil, longResponse("too many interim responses")
}

// head is the request: RFC 6455 section 4.1.
func (r *request) head(key string) []byte {
	var b bytes.Buffer
	b.WriteString("GET " + r.target.Path + " HTTP/1.1\r\n")
	writeFields(&b,
		"Host", r.target.Authority,
		"Upgrade", "websocket",
		"Connection", "Upgrade",
		"Sec-WebSocket-Key", key,
		"Sec-WebSocket-Version", "13",
		"Sec-WebSocket-Protocol", r.subprotocols())
	writeHeader(&b, r.header())
	b.WriteString("\r\n")
	return b.Bytes()
}

// header is what the application adds to the request.
func (r *request) header() http.Header {
	h := make(http.Header, len(r.opts.Header)+1)
	for name, values := range r.opts.Header {
		h[http.CanonicalHeaderKey(name)] = values
	}
	if r.opts.Origin != "" {
		h["Origin"] = []string{r.opts.Origin}
	}
	return h
}

// rejected is the error for a response other than 101, with the start of its
// body, as far as that comes soon.
func rejected(tc *tls.Conn, resp *http.Response) error {
	_ = tc.SetReadDeadline(time.Now().Add(rejectBodyWait)) // Read tells if it has ended
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxRejectBody))
	return &transport.RejectedError{StatusCode: resp.StatusCode, Header: resp.Header, Body: body}
}

// checkResponse wants of a 101 what RFC 6455 section 4.1 does.
func checkResponse(resp *http.Response, key string) error {
	h := resp.Header
	switch {
	case !resp.ProtoAtLeast(1, 1):
		return badResponse("101 of HTTP/1.0")
	case !httpguts.HeaderValuesContainsToken(h["Upgrade"], "websocket"):
		return badResponse("101 without Upgrade: websocket")
	case !httpguts.HeaderValuesContainsToken(h["Connection"], "upgrade"):
		return badResponse("101 without Connection: Upgrade")
	case len(h[fieldAccept]) != 1 || h[fieldAccept][0] != acceptOf(key):
		return badResponse("101 with a wrong Sec-WebSocket-Accept")
	}
	return nil
}

func badResponse(reason string) error {
	return &transport.ProtocolError{Violation: transport.ViolationMalformed, Reason: reason}
}

// open makes the session of an accepted handshake. It owns nc.
func (r *request) open(nc net.Conn, early []byte, header http.Header, state *tls.ConnectionState, cfg *Config) (transport.Session, error) {
	// Nothing that was not offered may be selected, RFC 6455 section 4.1, and
	// without the subprotocol the bytes would mean nothing.
	var err error
	chosen := -1
	names, _ := listed(header[fieldProtocol])
	if len(names) == 1 {
		chosen = slices.IndexFunc(r.offers, func(o offer) bool { return o.subprotocol == names[0] })
	}
	switch {
	case len(header[fieldExtensions]) > 0:
		err = badResponse("the server selected an extension that was not offered")
	case len(names) == 0:
		err = alpnError("the server selected no subprotocol")
	case chosen < 0:
		err = alpnError("the server selected a subprotocol that was not offered")
	}
	if err != nil {
		hangUp(nc)
		return nil, err
	}
	_ = nc.SetDeadline(time.Time{}) // Read tells if it has ended
	c := newConn(params{
		nc:      nc,
		early:   early,
		client:  true,
		cfg:     cfg,
		session: r.opts.Config,
		info: transport.Info{
			ApplicationProtocol: r.offers[chosen].application,
			TLS:                 state,
			Header:              header,
			ID:                  streamID(nc),
		},
	})
	unwanted := r.offers[chosen].application == "" && r.opts.RequireProtocol
	c.opened(!unwanted)
	c.run()
	if unwanted {
		c.sess.StartClose(handshake.AlpnError, "")
		return nil, alpnError("the server selected no protocol")
	}
	return c.sess, nil
}

// longResponse is badResponse for one with more than is read.
func longResponse(reason string) error {
	return &transport.ProtocolError{Violation: transport.ViolationExcess, Reason: reason, Limit: transport.LimitHeaderSize}
}

func alpnError(reason string) error {
	return &transport.ProtocolError{Violation: transport.ViolationALPN, Reason: reason}
}
