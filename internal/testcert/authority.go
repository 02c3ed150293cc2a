package testcert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

// An Authority issues certificates, as a CA that a company runs for itself. It
// is valid as long as a certificate by default is.
type Authority struct {
	Leaf *x509.Certificate // its own
	Pool *x509.CertPool    // holds that
	key  crypto.Signer
}

// NewAuthority makes an authority.
func NewAuthority(tb testing.TB) *Authority {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatalf("testcert: %v", err)
	}
	begin := time.Now().Add(-2 * time.Hour) // before what it issues
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(begin.UnixNano()),
		Subject:               pkix.Name{CommonName: "towpath test authority"},
		NotBefore:             begin,
		NotAfter:              begin.Add(Validity + 4*time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatalf("testcert: %v", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatalf("testcert: %v", err)
	}
	a := &Authority{Leaf: leaf, Pool: x509.NewCertPool(), key: key}
	a.Pool.AddCert(leaf)
	return a
}

// PEM is the authority's certificate as programs import it.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Leaf.Raw})
}
