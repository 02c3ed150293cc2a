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
// Everything works without it, large transfers take more CPU. Connections that
// speak HTTP/1.1 on the same listener are not affected.
func NewListener(ln net.Listener) net.Listener { return cork.NewListener(ln) }
