package transport

import (
	"net/http"
)

// DialOptions describe the session that a client asks for. All backends share
// it; nil is the zero value.
type DialOptions struct {
	// Header is added to the CONNECT request. Fields that the protocol sets
	// itself (Origin, WT-Available-Protocols, WebTransport-Init) are refused here.
	Header http.Header
	// Origin is the Origin field; empty means none. Browsers always send one.
	Origin string
	// Protocols are the application protocols offered, most preferred first:
	// 1 to 512 bytes each, no duplicates.
	Protocols []string
	// RequireProtocol ends the session with WT_ALPN_ERROR if the server
	// selects none of Protocols.
	RequireProtocol bool
	// RequireUnreliable refuses ways that cannot lose datagrams (all over TCP):
	// dialing them returns ErrUnsupported. W3C "requireUnreliable".
	RequireUnreliable bool
	// Config holds the session's limits; nil means defaults.
	Config *Config
}

// UpgradeOptions describe how a server accepts a session. All backends share
// it; nil is the zero value.
type UpgradeOptions struct {
	// Protocols are the application protocols the server speaks. The first of
	// the client's offers that is in here is selected.
	Protocols []string
	// RequireProtocol answers 400 if none of the client's offers fits.
	RequireProtocol bool
	// Origins are the patterns of origins accepted besides the request's own:
	// path.Match on host[:port], or on scheme://host[:port] if the pattern
	// contains "://". "null" matches the opaque origin, "*" alone matches any
	// Origin whatsoever, unparsable ones included. A request without Origin is
	// accepted always.
	Origins []string
	// CheckOrigin, if set, decides alone; Origins is not consulted.
	CheckOrigin func(r *http.Request) bool
	// AllowOriginWithoutScheme accepts an Origin that is only host[:port], which
	// no browser sends but some libraries do, as the https origin of that name.
	// If it has no port either, it is the request's own origin on any port.
	// Without this such an Origin is refused, unless Origins has "*".
	AllowOriginWithoutScheme bool
	// Header is added to the response.
	Header http.Header
	// StatusCode is the 2xx status of the acceptance, 0 means 200. 204, 205
	// and 206 are refused: they forbid the bytes that follow.
	StatusCode int
	// Config holds the session's limits; nil means the server's.
	Config *Config
}
