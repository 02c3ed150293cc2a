package sessionstate

import (
	"strings"
	"unicode/utf8"
)

// MaxReason is the longest message of WT_CLOSE_SESSION, in bytes.
const MaxReason = 1024

// TruncateReason makes reason fit for WT_CLOSE_SESSION: bytes that are not
// UTF-8 become U+FFFD, a run of them one, and what exceeds [MaxReason] is cut
// off at the last boundary between code points. What fits is returned as it is.
func TruncateReason(reason string) string {
	reason = strings.ToValidUTF8(reason, "\uFFFD")
	if len(reason) <= MaxReason {
		return reason
	}
	n := MaxReason
	for !utf8.RuneStart(reason[n]) {
		n--
	}
	return reason[:n]
}

// ValidReason reports whether a message that the peer sent is at most
// [MaxReason] bytes of UTF-8, as both drafts' "WT_CLOSE_SESSION" demand.
func ValidReason(message string) bool {
	return len(message) <= MaxReason && utf8.ValidString(message)
}
