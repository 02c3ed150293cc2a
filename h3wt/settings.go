package h3wt

import (
	"fmt"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/towpath-go/towpath/capsule"
)

// HTTP/3 settings of WebTransport. Each range of draft revisions has an own
// setting to announce support, so that the versions in common show.
const (
	settingEnabled     = 0x2c7cf000 // WT_ENABLED, drafts 15 and 16: 0 or 1
	settingMaxSessions = 0x14e9cd29 // WT_MAX_SESSIONS, drafts 13 and 14
	settingDraft07     = 0xc671706a // WEBTRANSPORT_MAX_SESSIONS, drafts 07 to 12
	settingDraft02     = 0x2b603742 // ENABLE_WEBTRANSPORT, drafts up to 06

	settingInitialMaxData        = 0x2b61 // SETTINGS_WT_INITIAL_MAX_DATA
	settingInitialMaxStreamsUni  = 0x2b64 // SETTINGS_WT_INITIAL_MAX_STREAMS_UNI
	settingInitialMaxStreamsBidi = 0x2b65 // SETTINGS_WT_INITIAL_MAX_STREAMS_BIDI
)

// The upgrade tokens. The second is that of drafts up to 14.
const (
	protocolH3     = "webtransport-h3"
	protocolLegacy = "webtransport"
)

// Frame type and stream type that begin WebTransport's streams.
const (
	bidiStreamType = 0x41 // WT_STREAM
	uniStreamType  = 0x54 // WebTransport stream
)

// PeerSettings is what the peer's SETTINGS and transport parameters say.
type PeerSettings struct {
	// Enabled is SETTINGS_WT_ENABLED, MaxSessions SETTINGS_WT_MAX_SESSIONS of
	// drafts 13 and 14; Draft07 and Draft02 are the settings of older drafts.
	Enabled, MaxSessions, Draft07, Draft02 uint64
	// InitialMaxData, InitialMaxStreamsUni and InitialMaxStreamsBidi limit
	// what may be sent in each session until capsules raise them.
	InitialMaxData, InitialMaxStreamsUni, InitialMaxStreamsBidi uint64
	// ExtendedConnect and Datagrams are the settings 0x8 and 0x33.
	ExtendedConnect, Datagrams bool
	// QUICDatagrams and ResetStreamAt are the transport parameters
	// max_datagram_frame_size (above 0) and reset_stream_at.
	QUICDatagrams, ResetStreamAt bool
}

// peerSettings collects what was received. It is called once SETTINGS are here.
func peerSettings(s *http3.Settings, state quic.ConnectionState) PeerSettings {
	return PeerSettings{
		Enabled:               s.Other[settingEnabled],
		MaxSessions:           s.Other[settingMaxSessions],
		Draft07:               s.Other[settingDraft07],
		Draft02:               s.Other[settingDraft02],
		InitialMaxData:        s.Other[settingInitialMaxData],
		InitialMaxStreamsUni:  s.Other[settingInitialMaxStreamsUni],
		InitialMaxStreamsBidi: s.Other[settingInitialMaxStreamsBidi],
		ExtendedConnect:       s.EnableExtendedConnect,
		Datagrams:             s.EnableDatagrams,
		QUICDatagrams:         state.SupportsDatagrams.Remote,
		ResetStreamAt:         state.SupportsStreamResetPartialDelivery.Remote,
	}
}

// Invalid names a value that no peer may send, "" if there is none. A client
// that sees WT_ENABLED above 1 closes with H3_SETTINGS_ERROR
// (draft-ietf-webtrans-http3 "Establishing a WebTransport-Capable HTTP/3
// Connection"); stream counts above 2^60 have no stream ID.
func (p PeerSettings) invalid() string {
	switch {
	case p.Enabled > 1:
		return fmt.Sprintf("SETTINGS_WT_ENABLED is %d", p.Enabled)
	case p.InitialMaxStreamsUni > capsule.MaxStreamCount || p.InitialMaxStreamsBidi > capsule.MaxStreamCount:
		return "an initial limit on streams is above 2^60"
	}
	return ""
}

// serverMissing says what a server lacks for WebTransport, "" if nothing. What
// it lacks keeps a client from sending a CONNECT.
func (p PeerSettings) serverMissing() string {
	switch {
	case p.Enabled == 0 && p.MaxSessions == 0 && p.Draft07 == 0 && p.Draft02 != 1:
		return "no WebTransport setting"
	case !p.ExtendedConnect:
		return "no SETTINGS_ENABLE_CONNECT_PROTOCOL"
	}
	return p.missing()
}

// missing says which of the requirements on both endpoints p does not meet.
// reset_stream_at belongs to the drafts that have WT_ENABLED; an older peer's
// streams are reset with plain RESET_STREAM.
func (p PeerSettings) missing() string {
	switch {
	case !p.Datagrams:
		return "no SETTINGS_H3_DATAGRAM"
	case !p.QUICDatagrams:
		return "no max_datagram_frame_size transport parameter"
	case p.Enabled != 0 && !p.ResetStreamAt:
		return "no reset_stream_at transport parameter"
	}
	return ""
}

// token is the upgrade token of the highest version in common with a server.
func (p PeerSettings) token() string {
	if p.Enabled != 0 {
		return protocolH3
	}
	return protocolLegacy
}

// wantsFlowControl reports whether the sender of the settings asks for session
// flow control: any of the three limits is not zero.
func (p PeerSettings) wantsFlowControl() bool {
	return p.InitialMaxData != 0 || p.InitialMaxStreamsUni != 0 || p.InitialMaxStreamsBidi != 0
}

// initialLimits are the limits that this endpoint sends in its SETTINGS, for
// every session of the connection.
type initialLimits struct {
	maxData, maxStreamsUni, maxStreamsBidi uint64
}

// settings are the settings of both roles. WT_MAX_SESSIONS and the draft-02
// setting let older peers in; 1 promises them no pooling and so, by the rules
// of their drafts, no flow control of which the limits would be 0.
func (l initialLimits) settings() map[uint64]uint64 {
	return map[uint64]uint64{
		settingEnabled:               1,
		settingMaxSessions:           1,
		settingDraft02:               1,
		settingInitialMaxData:        l.maxData,
		settingInitialMaxStreamsUni:  l.maxStreamsUni,
		settingInitialMaxStreamsBidi: l.maxStreamsBidi,
	}
}
