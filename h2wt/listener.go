package h2wt

import (
	"net"

	"github.com/towpath-go/towpath/internal/cork"
)

// NewListener returns a listener whose connections can gather the TLS records
// of one write of the HTTP/2 connection into one system call, instead of one for
// every 16 KiB record. It belongs under [tls.NewListener] or
// [http.Server.ServeTLS]:
//
//	ln, err := net.Listen("tcp", addr)
//	err = server.ServeTLS(h2wt.NewListener(ln), certFile, keyFile)
//
// Everything works without it, large transfers take more CPU. HTTP/1.1 works on
// the same listener; WebSockets of package wswt make the same use of it.
func NewListener(ln net.Listener) net.Listener { return cork.NewListener(ln) }
