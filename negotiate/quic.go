package negotiate

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/h3wt"
)

// minPacketSize is the UDP payload that every path for QUIC carries (RFC 9000
// section 14.1).
const minPacketSize = 1200

// openQUIC opens the HTTP/3 connection: QUIC, SETTINGS.
func (j *job) openQUIC(ctx context.Context, addr netip.AddrPort, s signs) (leg, error) {
	dial := j.d.hooks.dialUDP
	if dial == nil {
		dial = dialUDP
	}
	sock, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	pc := watchConn(sock, s)
	cfg := j.h3Config()
	tr := h3wt.ClientTransport(pc)
	qc, err := tr.Dial(ctx, net.UDPAddrFromAddrPort(addr), j.tlsConfig("h3"), j.quicConfig(cfg))
	if err != nil {
		_ = tr.Close()
		_ = pc.Close()
		return nil, err
	}
	// The socket closes after the connection has been over for three times the
	// probe timeout: until then a CONNECTION_CLOSE that got lost is repeated
	// (RFC 9000 section 10.2).
	context.AfterFunc(qc.Context(), func() {
		time.AfterFunc(closingTime(qc.ConnectionStats()), func() {
			_ = tr.Close()
			_ = pc.Close()
		})
	})
	conn, err := h3wt.NewClientConn(ctx, qc, cfg)
	if err != nil {
		_ = qc.CloseWithError(0x100, "") // H3_NO_ERROR; if it is not closed yet
		return nil, err
	}
	settle(pc)
	return &connLeg{job: j, conn: conn, quic: qc, sock: pc}, nil
}

// h3Config is the connection's configuration. A connection that is not for a
// pool gives all its windows to one session.
func (j *job) h3Config() *h3wt.Config {
	var c h3wt.Config
	if j.d.H3 != nil {
		c = *j.d.H3
	}
	c.Session = cmp.Or(c.Session, j.sessionConfig())
	if c.Monitor == nil {
		c.Monitor = j.d.Monitor
	}
	if !j.d.Pool {
		c.MaxSessions = 1
	}
	return &c
}

func (j *job) quicConfig(cfg *h3wt.Config) *quic.Config {
	c := cfg.QUIC(j.d.QUICConfig)
	if c.InitialPacketSize == 0 {
		c.InitialPacketSize = minPacketSize
	}
	return c
}

// maxClosing bounds how long a socket outlives its connection: a server that
// delays its acknowledgements makes the round-trip time, and would otherwise keep
// the sockets and goroutines of every client that has gone for as long as it likes.
const maxClosing = 10 * time.Second

// closingTime is how long a socket outlives its connection.
func closingTime(s quic.ConnectionStats) time.Duration {
	return min(3*pto(s), maxClosing)
}

// pto is the probe timeout (RFC 9002 section 6.2.1) as far as the statistics
// tell it, with the default max_ack_delay.
func pto(s quic.ConnectionStats) time.Duration {
	if s.SmoothedRTT <= 0 {
		return time.Second
	}
	return s.SmoothedRTT + max(4*s.MeanDeviation, time.Millisecond) + 25*time.Millisecond
}
