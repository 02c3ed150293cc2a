package peers

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/h3wt"
	"github.com/towpath-go/towpath/negotiate"
	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/wswt"
)

// A connection is one that sessions are opened on. A single one is dialed with
// its session, by package negotiate.
type connection struct {
	number uint64
	way    string

	open  func(ctx context.Context, opts *transport.DialOptions) (transport.Session, error)
	done  <-chan struct{} // nil for a single one
	close func()

	mu   sync.Mutex // guards the following
	port int
	made time.Time // when it was open
}

// at returns the client's port, 0 while it is not known, and for how long there has
// been a connection.
func (c *connection) at() (port int, age time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.port, time.Since(c.made)
}

func (c *connection) opened(local net.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.port, c.made = portOf(local), time.Now()
}

func portOf(a net.Addr) int {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.Port
	case *net.UDPAddr:
		return a.Port
	}
	return 0
}

// A dialer makes connections through the relay.
type dialer struct {
	url     string
	address string
	tls     *tls.Config
	s       ledger.Settings
	singles map[string]*negotiate.Dialer
}

func newDialer(b ledger.Begin) (*dialer, error) {
	conf, err := trusted(b.Cert)
	if err != nil {
		return nil, err
	}
	d := &dialer{url: "https://" + b.Address + "/soak", address: b.Address, tls: conf, s: b.Settings, singles: make(map[string]*negotiate.Dialer)}
	for way, p := range map[string]transport.Protocol{ledger.H3: transport.HTTP3, ledger.H2: transport.HTTP2, ledger.WS: transport.WebSocket} {
		d.singles[way] = &negotiate.Dialer{TLSClientConfig: conf, Config: sessionConfig(b.Settings), H2: d.h2(), H3: d.h3(), WS: d.ws(),
			QUICConfig: quicConfig(b.Settings), Transports: []transport.Protocol{p}, Timeout: b.Settings.Patience,
			Proxy: func(*http.Request) (*url.URL, error) { return nil, nil }}
	}
	return d, nil
}

func (d *dialer) h2() *h2wt.Config {
	return &h2wt.Config{Session: sessionConfig(d.s), MaxSessions: slack * pooledH2, KeepAlive: d.s.Detect, PingTimeout: d.s.Detect}
}

func (d *dialer) h3() *h3wt.Config {
	return &h3wt.Config{Session: sessionConfig(d.s), MaxSessions: slack * pooledH3, EarlyTimeout: earlyTimeout(d.s)}
}

func (d *dialer) ws() *wswt.Config {
	return &wswt.Config{Session: sessionConfig(d.s), KeepAlive: d.s.Detect, PingTimeout: d.s.Detect}
}

// Close ends what the dialers do.
func (d *dialer) Close() {
	for _, n := range d.singles {
		n.Close()
	}
}

// dial makes the connection of a slot. A single one is made with its session.
func (d *dialer) dial(ctx context.Context, slot Slot, number uint64) (*connection, error) {
	c := &connection{number: number, way: slot.Way, close: func() {}}
	if !slot.Pooled {
		c.open = func(ctx context.Context, opts *transport.DialOptions) (transport.Session, error) {
			s, _, err := d.singles[slot.Way].Dial(ctx, d.url, opts)
			if err == nil {
				c.opened(s.Info().LocalAddr)
			}
			return s, err
		}
		return c, nil
	}
	switch slot.Way {
	case ledger.H3:
		cfg := d.h3()
		conf := d.tls.Clone()
		conf.NextProtos = []string{"h3"}
		qc, err := quic.DialAddr(ctx, d.address, conf, cfg.QUIC(quicConfig(d.s)))
		if err != nil {
			return nil, err
		}
		c.opened(qc.LocalAddr())
		cc, err := h3wt.NewClientConn(ctx, qc, cfg)
		if err != nil {
			return nil, err
		}
		c.open = func(ctx context.Context, opts *transport.DialOptions) (transport.Session, error) {
			return cc.Dial(ctx, d.url, opts)
		}
		c.done, c.close = cc.Done(), func() { cc.Close() }
	default:
		nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", d.address)
		if err != nil {
			return nil, err
		}
		c.opened(nc.LocalAddr())
		conf := d.tls.Clone()
		conf.NextProtos, conf.ServerName, conf.MinVersion = []string{"h2"}, "127.0.0.1", tls.VersionTLS13
		cc, err := h2wt.NewClientConn(ctx, tls.Client(h2wt.Cork(nc), conf), d.h2())
		if err != nil {
			return nil, err
		}
		c.open = func(ctx context.Context, opts *transport.DialOptions) (transport.Session, error) {
			if slot.Way == ledger.WSH2 {
				return wswt.DialHTTP2(ctx, cc, d.url, opts, d.ws())
			}
			return cc.Dial(ctx, d.url, opts)
		}
		c.done, c.close = cc.Done(), func() { cc.Close() }
	}
	return c, nil
}

// options are those of the session with a number.
func options(id uint64, way string) *transport.DialOptions {
	return &transport.DialOptions{Protocols: []string{"soak"}, Header: http.Header{
		sessionField: {strconv.FormatUint(id, 10)}, wayField: {way}}}
}
