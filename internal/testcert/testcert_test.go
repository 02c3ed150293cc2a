package testcert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/internal/memconn"
)

func TestHandshake(t *testing.T) {
	handshake := func(t *testing.T, host string, client func(*tls.Config)) error {
		cert := New(t)
		a, b := memconn.Pipe(nil)
		server := tls.Server(b, cert.ServerConfig("h2"))
		done := make(chan struct{})
		go func() {
			defer close(done)
			server.Handshake() // its error is the client's
		}()
		conf := cert.ClientConfig(host, "h2")
		if client != nil {
			client(conf)
		}
		conn := tls.Client(a, conf)
		err := conn.Handshake()
		if err == nil && conn.ConnectionState().NegotiatedProtocol != "h2" {
			t.Errorf("ALPN %q", conn.ConnectionState().NegotiatedProtocol)
		}
		a.Close()
		<-done
		return err
	}
	for _, host := range []string{"127.0.0.1", "::1", "localhost", "example.com"} {
		t.Run(host, func(t *testing.T) {
			if err := handshake(t, host, nil); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Run("in a bubble", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			if err := handshake(t, "example.com", nil); err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("other host", func(t *testing.T) {
		var bad x509.HostnameError
		if err := handshake(t, "example.org", nil); !errors.As(err, &bad) {
			t.Fatalf("got %v, want a host name error", err)
		}
	})
	t.Run("not trusted", func(t *testing.T) {
		var bad x509.UnknownAuthorityError
		err := handshake(t, "example.com", func(c *tls.Config) { c.RootCAs = x509.NewCertPool() })
		if !errors.As(err, &bad) {
			t.Fatalf("got %v, want an unknown authority", err)
		}
	})
}

func TestForm(t *testing.T) {
	c := New(t)
	key, ok := c.Leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		t.Errorf("key %T, want ECDSA P-256", c.Leaf.PublicKey)
	}
	if d := c.Leaf.NotAfter.Sub(c.Leaf.NotBefore); d >= 14*24*time.Hour {
		t.Errorf("valid for %v, want under 14 days", d)
	}
	if c.Hash() == New(t).Hash() {
		t.Error("two certificates have the same hash")
	}
	long := Make(t, Options{Validity: 15 * 24 * time.Hour, NotBefore: time.Now().Add(-time.Minute), Hosts: []string{"a.test"}})
	if d := long.Leaf.NotAfter.Sub(long.Leaf.NotBefore); d != 15*24*time.Hour {
		t.Errorf("valid for %v, want 15 days", d)
	}
	if err := long.Leaf.VerifyHostname("a.test"); err != nil {
		t.Error(err)
	}
}
