package main

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/towpath-go/towpath/negotiate"
	"github.com/towpath-go/towpath/transport"
)

// trustFlags say which servers a client believes.
type trustFlags struct {
	CertHash []string `help:"Accept the server certificate with this SHA-256, in hexadecimal, as serve prints it. May be repeated." placeholder:"HEX"`
	CA       string   `name:"ca" help:"Trust the certificates in this PEM file, instead of the system's." placeholder:"FILE"`
}

// dialer makes the dialer that the flags describe.
func (f *trustFlags) dialer() (*negotiate.Dialer, error) {
	d := &negotiate.Dialer{}
	for _, s := range f.CertHash {
		h, err := parseHash(s)
		if err != nil {
			return nil, err
		}
		d.CertificateHashes = append(d.CertificateHashes, [sha256.Size]byte(h))
	}
	if f.CA != "" {
		if len(f.CertHash) > 0 {
			return nil, usagef("--ca and --cert-hash exclude each other: a hash is trusted without any authority")
		}
		pool, err := loadCA(f.CA)
		if err != nil {
			return nil, err
		}
		d.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	return d, nil
}

// checkURL finds the mistakes that people make.
func checkURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case !strings.Contains(raw, "://"):
		return usagef("%q is not a URL: write https://%s", raw, raw)
	case err != nil:
		return usagef("%q is not a URL: %v", raw, errors.Unwrap(err))
	case !strings.EqualFold(u.Scheme, "https"):
		return usagef("%q is not an https URL: WebTransport has no other scheme, write https://%s%s", raw, u.Host, u.RequestURI())
	case u.Hostname() == "":
		return usagef("%q has no host: write https://HOST:PORT/PATH", raw)
	case !validPort(u.Port()):
		return usagef("%q has port %s: it must be a number from 1 to 65535", raw, u.Port())
	case u.Fragment != "":
		return usagef("%q has a fragment: leave out #%s", raw, u.Fragment)
	case u.User != nil:
		return usagef("the URL has a user name: leave out %s@", u.User.Username())
	}
	return nil
}

// validPort accepts an empty port, which means 443.
func validPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return s == "" || err == nil && n > 0
}

// explain adds to a dial's error what the caller can do about it.
func explain(err error) error {
	hint := ""
	if pin, ok := errors.AsType[*negotiate.PinError](err); ok {
		return fmt.Errorf("%w; is --cert-hash the one that the running server printed?", pin)
	}
	if cert, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("the server's certificate is not trusted: %w; use --cert-hash or --ca", cert.Err)
	}
	if r, ok := errors.AsType[*transport.RejectedError](err); ok {
		switch r.StatusCode {
		case 403:
			hint = "the server does not accept this client"
		case 404, 405:
			hint = "there is no WebTransport at this path"
		default:
			if line, _, _ := strings.Cut(string(r.Body), "\n"); line != "" && len(line) <= 200 {
				hint = fmt.Sprintf("it says %q", line)
			}
		}
	}
	if p, ok := errors.AsType[*negotiate.ProxyError](err); ok && p.StatusCode == 407 {
		hint = "put name and password into the proxy's URL, http://NAME:PASSWORD@HOST:PORT"
	}
	if errors.Is(err, transport.ErrNotWebTransport) {
		hint = "something answers there, but it does not speak WebTransport"
	}
	if hint != "" {
		return fmt.Errorf("%w; %s", err, hint)
	}
	return err
}

// verboseLogger writes events for -v.
func verboseLogger(w io.Writer, on bool) *slog.Logger {
	if !on {
		return nil
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// transports parses what --transport takes.
func transports(names []string) ([]transport.Protocol, error) {
	var ps []transport.Protocol
	for _, n := range names {
		switch n {
		case "h3":
			ps = append(ps, transport.HTTP3)
		case "h2":
			ps = append(ps, transport.HTTP2)
		case "ws":
			ps = append(ps, transport.WebSocket)
		default:
			return nil, usagef("--transport %q is unknown: use h3, h2 or ws", n)
		}
	}
	return ps, nil
}

// checkProtocols finds names that no handshake can carry.
func checkProtocols(names []string) error {
	for i, n := range names {
		switch {
		case n == "" || len(n) > 512:
			return usagef("--protocol %q: a name has 1 to 512 characters", n)
		case strings.ContainsFunc(n, func(r rune) bool { return r < ' ' || r > '~' }):
			return usagef("--protocol %q: a name has printable ASCII characters only", n)
		case slices.Contains(names[:i], n):
			return usagef("--protocol %q is there twice: name each once", n)
		}
	}
	return nil
}
