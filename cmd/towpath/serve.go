package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/towpath-go/towpath/negotiate"
	"github.com/towpath-go/towpath/transport"
)

// shutdownTime bounds the graceful end of a server.
const shutdownTime = 5 * time.Second

type serveCmd struct {
	Addr      string   `help:"Address to listen on, UDP and TCP. Port 0 means any free one. Default: ${default}." default:"127.0.0.1:4433" placeholder:"HOST:PORT"`
	Cert      string   `help:"PEM file with the certificate chain. Default: a self-signed certificate for 13 days." placeholder:"FILE"`
	Key       string   `help:"PEM file with the private key of --cert." placeholder:"FILE"`
	Transport []string `help:"Transports to serve: h3, h2, ws. May be repeated. Default: all." placeholder:"NAME"`
	Root      string   `help:"Serve the static files of this directory, instead of the page." placeholder:"DIR"`
	Origin    []string `help:"Also accept sessions from web pages of this origin: HOST:PORT, or SCHEME://HOST:PORT, with * as a wildcard. * alone accepts every one, null too. May be repeated." placeholder:"PATTERN"`
	Verbose   bool     `short:"v" help:"Log events on standard error."`
}

// Help is shown by serve --help.
func (*serveCmd) Help() string {
	return `Open https://HOST:PORT/ in a browser: a page there connects to the server, and
shows which way was taken, round-trip times and throughput. A self-signed
certificate has to be accepted once. With --root there is no such page.

Resources:
  /echo                  sends streams and datagrams back
     ?srv=1              and opens streams itself
     ?reset=N            answers the first bytes of a stream with a reset
     ?close=N            closes the session with code N;
                         &reason=TEXT, &after=MILLISECONDS
  /discard               reads and drops
  /source?bytes=N        sends N bytes on a unidirectional stream;
                         connect --uni prints them

The first line printed is for programs:
  listening addr=HOST:PORT cert-sha256=HEX transports=h3,h2,ws`
}

// Run serves until a signal comes.
func (c *serveCmd) Run(ctx context.Context, io streams) error {
	if c.Transport != nil && len(c.Transport) == 0 {
		return usagef("--transport is empty: use h3, h2 or ws, or leave it out for all")
	}
	ps, err := transports(c.Transport)
	if err != nil {
		return err
	}
	host, err := c.checkAddr()
	if err != nil {
		return err
	}
	if (c.Cert == "") != (c.Key == "") {
		return usagef("--cert and --key belong together: give both, or none for a self-signed certificate")
	}
	for _, p := range c.Origin {
		if _, err := path.Match(p, ""); err != nil || p == "" {
			return usagef("--origin %q is no pattern: write HOST:PORT, *.example.com, or *", p)
		}
	}
	var cert tls.Certificate
	if c.Cert != "" {
		cert, err = loadCertificate(c.Cert, c.Key)
	} else {
		cert, err = selfSigned(host, time.Now())
	}
	if err != nil {
		return err
	}
	h, err := newResources(c.Root, c.Origin)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("--root: there is no directory %s", c.Root)
	case err != nil:
		return fmt.Errorf("--root: %w", err)
	}
	hash := negotiate.CertificateHash(cert.Certificate[0])
	names := c.Transport
	if len(names) == 0 {
		names = []string{"h3", "h2", "ws"}
	}
	if c.Root == "" {
		settings := pageSettings{Transports: names}
		if c.Cert == "" {
			settings.CertificateHashes = []string{base64.StdEncoding.EncodeToString(hash[:])}
			settings.CertificateExpires = &cert.Leaf.NotAfter
		}
		if h.page, err = newPage(settings); err != nil {
			return err
		}
	}
	srv := &negotiate.Server{
		TLSConfig:  &tls.Config{Certificates: []tls.Certificate{cert}},
		Handler:    h,
		Transports: ps,
		Logger:     verboseLogger(io.err, c.Verbose),
	}
	h.logger = srv.Logger
	if srv.Logger != nil {
		srv.Config = &transport.Config{Logger: srv.Logger}
	}
	ln, pc, err := negotiate.Listen(c.Addr, ps...)
	if err != nil {
		return explainListen(c.Addr, err)
	}
	var addr net.Addr
	if ln != nil {
		addr = ln.Addr()
	} else {
		addr = pc.LocalAddr()
	}
	fmt.Fprintf(io.out, "listening addr=%s cert-sha256=%s transports=%s\n", addr, hex.EncodeToString(hash[:]), strings.Join(names, ","))
	if c.Cert == "" {
		fmt.Fprintf(io.out, "self-signed certificate, valid until %s, SHA-256 in base64: %s\n",
			cert.Leaf.NotAfter.Format(time.DateTime), base64.StdEncoding.EncodeToString(hash[:]))
	}
	switch {
	case h.page == nil:
	case ln == nil:
		fmt.Fprintln(io.out, "a browser cannot open the page at /: it asks over TCP first, so serve h2 or ws as well")
	default:
		fmt.Fprintf(io.out, "open https://%s/ in a browser\n", browsable(addr, c.Cert != "", cert.Leaf))
	}
	if c.Cert == "" {
		fmt.Fprintf(io.out, "try: towpath connect -v --cert-hash %s https://%s/echo\n", hex.EncodeToString(hash[:]), reachable(addr))
	}

	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		sctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
		defer cancel()
		stopped <- srv.Shutdown(sctx)
	})
	err = srv.Serve(ln, pc)
	if !stop() {
		// Sessions that do not end in time are closed; that is a success too.
		if serr := <-stopped; serr != nil && !errors.Is(serr, context.DeadlineExceeded) {
			return serr
		}
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// checkAddr returns the host of --addr.
func (c *serveCmd) checkAddr() (host string, err error) {
	host, port, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return "", usagef("--addr %q is not HOST:PORT: write 127.0.0.1:4433, or :4433 for all interfaces", c.Addr)
	}
	if _, err := net.LookupPort("tcp", port); err != nil || port == "" {
		return "", usagef("--addr %q: the port must be a number from 0 to 65535", c.Addr)
	}
	return host, nil
}

// explainListen says what can be done about a socket that cannot be had.
func explainListen(addr string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s is in use: choose another port with --addr, 0 takes any free one", addr)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("no permission to listen on %s: choose a port from 1024 up with --addr", addr)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s is not an address of this machine: choose another with --addr", addr)
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Errorf("--addr: the name %s has no address", dns.Name)
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
