package wswt

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"

	"github.com/towpath-go/towpath/internal/session"
	"github.com/towpath-go/towpath/transport"
)

// accepted is what an upgradeHandler passes on.
type accepted struct {
	s   transport.Session
	err error
}

// upgradeHandler accepts every session for a Server and passes it on.
func upgradeHandler(s *Server, opts *transport.UpgradeOptions) (http.Handler, <-chan accepted) {
	ch := make(chan accepted, 100)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, err := s.Upgrade(w, r, opts)
		ch <- accepted{session, err}
	}), ch
}

// limitsOf are the initial limits that a carrier with settings would publish for
// a Config, as package h2wt does.
func limitsOf(c *transport.Config) session.InitialLimits {
	d := c.WithDefaults()
	return session.InitialLimits{
		MaxData:                 uint64(d.InitialSessionWindow),
		MaxStreamDataUni:        uint64(d.InitialStreamWindow),
		MaxStreamDataBidiLocal:  uint64(d.InitialStreamWindow),
		MaxStreamDataBidiRemote: uint64(d.InitialStreamWindow),
		MaxStreamsUni:           uint64(d.MaxIncomingUniStreams),
		MaxStreamsBidi:          uint64(d.MaxIncomingStreams),
	}
}

// serveHTTP serves h on ln with TLS, HTTP/1.1 alone.
func serveHTTP(ln net.Listener, conf *tls.Config, h http.Handler) (stop func()) {
	hs := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: conf}
	served := make(chan error, 1)
	go func() { served <- hs.Serve(tls.NewListener(ln, conf)) }()
	return func() {
		hs.Close()
		<-served
	}
}
