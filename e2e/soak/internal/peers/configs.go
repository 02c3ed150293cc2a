package peers

import (
	"crypto/tls"
	"crypto/x509"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
	"github.com/towpath-go/towpath/transport"
)

// sessionConfig is what sessions have on both sides: the defaults, but for the
// time that a close may take. Connections are held up for longer than the default
// second, after which a session is reset that could not be closed: the other end
// is then told of an error and not of the code.
func sessionConfig(s ledger.Settings) *transport.Config {
	return &transport.Config{CloseTimeout: s.Detect}
}

// quicConfig has a peer that has vanished noticed in about the time that it
// takes over TCP.
func quicConfig(s ledger.Settings) *quic.Config {
	return &quic.Config{MaxIdleTimeout: 2 * s.Detect, KeepAlivePeriod: s.Detect / 2, HandshakeIdleTimeout: s.Detect}
}

// earlyTimeout is what a stream's header may take on HTTP/3. A busy machine is a
// path with a round-trip time of seconds, on which a lost packet comes again after
// the default of five; the stream would be refused, which its sender is told, but
// by nobody's wish.
func earlyTimeout(s ledger.Settings) time.Duration { return s.Patience }

// trusted is the client's configuration of TLS for a server with that
// certificate.
func trusted(cert []byte) (*tls.Config, error) {
	leaf, err := x509.ParseCertificate(cert)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{RootCAs: pool}, nil
}
