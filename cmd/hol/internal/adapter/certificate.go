package adapter

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
	"net/netip"
	"time"
)

// A Certificate is the server's, and what clients trust.
type Certificate struct {
	Leaf tls.Certificate
	Pool *x509.CertPool
}

// NewCertificate makes a certificate for addr, valid for a day.
func NewCertificate(addr netip.Addr) (Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Certificate{}, fmt.Errorf("certificate: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(now.UnixNano()),
		Subject:               pkix.Name{CommonName: "towpath laboratory"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(24 * time.Hour),
		IPAddresses:           []net.IP{addr.AsSlice()},
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true, // it verifies itself
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return Certificate{}, fmt.Errorf("certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return Certificate{}, fmt.Errorf("certificate: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return Certificate{Leaf: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, Pool: pool}, nil
}

// ServerTLS is the server's configuration for the application protocols.
func (c Certificate) ServerTLS(alpn ...string) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c.Leaf}, NextProtos: alpn, MinVersion: tls.VersionTLS13}
}

// ClientTLS is the client's.
func (c Certificate) ClientTLS(alpn ...string) *tls.Config {
	return &tls.Config{RootCAs: c.Pool, NextProtos: alpn, MinVersion: tls.VersionTLS13}
}
