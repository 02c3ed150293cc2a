package transport

import "strconv"

// A Dialect says which revisions of draft-ietf-webtrans-http2 a session follows.
// Draft 15 gave the two types of WT_STREAM each other's meaning, and no setting
// or header field tells which reading a peer has. HTTP/3, whose revisions
// announce themselves, and Towpath's own WebSocket subprotocol, which is always
// draft 15, do not depend on it.
type Dialect uint8

const (
	// DialectAuto (default) speaks draft 15 exactly with another Towpath
	// endpoint, which it recognises. With everybody else it begins with the
	// reading of the older drafts, which is that of the peers in the field,
	// learns from what the peer sends, and tolerates what known peers do. Until
	// it has learned, Read may tell the end of a stream 100 ms late, and if it
	// learns too late, the session ends with a [*DialectError], or the peer
	// resets it.
	DialectAuto Dialect = iota
	// DialectDraft15 is draft 15 exactly, nothing older is accepted. A Towpath
	// endpoint with DialectAuto recognises one with DialectDraft15.
	DialectDraft15
	// DialectLegacy is the reading of drafts 07 to 14, nothing is learnt.
	DialectLegacy
)

// String returns "auto", "draft-15" or "legacy".
func (d Dialect) String() string {
	switch d {
	case DialectAuto:
		return "auto"
	case DialectDraft15:
		return "draft-15"
	case DialectLegacy:
		return "legacy"
	}
	return "Dialect(" + strconv.Itoa(int(d)) + ")"
}
