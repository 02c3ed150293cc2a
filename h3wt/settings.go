package h3wt

import (
	"fmt"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/towpath-go/towpath/capsule"
)

// HTTP/3 settings of WebTransport. Each range of draft revisions has an own
// setting to announce support, so that the versions in common show; see drafts.
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

// invalid names a value that no peer may send, "" if there is none: a flag above
// 1 of a draft that is spoken (draft-ietf-webtrans-http3 "Establishing a
// WebTransport-Capable HTTP/3 Connection": H3_SETTINGS_ERROR), and stream counts
// above 2^60, which have no stream ID.
func (p PeerSettings) invalid(oldest Draft, server bool) string {
	for _, r := range spoken(oldest) {
		most := r.mostAtClient
		if server {
			most = r.mostAtServer
		}
		if v := r.value(p); most != 0 && v > most {
			return fmt.Sprintf("SETTINGS_%s is %d", r.name, v)
		}
	}
	if p.InitialMaxStreamsUni > capsule.MaxStreamCount || p.InitialMaxStreamsBidi > capsule.MaxStreamCount {
		return "an initial limit on streams is above 2^60"
	}
	return ""
}

// serverRules returns the rules that a server's settings select, or says what it
// lacks for WebTransport, which keeps a client from sending a CONNECT.
func (p PeerSettings) serverRules(oldest Draft) (r *draftRules, missing string) {
	r = p.common(oldest)
	switch {
	case r == nil:
		return nil, "no WebTransport setting of a draft spoken here"
	case r.connectSetting && !p.ExtendedConnect:
		return nil, "no SETTINGS_ENABLE_CONNECT_PROTOCOL"
	}
	return r, p.missing(r)
}

// clientRules is the same for a client's settings, of which drafts 09 to 12 ask
// for none: a client without any is taken for one of those.
func (p PeerSettings) clientRules(oldest Draft) (r *draftRules, missing string) {
	r = p.common(oldest)
	if r == nil {
		for i := range spoken(oldest) {
			if drafts[i].draft == Draft07 {
				r = &drafts[i]
			}
		}
	}
	if r == nil {
		return nil, "no WebTransport setting of a draft spoken here"
	}
	return r, p.missing(r)
}

// missing says which of the requirements on both endpoints p does not meet. The
// older setting for datagrams, 0xffd277, is ignored: with it alone datagrams
// have another form.
func (p PeerSettings) missing(r *draftRules) string {
	switch {
	case !p.Datagrams:
		return "no SETTINGS_H3_DATAGRAM"
	case !p.QUICDatagrams:
		return "no max_datagram_frame_size transport parameter"
	case r.resetStreamAt && !p.ResetStreamAt:
		return "no reset_stream_at transport parameter"
	}
	return ""
}

// initialLimits are the limits that this endpoint sends in its SETTINGS, for
// every session of the connection.
type initialLimits struct {
	maxData, maxStreamsUni, maxStreamsBidi uint64
}

// settings are what an endpoint announces: every draft that it speaks, and the
// initial limits.
func (c *Config) settings() map[uint64]uint64 {
	l := c.limits()
	s := map[uint64]uint64{
		settingInitialMaxData:        l.maxData,
		settingInitialMaxStreamsUni:  l.maxStreamsUni,
		settingInitialMaxStreamsBidi: l.maxStreamsBidi,
	}
	for _, r := range spoken(c.MinDraft) {
		s[r.setting] = r.announce(c.MaxSessions)
	}
	return s
}
