//go:build !linux

package negotiate

import "net"

// reportICMP does nothing: a connected socket reports what the system reports.
func reportICMP(*net.UDPConn, bool) error { return nil }
