// Package testcert makes certificates for tests when the test runs.
//
// Validity is counted from time.Now, so a certificate made inside a
// testing/synctest bubble is valid by the bubble's clock (which starts in
// 2000), and one made outside is not valid inside.
package testcert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"
)

// Validity is the default time between NotBefore and NotAfter: under the 14
// days that serverCertificateHashes allows.
const Validity = 10 * 24 * time.Hour

// Options describe a certificate. The zero value of a field is its default.
type Options struct {
	// Hosts are DNS names and IP addresses. Default 127.0.0.1, ::1, localhost
	// and example.com.
	Hosts []string
	// Key is the certificate's key. Default: a new ECDSA P-256 key.
	Key crypto.Signer
	// NotBefore is the start of validity. Default: one hour ago.
	NotBefore time.Time
	// Validity is its length. Default Validity.
	Validity time.Duration
	// Issuer signs it. Default: the certificate signs itself.
	Issuer *Authority
}

// A Cert is a server certificate and what a client needs to believe it.
type Cert struct {
	TLS  tls.Certificate
	Leaf *x509.Certificate
	Pool *x509.CertPool // holds the certificate, or its issuer's if it has one
}

// New makes a certificate with the default options.
func New(tb testing.TB) *Cert {
	tb.Helper()
	return Make(tb, Options{})
}

// Make makes a certificate.
func Make(tb testing.TB, o Options) *Cert {
	tb.Helper()
	c, err := Generate(o)
	if err != nil {
		tb.Fatalf("testcert: %v", err)
	}
	return c
}

// Generate is Make for examples, which have no testing.TB.
func Generate(o Options) (*Cert, error) {
	if o.Key == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		o.Key = key
	}
	if o.NotBefore.IsZero() {
		o.NotBefore = time.Now().Add(-time.Hour)
	}
	if o.Validity == 0 {
		o.Validity = Validity
	}
	if o.Hosts == nil {
		o.Hosts = []string{"127.0.0.1", "::1", "localhost", "example.com"}
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(o.NotBefore.UnixNano()),
		Subject:      pkix.Name{CommonName: "towpath test"},
		NotBefore:    o.NotBefore,
		NotAfter:     o.NotBefore.Add(o.Validity),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range o.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	parent, signer := template, o.Key
	if o.Issuer != nil {
		parent, signer = o.Issuer.Leaf, o.Issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, o.Key.Public(), signer)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if pool.AddCert(leaf); o.Issuer != nil {
		pool = o.Issuer.Pool
	}
	return &Cert{
		TLS:  tls.Certificate{Certificate: [][]byte{der}, PrivateKey: o.Key, Leaf: leaf},
		Leaf: leaf,
		Pool: pool,
	}, nil
}

// Hash is the SHA-256 of the certificate's DER encoding, as
// serverCertificateHashes takes it.
func (c *Cert) Hash() [sha256.Size]byte { return sha256.Sum256(c.Leaf.Raw) }

// ServerConfig returns a new TLS 1.3 configuration that serves the certificate
// and accepts the given ALPN protocols.
func (c *Cert) ServerConfig(alpn ...string) *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{c.TLS},
		NextProtos:   alpn,
	}
}

// ClientConfig returns a new TLS 1.3 configuration that trusts the certificate,
// asks for serverName and offers the given ALPN protocols.
func (c *Cert) ClientConfig(serverName string, alpn ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		RootCAs:    c.Pool,
		ServerName: serverName,
		NextProtos: alpn,
	}
}
