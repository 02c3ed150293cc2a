package wswt

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/towpath-go/towpath/internal/handshake"
	"github.com/towpath-go/towpath/internal/session"
)

// Subprotocol is the name of the WebSocket subprotocol that carries a session. A
// client offers it bare, and before that, for each application protocol that it
// speaks, followed by "." and the protocol in base64url without padding. The one
// that the server selects names both.
const Subprotocol = "towpath.capsule.v1"

// Names of the handshake's header fields, in the form that [http.Header] uses.
const (
	fieldKey        = "Sec-Websocket-Key"
	fieldAccept     = "Sec-Websocket-Accept"
	fieldVersion    = "Sec-Websocket-Version"
	fieldProtocol   = "Sec-Websocket-Protocol"
	fieldExtensions = "Sec-Websocket-Extensions"
)

// Bounds on the subprotocols that a client offers. A longer field is not read.
const (
	maxOfferSize = 128 << 10 // bytes: 128 protocols of 512 bytes, encoded
	maxOffers    = handshake.MaxMembers + 8
)

// maxEncoded is the length of the longest application protocol in base64url.
var maxEncoded = base64.RawURLEncoding.EncodedLen(handshake.MaxProtocol)

// initialLimits are what both sides may do before the first capsule.
type initialLimits struct{ client, server session.InitialLimits }

// fixedLimits are those of the subprotocol: there are no settings on this way, so
// the name stands for them.
var fixedLimits = session.InitialLimits{
	MaxData:                 1 << 20,
	MaxStreamDataUni:        64 << 10,
	MaxStreamDataBidiLocal:  64 << 10,
	MaxStreamDataBidiRemote: 64 << 10,
	MaxStreamsUni:           100,
	MaxStreamsBidi:          100,
}

// limits returns the initial limits that this side and the peer have published.
func (c *Config) limits(client bool) (local, peer session.InitialLimits) {
	switch {
	case c.initial == nil:
		return fixedLimits, fixedLimits
	case client:
		return c.initial.client, c.initial.server
	}
	return c.initial.server, c.initial.client
}

// subprotocolOf names the subprotocol that carries an application protocol.
func subprotocolOf(protocol string) string {
	if protocol == "" {
		return Subprotocol
	}
	return Subprotocol + "." + base64.RawURLEncoding.EncodeToString([]byte(protocol))
}

// An offer is one subprotocol of a client that this package speaks.
type offer struct {
	subprotocol string
	application string // "" for the bare name
	kdraft      bool   // fails-components'
}

// parseOffer reads one subprotocol. Ok is false if it is not ours, or is ours
// with something behind it that is not an application protocol.
func parseOffer(subprotocol string) (o offer, ok bool) {
	if p, ok := kdraftOffer(subprotocol); ok {
		return offer{subprotocol: subprotocol, application: p, kdraft: true}, p == "" || handshake.CheckProtocols([]string{p}) == nil
	}
	rest, ok := strings.CutPrefix(subprotocol, Subprotocol)
	if !ok {
		return o, false
	}
	if rest == "" {
		return offer{subprotocol: subprotocol}, true
	}
	encoded, ok := strings.CutPrefix(rest, ".")
	if !ok {
		return o, false
	}
	if len(encoded) > maxEncoded {
		return o, false
	}
	// Strict: there is one encoding of each protocol.
	p, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil || strings.ContainsAny(encoded, "\r\n") || handshake.CheckProtocols([]string{string(p)}) != nil {
		return o, false
	}
	return offer{subprotocol: subprotocol, application: string(p)}, true
}

// offers returns what a client offers and a Server speaks, most preferred first.
// Of a client that speaks this package's subprotocol that is all. Ok is false if
// the field is over the bounds, and not read.
func (c *Config) offers(h http.Header) (all []offer, ok bool) {
	names, ok := listed(h[fieldProtocol])
	if !ok {
		return nil, false
	}
	for _, name := range names {
		if o, ok := parseOffer(name); ok && !slices.Contains(all, o) {
			all = append(all, o)
		}
	}
	theirs := func(o offer) bool { return o.kdraft }
	if c.RefuseKDraft || slices.ContainsFunc(all, func(o offer) bool { return !o.kdraft }) {
		all = slices.DeleteFunc(all, theirs)
	}
	return all, true
}

// listed splits the lines of a field into its members. Ok is false if they are
// too many or too long.
func listed(lines []string) (members []string, ok bool) {
	size := 0
	for _, line := range lines {
		if size += len(line) + 2; size > maxOfferSize {
			return nil, false
		}
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.Trim(name, " \t"); name == "" {
				continue
			}
			if len(members) == maxOffers {
				return nil, false
			}
			members = append(members, name)
		}
	}
	return members, true
}

// selectOffer is the server's choice: the first of the client's application
// protocols that is supported, or the first bare name. Ok is false if nothing fits.
func selectOffer(all []offer, supported []string) (o offer, ok bool) {
	bare := -1
	for i, o := range all {
		if o.application == "" {
			if bare < 0 {
				bare = i
			}
		} else if slices.Contains(supported, o.application) {
			return o, true
		}
	}
	if bare < 0 {
		return offer{}, false
	}
	return all[bare], true
}

// IsUpgrade reports whether a request is the opening handshake of a WebSocket
// (RFC 6455, over HTTP/2 as package h2wt shows it) whose client offers a
// subprotocol that [Upgrade] accepts for the Server of the request's context, so
// that it is to answer it.
func IsUpgrade(r *http.Request) bool {
	if !isWebSocket(r) {
		return false
	}
	all, _ := serverOf(r).cfg.offers(r.Header)
	return len(all) > 0
}

// isWebSocket reports whether a request asks for a WebSocket: RFC 6455 section
// 4.1.
func isWebSocket(r *http.Request) bool {
	return r.Method == http.MethodGet &&
		httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade") &&
		httpguts.HeaderValuesContainsToken(r.Header["Upgrade"], "websocket")
}
