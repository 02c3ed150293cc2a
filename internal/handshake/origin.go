package handshake

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/towpath-go/towpath/transport"
)

// OriginAllowed is the Origin check of draft-ietf-webtrans-http2 "Session
// Establishment" (a server verifies the Origin field) as the server's options
// shape it. CheckOrigin, if set, decides alone. Otherwise:
//
//   - a request without Origin is accepted: it does not come from a browser;
//   - an origin with the scheme https and the host and port of the request's
//     :authority is accepted, default ports being left out on both sides;
//   - otherwise one of Origins must match: [path.Match] on host[:port], or
//     on scheme://host[:port] if the pattern contains "://". A default port may
//     be written or not. Letter case does not count;
//   - the opaque origin "null" matches the pattern "null" only;
//   - the pattern "*" admits any Origin whatsoever, one that does not parse and
//     several at once included.
//
// With AllowOriginWithoutScheme an Origin that is only host[:port] stands for the
// https origin of that name. Without a port it is the request's own origin on
// whatever port the request came to: the clients that leave out the scheme leave
// out the port too. For the patterns it then has the default port.
func OriginAllowed(r *http.Request, opts *transport.UpgradeOptions) bool {
	if opts == nil {
		opts = new(transport.UpgradeOptions)
	}
	if opts.CheckOrigin != nil {
		return opts.CheckOrigin(r)
	}
	values, patterns := r.Header["Origin"], opts.Origins
	if len(values) == 0 {
		return true
	}
	for _, p := range patterns {
		if p == "*" {
			return true
		}
	}
	if len(values) != 1 {
		return false
	}
	if values[0] == "null" {
		for _, p := range patterns {
			if strings.EqualFold(p, "null") {
				return true
			}
		}
		return false
	}
	scheme, host, port, ok := parseOrigin(values[0])
	authority := normalAuthority(r.Host)
	if !ok && opts.AllowOriginWithoutScheme {
		scheme, host, port, ok = parseOrigin("https://" + values[0])
		if _, explicit := splitPort(values[0]); explicit == "" {
			authority, _ = splitPort(authority)
		}
	}
	if !ok {
		return false
	}
	if scheme == "https" && joinPort(host, port) == authority {
		return true
	}
	names := []string{joinPort(host, port)}
	if port == "" {
		if d := defaultPort(scheme); d != "" {
			names = append(names, joinPort(host, d))
		}
	}
	for _, p := range patterns {
		p = strings.ToLower(p)
		prefix := ""
		if strings.Contains(p, "://") {
			prefix = scheme + "://"
		}
		for _, name := range names {
			// Equality first: an IPv6 literal's brackets mean a character
			// class to path.Match.
			if p == prefix+name {
				return true
			}
			if ok, err := path.Match(p, prefix+name); err == nil && ok {
				return true
			}
		}
	}
	return false
}

// CheckPatterns reports the first origin pattern that is no pattern. Such a
// pattern would match nothing, silently.
func CheckPatterns(patterns []string) error {
	for _, p := range patterns {
		if p == "" {
			return fmt.Errorf("empty origin pattern")
		}
		if _, err := path.Match(p, ""); err != nil {
			return fmt.Errorf("origin pattern %q: %w", p, err)
		}
	}
	return nil
}

// parseOrigin reads a serialised origin (RFC 6454 section 6.2): scheme, host
// and optionally a port, nothing else. Port is empty for the scheme's default.
func parseOrigin(s string) (scheme, host, port string, ok bool) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return "", "", "", false
	}
	// A path, even "/", a query, user information or an empty port is not
	// part of an origin: what was parsed must be all there was.
	if !strings.EqualFold(u.Scheme+"://"+u.Host, s) || strings.HasSuffix(u.Host, ":") {
		return "", "", "", false
	}
	scheme = strings.ToLower(u.Scheme)
	host, port = splitPort(strings.ToLower(u.Host))
	if port == defaultPort(scheme) {
		port = ""
	}
	return scheme, host, port, host != ""
}

// normalAuthority is an https authority in lower case without its default port.
func normalAuthority(a string) string {
	host, port := splitPort(strings.ToLower(a))
	if port == defaultPort("https") {
		port = ""
	}
	return joinPort(host, port)
}

// splitPort splits host[:port]; an IPv6 literal keeps its brackets.
func splitPort(a string) (host, port string) {
	i := strings.LastIndexByte(a, ':')
	if i < 0 || i < strings.LastIndexByte(a, ']') {
		return a, ""
	}
	return a[:i], a[i+1:]
}

func joinPort(host, port string) string {
	if port == "" {
		return host
	}
	return host + ":" + port
}

func defaultPort(scheme string) string {
	switch scheme {
	case "https", "wss":
		return "443"
	case "http", "ws":
		return "80"
	}
	return ""
}
