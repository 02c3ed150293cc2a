//go:build !linux

package cork

import "net"

// limitUnsent does nothing here: the kernel's whole send buffer may fill, and a
// stream of a higher priority overtakes only what is not in it.
func limitUnsent(net.Conn) {}
