package h3wt_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"time"

	"github.com/towpath-go/towpath/h3wt"
	"github.com/towpath-go/towpath/transport"
)

// A server that echoes streams, and a client.
func Example() {
	serverTLS, clientTLS := certificates()

	srv := &h3wt.Server{
		TLSConfig: serverTLS,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, err := h3wt.Upgrade(w, r, nil)
			if err != nil {
				return // answered
			}
			for {
				stream, err := s.AcceptStream(context.Background())
				if err != nil {
					return
				}
				go func() {
					io.Copy(stream, stream)
					stream.Close()
				}()
			}
		}),
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go srv.Serve(pc)
	defer srv.Close()

	url := fmt.Sprintf("https://%s/echo", pc.LocalAddr())
	s, err := h3wt.Dial(context.Background(), url, clientTLS, nil)
	if err != nil {
		log.Fatal(err)
	}
	stream, err := s.OpenStream(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(stream, "hello over ", s.Info().Protocol)
	stream.Close()
	answer, _ := io.ReadAll(stream)
	fmt.Printf("%s\n", answer)
	s.CloseWithError(0, "bye")
	// Output: hello over h3
}

// Several sessions on one connection, and a datagram.
func ExampleClientConn() {
	serverTLS, clientTLS := certificates()
	srv := &h3wt.Server{
		TLSConfig: serverTLS,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, err := h3wt.Upgrade(w, r, &transport.UpgradeOptions{Protocols: []string{"upper"}})
			if err != nil {
				return
			}
			p, _ := s.ReceiveDatagram(context.Background())
			s.CloseWithError(7, "got "+string(p))
		}),
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go srv.Serve(pc)
	defer srv.Close()

	cc, stop := connect(pc.LocalAddr(), clientTLS)
	defer stop()
	for _, text := range []string{"one", "two"} {
		s, err := cc.Dial(context.Background(), "https://127.0.0.1/datagrams", &transport.DialOptions{Protocols: []string{"upper"}})
		if err != nil {
			log.Fatal(err)
		}
		for s.Context().Err() == nil { // a datagram may be lost
			s.SendDatagram([]byte(text))
			select {
			case <-s.Context().Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
		fmt.Println(context.Cause(s.Context()))
	}
	// Output:
	// towpath: session closed by the peer with code 7 "got one"
	// towpath: session closed by the peer with code 7 "got two"
}

// certificates makes a certificate for 127.0.0.1, and the configurations of a
// server that has it and a client that believes it.
func certificates() (server, client *tls.Config) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		log.Fatal(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return server, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
}
