// Command server is what the W3C behaviour suite needs besides towpath serve:
// resources at which the server does as the client tells it, so that the cases
// need no clock. It prints one line and serves until its input ends:
//
//	listening addr=HOST:PORT cert-sha256=HEX
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/towpath-go/towpath/negotiate"
)

func main() {
	cert, err := certificate()
	if err != nil {
		log.Fatal(err)
	}
	ln, pc, err := negotiate.Listen("127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening addr=%s cert-sha256=%x\n", ln.Addr(), sha256.Sum256(cert.Certificate[0]))
	srv := &negotiate.Server{TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, Handler: newResources()}
	go func() {
		// Whoever started this may be gone without a signal.
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = srv.Close()
	}()
	if err := srv.Serve(ln, pc); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}

// certificate makes one as serverCertificateHashes asks for: P-256, and valid
// for less than 14 days.
func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	begin := time.Now().Add(-time.Hour)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(begin.UnixNano()),
		NotBefore:    begin,
		NotAfter:     begin.AddDate(0, 0, 13),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
