package negotiate

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/net/http/httpguts"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/h3wt"
	"github.com/towpath-go/towpath/internal/handshake"
	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/wswt"
)

// A Dialer finds the open way to WebTransport servers, and remembers it. The
// zero value is ready for use; its fields must not change after the first Dial.
// Its methods may be called from any goroutine.
type Dialer struct {
	// TLSClientConfig is the base of every connection's TLS configuration; nil
	// means defaults. The server name defaults to the URL's host, MinVersion to
	// TLS 1.3; the application protocols are set here.
	TLSClientConfig *tls.Config
	// CertificateHashes, if not empty, are the SHA-256 hashes of the server
	// certificates accepted, instead of the verification of chain and name. The
	// rules are those of the W3C serverCertificateHashes: ECDSA on P-256, valid
	// for at most 14 days and now. Not together with Pool.
	CertificateHashes [][sha256.Size]byte

	// Config holds the limits of sessions whose DialOptions have none.
	Config *transport.Config
	// H2, H3 and WS hold the limits of the connections; nil means defaults.
	H2 *h2wt.Config
	H3 *h3wt.Config
	WS *wswt.Config
	// QUICConfig is the base of every QUIC connection's configuration; nil means
	// defaults. An InitialPacketSize of 0 means 1,200 bytes here, which every
	// path that may carry QUIC lets through; larger ones are found by probing.
	QUICConfig *quic.Config

	// Transports are the ways to try, in any order. Nil means all: HTTP/3;
	// HTTP/2 where that is not open; WebSocket where the server is reached over
	// TCP but takes no session over HTTP/2.
	Transports []transport.Protocol
	// HeadStart is how long TCP waits for QUIC if nothing decides earlier. 0
	// means 1.5 times the known round-trip time, at least 100 ms and at most
	// 2 s, or 250 ms while none is known. Negative: they start together.
	HeadStart time.Duration
	// Timeout bounds Dial besides its context. Default 10 s; negative: none.
	Timeout time.Duration

	// Proxy returns the proxy for a request, as in http.Transport. Nil means
	// the environment: as http.ProxyFromEnvironment, and ALL_PROXY where that
	// has none. Proxies are http, https, socks5 and socks5h URLs. With a proxy
	// everything goes over TCP.
	Proxy func(*http.Request) (*url.URL, error)

	// Pool puts sessions to the same authority on one connection where it can
	// take them: a WebSocket has a connection of its own. Such sessions share
	// the connection's capacity and fate, and the server sees that they belong
	// together.
	Pool bool

	// Store keeps what is remembered of servers. Nil means the Dialer's own
	// NewStore.
	Store Store
	// OpaqueErrors makes Dial return ErrConnectFailed, and nothing else, for
	// every failure to establish a session: for programs that hand errors to
	// code that must not explore the network by them. The Report has the detail.
	OpaqueErrors bool

	// Monitor is told of dials, and those of H2, H3 and WS that name none tell it
	// of their connections and sessions; nil means nobody. See
	// docs/watching.md.
	Monitor transport.Monitor
	// Logger receives one record per Dial and per finding about UDP, at level
	// Debug; nil means silence.
	Logger *slog.Logger
	// Trace receives events as calls; nil means none.
	Trace *Trace

	hooks hooks // for tests

	once sync.Once
	// Set once.
	memory *memory
	pool   pool
	leaves departures
	life   context.Context
	end    context.CancelFunc

	mu     sync.Mutex // guards the following
	closed bool
	wg     sync.WaitGroup // races and probes; Add under mu
}

// hooks replace the system in tests; nil means the system.
type hooks struct {
	resolve     func(ctx context.Context, host string) ([]netip.Addr, error)
	dialTCP     dialFunc
	dialUDP     func(ctx context.Context, addr netip.AddrPort) (net.PacketConn, error)
	fingerprint func(netip.AddrPort) string
	turnTime    func() time.Duration
}

var (
	// ErrPathBroken is the cause of a session's end if its path died right after
	// the dial. The Dialer has marked UDP to the server: dial again.
	ErrPathBroken = errors.New("towpath: the network path died right after the session began")
	// ErrNoHTTP2 is the error of an attempt by HTTP/2 whose connection the server,
	// or what stands before it, chose HTTP/1.1 for: WebSocket takes it over.
	ErrNoHTTP2 = errors.New("the server chose HTTP/1.1 (ALPN)")
	// ErrConnectFailed is what Dial returns with OpaqueErrors.
	ErrConnectFailed = errors.New("towpath: connect failed")
	// errDialerClosed is what Dial returns after Close.
	errDialerClosed = fmt.Errorf("towpath: dialer: %w", net.ErrClosed)
)

// A DialError says that no way to a server was open: it holds the error of
// every way that was tried.
type DialError struct {
	Host string // host:port
	Errs []error
}

func (e *DialError) Error() string {
	var b strings.Builder
	b.WriteString("towpath: no way to " + e.Host + " is open")
	for i, err := range e.Errs {
		b.WriteString([]string{": ", "; "}[min(i, 1)])
		b.WriteString(strings.ReplaceAll(err.Error(), "\n", ", "))
	}
	return b.String()
}

// Unwrap returns Errs.
func (e *DialError) Unwrap() []error { return e.Errs }

const (
	defaultTimeout   = 10 * time.Second
	defaultHeadStart = 250 * time.Millisecond
	minHeadStart     = 100 * time.Millisecond
	maxHeadStart     = 2 * time.Second
	familyDelay      = 50 * time.Millisecond
	lingerTime       = 500 * time.Millisecond
)

func (d *Dialer) init() {
	d.once.Do(func() {
		store := d.Store
		if store == nil {
			store = NewStore()
		}
		d.memory = newMemory(store)
		d.pool.conns = make(map[string][]*pooledConn)
		d.life, d.end = context.WithCancel(context.Background())
	})
}

// Close ends what the Dialer does in the background and waits for it. Dials
// under way fail. Sessions live on.
//
// Over HTTP/3 it also waits until the server was told that the connections are
// over whose sessions have ended, so that a program may exit after it. They stay
// for the CloseTimeout of a session's Config, 1 s by default, because streams that
// were finished may not have been read yet: Close takes at most twice that.
func (d *Dialer) Close() error {
	d.init()
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.end()
	d.wg.Wait()
	d.leaves.wait()
	return nil
}

// Forget drops what is remembered about the server of a URL, a mark for
// example, so that the next Dial begins afresh.
func (d *Dialer) Forget(rawURL string) error {
	d.init()
	t, err := handshake.ParseURL(rawURL)
	if err != nil {
		return fmt.Errorf("towpath: %w", err)
	}
	d.memory.forget(t.Host, t.Port)
	return nil
}

// spawn runs f on a goroutine that Close waits for. f must end soon after
// d.life does. It is false once the Dialer is closed.
func (d *Dialer) spawn(f func()) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.wg.Go(f)
	return true
}

// Dial asks the server of an https URL for a session, over the best way that is
// open, and reports how that went. The Report is never nil.
//
// A server's answer is returned, whichever way it came: [*transport.RejectedError]
// for a status that is not an acceptance, [*transport.ProtocolError] for an answer that
// breaks the rules or selects none of the protocols required, an error about
// certificates ([*tls.CertificateVerificationError], [*PinError]). A [*DialError]
// says that no way was open, and matches the errors of all that were tried, such
// as [transport.ErrNotWebTransport]; what a server answers to a WebSocket after
// other ways have failed is one of them, because it may not know what it was asked
// for. A status 407 from a proxy is a [*ProxyError].
// [transport.ErrUnsupported] says that no way may be used, and options or a URL
// that are not valid give an error before anything is sent.
// Nil opts are the zero DialOptions.
//
// The session does not depend on ctx, nor on the Dialer once Dial has returned.
// Its connection is closed when it ends, or with the last session of a pool.
func (d *Dialer) Dial(ctx context.Context, rawURL string, opts *transport.DialOptions) (transport.Session, *Report, error) {
	d.init()
	began := time.Now()
	report := &Report{URL: rawURL, Memory: MemoryUnused}
	if t := d.timeout(); t > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t)
		defer cancel()
	}
	s, err := d.dial(ctx, rawURL, d.options(opts), report)
	report.Elapsed = time.Since(began)
	report.Err = err
	d.logDial(ctx, report)
	d.tell(ctx, report)
	if err != nil && d.OpaqueErrors {
		err = ErrConnectFailed
	}
	return s, report, err
}

func (d *Dialer) options(opts *transport.DialOptions) *transport.DialOptions {
	var o transport.DialOptions
	if opts != nil {
		o = *opts
	}
	if o.Config == nil {
		o.Config = d.Config
	}
	return &o
}

func (d *Dialer) timeout() time.Duration {
	if d.Timeout == 0 {
		return defaultTimeout
	}
	return d.Timeout
}

// A job is one Dial under way.
type job struct {
	d      *Dialer
	url    string
	server handshake.Target
	opts   *transport.DialOptions
	report *Report
	proxy  *url.URL // nil if none
	addrs  []netip.Addr
	target target // zero if the memory is not used

	h3, h2, ws bool // the ways that may be used
	// apart makes every way open a connection of its own.
	apart bool
	// reached says that a TLS connection for HTTP/2 was made, extended that its
	// server takes extended CONNECT, although not for WebTransport.
	reached, extended atomic.Bool

	mu     sync.Mutex // guards the following
	handed *tlsConn   // from HTTP/2 to WebSocket
}

func (d *Dialer) dial(ctx context.Context, rawURL string, opts *transport.DialOptions, report *Report) (transport.Session, error) {
	server, err := handshake.ParseURL(rawURL)
	if err != nil {
		return nil, fmt.Errorf("towpath: %w", err)
	}
	if d.life.Err() != nil {
		return nil, errDialerClosed // a pooled connection may still be there
	}
	if len(d.CertificateHashes) > 0 && d.Pool {
		return nil, errPinPool
	}
	if err := checkOptions(opts); err != nil {
		return nil, fmt.Errorf("towpath: dial: %w", err)
	}
	j := &job{d: d, url: rawURL, server: server, opts: opts, report: report}
	if err := j.chooseWays(); err != nil {
		return nil, err
	}
	if d.Pool {
		if s, used, err := d.pool.dial(ctx, j); used {
			return s, err
		}
	}
	if j.proxy == nil {
		if err := j.resolve(ctx); err != nil {
			return nil, err
		}
	}
	return j.race(ctx)
}

// checkOptions finds what no way would accept, before any is tried.
func checkOptions(o *transport.DialOptions) error {
	switch {
	case !httpguts.ValidHeaderFieldValue(o.Origin):
		return errors.New("the origin is not valid")
	case o.RequireProtocol && len(o.Protocols) == 0:
		return errors.New("RequireProtocol without Protocols")
	}
	if err := handshake.CheckProtocols(o.Protocols); err != nil {
		return err
	}
	return handshake.CheckRequestHeader(o.Header)
}

// chooseWays finds out which ways may be used.
func (j *job) chooseWays() error {
	if j.d.Transports == nil {
		j.h3, j.h2, j.ws = true, true, true
	}
	for _, p := range j.d.Transports {
		switch p {
		case transport.HTTP3:
			j.h3 = true
		case transport.HTTP2:
			j.h2 = true
		case transport.WebSocket:
			j.ws = true
		default:
			return fmt.Errorf("towpath: a dialer cannot use transport %v: %w", p, transport.ErrUnsupported)
		}
	}
	find := j.d.Proxy
	if find == nil {
		find = proxyFromEnvironment
	}
	u, err := url.Parse(j.url)
	if err != nil {
		return err
	}
	p, err := find(&http.Request{Method: http.MethodConnect, URL: &url.URL{Scheme: "https", Host: u.Host, Path: u.Path}, Host: u.Host, Header: http.Header{}})
	if err != nil {
		return &ProxyError{Err: err}
	}
	if p != nil {
		j.proxy = p
		j.report.Proxy = p.Redacted()
		j.report.byProxy = j.h3
		j.h3 = false // HTTP/3 does not pass a proxy, and going round it is not ours to decide
	}
	if j.opts.RequireUnreliable {
		j.h2, j.ws = false, false
	}
	if !j.h3 && !j.h2 && !j.ws {
		why := "no transport is left"
		switch {
		case p != nil:
			why = "a proxy carries TCP only, and HTTP/2 and WebSocket are excluded"
		case j.opts.RequireUnreliable:
			why = "unreliable delivery needs HTTP/3, which is excluded"
		}
		return fmt.Errorf("towpath: %s: %w", why, transport.ErrUnsupported)
	}
	return nil
}

// resolve looks the host up, once for all ways.
func (j *job) resolve(ctx context.Context) error {
	if a, err := netip.ParseAddr(j.server.Host); err == nil {
		j.addrs = []netip.Addr{a.Unmap()}
		return nil
	}
	began := time.Now()
	lookup := j.d.hooks.resolve
	if lookup == nil {
		lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	addrs, err := lookup(ctx, j.server.Host)
	j.report.Resolve = time.Since(began)
	if err != nil {
		return &DialError{Host: j.server.Addr(), Errs: []error{err}}
	}
	for _, a := range addrs {
		j.addrs = append(j.addrs, a.Unmap())
	}
	if len(j.addrs) == 0 {
		return &DialError{Host: j.server.Addr(), Errs: []error{errors.New("the name has no address")}}
	}
	return nil
}
