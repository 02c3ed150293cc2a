package peers

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/towpath-go/towpath/e2e/soak/internal/endpoint"
	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
	"github.com/towpath-go/towpath/e2e/soak/internal/process"
	"github.com/towpath-go/towpath/e2e/soak/internal/watch"
	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/h3wt"
	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/negotiate"
	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/wswt"
)

// Fields of a request for a session.
const (
	sessionField = "Soak-Session"
	wayField     = "Soak-Way"
)

// slack is how many more sessions a connection may have than the client keeps,
// because those that are being closed count.
const slack = 2

// Server is the server's process. It returns the exit status.
func Server(in io.Reader, out io.Writer) int {
	p := process.Start(ledger.Server, in, out)
	begin := p.Begin()
	warmUp()
	before := watch.Begin()

	log := endpoint.NewLog(ledger.Server, p.Emit)
	limits := endpoint.NewLimits(log, begin.Settings)
	tlsConf, cert, err := Certificate()
	if err != nil {
		return p.Fail(err)
	}
	traffic, quiet := context.WithCancel(context.Background())
	defer quiet()
	h := &handler{limits: limits, seed: begin.Settings.Seed, traffic: traffic, opened: make(chan struct{})}
	server := newServer(begin.Settings, tlsConf, h)
	ln, pc, err := negotiate.Listen("127.0.0.1:0")
	if err != nil {
		return p.Fail(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln, pc) }() // ends with Shutdown, waited for below
	stop := p.Report(begin.Settings, log.Counts, h.held)
	p.Emit(ledger.Message{Ready: &ledger.Ready{Address: ln.Addr().String(), Cert: cert}})

	for o := range p.Orders {
		if o.Traffic {
			close(h.opened)
		}
		if o.Stop {
			break
		}
	}
	quiet()
	ctx, cancel := context.WithTimeout(context.Background(), begin.Settings.Patience)
	if err := server.Shutdown(ctx); err != nil {
		log.Violate(ledger.Violation{Offset: -1, What: fmt.Sprintf("Shutdown did not end within %v: %v; %d sessions were open",
			begin.Settings.Patience, err, log.Sessions())})
	}
	cancel()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		log.Violate(ledger.Violation{Offset: -1, What: fmt.Sprintf("Serve returned %v", err)})
	}
	h.wait(begin.Settings.Patience)
	stop()
	finish(p, before, log, h.held)
	return 0
}

// lingering is how long something may stay after its end: a QUIC connection's
// socket does, for three probe timeouts, which are seconds on a busy machine.
const lingering = time.Minute

// finish says what is left.
func finish(p *process.Process, before *watch.Start, log *endpoint.Log, held func() int64) {
	c := log.Counts()
	p.Emit(ledger.Message{Counts: &c})
	left := ledger.Left{Side: p.Side}
	left.Goroutines, left.Files = before.Left(lingering)
	left.Streams, left.Sessions = log.Handlers(), log.Sessions()
	if held != nil {
		left.Account = held()
	}
	left.Usage = watch.Used(p.Side)
	p.Emit(ledger.Message{Left: &left})
	<-p.Orders // they end when the command has read that
}

// newServer has every quota that a single address would reach switched off: all
// clients of a soak come from one.
func newServer(s ledger.Settings, tlsConf *tls.Config, h http.Handler) *negotiate.Server {
	return &negotiate.Server{
		TLSConfig:                tlsConf,
		Handler:                  h,
		Config:                   sessionConfig(s),
		QUICConfig:               quicConfig(s),
		MaxConnections:           -1,
		MaxConnectionsPerAddress: -1,
		ConnectionRate:           -1,
		MaxSessions:              -1,
		MaxSessionsPerAddress:    -1,
		SessionRate:              -1,
		MaxMemory:                4 << 30,
		H2: &h2wt.Config{MaxSessions: slack * pooledH2, MaxConcurrentStreams: 2*slack*pooledH2 + 50,
			KeepAlive: s.Detect, PingTimeout: s.Detect},
		H3: &h3wt.Config{MaxSessions: slack * pooledH3, SessionRate: -1, EarlyTimeout: earlyTimeout(s)},
		WS: &wswt.Config{MaxSessions: -1, KeepAlive: s.Detect, PingTimeout: s.Detect},
	}
}

// handler accepts sessions and is the other end of each.
type handler struct {
	limits  *endpoint.Limits
	seed    uint64
	traffic context.Context // ends when nothing more is to begin
	opened  chan struct{}   // closed when the traffic begins
	open    sync.WaitGroup
	// account is what the server counts the bytes in that it holds of what came
	// over TCP.
	account atomic.Pointer[sessionstate.Budget]
}

// held is what the account has, 0 before the first request.
func (h *handler) held() int64 {
	if a := h.account.Load(); a != nil {
		return a.Held()
	}
	return 0
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if a := sessionstate.BudgetOf(r.Context()); a != nil && h.account.Load() == nil {
		h.account.Store(a)
	}
	id, err := strconv.ParseUint(r.Header.Get(sessionField), 10, 64)
	way := r.Header.Get(wayField)
	if err != nil || way == "" {
		http.NotFound(w, r)
		return
	}
	s, err := negotiate.Upgrade(w, r, &transport.UpgradeOptions{Protocols: []string{"soak"}})
	if err != nil {
		return // the client is told, or its connection has ended
	}
	e := endpoint.New(s, id, way, true, h.limits, h.seed)
	h.open.Add(2)
	go func() { defer h.open.Done(); e.Serve(0) }() // ends with the session
	go func() {                                     // ends with the session or the traffic
		defer h.open.Done()
		select {
		case <-h.opened:
			e.Drive(h.traffic)
		case <-h.traffic.Done():
		case <-e.Done():
		}
	}()
}

// wait waits for all sessions' ends.
func (h *handler) wait(atMost time.Duration) {
	done := make(chan struct{})
	go func() { h.open.Wait(); close(done) }() // ends with them; what does not is found as left
	select {
	case <-done:
	case <-time.After(atMost):
	}
}

// warmUp has the runtime open what it keeps open.
func warmUp() {
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		ln.Close()
	}
	rand.Read(make([]byte, 1))
}

// Certificate makes one for loopback.
func Certificate() (*tls.Config, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "towpath soak"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(48 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, der, nil
}
