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

// openTCP opens the HTTP/2 connection: TCP or proxy, TLS, SETTINGS.
func (j *job) openTCP(ctx context.Context, s signs) (leg, error) {
	dial := j.d.hooks.dialTCP
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	var c net.Conn
	var err error
	if j.proxy != nil {
		c, err = dialProxy(ctx, dial, j.proxy, j.server.Addr(), j.d.TLSClientConfig)
	} else {
		c, err = dialAddrs(ctx, dial, interleave(j.addrs), j.server.Port)
	}
	if err != nil {
		return nil, err
	}
	s.heard()
	tc := tls.Client(h2wt.Cork(c), j.tlsConfig("h2"))
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	conn, err := h2wt.NewClientConn(ctx, tc, j.h2Config())
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return &connLeg{job: j, conn: conn}, nil
}

// h2Config is the connection's configuration. What it announces are the limits
// of its one session; in a pool those of the Dialer.
func (j *job) h2Config() *h2wt.Config {
	var c h2wt.Config
	if j.d.H2 != nil {
		c = *j.d.H2
	}
	c.Session = cmp.Or(c.Session, j.sessionConfig())
	return &c
}

func (j *job) sessionConfig() *transport.Config {
	if j.d.Pool {
		return j.d.Config
	}
	return j.opts.Config
}

// tlsConfig is the configuration of a connection that speaks alpn.
func (j *job) tlsConfig(alpn string) *tls.Config {
	conf := j.d.TLSClientConfig.Clone()
	if conf == nil {
		conf = &tls.Config{}
	}
	if conf.ServerName == "" {
		conf.ServerName = j.server.Host
	}
	if conf.MinVersion == 0 || alpn == "h3" {
		conf.MinVersion = max(conf.MinVersion, tls.VersionTLS13)
	}
	conf.NextProtos = []string{alpn}
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
