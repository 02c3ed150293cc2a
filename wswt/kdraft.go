package wswt

import "strings"

// The WebSocket subprotocols of @fails-components/webtransport, which its
// browser build falls back to and offers in this order. Both mean the same on
// the wire: one capsule in each binary message, without the Length field that
// RFC 9297 gives it. Either may go on with "_" and an application protocol.
//
// Beside the missing Length this is what sets them apart from [Subprotocol]:
//
//   - FIN is 0x190B4D3C, and WT_RESET_STREAM has no Reliable Size.
//   - The client opens odd stream IDs, the server even ones.
//   - All limits are 0 until capsules raise them; only the client's on
//     streams is 100 of each kind from the start.
//   - The types of WT_STREAMS_BLOCKED for both kinds of streams are swapped.
const (
	kdraft1 = "webtransport_kDraft1"
	kdraft2 = "webtransport_kDraft2"
)

// kdraftStreams is how many streams of each kind the browser build opens
// without having been allowed any. It takes no lower limit.
const kdraftStreams = 100

// kdraftOffer reports whether a subprotocol is one of these, and the
// application protocol that it names, if any.
func kdraftOffer(subprotocol string) (protocol string, ok bool) {
	for _, name := range []string{kdraft1, kdraft2} {
		rest, ok := strings.CutPrefix(subprotocol, name)
		switch {
		case !ok:
		case rest == "":
			return "", true
		case len(rest) > 1 && rest[0] == '_':
			return rest[1:], true
		}
	}
	return "", false
}
