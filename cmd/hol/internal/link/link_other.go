//go:build !linux

package link

import (
	"context"
	"net"
	"net/netip"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// Link cannot be had on this system.
type Link struct{}

// Open returns ErrPlatform.
func Open(lab.Link, uint64, Options) (*Link, error) { return nil, ErrPlatform }

// Check returns ErrPlatform.
func Check() error { return ErrPlatform }

// CheckCC returns nil: nothing is known.
func CheckCC(string) error { return nil }

// EnterNamespaces returns ErrPlatform.
func EnterNamespaces() error { return ErrPlatform }

func (*Link) Client() *Host  { return new(Host) }
func (*Link) Server() *Host  { return new(Host) }
func (*Link) Drops() []Drop  { return nil }
func (*Link) Report() Report { return Report{} }
func (*Link) Close() error   { return nil }

// Host cannot be had on this system.
type Host struct{}

func (*Host) Addr() netip.Addr                       { return netip.Addr{} }
func (*Host) ListenTCP(uint16) (net.Listener, error) { return nil, ErrPlatform }
func (*Host) ListenUDP(uint16) (*net.UDPConn, error) { return nil, ErrPlatform }
func (*Host) DialTCP(context.Context, netip.AddrPort) (net.Conn, error) {
	return nil, ErrPlatform
}
