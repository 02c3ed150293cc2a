package negotiate

import (
	"fmt"
	"net"
	"slices"

	"github.com/towpath-go/towpath/transport"
)

// portTries bounds the search for a port that is free for UDP and TCP.
const portTries = 16

// Listen opens the sockets that [Server.Serve] wants: TCP and UDP on the same
// address and port, or only one of them if transports says so. With port 0 a
// port is found that is free for both.
func Listen(addr string, transports ...transport.Protocol) (net.Listener, net.PacketConn, error) {
	all := len(transports) == 0
	tcp := all || slices.Contains(transports, transport.HTTP2) || slices.Contains(transports, transport.WebSocket)
	udp := all || slices.Contains(transports, transport.HTTP3)
	if !tcp && !udp {
		return nil, nil, fmt.Errorf("towpath: listen: no transport to listen for: %w", transport.ErrUnsupported)
	}
	if !tcp {
		pc, err := net.ListenPacket("udp", addr)
		return nil, pc, err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, nil, err
	}
	for try := 1; ; try++ {
		ln, err := net.Listen("tcp", addr)
		if err != nil || !udp {
			return ln, nil, err
		}
		pc, err := net.ListenPacket("udp", udpAddress(addr, ln.Addr()))
		if err == nil {
			return ln, pc, nil
		}
		_ = ln.Close()
		if port != "0" && port != "" || try == portTries {
			return nil, nil, err
		}
	}
}

// udpAddress is addr with the port that TCP got. The host stays as it was
// written: an empty one means all interfaces and both families.
func udpAddress(addr string, got net.Addr) string {
	host, _, _ := net.SplitHostPort(addr)
	if t, ok := got.(*net.TCPAddr); ok {
		if host != "" {
			return t.String() // a name may resolve differently the second time
		}
		return net.JoinHostPort("", fmt.Sprint(t.Port))
	}
	return got.String()
}
