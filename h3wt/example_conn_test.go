package h3wt_test

import (
	"context"
	"crypto/tls"
	"log"
	"net"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/h3wt"
)

// connect makes a QUIC connection with the configuration that WebTransport
// needs, and a ClientConn of it.
func connect(addr net.Addr, conf *tls.Config) (cc *h3wt.ClientConn, stop func()) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	conf = conf.Clone()
	conf.NextProtos = []string{"h3"}
	tr := &quic.Transport{Conn: pc}
	var cfg *h3wt.Config // the defaults
	qc, err := tr.Dial(context.Background(), addr, conf, cfg.QUIC(nil))
	if err != nil {
		log.Fatal(err)
	}
	cc, err = h3wt.NewClientConn(context.Background(), qc, cfg)
	if err != nil {
		log.Fatal(err)
	}
	return cc, func() {
		cc.Close()
		tr.Close()
		pc.Close()
	}
}
