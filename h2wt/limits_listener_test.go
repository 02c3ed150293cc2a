package h2wt

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
)

// A refusedMonitor keeps the connections that were refused.
type refusedMonitor struct {
	transport.Monitor
	mu   sync.Mutex // guards the following
	told []transport.Limit
}

func (m *refusedMonitor) ConnectionRefused(p transport.Protocol, l transport.Limit) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p == transport.ProtocolUnknown {
		m.told = append(m.told, l)
	}
}

func TestLimitListener(t *testing.T) {
	for name, wrap := range map[string]func(net.Listener, *ConnectionLimits) net.Listener{
		"under NewListener": func(ln net.Listener, l *ConnectionLimits) net.Listener { return NewListener(LimitListener(ln, l)) },
		"over NewListener":  func(ln net.Listener, l *ConnectionLimits) net.Listener { return LimitListener(NewListener(ln), l) },
	} {
		t.Run("DS-15 "+name, func(t *testing.T) {
			cert := testcert.New(t)
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			closed := make(chan struct{}, 4)
			hs := &http.Server{
				Handler:   http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }),
				TLSConfig: cert.ServerConfig(),
				ConnState: func(_ net.Conn, s http.ConnState) {
					if s == http.StateClosed {
						closed <- struct{}{}
					}
				},
			}
			if err := ConfigureServer(hs, nil); err != nil {
				t.Fatal(err)
			}
			m := new(refusedMonitor)
			var log bytes.Buffer
			limited := wrap(ln, &ConnectionLimits{MaxConnectionsPerAddress: 1, Monitor: m, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			done := make(chan error)
			go func() { done <- hs.ServeTLS(limited, "", "") }()
			get := func() (*http.Transport, error) {
				tr := &http.Transport{TLSClientConfig: cert.ClientConfig("127.0.0.1"), ForceAttemptHTTP2: true}
				resp, err := (&http.Client{Transport: tr}).Get("https://" + ln.Addr().String())
				if err != nil {
					return nil, err
				}
				defer resp.Body.Close()
				if b, err := io.ReadAll(resp.Body); string(b) != "HTTP/2.0" {
					t.Errorf("%q, %v", b, err)
				}
				return tr, nil
			}
			first, err := get()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := get(); err == nil {
				t.Error("a second connection was served")
			}
			first.CloseIdleConnections()
			<-closed
			second, err := get()
			if err != nil {
				t.Fatalf("once the first one was closed: %v", err)
			}
			second.CloseIdleConnections()
			hs.Close()
			<-done
			if len(m.told) == 0 || m.told[0] != transport.LimitConnectionsPerAddress {
				t.Errorf("the Monitor was told %v", m.told)
			}
			if got := log.String(); !strings.Contains(got, `msg="connection refused"`) || !strings.Contains(got, "limit=connections-per-address") {
				t.Errorf("log: %s", got)
			}
		})
	}
}

func TestConnectionLimitDefaults(t *testing.T) {
	for _, c := range []struct{ v, def, want int }{{0, 5, 5}, {-1, 5, -1}, {3, 5, 3}} {
		if got := orDefault(c.v, c.def); got != c.want {
			t.Errorf("%d: %d, want %d", c.v, got, c.want)
		}
	}
}
