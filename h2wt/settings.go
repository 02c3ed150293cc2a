package h2wt

import (
	"math"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/internal/handshake"
	"github.com/towpath-go/towpath/internal/session"
	"github.com/towpath-go/towpath/transport"
)

// Settings of draft-ietf-webtrans-http2 "HTTP/2 SETTINGS Parameter
// Registration". LOCAL and REMOTE are seen from the side that sends them.
const (
	settingEnabled           http2.SettingID = 0x2b60 // SETTINGS_WT_ENABLED
	settingMaxData           http2.SettingID = 0x2b61 // SETTINGS_WT_INITIAL_MAX_DATA
	settingMaxDataUni        http2.SettingID = 0x2b62 // ..._MAX_STREAM_DATA_UNI
	settingMaxDataBidiLocal  http2.SettingID = 0x2b63 // ..._MAX_STREAM_DATA_BIDI_LOCAL
	settingMaxStreamsUni     http2.SettingID = 0x2b64 // ..._MAX_STREAMS_UNI
	settingMaxStreamsBidi    http2.SettingID = 0x2b65 // ..._MAX_STREAMS_BIDI
	settingMaxDataBidiRemote http2.SettingID = 0x2b66 // ..._MAX_STREAM_DATA_BIDI_REMOTE
)

// knownSettings are the peer's settings that we look at.
var knownSettings = []http2.SettingID{
	settingEnabled,
	settingMaxData,
	settingMaxDataUni,
	settingMaxDataBidiLocal,
	settingMaxStreamsUni,
	settingMaxStreamsBidi,
	settingMaxDataBidiRemote,
}

// localSettings are the limits that both sides announce: all six, since the
// default of each is 0, which allows nothing. A client does not announce
// WT_ENABLED; the server adds it.
func localSettings(c *transport.Config) []http2.Setting {
	d := c.WithDefaults()
	n := func(v int64) uint32 { return uint32(min(v, 1<<32-1)) }
	return []http2.Setting{
		{ID: settingMaxData, Val: n(d.InitialSessionWindow)},
		{ID: settingMaxDataUni, Val: n(d.InitialStreamWindow)},
		{ID: settingMaxDataBidiLocal, Val: n(d.InitialStreamWindow)},
		{ID: settingMaxDataBidiRemote, Val: n(d.InitialStreamWindow)},
		{ID: settingMaxStreamsUni, Val: n(d.MaxIncomingUniStreams)},
		{ID: settingMaxStreamsBidi, Val: n(d.MaxIncomingStreams)},
	}
}

// limitsOf returns the initial limits that one side has published: the larger
// of its SETTINGS and its WebTransport-Init, per item (draft-ietf-webtrans-http2
// "Flow Control Header Field"). An item in neither is 0. With oneBidiLimit the
// setting for the streams that its sender opens stands for the other bidirectional
// ones too if those have none.
func limitsOf(s h2conn.Settings, init handshake.Init, oneBidiLimit bool) session.InitialLimits {
	get := func(id http2.SettingID) uint64 {
		v, _ := s.Value(id)
		return uint64(v)
	}
	l := session.InitialLimits{
		MaxData:                 get(settingMaxData),
		MaxStreamDataUni:        max(get(settingMaxDataUni), init.Uni),
		MaxStreamDataBidiLocal:  max(get(settingMaxDataBidiLocal), init.BidiLocal),
		MaxStreamDataBidiRemote: max(get(settingMaxDataBidiRemote), init.BidiRemote),
		MaxStreamsUni:           get(settingMaxStreamsUni),
		MaxStreamsBidi:          get(settingMaxStreamsBidi),
	}
	if _, ok := s.Value(settingMaxDataBidiRemote); !ok && oneBidiLimit {
		l.MaxStreamDataBidiRemote = max(l.MaxStreamDataBidiRemote, l.MaxStreamDataBidiLocal)
	}
	return l
}

// initOf is the WebTransport-Init that a client sends: never below its
// SETTINGS, and above them if the session's own Config has larger windows. It also
// offers to speak draft 15 exactly with another Towpath endpoint.
func initOf(conn, own *transport.Config) handshake.Init {
	c, o := conn.WithDefaults(), own.WithDefaults()
	window := uint64(max(c.InitialStreamWindow, o.InitialStreamWindow))
	return handshake.Init{Uni: window, BidiLocal: window, BidiRemote: window, Towpath: offersDraft15(o.Dialect)}
}

// offersWebTransport tells whether a server's settings let a client ask for a
// session. Drafts before 15 did not have WT_ENABLED as it is now: it counted
// sessions, or did not exist, and any of the limits shows the support. A server
// that gives the value 0 says no in every draft.
func offersWebTransport(s h2conn.Settings, d transport.Dialect) bool {
	if !s.ConnectProtocol {
		return false
	}
	enabled, given := s.Value(settingEnabled)
	if d == transport.DialectDraft15 {
		return enabled == 1
	}
	if given {
		return enabled > 0
	}
	for _, id := range knownSettings {
		if v, _ := s.Value(id); v > 0 {
			return true
		}
	}
	return false
}

// maxSessionsOf is how many sessions the server's settings allow on the
// connection at once, as drafts 07 to 12 have it. A value above 1 can only be such
// a number. 1 is what every server of draft 15 says, and is taken for a number
// under DialectLegacy alone, of a server without the setting that came with
// draft 14: a server that does count refuses the second session itself, with
// REFUSED_STREAM, which costs a round trip and nothing else.
func maxSessionsOf(s h2conn.Settings, d transport.Dialect) int {
	enabled, given := s.Value(settingEnabled)
	_, later := s.Value(settingMaxDataBidiRemote)
	if given && (enabled > 1 || d == transport.DialectLegacy && !later) {
		return int(min(enabled, math.MaxInt32))
	}
	return math.MaxInt
}

// withdrawn tells whether a client has acknowledged that the server does not
// offer WebTransport any more.
func withdrawn(acked h2conn.Settings) bool {
	enabled, given := acked.Value(settingEnabled)
	return given && enabled == 0
}

// checkServerSettings checks a SETTINGS frame that a client received: "A client
// that receives a value other than 0 or 1 for SETTINGS_WT_ENABLED MUST close the
// connection with PROTOCOL_ERROR", and ENABLE_CONNECT_PROTOCOL must not go back
// to 0 (RFC 8441 section 3). Under the other dialects than draft 15 such a value
// is an older draft's number of sessions.
func checkServerSettings(before, now h2conn.Settings, d transport.Dialect) error {
	if v, _ := now.Value(settingEnabled); v > 1 && d == transport.DialectDraft15 {
		return &h2conn.ConnError{Code: http2.ErrCodeProtocol, Reason: "WT_ENABLED is above 1"}
	}
	if before.ConnectProtocol && !now.ConnectProtocol {
		return &h2conn.ConnError{Code: http2.ErrCodeProtocol, Reason: "ENABLE_CONNECT_PROTOCOL went back to 0"}
	}
	return nil
}
