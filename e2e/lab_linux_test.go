package e2e_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/towpath-go/towpath/e2e/netns"
	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/negotiate"
	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/wswt"
)

// What client and server do in a lab. A test calls these functions; they run in
// the lab's hosts.

const labPort = "4433"

// labURL is the URL of the server's echo under one of the lab's names.
func labURL(host string) string { return "https://" + host + ":" + labPort + "/echo" }

// serveArgs describe the server.
type serveArgs struct {
	Cert, Key []byte // DER, PKCS #8
	NoUDP     bool   // nobody listens on UDP
}

// dialArgs describe a dial.
type dialArgs struct {
	URL  string
	Root []byte // the certificate to believe, DER
	// Dialer names a negotiate.Dialer of the client's process, made when the
	// name is new: dials by one name share its memory. "h2" and "ws" are none:
	// they dial with h2wt and wswt alone.
	Dialer string
	Proxy  string // the proxy's URL; empty leaves it to the environment
	// Discard closes the session at once.
	Discard bool
	Timeout time.Duration // of a Dialer; 0 is its default
}

// A dialReport is what became of a dial, as far as JSON carries it.
type dialReport struct {
	Err         string
	ProxyStatus int // of a *negotiate.ProxyError
	Took        time.Duration

	// The rest is the negotiate.Report's, and empty for h2wt and wswt.
	Winner    string
	Memory    string
	HeadStart time.Duration
	Proxy     string
	Text      string // Report.String
	Attempts  []attemptReport
}

type attemptReport struct {
	Name                             string
	Address                          string
	Outcome                          string
	Started, Ready, Requested, Ended time.Duration
	Heard                            bool
	Err, Note                        string
}

// attempt returns the attempt of that name, "h3 udp4" for example.
func (r dialReport) attempt(t testing.TB, name string) attemptReport {
	t.Helper()
	for _, a := range r.Attempts {
		if a.Name == name {
			return a
		}
	}
	t.Fatalf("no attempt %q in the report:\n%s", name, r.Text)
	return attemptReport{}
}

// An endReport says how the client's session ended.
type endReport struct {
	Cause      string
	PathBroken bool // the cause is negotiate.ErrPathBroken
	Waited     time.Duration
}

// client is the state of a lab's client between calls.
var client struct {
	mu      sync.Mutex
	dialers map[string]*labDialer
	session transport.Session
}

// held is what the tests know and say of requests for /echo/held, which are not
// answered over HTTP/3 before a test says so.
var held = struct {
	arrived  chan int // each request's HTTP version
	released chan struct{}
}{make(chan int, 100), make(chan struct{}, 100)}

var (
	// awaitRequest waits for a request for /echo/held, and returns its HTTP version.
	awaitRequest = netns.Register("request", func(context.Context, struct{}) (int, error) {
		select {
		case version := <-held.arrived:
			return version, nil
		case <-time.After(patience):
			return 0, fmt.Errorf("no request within %v", patience)
		}
	})

	// release lets one request for /echo/held be answered over HTTP/3.
	release = netns.Register("release", func(context.Context, struct{}) (struct{}, error) {
		held.released <- struct{}{}
		return struct{}{}, nil
	})

	serve = netns.Register("serve", func(_ context.Context, a serveArgs) (struct{}, error) {
		key, err := x509.ParsePKCS8PrivateKey(a.Key)
		if err != nil {
			return struct{}{}, err
		}
		mux := http.NewServeMux()
		mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
			s, err := negotiate.Upgrade(w, r, nil)
			if err != nil {
				return // Upgrade has answered
			}
			echoSession(s)
		})
		mux.HandleFunc("/echo/held", func(w http.ResponseWriter, r *http.Request) {
			held.arrived <- r.ProtoMajor
			if r.ProtoMajor == 3 {
				<-held.released
			}
			s, err := negotiate.Upgrade(w, r, nil)
			if err != nil {
				return // Upgrade has answered
			}
			echoSession(s)
		})
		mux.HandleFunc("/haul", func(w http.ResponseWriter, r *http.Request) {
			if s, err := negotiate.Upgrade(w, r, nil); err == nil {
				receiveHaul(s)
			}
		})
		var transports []transport.Protocol // all
		if a.NoUDP {
			transports = []transport.Protocol{transport.HTTP2, transport.WebSocket}
		}
		ln, pc, err := negotiate.Listen(":"+labPort, transports...)
		if err != nil {
			return struct{}{}, err
		}
		cert := tls.Certificate{Certificate: [][]byte{a.Cert}, PrivateKey: key}
		server := &negotiate.Server{TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, Handler: mux, Transports: transports}
		go func() { // ends with the host
			fmt.Fprintln(os.Stderr, "server:", server.Serve(ln, pc))
		}()
		return struct{}{}, nil
	})

	dial = netns.Register("dial", func(ctx context.Context, a dialArgs) (dialReport, error) {
		leaf, err := x509.ParseCertificate(a.Root)
		if err != nil {
			return dialReport{}, err
		}
		conf := &tls.Config{RootCAs: x509.NewCertPool()}
		conf.RootCAs.AddCert(leaf)
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		client.mu.Lock()
		defer client.mu.Unlock()
		if client.session != nil {
			client.session.CloseWithError(0, "")
			client.session = nil
		}
		direct := map[string]func(context.Context, string, *tls.Config, *transport.DialOptions) (transport.Session, error){
			"h2": h2wt.Dial, "ws": wswt.Dial,
		}[a.Dialer]
		if direct != nil {
			start := time.Now()
			s, err := direct(ctx, a.URL, conf, nil)
			return keepSession(a, s, err, dialReport{Took: time.Since(start)}), nil
		}
		d, err := dialer(a, conf)
		if err != nil {
			return dialReport{}, err
		}
		start := time.Now()
		s, report, err := d.Dial(ctx, a.URL, nil)
		r := viewReport(report)
		r.Took = time.Since(start)
		return keepSession(a, s, err, r), nil
	})

	setEnv = netns.Register("setenv", func(_ context.Context, vars map[string]string) (struct{}, error) {
		for name, value := range vars {
			if err := os.Setenv(name, value); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})

	// speak opens a stream on the client's session and writes a little.
	speak = netns.Register("speak", func(ctx context.Context, _ struct{}) (struct{}, error) {
		client.mu.Lock()
		s := client.session
		client.mu.Unlock()
		if s == nil {
			return struct{}{}, errors.New("there is no session")
		}
		st, err := s.OpenStream(ctx)
		if err == nil {
			_, err = st.Write([]byte("is anybody there?"))
		}
		return struct{}{}, err
	})

	// awaitMark waits until the dialer of that name has marked UDP broken, once
	// for each mark.
	awaitMark = netns.Register("mark", func(ctx context.Context, dialer string) (struct{}, error) {
		client.mu.Lock()
		d := client.dialers[dialer]
		client.mu.Unlock()
		if d == nil {
			return struct{}{}, fmt.Errorf("there is no dialer %q", dialer)
		}
		select {
		case <-d.marked:
			return struct{}{}, nil
		case <-time.After(patience):
			return struct{}{}, fmt.Errorf("UDP not marked broken within %v", patience)
		}
	})

	// use exercises the client's session.
	use = netns.Register("use", func(ctx context.Context, _ struct{}) (struct{}, error) {
		client.mu.Lock()
		s := client.session
		client.mu.Unlock()
		if s == nil {
			return struct{}{}, errors.New("there is no session")
		}
		return struct{}{}, exercise(ctx, s)
	})

	// awaitEnd waits until the client's session has ended.
	awaitEnd = netns.Register("end", func(ctx context.Context, _ struct{}) (endReport, error) {
		client.mu.Lock()
		s := client.session
		client.mu.Unlock()
		if s == nil {
			return endReport{}, errors.New("there is no session")
		}
		start := time.Now()
		select {
		case <-s.Context().Done():
		case <-time.After(patience):
			return endReport{}, fmt.Errorf("the session still lives after %v", patience)
		}
		cause := context.Cause(s.Context())
		return endReport{
			Cause: cause.Error(), PathBroken: errors.Is(cause, negotiate.ErrPathBroken), Waited: time.Since(start),
		}, nil
	})
)

// A labDialer is a Dialer that tells of its marks.
type labDialer struct {
	negotiate.Dialer
	marked chan struct{}
}

// dialer returns the dialer of the name. The caller holds client.mu.
func dialer(a dialArgs, conf *tls.Config) (*labDialer, error) {
	if d := client.dialers[a.Dialer]; d != nil {
		return d, nil
	}
	d := &labDialer{marked: make(chan struct{}, 100)}
	d.TLSClientConfig, d.Timeout = conf, a.Timeout
	d.Trace = &negotiate.Trace{Marked: func(string, time.Time) {
		select {
		case d.marked <- struct{}{}:
		default: // nobody counts so many
		}
	}}
	if a.Proxy != "" {
		u, err := url.Parse(a.Proxy)
		if err != nil {
			return nil, err
		}
		d.Proxy = http.ProxyURL(u)
	}
	if client.dialers == nil {
		client.dialers = map[string]*labDialer{}
	}
	client.dialers[a.Dialer] = d
	return d, nil
}

// keepSession completes the report of a dial and keeps the session for later
// calls. The caller holds client.mu.
func keepSession(a dialArgs, s transport.Session, err error, r dialReport) dialReport {
	if err != nil {
		r.Err = err.Error()
		var pe *negotiate.ProxyError
		if errors.As(err, &pe) {
			r.ProxyStatus = pe.StatusCode
		}
		return r
	}
	if r.Winner == "" {
		r.Winner = s.Info().Protocol.String()
	}
	if a.Discard {
		s.CloseWithError(0, "")
		return r
	}
	client.session = s
	return r
}

func viewReport(r *negotiate.Report) dialReport {
	v := dialReport{
		Winner: r.Winner.String(), Memory: r.Memory.String(), HeadStart: r.HeadStart, Proxy: r.Proxy, Text: r.String(),
	}
	for _, a := range r.Attempts {
		w := attemptReport{
			Name: a.Name(), Address: a.Address, Outcome: a.Outcome.String(),
			Started: a.Started, Ready: a.Ready, Requested: a.Requested, Ended: a.Ended, Heard: a.Heard, Note: a.Note,
		}
		if a.Err != nil {
			w.Err = a.Err.Error()
		}
		v.Attempts = append(v.Attempts, w)
	}
	return v
}

// A site is a lab with a server, and what its client needs to dial it.
type site struct {
	*netns.Lab
	t    testing.TB
	root []byte
}

// newSite makes a lab with the filter in place and starts the server.
func newSite(t testing.TB, topology netns.Topology, filter string, noUDP bool) *site {
	t.Helper()
	lab := netns.New(t, topology)
	cert := testcert.Make(t, testcert.Options{Hosts: []string{
		netns.ServerName, netns.ServerName4, netns.ServerName6, netns.ServerV4, netns.ServerV6,
	}})
	key, err := x509.MarshalPKCS8PrivateKey(cert.TLS.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	serve.Call(t, lab.Server, serveArgs{Cert: cert.Leaf.Raw, Key: key, NoUDP: noUDP})
	lab.Filter(t, filter)
	return &site{Lab: lab, t: t, root: cert.Leaf.Raw}
}

// dial dials and logs the report.
func (s *site) dial(a dialArgs) dialReport {
	s.t.Helper()
	a.Root = s.root
	r := dial.Call(s.t, s.Client, a)
	s.t.Logf("dial %s (memory %q): %s %s", a.Dialer, r.Memory, r.Text, r.Err)
	return r
}

// want dials, expects a session by that protocol, and exercises it.
func (s *site) want(protocol string, a dialArgs) dialReport {
	s.t.Helper()
	r := s.dial(a)
	if r.Err != "" || r.Winner != protocol {
		s.t.Fatalf("%s: winner %q, error %q; want a session by %s", a.URL, r.Winner, r.Err, protocol)
	}
	use.Call(s.t, s.Client, struct{}{})
	return r
}
