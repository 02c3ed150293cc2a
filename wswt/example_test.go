package wswt_test

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

	"github.com/towpath-go/towpath/wswt"
)

// A server that echoes streams, in any http.Server, and a client.
func Example() {
	cert, pool := certificate()
	server := wswt.NewServer(nil)
	hs := &http.Server{TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}}
	hs.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !wswt.IsUpgrade(r) {
			fmt.Fprintln(w, "an ordinary page")
			return
		}
		session, err := server.Upgrade(w, r, nil)
		if err != nil {
			return // the answer was written
		}
		go func() {
			for {
				stream, err := session.AcceptStream(context.Background())
				if err != nil {
					return
				}
				go func() {
					if _, err := io.Copy(stream, stream); err != nil {
						stream.CancelWrite(0) // an abort must not look like an end
						return
					}
					stream.Close()
				}()
			}
		}()
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go hs.ServeTLS(ln, "", "")
	defer hs.Close()
	defer server.Close() // http.Server does not know of sessions

	ctx := context.Background()
	session, err := wswt.Dial(ctx, "https://"+ln.Addr().String()+"/echo", &tls.Config{RootCAs: pool}, nil)
	if err != nil {
		log.Fatal(err)
	}
	stream, err := session.OpenStream(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(stream, "hello")
	stream.Close()
	echo, err := io.ReadAll(stream)
	fmt.Printf("%s over %v, %v\n", echo, session.Info().Protocol, err)
	session.CloseWithError(0, "")
	// Output: hello over ws, <nil>
}

// certificate makes a certificate for 127.0.0.1 and a pool that trusts it.
func certificate() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		log.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		log.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}
