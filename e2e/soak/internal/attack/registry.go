package attack

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"sync/atomic"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
)

// An Attack is what a hostile client does.
type Attack struct {
	Name string
	What string // for a table
	Way  string // of the bystander's sessions
	// Loops is how many clients do it side by side. Default 2.
	Loops int
	// Note says what is known about the result, "" for nothing.
	Note string
	// run is one client, from its connection to its being cut. It is called again
	// and again.
	run func(ctx context.Context, t *Target) error
}

// A Target is the victim as an attacker sees it, and what was done to it so far.
type Target struct {
	Address string
	tls     *tls.Config

	frames, bytes, connections, cut atomic.Int64
}

// source is the attacker's own address. Where loopback has no other one it is the
// bystander's.
var source = net.IPv4(127, 0, 0, 2)

func newTarget(b ledger.Begin) (*Target, error) {
	leaf, err := x509.ParseCertificate(b.Cert)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &Target{Address: b.Address, tls: &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS13}}, nil
}

// sent counts what was sent.
func (t *Target) sent(frames, bytes int) {
	t.frames.Add(int64(frames))
	t.bytes.Add(int64(bytes))
}

// dial opens a TCP connection from the attacker's address.
func (t *Target) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: source}}
	c, err := d.DialContext(ctx, "tcp", t.Address)
	if err == nil {
		t.connections.Add(1)
	}
	return c, err
}

// dialTLS is dial with a finished handshake.
func (t *Target) dialTLS(ctx context.Context, alpn string) (*tls.Conn, error) {
	c, err := t.dial(ctx)
	if err != nil {
		return nil, err
	}
	conf := t.tls.Clone()
	conf.NextProtos = []string{alpn}
	tc := tls.Client(c, conf)
	if err := tc.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return tc, nil
}

// List returns all attacks, in the order of the report.
func List() []Attack {
	var all []Attack
	for _, group := range [][]Attack{connectionAttacks, frameAttacks, capsuleAttacks, webSocketAttacks, quicAttacks} {
		all = append(all, group...)
	}
	for i := range all {
		if all[i].Loops == 0 {
			all[i].Loops = 2
		}
	}
	return all
}

// Find returns the attack of that name.
func Find(name string) (Attack, bool) {
	for _, a := range List() {
		if a.Name == name {
			return a, true
		}
	}
	return Attack{}, false
}
