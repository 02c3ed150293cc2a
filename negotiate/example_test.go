package negotiate_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/metrics"
	"github.com/towpath-go/towpath/negotiate"
	"github.com/towpath-go/towpath/transport"
)

// echo answers every stream of a session with its own bytes.
func echo(w http.ResponseWriter, r *http.Request) {
	session, err := negotiate.Upgrade(w, r, nil)
	if err != nil {
		return // the status has been written
	}
	for {
		stream, err := session.AcceptStream(context.Background())
		if err != nil {
			return // the session has ended
		}
		go func() {
			if _, err := io.Copy(stream, stream); err != nil {
				stream.CancelWrite(0) // an abort must not look like an end
				return
			}
			stream.Close()
		}()
	}
}

// newServer returns a server whose ListenAndServe serves HTTP/3 on UDP, and
// HTTP/2 and HTTP/1.1 on TCP.
func newServer(addr string, conf *tls.Config) *negotiate.Server {
	return &negotiate.Server{Addr: addr, TLSConfig: conf, Handler: http.HandlerFunc(echo)}
}

func hello(ctx context.Context, d *negotiate.Dialer, url string) (string, error) {
	session, report, err := d.Dial(ctx, url, nil)
	if err != nil {
		return "", err
	}
	defer session.CloseWithError(0, "bye")
	stream, err := session.OpenStream(ctx)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(stream, "hello over %v", report.Winner)
	stream.Close()
	answer, err := io.ReadAll(stream)
	return string(answer), err
}

// start serves on a free port of the loopback interface by the given ways. It
// returns the server's URL, a Dialer that trusts it, and a function that ends
// both.
func start(ways ...transport.Protocol) (url string, d *negotiate.Dialer, stop func()) {
	cert, err := testcert.Generate(testcert.Options{})
	if err != nil {
		panic(err)
	}
	ln, pc, err := negotiate.Listen("127.0.0.1:0", ways...)
	if err != nil {
		panic(err)
	}
	server := newServer("", &tls.Config{Certificates: []tls.Certificate{cert.TLS}})
	server.Transports = ways
	served := make(chan error)
	go func() { served <- server.Serve(ln, pc) }() // ends with server.Close
	d = &negotiate.Dialer{
		TLSClientConfig: &tls.Config{RootCAs: cert.Pool},
		HeadStart:       10 * time.Second, // of UDP, on a machine that may be busy
	}
	return "https://" + ln.Addr().String() + "/echo", d, func() {
		d.Close()
		server.Close()
		<-served
	}
}

// UDP is open: the session is HTTP/3's.
func Example() {
	url, dialer, stop := start()
	defer stop()
	fmt.Println(hello(context.Background(), dialer, url))
	// Output: hello over h3 <nil>
}

// Nobody listens on UDP: the same call gives the same session over HTTP/2.
func ExampleDialer_fallback() {
	url, dialer, stop := start(transport.HTTP2)
	defer stop()
	fmt.Println(hello(context.Background(), dialer, url))
	// Output: hello over h2 <nil>
}

// A handler accepts sessions on one path and answers requests on others.
func ExampleUpgrade() {
	mux := http.NewServeMux()
	mux.HandleFunc("/time", func(w http.ResponseWriter, r *http.Request) {
		session, err := negotiate.Upgrade(w, r, &transport.UpgradeOptions{Origins: []string{"*.example.com"}})
		if err != nil {
			return // the status has been written
		}
		// The session outlives this handler.
		go transport.SendMessage(session.Context(), session, []byte("12:00"))
	})
	cert, err := testcert.Generate(testcert.Options{})
	if err != nil {
		panic(err)
	}
	ln, pc, err := negotiate.Listen("127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	server := negotiate.Server{TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert.TLS}}, Handler: mux}
	go server.Serve(ln, pc)
	defer server.Close()

	ctx := context.Background()
	dialer := negotiate.Dialer{TLSClientConfig: &tls.Config{RootCAs: cert.Pool}}
	defer dialer.Close()
	session, _, err := dialer.Dial(ctx, "https://"+ln.Addr().String()+"/time", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	message, err := transport.ReceiveMessage(ctx, session, 100)
	fmt.Printf("%s %v\n", message, err)
	// Output: 12:00 <nil>
}

// watched is a server whose metrics are served at an address of their own.
func watched(addr string, conf *tls.Config, handler http.Handler) *negotiate.Server {
	rec := metrics.NewRecorder()
	srv := &negotiate.Server{Addr: addr, TLSConfig: conf, Handler: handler, Monitor: rec}
	go http.ListenAndServe("127.0.0.1:9090", metrics.Handler(rec))
	return srv
}

var _ = watched // the README has its body

// TestREADME keeps the README's programs equal to the ones that run above.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(strings.ReplaceAll(string(readme), "\r\n", "\n"), "```go\n")[1:]
	if len(blocks) != 3 {
		t.Fatalf("the README has %d programs, want a server, a client and what watches them", len(blocks))
	}
	plain := func(code string) string { // whatever it is nested in
		return strings.ReplaceAll(strings.ReplaceAll(code, "\r\n", "\n"), "\t", "")
	}
	for _, b := range blocks {
		code, _, _ := strings.Cut(b, "```")
		if !strings.Contains(plain(string(source)), "\n"+plain(code)) {
			t.Errorf("example_test.go does not have the README's\n%s", code)
		}
	}
}
