package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
)

// checkAddr returns the host of an address that a flag gave; right is how to write
// one.
func checkAddr(flag, addr, right string) (host string, err error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", usagef("%s %q is not HOST:PORT: write %s", flag, addr, right)
	}
	if _, err := net.LookupPort("tcp", port); err != nil || port == "" {
		return "", usagef("%s %q: the port must be a number from 0 to 65535", flag, addr)
	}
	return host, nil
}

// explainListen says what can be done about a socket that cannot be had.
func explainListen(flag, addr string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s is in use: choose another port with %s, 0 takes any free one", addr, flag)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("no permission to listen on %s: choose a port from 1024 up with %s", addr, flag)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s is not an address of this machine: choose another with %s", addr, flag)
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Errorf("%s: the name %s has no address", flag, dns.Name)
	}
	return err
}

// reachable is an address to dial for one to listen on.
func reachable(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// browsable is where a browser finds the page. A certificate that a CA made is
// for names, and an address is seldom among them.
func browsable(a net.Addr, ca bool, leaf *x509.Certificate) string {
	at := reachable(a)
	host, port, err := net.SplitHostPort(at)
	if err != nil || !ca || leaf.VerifyHostname(host) == nil {
		return at
	}
	for _, name := range leaf.DNSNames {
		if !strings.Contains(name, "*") {
			return net.JoinHostPort(name, port)
		}
	}
	return at
}
