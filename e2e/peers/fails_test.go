package peers

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"testing"

	"github.com/towpath-go/towpath/internal/testcert"
)

// TestFailsComponentsAlone has fails-components at both ends, so that what this
// peer and its drivers can do is known without Towpath.
func TestFailsComponentsAlone(t *testing.T) {
	l := newFailsLink(t)
	for c, show := range scenarios {
		switch column(c) {
		case resetCode:
			show = func(t *testing.T, l link) { resetsLearnt(t, l, 254, 256, 254, 255) }
		case stopCode:
			show = func(t *testing.T, l link) { stopsLearnt(t, l, 254, 256, 254, 255) }
		}
		t.Run(column(c).String(), func(t *testing.T) { show(t, l) })
	}
}

// A failsLink has fails-components at both ends.
type failsLink struct {
	client, server *process
	url            string
	hash           [sha256.Size]byte
}

func newFailsLink(t *testing.T) *failsLink {
	t.Helper()
	cert := testcert.New(t)
	l := &failsLink{client: node(t, "fails-components.mjs"), hash: cert.Hash()}
	l.server, l.url = failsListen(t, cert)
	return l
}

func (l *failsLink) session(t *testing.T, offer ...string) (client, server end) {
	t.Helper()
	ctx := limited(t)
	return failsDial(t, ctx, l.client, l.url, l.hash, offer), failsAccept(t, ctx, l.server)
}

// failsDial dials with their client, and closes the session when the test ends.
func failsDial(t *testing.T, ctx context.Context, p *process, url string, hash [sha256.Size]byte, offer []string) end {
	t.Helper()
	a, err := p.do(ctx, order{Op: "dial", URL: url, Hash: hash[:], Protocols: offer})
	must(t, err)
	e := p.end(a)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := e.close(ctx, 0, ""); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return e
}

// failsListen starts their server.
func failsListen(t *testing.T, cert *testcert.Cert) (p *process, url string) {
	t.Helper()
	p = node(t, "fails-components.mjs")
	certPEM, keyPEM := pemOf(t, cert)
	a, err := p.do(limited(t), order{Op: "listen", Cert: certPEM, Key: keyPEM, Protocols: []string{"second"}})
	must(t, err)
	return p, fmt.Sprintf("https://127.0.0.1:%d/", a.Result.Port)
}

// failsAccept returns the next session of their server.
func failsAccept(t *testing.T, ctx context.Context, p *process) end {
	t.Helper()
	a, err := p.do(ctx, order{Op: "session"})
	must(t, err)
	return p.end(a)
}

// pemOf returns a certificate and its key for other software.
func pemOf(t *testing.T, c *testcert.Cert) (cert, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.TLS.PrivateKey)
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Leaf.Raw})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
