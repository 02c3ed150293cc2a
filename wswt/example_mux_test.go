package wswt_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"

	"github.com/towpath-go/towpath/wswt"
)

// Pages with @fails-components/webtransport ask for "//chat" where they mean
// "/chat". An http.ServeMux needs that undone in front of it.
func Example_serveMux() {
	mux := http.NewServeMux()
	mux.HandleFunc("/chat", func(w http.ResponseWriter, r *http.Request) {
		session, err := wswt.Upgrade(w, r, nil)
		if err != nil {
			return // the answer was written
		}
		session.CloseWithError(0, "asked for "+r.URL.Path)
	})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "//") && wswt.IsUpgrade(r) {
			r = r.Clone(r.Context())
			r.URL.Path, r.URL.RawPath = r.URL.Path[1:], ""
		}
		mux.ServeHTTP(w, r)
	})

	cert, pool := certificate()
	hs := &http.Server{Handler: handler, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go hs.ServeTLS(ln, "", "")
	defer hs.Close()

	session, err := wswt.Dial(context.Background(), "https://"+ln.Addr().String()+"//chat", &tls.Config{RootCAs: pool}, nil)
	if err != nil {
		log.Fatal(err)
	}
	<-session.Context().Done()
	fmt.Println(context.Cause(session.Context()))
	// Output: towpath: session closed by the peer with code 0 "asked for /chat"
}
