package handshake

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/idna"
)

// A Target is a session's URL as the handshake needs it.
type Target struct {
	// Authority is :authority: the host in ASCII, an IPv6 literal in brackets,
	// and the port unless it is 443.
	Authority string
	// Path is :path with the query; it begins with "/".
	Path string
	// Host is the host alone, in ASCII and without brackets: for the TLS server
	// name and for dialing.
	Host string
	// Port is the port in digits, 443 if the URL has none.
	Port string
}

// Addr is the address to dial, host:port.
func (t Target) Addr() string { return net.JoinHostPort(t.Host, t.Port) }

// ParseURL checks a session's URL. Only https URLs name WebTransport servers;
// user information and a fragment have no place in one (W3C WebTransport
// constructor). An internationalised host name is converted to ASCII.
func ParseURL(raw string) (Target, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// The text of a url.Error repeats the URL, which may hold a secret.
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return Target{}, fmt.Errorf("invalid URL: %w", err)
	}
	switch {
	case !strings.EqualFold(u.Scheme, "https"):
		return Target{}, fmt.Errorf("invalid URL: its scheme is %q, WebTransport needs https", u.Scheme)
	case u.Opaque != "" || u.Hostname() == "":
		return Target{}, errors.New("invalid URL: it has no host")
	case u.User != nil:
		return Target{}, errors.New("invalid URL: user information is not possible")
	case u.Fragment != "" || strings.HasSuffix(raw, "#"):
		return Target{}, errors.New("invalid URL: a fragment is not possible")
	}
	t := Target{Host: strings.ToLower(u.Hostname()), Port: u.Port()}
	if t.Port == "" {
		t.Port = "443"
	}
	n, err := strconv.ParseUint(t.Port, 10, 16)
	if err != nil || n == 0 {
		return Target{}, fmt.Errorf("invalid URL: port %s is not between 1 and 65535", t.Port)
	}
	t.Port = strconv.FormatUint(n, 10)
	host, err := asciiHost(t.Host)
	if err != nil {
		return Target{}, fmt.Errorf("invalid URL: host %q: %w", t.Host, err)
	}
	t.Host, t.Authority = host, host
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is6() {
		// A zone is local to this machine (RFC 6874) and not for the peer.
		t.Authority = "[" + addr.WithZone("").String() + "]"
	}
	if t.Port != "443" {
		t.Authority += ":" + t.Port
	}
	if !httpguts.ValidHostHeader(t.Authority) {
		return Target{}, fmt.Errorf("invalid URL: host %q", t.Host)
	}
	t.Path = u.EscapedPath()
	if !strings.HasPrefix(t.Path, "/") {
		t.Path = "/" + t.Path
	}
	if u.RawQuery != "" || u.ForceQuery {
		t.Path += "?" + escapeQuery(u.RawQuery)
	}
	return t, nil
}

// asciiHost converts a host name for the wire; one that is ASCII stays as it is,
// since names that IDNA refuses (with "_", say) exist and resolve.
func asciiHost(host string) (string, error) {
	if _, err := netip.ParseAddr(host); err == nil {
		return host, nil
	}
	if strings.ContainsRune(host, ':') {
		return "", errors.New("not an IPv6 address")
	}
	for _, c := range []byte(host) {
		if c >= 0x80 {
			return idna.Lookup.ToASCII(host)
		}
	}
	return host, nil
}

// escapeQuery percent-encodes what may not stand in a query (RFC 3986 section
// 3.4), which package url leaves alone.
func escapeQuery(q string) string {
	var b strings.Builder
	for _, c := range []byte(q) {
		if c <= 0x20 || c >= 0x7f || strings.IndexByte("\"<>`{}|\\^", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
