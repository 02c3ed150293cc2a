package h2wt

import (
	"log/slog"
	"net"

	"github.com/towpath-go/towpath/internal/admission"
	"github.com/towpath-go/towpath/internal/quota"
	"github.com/towpath-go/towpath/transport"
)

// ConnectionLimits bound the connections of a listener, see [LimitListener]. The
// zero value of a field means its default, which is also that of
// negotiate.Server; a negative one switches the limit off.
type ConnectionLimits struct {
	// MaxConnections bounds the connections that are open at once, those included
	// whose TLS handshake has not ended. Default 10,000; negative: none, and
	// then the next two limits know 4,096 addresses at a time: those beyond share
	// the quota of one.
	MaxConnections int
	// MaxConnectionsPerAddress bounds those of one client address (an IPv6 /64).
	// Default 2,000, since a school, a company or a whole mobile network may be
	// behind one; negative: none.
	MaxConnectionsPerAddress int
	// ConnectionRate bounds the new connections per second of one client address,
	// with bursts of twice as many. Default 1,000, so that all who are behind one
	// address can come back at once; negative: none.
	ConnectionRate int

	// Monitor is told of refused connections; nil means nobody. What a connection
	// would have spoken is not known: transport.ProtocolUnknown.
	Monitor transport.Monitor
	// Logger receives a line a second at most for each limit that is reached; nil
	// means silence.
	Logger *slog.Logger
}

// Defaults of ConnectionLimits.
const (
	DefaultMaxConnections           = 10_000
	DefaultMaxConnectionsPerAddress = 2_000
	DefaultConnectionRate           = 1_000
)

// LimitListener returns a listener that closes connections above the limits as
// soon as they are accepted, before TLS: the client sees a reset. Connections
// that are open are never closed for new ones. A nil limits is the zero
// ConnectionLimits.
//
// It is for an http.Server of one's own, which should have a ReadHeaderTimeout
// too: that is what bounds the time of a TLS handshake. negotiate.Server has all
// this.
//
//	ln, err := net.Listen("tcp", addr)
//	err = server.ServeTLS(h2wt.NewListener(h2wt.LimitListener(ln, nil)), certFile, keyFile)
func LimitListener(ln net.Listener, limits *ConnectionLimits) net.Listener {
	if limits == nil {
		limits = new(ConnectionLimits)
	}
	log := &admission.Log{Logger: limits.Logger}
	monitor := limits.Monitor
	return &admission.Listener{
		Listener: ln,
		Table: quota.NewTable(quota.Limits{
			Open:          orDefault(limits.MaxConnections, DefaultMaxConnections),
			OpenPerClient: orDefault(limits.MaxConnectionsPerAddress, DefaultMaxConnectionsPerAddress),
			Rate:          orDefault(limits.ConnectionRate, DefaultConnectionRate),
		}),
		Refused: func(remote net.Addr, limit transport.Limit) {
			if monitor != nil {
				monitor.ConnectionRefused(transport.ProtocolUnknown, limit)
			}
			log.Refused("connection refused", remote.String(), transport.ProtocolUnknown, limit)
		},
	}
}

// orDefault returns a limit, where 0 means its default and a negative one none.
func orDefault(v, def int) int {
	if v == 0 {
		return def
	}
	return v
}
