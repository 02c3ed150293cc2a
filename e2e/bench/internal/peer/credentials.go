package peer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"time"
)

// host is where all servers listen.
const host = "127.0.0.1"

// cipher is the cipher suite of every connection: what both ends of crypto/tls
// prefer where the processor has AES instructions. TLS 1.3's cannot be chosen.
const cipher = tls.TLS_AES_128_GCM_SHA256

// Credentials are what a server and its clients need for TLS.
type Credentials struct {
	Certificate []byte // DER
	server      tls.Certificate
}

// NewCredentials makes a certificate for loopback.
func NewCredentials() (*Credentials, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(now.UnixNano()),
		Subject:               pkix.Name{CommonName: "towpath benchmark"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(7 * 24 * time.Hour),
		IPAddresses:           []net.IP{net.ParseIP(host)},
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &Credentials{Certificate: der, server: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}, nil
}

// Server is a server's configuration.
func (c *Credentials) Server() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{c.server}, VerifyConnection: checkCipher}
}

// ClientTLS is the configuration of a client that trusts a certificate.
func ClientTLS(certificate []byte) (*tls.Config, error) {
	cert, err := x509.ParseCertificate(certificate)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool, ServerName: host, VerifyConnection: checkCipher}, nil
}

// checkCipher fails a handshake that would make the comparison unfair.
func checkCipher(cs tls.ConnectionState) error {
	if cs.CipherSuite != cipher {
		return fmt.Errorf("the cipher suite is %s, not %s: the processor has no AES instructions, and results would not compare",
			tls.CipherSuiteName(cs.CipherSuite), tls.CipherSuiteName(cipher))
	}
	return nil
}

// withALPN returns a configuration for one protocol, "" for none.
func withALPN(conf *tls.Config, protocol string) *tls.Config {
	conf = conf.Clone()
	if protocol != "" {
		conf.NextProtos = []string{protocol}
	}
	return conf
}
