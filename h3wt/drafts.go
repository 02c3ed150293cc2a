package h3wt

import "fmt"

// A Draft is a range of revisions of draft-ietf-webtrans-http3 that share the
// setting by which they are announced, named by the first of them. Both ends
// announce all that they speak, and the highest in common is used ("Negotiating
// the Draft Version"). The zero Draft is none.
type Draft uint8

const (
	Draft02 Draft = 2  // revisions 02 to 06
	Draft07 Draft = 7  // revisions 07 to 12
	Draft13 Draft = 13 // revisions 13 and 14
	Draft15 Draft = 15 // revisions 15 and 16
)

// String returns the range of revisions, as in "drafts 13 to 14".
func (d Draft) String() string {
	for i := range drafts {
		if r := &drafts[i]; r.draft == d {
			return fmt.Sprintf("drafts %02d to %02d", uint8(r.draft), r.last)
		}
	}
	return "no draft"
}

// draftRules is what differs between the ranges of drafts, and cannot be told
// apart within one: there the newest revision counts, unless it would break the
// older ones.
type draftRules struct {
	draft Draft
	last  uint8 // the last revision of the range
	// setting announces the range, under this name.
	setting uint64
	name    string
	// value is the setting as the peer sent it; announce is what this endpoint
	// sends.
	value    func(PeerSettings) uint64
	announce func(maxSessions int) uint64
	// most is the largest value that is not H3_SETTINGS_ERROR, for each role
	// that has to check it; 0 is no limit.
	mostAtClient, mostAtServer uint64
	// counts says that a server's value is how many sessions a client may have.
	counts bool
	// connectSetting says that a server has to send 0x8. In older drafts the
	// setting implies it.
	connectSetting bool
	// token is the :protocol of a client.
	token string
	// versionHeader says that a client also names the draft in a header field,
	// and the server answers with one.
	versionHeader bool
	// resetStreamAt says that a peer without the transport parameter
	// reset_stream_at does not offer WebTransport. Drafts 10 to 14 ask for it
	// as well, but most that announce them do not have it; their streams are
	// reset by RESET_STREAM.
	resetStreamAt bool
	// tokens says that the peer may write application protocols as Tokens, as
	// drafts 10 to 12 do. What else announces these settings writes Strings.
	tokens bool
	flow   flowRule
	limits limitRule
}

// A flowRule says when sessions have flow control, given that this endpoint
// always asks for it.
type flowRule uint8

const (
	flowNever flowRule = iota
	// flowByLimits: the peer sent an initial limit that is not 0.
	flowByLimits
	// flowByLimitsOrCount: or a number of sessions above 1. Draft 13 knows only
	// the latter, of both endpoints; it ignores the capsules if it is off there.
	flowByLimitsOrCount
)

// A limitRule says which WT_MAX_DATA and WT_MAX_STREAMS end the session with
// WT_FLOW_CONTROL_ERROR.
type limitRule uint8

const (
	limitsAny      limitRule = iota // none
	limitsNotLower                  // those that lower the limit
	limitsHigher                    // those that do not raise it
)

// drafts are the ranges, the newest first: the first that both sides announce is
// the one in use.
var drafts = [...]draftRules{
	{
		draft: Draft15, last: 16,
		setting: settingEnabled, name: "WT_ENABLED",
		value:          func(p PeerSettings) uint64 { return p.Enabled },
		announce:       announceFlag,
		mostAtClient:   1,
		connectSetting: true,
		token:          protocolH3,
		resetStreamAt:  true,
		flow:           flowByLimits,
		limits:         limitsHigher,
	},
	{
		draft: Draft13, last: 14,
		setting: settingMaxSessions, name: "WT_MAX_SESSIONS",
		value: func(p PeerSettings) uint64 { return p.MaxSessions },
		// Above 1 it asks for flow control, and in draft 13 nothing else does: with
		// 1 the two drafts would not agree on whether it is on. A session too many
		// is refused.
		announce:       func(maxSessions int) uint64 { return uint64(max(maxSessions, 2)) },
		counts:         true,
		connectSetting: true,
		token:          protocolLegacy,
		flow:           flowByLimitsOrCount,
		limits:         limitsNotLower,
	},
	{
		draft: Draft07, last: 12,
		setting: settingDraft07, name: "WEBTRANSPORT_MAX_SESSIONS",
		value: func(p PeerSettings) uint64 { return p.Draft07 },
		// Most of these drafts have no flow control, so the sessions of a
		// connection would have no limits of their own.
		announce:       announceFlag,
		counts:         true,
		connectSetting: true,
		token:          protocolLegacy,
		tokens:         true,
		flow:           flowByLimits, // draft 12
		limits:         limitsAny,
	},
	{
		draft: Draft02, last: 6,
		setting: settingDraft02, name: "ENABLE_WEBTRANSPORT",
		value:         func(p PeerSettings) uint64 { return p.Draft02 },
		announce:      announceFlag,
		mostAtClient:  1,
		mostAtServer:  1,
		token:         protocolLegacy,
		versionHeader: true,
		flow:          flowNever,
		limits:        limitsAny,
	},
}

func announceFlag(int) uint64 { return 1 }

// spoken are the ranges that an endpoint speaks whose oldest is min.
func spoken(min Draft) []draftRules {
	n := 1 // at least the newest
	for n < len(drafts) && drafts[n].last >= uint8(min) {
		n++
	}
	return drafts[:n]
}

// Draft returns the newest range that the peer announced, 0 if none: which is
// what clients of drafts 09 to 12 do.
func (p PeerSettings) Draft() Draft {
	if r := p.common(Draft02); r != nil {
		return r.draft
	}
	return 0
}

// common returns the rules of the newest range that the peer announced and this
// endpoint speaks; nil if there is none.
func (p PeerSettings) common(min Draft) *draftRules {
	for i := range spoken(min) {
		if r := &drafts[i]; r.value(p) != 0 {
			return r
		}
	}
	return nil
}

// flowControlled reports whether sessions have flow control. Our initial limits
// are never all zero and ask for it.
func (r *draftRules) flowControlled(p PeerSettings) bool {
	limits := p.InitialMaxData != 0 || p.InitialMaxStreamsUni != 0 || p.InitialMaxStreamsBidi != 0
	switch r.flow {
	case flowByLimits:
		return limits
	case flowByLimitsOrCount:
		return limits || r.value(p) > 1
	}
	return false
}

// maxSessions is how many sessions a connection may have at once, of those that
// this endpoint allows: without flow control one, and at a client no more than
// the server says.
func (r *draftRules) maxSessions(p PeerSettings, allowed int, server bool) int {
	switch {
	case !r.flowControlled(p):
		return 1
	case r.counts && !server:
		return int(min(uint64(allowed), r.value(p)))
	}
	return allowed
}
