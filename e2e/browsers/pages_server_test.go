package browsers

import (
	"context"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"
	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/e2e/clients"
	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/negotiate"
	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/wswt"
)

// idleTimeout is how long a connection of these tests may be silent until the
// server gives it up, in place of the 30 s of QUIC's default and of package
// wswt's, where half of it is for the ping.
const idleTimeout = 4 * time.Second

// A loadServer is a negotiate.Server with endpoints for sessions under load,
// WebSocket endpoints of other libraries, and the files of the page.
type loadServer struct {
	addr string
	cert *testcert.Cert

	offered, accepted atomic.Int64           // bytes that /flood wanted to send, and those that were taken
	read              atomic.Int64           // by /transfer
	transfers         sync.WaitGroup         // the goroutines of /transfer
	sessions          chan transport.Session // of /flood, /deaf and /transfer
	refused           chan refusal
}

// A refusal is a session that was refused by its Origin.
type refusal struct {
	origin, alpn string
	proto        int
}

func newLoadServer(t *testing.T, transports ...transport.Protocol) *loadServer {
	t.Helper()
	s := &loadServer{cert: testcert.New(t), sessions: make(chan transport.Session, 16), refused: make(chan refusal, 16)}
	ln, pc, err := negotiate.Listen("127.0.0.1:0", transports...)
	clients.Must(t, err)
	s.addr = ln.Addr().String()
	mux := http.NewServeMux()
	for prefix, dir := range pageFiles(t) {
		mux.HandleFunc(prefix, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFile(w, r, filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(r.URL.Path, prefix))))
		})
	}
	mux.HandleFunc("/gorilla", echoGorilla)
	mux.HandleFunc("/coder", echoCoder)
	mux.HandleFunc("/echo", s.session(func(session transport.Session) { echoStreams(session) }))
	mux.HandleFunc("/flood", s.session(s.flood))
	mux.HandleFunc("/deaf", s.session(func(session transport.Session) { <-session.Context().Done() }))
	mux.HandleFunc("/transfer", s.session(s.transfer))
	srv := &negotiate.Server{
		TLSConfig: s.cert.ServerConfig(), Handler: mux, Transports: transports,
		QUICConfig: &quic.Config{MaxIdleTimeout: idleTimeout},
		WS:         &wswt.Config{KeepAlive: idleTimeout / 2, PingTimeout: idleTimeout / 2},
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln, pc) }() // ends with Close
	t.Cleanup(func() {
		srv.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serving: %v", err)
		}
	})
	return s
}

func (s *loadServer) url(path string) string { return "https://" + s.addr + path }

// session makes a handler of what is done with a session.
func (s *loadServer) session(do func(transport.Session)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		session, err := negotiate.Upgrade(w, r, nil)
		if err != nil {
			s.refused <- refusal{r.Header.Get("Origin"), r.TLS.NegotiatedProtocol, r.ProtoMajor}
			return // Upgrade has answered
		}
		s.sessions <- session
		do(session)
	}
}

// echoStreams echoes bidirectional streams until the session ends.
func echoStreams(session transport.Session) {
	for {
		x, err := session.AcceptStream(context.Background())
		if err != nil {
			return
		}
		go func() { // ends with the session
			io.Copy(x, x)
			x.Close()
		}()
	}
}

// The load of /flood.
const (
	floodStreams   = 8
	floodOfStream  = 64 << 20
	patternPeriod  = 251 * 256
	floodDatagrams = 20 // each millisecond
)

// pattern is two periods of the bytes that loads.mjs expects.
var pattern = func() []byte {
	b := make([]byte, 2*patternPeriod)
	for i := range b {
		b[i] = byte(i%patternPeriod%251) ^ byte(i%patternPeriod/251)
	}
	return b
}()

// flood sends 512 MiB on eight streams as fast as they are taken, and
// datagrams besides for as long as that takes.
func (s *loadServer) flood(session transport.Session) {
	ctx, cancel := context.WithCancel(session.Context())
	var all sync.WaitGroup
	for range floodStreams {
		all.Go(func() {
			x, err := session.OpenUniStream(ctx)
			if err != nil {
				return
			}
			s.offered.Add(floodOfStream)
			for at := 0; at < floodOfStream; {
				from := at % patternPeriod
				n := min(16<<10, floodOfStream-at)
				n, err := x.Write(pattern[from : from+n])
				s.accepted.Add(int64(n))
				if err != nil {
					return
				}
				at += n
			}
			x.Close()
		})
	}
	var datagrams sync.WaitGroup
	datagrams.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			for range floodDatagrams {
				session.SendDatagram(pattern[:1000])
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	all.Wait()
	cancel()
	datagrams.Wait()
}

// transfer sends without end on streams that the page opens, and reads all.
func (s *loadServer) transfer(session transport.Session) {
	for {
		x, err := session.AcceptStream(context.Background())
		if err != nil {
			return
		}
		s.transfers.Go(func() { // both end with the session
			buf := make([]byte, 32<<10)
			for {
				n, err := x.Read(buf)
				s.read.Add(int64(n))
				if err != nil {
					return
				}
			}
		})
		s.transfers.Go(func() {
			for {
				if _, err := x.Write(pattern[:16<<10]); err != nil {
					return
				}
			}
		})
	}
}

// echoGorilla and echoCoder are written as those libraries' users write them,
// without a thought of HTTP/2.
func echoGorilla(w http.ResponseWriter, r *http.Request) {
	u := gorilla.Upgrader{Subprotocols: []string{"chat"}, EnableCompression: true}
	conn, err := u.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has answered
	}
	defer conn.Close()
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil {
			return
		}
		if err := conn.WriteMessage(kind, message); err != nil {
			return
		}
	}
}

func echoCoder(w http.ResponseWriter, r *http.Request) {
	conn, err := coder.Accept(w, r, &coder.AcceptOptions{Subprotocols: []string{"chat"}})
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	conn.SetReadLimit(8 << 20)
	for {
		kind, message, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		if err := conn.Write(r.Context(), kind, message); err != nil {
			return
		}
	}
}
