package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"strings"
	"time"
)

// selfSignedValidity keeps under the 14 days that browsers, and our dialer, allow
// for a certificate accepted by its hash.
const selfSignedValidity = 13 * 24 * time.Hour

// selfSigned makes a P-256 certificate for a host, and for this machine's own names.
func selfSigned(host string, now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "towpath self-signed"},
		NotBefore:    now.Add(-time.Hour), // clocks differ
		NotAfter:     now.Add(selfSignedValidity - time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if ip := net.ParseIP(host); ip == nil && host != "" && host != "localhost" {
		template.DNSNames = append(template.DNSNames, host)
	} else if ip != nil && !ip.IsLoopback() && !ip.IsUnspecified() {
		template.IPAddresses = append(template.IPAddresses, ip)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

// loadCertificate reads a certificate chain and its key.
func loadCertificate(certFile, keyFile string) (tls.Certificate, error) {
	cert, err := readFile("--cert", certFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := readFile("--key", keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("--cert %s and --key %s are not a PEM certificate with its key: %s",
			certFile, keyFile, strings.TrimPrefix(err.Error(), "tls: "))
	}
	return pair, nil
}

// readFile reads a file that a flag names.
func readFile(flag, name string) ([]byte, error) {
	b, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: there is no file %s", flag, name)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s: no permission to read %s", flag, name)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return b, nil
}

// loadCA reads the certificates that a client is to trust.
func loadCA(name string) (*x509.CertPool, error) {
	b, err := readFile("--ca", name)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("--ca: %s holds no PEM certificate", name)
	}
	return pool, nil
}

// parseHash reads a SHA-256 in hexadecimal, with or without colons.
func parseHash(s string) (h [sha256.Size]byte, err error) {
	b, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	if err != nil || len(b) != len(h) {
		return h, usagef("--cert-hash %q is not a SHA-256 in hexadecimal: 64 digits are needed, as `towpath serve` prints them", s)
	}
	copy(h[:], b)
	return h, nil
}
