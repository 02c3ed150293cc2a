package h3wt

import (
	"net/http"
	"slices"

	"github.com/towpath-go/towpath/internal/handshake"
)

// What the draft in use means for the request and its answer.

// The header fields by which draft 02 names itself ("Negotiating the Draft
// Version"). A request has the first for each draft that the client speaks; the
// answer has the second for the one that the server chose.
const (
	draftOffered       = "Sec-Webtransport-Http3-Draft02"
	draftOfferedValue  = "1"
	draftSelected      = "Sec-Webtransport-Http3-Draft"
	draftSelectedValue = "draft02"
)

// speaks reports whether an upgrade token belongs to a draft that is spoken. In
// drafts 15 and 16 the older one names another protocol, which has all of a
// session on one stream and is not offered here; with older drafts spoken, their
// reading counts whatever the client announced, since browsers and libraries
// moved to the newer setting before they did to the newer token.
func (c *serverConn) speaks(token string) bool {
	return slices.ContainsFunc(spoken(c.cfg.MinDraft), func(r draftRules) bool { return r.token == token })
}

// draftFields are the fields of an accepting response that depend on the draft.
func (c *serverConn) draftFields(request http.Header) http.Header {
	fields := make(http.Header)
	// Some clients of draft 02 announce it by the field alone.
	if c.draftInUse().versionHeader || c.peerSettings().Draft() == 0 {
		if offer := request[draftOffered]; len(offer) == 1 && offer[0] == draftOfferedValue {
			fields.Set(draftSelected, draftSelectedValue)
		}
	}
	return fields
}

// offers returns the application protocols that a client offers, and how the one
// chosen is to be written: as they are.
func (c *serverConn) offers(request http.Header) (protocols []string, format func(string) string) {
	lines := request[handshake.AvailableProtocols]
	if protocols = handshake.ParseAvailableProtocols(lines); len(protocols) > 0 || !c.draftInUse().tokens {
		return protocols, handshake.FormatProtocol
	}
	return handshake.ParseAvailableTokens(lines), handshake.FormatBareProtocol
}

// selected returns the application protocol that a server chose, among those
// offered if it is a Token.
func (r *draftRules) selected(answer http.Header, offered []string) (protocol string, ok bool) {
	lines := answer[handshake.SelectedProtocol]
	if protocol, ok = handshake.ParseProtocol(lines); ok || !r.tokens {
		return protocol, ok
	}
	return handshake.IsBareProtocol(lines, offered)
}
