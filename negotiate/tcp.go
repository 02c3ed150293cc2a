package negotiate

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/transport"
)

const (
	// tcpStagger is the time between the starts of two TCP addresses (RFC 8305
	// section 5).
	tcpStagger = 250 * time.Millisecond
	// maxTCPAddrs bounds the addresses of one name that are tried.
	maxTCPAddrs = 8
)

// dialStream opens the TCP connection, through the proxy if there is one.
func (j *job) dialStream(ctx context.Context) (net.Conn, error) {
	dial := j.d.hooks.dialTCP
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	if j.proxy != nil {
		return dialProxy(ctx, dial, j.proxy, j.server.Addr(), j.d.TLSClientConfig)
	}
	return dialAddrs(ctx, dial, interleave(j.addrs), j.server.Port)
}

// A tlsConn is a TCP connection whose TLS handshake is done.
type tlsConn struct {
	*tls.Conn
	// took is the time of the handshake: a round trip, and the cryptography.
	took time.Duration
}

// openTLS opens a connection that offers the application protocols alpn.
func (j *job) openTLS(ctx context.Context, s signs, alpn ...string) (*tlsConn, error) {
	c, err := j.dialStream(ctx)
	if err != nil {
		return nil, err
	}
	s.heard()
	began := time.Now()
	tc := tls.Client(h2wt.Cork(c), j.tlsConfig(alpn...))
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return &tlsConn{Conn: tc, took: time.Since(began)}, nil
}

// openHTTP2 opens the HTTP/2 connection: TCP or proxy, TLS, SETTINGS. A server
// that chooses HTTP/1.1 gets to keep the connection, for WebSocket.
func (j *job) openHTTP2(ctx context.Context, s signs) (leg, error) {
	alpn := []string{"h2"}
	if j.ws {
		alpn = append(alpn, "http/1.1")
	}
	tc, err := j.openTLS(ctx, s, alpn...)
	if err != nil {
		return nil, err
	}
	j.reached.Store(true)
	if j.ws && tc.ConnectionState().NegotiatedProtocol != "h2" {
		j.handOver(tc)
		return nil, ErrNoHTTP2
	}
	cfg := j.h2Config(tc.took)
	cfg.AcceptWebSocketOnly = j.ws
	conn, err := h2wt.NewClientConn(ctx, tc.Conn, cfg)
	if err != nil {
		return nil, err
	}
	if !conn.OffersWebTransport() {
		j.extended.Store(true)
		if !j.d.spawn(func() { _ = conn.Close() }) { // nobody waits for it but Dialer.Close
			_ = conn.Close()
		}
		return nil, transport.ErrNotWebTransport
	}
	return &connLeg{job: j, conn: conn}, nil
}

// h2Config is the configuration of a connection whose TLS handshake took so
// long. What it announces are the limits of its one session; in a pool those of
// the Dialer.
func (j *job) h2Config(handshake time.Duration) *h2wt.Config {
	var c h2wt.Config
	if j.d.H2 != nil {
		c = *j.d.H2
	}
	c.Session = cmp.Or(c.Session, j.sessionConfig())
	if c.Monitor == nil {
		c.Monitor = j.d.Monitor
	}
	if c.PrefaceTimeout == 0 && j.ws {
		// Something that chooses HTTP/2 and then does not speak it would take
		// all the time there is for the next rung.
		c.PrefaceTimeout = max(minProbation, 4*handshake)
	}
	return &c
}

func (j *job) sessionConfig() *transport.Config {
	if j.d.Pool {
		return j.d.Config
	}
	return j.opts.Config
}

// tlsConfig is the configuration of a connection that offers alpn.
func (j *job) tlsConfig(alpn ...string) *tls.Config {
	conf := j.server.ClientTLS(j.d.TLSClientConfig, alpn...)
	if alpn[0] == "h3" {
		conf.MinVersion = max(conf.MinVersion, tls.VersionTLS13)
	}
	if len(j.d.CertificateHashes) > 0 {
		conf = pinned(conf, j.d.CertificateHashes)
	}
	return conf
}

// interleave alternates the families, beginning with that of the first address.
func interleave(addrs []netip.Addr) []netip.Addr {
	var a, b, out []netip.Addr
	for _, x := range addrs {
		if x.Is6() == addrs[0].Is6() {
			a = append(a, x)
		} else {
			b = append(b, x)
		}
	}
	for i := 0; i < len(a) || i < len(b); i++ {
		if i < len(a) {
			out = append(out, a[i])
		}
		if i < len(b) {
			out = append(out, b[i])
		}
	}
	return out[:min(len(out), maxTCPAddrs)]
}

// dialAddrs connects to the first address that answers; each gets a head start
// of tcpStagger before the next, or as long as it takes to fail.
func dialAddrs(ctx context.Context, dial dialFunc, addrs []netip.Addr, port string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		conn net.Conn
		err  error
	}
	answers := make(chan answer)
	next := time.NewTimer(0)
	defer next.Stop()
	var errs []error
	for started, ended := 0, 0; ended < len(addrs); {
		select {
		case <-next.C:
			if started == len(addrs) {
				continue
			}
			address := net.JoinHostPort(addrs[started].String(), port)
			started++
			go func() { // ends soon after ctx does
				c, err := dial(ctx, "tcp", address)
				select {
				case answers <- answer{c, err}:
				case <-ctx.Done():
					if c != nil {
						_ = c.Close()
					}
				}
			}()
			next.Reset(tcpStagger)
		case a := <-answers:
			if a.err == nil {
				return a.conn, nil
			}
			ended++
			errs = append(errs, a.err)
			next.Reset(0)
		case <-ctx.Done():
			return nil, errors.Join(append(errs, context.Cause(ctx))...)
		}
	}
	return nil, errors.Join(errs...)
}
