package negotiate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"testing"
	"time"

	"github.com/towpath-go/towpath/internal/memconn"
	"github.com/towpath-go/towpath/internal/testcert"
)

func TestPin(t *testing.T) {
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	day := 24 * time.Hour
	for _, c := range []struct {
		name string
		opts testcert.Options
		flip bool // pin another certificate
		ok   bool
	}{
		{name: "P-256, 10 days, any name", opts: testcert.Options{Hosts: []string{"other.test"}}, ok: true},
		{name: "14 days exactly", opts: testcert.Options{Validity: 14 * day}, ok: true},
		{name: "one second more than 14 days", opts: testcert.Options{Validity: 14*day + time.Second}},
		{name: "not the pinned one", flip: true},
		{name: "P-384", opts: testcert.Options{Key: p384}},
		{name: "RSA", opts: testcert.Options{Key: rsaKey}},
		{name: "Ed25519", opts: testcert.Options{Key: crypto.Signer(ed)}},
		{name: "expired", opts: testcert.Options{NotBefore: time.Now().Add(-3 * day), Validity: 2 * day}},
		{name: "not valid yet", opts: testcert.Options{NotBefore: time.Now().Add(day), Validity: 2 * day}},
	} {
		t.Run("FW-26 "+c.name, func(t *testing.T) {
			cert := testcert.Make(t, c.opts)
			hash := cert.Hash()
			if c.flip {
				hash[0]++
			}
			err := handshakePinned(cert.ServerConfig(), pinned(&tls.Config{ServerName: "example.com"}, [][sha256.Size]byte{{1}, hash}))
			var pe *PinError
			if c.ok && err != nil || !c.ok && !errors.As(err, &pe) {
				t.Errorf("got %v, accepted should be %v", err, c.ok)
			}
			if !c.ok && judgeError(err) != answer {
				t.Errorf("%v is not taken as an answer", err)
			}
		})
	}
}

func TestPinKeepsTheCallersCheck(t *testing.T) {
	cert := testcert.New(t)
	conf := pinned(&tls.Config{ServerName: "a", VerifyConnection: func(tls.ConnectionState) error { return errOwn }}, [][sha256.Size]byte{cert.Hash()})
	if err := handshakePinned(cert.ServerConfig(), conf); !errors.Is(err, errOwn) {
		t.Errorf("got %v, want the caller's error", err)
	}
	if c := pinned(nil, nil); c == nil || !c.InsecureSkipVerify {
		t.Error("no configuration from nil")
	}
}

func handshakePinned(server, client *tls.Config) error {
	a, b := memconn.Pipe(nil)
	done := make(chan struct{})
	go func() { // ends with the handshake or with a
		defer close(done)
		_ = tls.Server(b, server).Handshake() // its error is the client's
		b.Close()
	}()
	err := tls.Client(a, client).Handshake()
	a.Close()
	<-done
	return err
}
