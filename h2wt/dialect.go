package h2wt

import (
	"log/slog"
	"net/http"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/internal/handshake"
	"github.com/towpath-go/towpath/internal/session"
	"github.com/towpath-go/towpath/transport"
)

// dialectOf is the dialect that a Config asks for. A value that is none means
// DialectAuto.
func dialectOf(c *transport.Config) transport.Dialect {
	if c == nil || c.Dialect > transport.DialectLegacy {
		return transport.DialectAuto
	}
	return c.Dialect
}

// agreement is what a session's handshake tells about the peer's dialect. Nothing
// in it says for sure how a peer reads the two types of WT_STREAM, unless the peer
// is known or announces itself as older than draft 15.
type agreement struct {
	dialect transport.Dialect // DialectAuto: the engine is to find out
	parity  session.Parity
	reason  agreementReason
}

// agreementReason says where a dialect comes from.
type agreementReason string

const (
	// The Config says so, and nothing is learnt.
	reasonConfigured agreementReason = "configured"
	// The peer is a Towpath endpoint: both speak draft 15 exactly.
	reasonRecognised agreementReason = "recognised"
	// The peer's settings or header fields are of a draft before 15.
	reasonAnnounced agreementReason = "announced"
	// Nothing is known: the older drafts' reading is a supposition.
	reasonPrior agreementReason = "prior"
)

// offersDraft15 tells whether a side with that dialect would speak draft 15 with
// another Towpath endpoint, and so takes part in the recognition.
func offersDraft15(d transport.Dialect) bool { return d != transport.DialectLegacy }

// clientAgreement is a client's, from the server's SETTINGS and its answer.
//
// "A server supporting WebTransport over HTTP/2 MUST send SETTINGS_WT_ENABLED"
// with the value 1: what does not say exactly that is no server of draft 15.
func clientAgreement(d transport.Dialect, server h2conn.Settings, recognised bool) agreement {
	switch {
	case d != transport.DialectAuto:
		return agreement{dialect: d, reason: reasonConfigured}
	case recognised:
		return agreement{dialect: transport.DialectDraft15, reason: reasonRecognised}
	}
	if v, _ := server.Value(settingEnabled); v == 1 {
		return agreement{reason: reasonPrior}
	}
	a := agreement{dialect: transport.DialectLegacy, reason: reasonAnnounced}
	if hasFailsSettings(server) {
		a.parity = session.ParityLearnSwapped
	}
	return a
}

// serverAgreement is a server's, from the client's SETTINGS and request.
func serverAgreement(d transport.Dialect, client h2conn.Settings, request http.Header, recognised bool) agreement {
	switch {
	case d != transport.DialectAuto:
		return agreement{dialect: d, reason: reasonConfigured}
	case recognised:
		return agreement{dialect: transport.DialectDraft15, reason: reasonRecognised}
	}
	a := agreement{parity: session.ParityLearn, reason: reasonPrior}
	_, counts := client.Value(settingEnabled) // which clients did up to draft 10
	if _, later := client.Value(settingMaxDataBidiRemote); later {
		counts = false // the limit is draft 14's: WT_ENABLED is there by mistake
	}
	fails := isFailsRequest(d, request)
	_, firefox := request["Sec-Webtransport-Http3-Draft02"]
	if counts || fails || firefox {
		a.dialect, a.reason = transport.DialectLegacy, reasonAnnounced
	}
	switch {
	case fails:
		a.parity = session.ParitySwapped
	case hasFailsSettings(client):
		a.parity = session.ParityLearnSwapped
	}
	return a
}

// isFailsRequest tells whether a request has the field by which a server with
// DialectAuto knows the client of fails-components: authority, beside :authority.
// It takes the value of WT-Protocol for the protocol, quotes included.
func isFailsRequest(d transport.Dialect, request http.Header) bool {
	_, authority := request["Authority"]
	return d == transport.DialectAuto && authority
}

// hasFailsSettings tells whether a peer's SETTINGS are those of fails-components:
// limits, but neither WT_ENABLED nor the limit on bidirectional streams that the
// receiver opens. Draft 13 has the same ones; that implementation is the only
// known one that sends them, and its parity of stream IDs is swapped. So that is
// what to expect, unless the peer opens the first stream and proves otherwise.
func hasFailsSettings(s h2conn.Settings) bool {
	for _, id := range [...]http2.SettingID{settingEnabled, settingMaxDataBidiRemote} {
		if _, given := s.Value(id); given {
			return false
		}
	}
	for _, id := range knownSettings {
		if _, given := s.Value(id); given {
			return true
		}
	}
	return false
}

// oneBidiLimit tells whether one setting may stand for the limits on all
// bidirectional streams, as before draft 14.
func (a agreement) oneBidiLimit() bool { return a.dialect != transport.DialectDraft15 }

// log writes the one line that a session has about its dialect.
func (a agreement) log(c *transport.Config, id uint64) {
	if c == nil || c.Logger == nil {
		return
	}
	parity := "draft"
	switch a.parity {
	case session.ParitySwapped:
		parity = "swapped"
	case session.ParityLearn:
		parity = "learnt from the first stream"
	case session.ParityLearnSwapped:
		parity = "swapped unless the peer's first stream says otherwise"
	}
	c.Logger.Info("session dialect", slog.Uint64("session", id), slog.String("dialect", a.dialect.String()),
		slog.String("reason", string(a.reason)), slog.String("parity", parity))
}

// answersTowpath tells whether a server answers a client that offers draft 15 as a
// Towpath endpoint.
func answersTowpath(d transport.Dialect, init handshake.Init) bool {
	return init.Towpath && offersDraft15(d)
}
