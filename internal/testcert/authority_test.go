package testcert

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"testing"
)

func TestAuthority(t *testing.T) {
	a := NewAuthority(t)
	c := Make(t, Options{Issuer: a, Hosts: []string{"a.test"}})
	verify := func(c *Cert, roots *x509.CertPool) error {
		_, err := c.Leaf.Verify(x509.VerifyOptions{DNSName: "a.test", Roots: roots})
		return err
	}
	if err := verify(c, a.Pool); err != nil {
		t.Error(err)
	}
	if err := verify(c, c.Pool); err != nil {
		t.Errorf("by the certificate's own pool: %v", err)
	}
	var unknown x509.UnknownAuthorityError
	if err := verify(c, NewAuthority(t).Pool); !errors.As(err, &unknown) {
		t.Errorf("by another authority: %v, want an unknown authority", err)
	}
	if c.Leaf.NotBefore.Before(a.Leaf.NotBefore) || c.Leaf.NotAfter.After(a.Leaf.NotAfter) {
		t.Errorf("valid from %v to %v, its authority from %v to %v", c.Leaf.NotBefore, c.Leaf.NotAfter, a.Leaf.NotBefore, a.Leaf.NotAfter)
	}
	block, _ := pem.Decode(a.PEM())
	if block == nil || !a.Leaf.Equal(mustParse(t, block.Bytes)) {
		t.Error("the PEM is not the authority's certificate")
	}
}

func mustParse(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
