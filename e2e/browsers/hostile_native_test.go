package browsers

import (
	"context"
	"encoding/base64"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/e2e/clients"
	"github.com/towpath-go/towpath/internal/testcert"
)

// What WebTransport adds to the errors and settings of HTTP/3:
// draft-ietf-webtrans-http3 "Security Considerations" and older drafts.
const (
	h3GeneralProtocolError = 0x101
	h3RequestCancelled     = 0x10c
)

// An h3Case is what a server does to the browser's own WebTransport.
type h3Case struct {
	name string
	// play is called after the session's acceptance, on its CONNECT stream.
	play func(s *http3.Stream, conn *quic.Conn)
	// status refuses the session instead.
	status int
	// silent servers have none of WebTransport's settings.
	silent bool
	// forgives is a browser that takes it for a close in order.
	forgives kind
}

func h3Cases() []h3Case {
	write := func(pieces ...[]byte) func(*http3.Stream, *quic.Conn) {
		return func(s *http3.Stream, _ *quic.Conn) { s.Write(slices.Concat(pieces...)) }
	}
	return []h3Case{
		{name: "404", status: http.StatusNotFound},
		{name: "500", status: http.StatusInternalServerError},
		{name: "302", status: http.StatusFound},
		{name: "no settings of WebTransport", silent: true},
		{name: "the CONNECT stream is reset", play: func(s *http3.Stream, _ *quic.Conn) {
			s.CancelRead(h3RequestCancelled)
			s.CancelWrite(h3RequestCancelled)
		}},
		{name: "the connection is closed with an error", play: func(_ *http3.Stream, conn *quic.Conn) {
			conn.CloseWithError(h3GeneralProtocolError, "hostile")
		}},
		{name: "WT_CLOSE_SESSION of three bytes", play: write(rawCapsule(capsule.TypeCloseSession, 0, 0, 0))},
		{name: "a close reason of 1,025 bytes", play: write(closeSession(1, strings.Repeat("r", 1025))), forgives: chromium},
		{name: "a close reason that is not UTF-8", play: write(closeSession(1, "\xff\xfe")), forgives: chromium},
		{name: "half a capsule, then FIN", play: func(s *http3.Stream, _ *quic.Conn) {
			s.Write(closeSession(1, "reason")[:7])
			s.Close()
		}},
	}
}

// newHostileH3 serves a case of HTTP/3 until the test ends.
func newHostileH3(t testing.TB, c h3Case) (url string, cert *testcert.Cert) {
	t.Helper()
	cert = testcert.New(t)
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	clients.Must(t, err)
	srv := &http3.Server{
		TLSConfig:       http3.ConfigureTLSConfig(cert.ServerConfig()),
		QUICConfig:      &quic.Config{EnableDatagrams: true, MaxIdleTimeout: idleTimeout},
		EnableDatagrams: true,
		ConnContext: func(ctx context.Context, conn *quic.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, conn)
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c.status != 0 {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(c.status)
				return
			}
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			s := w.(http3.HTTPStreamer).HTTPStream()
			c.play(s, r.Context().Value(connKey{}).(*quic.Conn))
		}),
	}
	if !c.silent {
		srv.AdditionalSettings = map[uint64]uint64{0x2b603742: 1, 0x2c7cf000: 1, 0x14e9cd29: 1}
	}
	served := make(chan struct{})
	go func() { // ends with Close
		defer close(served)
		srv.Serve(pc)
	}()
	t.Cleanup(func() {
		srv.Close()
		pc.Close()
		<-served
	})
	return "https://" + pc.LocalAddr().String() + "/", cert
}

type connKey struct{}

// TestHostileServerOverHTTP3 has the browsers' own WebTransport, under the
// package's class, meet servers that break the rules of HTTP/3.
func TestHostileServerOverHTTP3(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			h := newHostileServer(t, pageFiles(t))
			b := launch(t, k, launchOptions{insecure: true})
			p := b.open(t, "https://"+h.addr+"/hostile/blank.html")
			clients.Must(t, p.load(clients.Limited(t), "web", "https://"+h.addr+"/web/index.js"))
			clients.Must(t, p.load(clients.Limited(t), "meet", "https://"+h.addr+"/hostile/meet.mjs"))
			for _, c := range h3Cases() {
				t.Run(c.name, func(t *testing.T) {
					url, cert := newHostileH3(t, c)
					hash := cert.Hash()
					var m meeting
					clients.Must(t, p.run(clients.Limited(t), `([url, hash]) => towpath.modules.meet.meet(
						towpath.modules.web.WebTransport, url, 'hold', 8000,
						{ transport: 'h3', serverCertificateHashes: [{ algorithm: 'sha-256', value: Uint8Array.from(atob(hash), (c) => c.charCodeAt(0)) }] })`,
						[]string{url, base64.StdEncoding.EncodeToString(hash[:])}, &m))
					closed, ready := m.Calls["closed"], m.Calls["ready"]
					if c.forgives == k {
						if closed.Outcome != "fulfilled" || closed.Value.CloseCode != 1 {
							t.Errorf("closed is %s with code %d, %v; this browser took it for a close before", closed.Outcome, closed.Value.CloseCode, closed.Error)
						}
						return
					}
					if closed.Outcome != "rejected" {
						t.Fatalf("closed is %s with code %d, reason %q", closed.Outcome, closed.Value.CloseCode, closed.Value.Reason)
					}
					hostileCase{}.checkError(t, "closed", closed.Error)
					if refused := c.status != 0 || c.silent; refused && ready.Outcome != "rejected" {
						t.Errorf("ready is %s", ready.Outcome)
					}
					if ready.Outcome == "rejected" {
						hostileCase{}.checkError(t, "ready", ready.Error)
					}
				})
			}
		})
	}
}
