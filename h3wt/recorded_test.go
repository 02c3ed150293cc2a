package h3wt

import (
	"math"

	"github.com/quic-go/quic-go"
)

// recordedPeer is what a peer sends before its first session, as it was seen on
// the wire or stands in its source, or what a draft asks of a peer. The second
// table of docs/http3-drafts.md is made of these.
type recordedPeer struct {
	name string
	from string // measured, source, or draft
	// settings are in the order in which they are sent: id, value.
	settings      []uint64
	resetStreamAt bool // the transport parameter
	// token and fields are a client's :protocol and further fields of its
	// request, or the fields of a server's answer.
	token  string
	fields []string
	// needs is what the peer itself demands, for the document.
	needs string

	draft Draft // the draft in use with us
	// answered says that a client is told the draft in a header field, offers
	// that our client names it in one.
	answered, offers bool
	flow             bool // sessions have flow control
}

func (p recordedPeer) quic() *quic.Config {
	return &quic.Config{EnableDatagrams: true, EnableStreamResetPartialDelivery: p.resetStreamAt}
}

// setting returns a setting's value, 0 if it was not sent.
func (p recordedPeer) setting(id uint64) uint64 {
	for i := 0; i < len(p.settings); i += 2 {
		if p.settings[i] == id {
			return p.settings[i+1]
		}
	}
	return 0
}

// grease is one of the identifiers that RFC 9114 section 7.2.4.1 reserves so
// that unknown ones keep being ignored.
const grease = 0x1f*0x2143 + 0x21

var draft02Offer = []string{"sec-webtransport-http3-draft02", "1"}

// recordedClients are played against our server.
var recordedClients = []recordedPeer{
	{
		name: "Chromium 156", from: "measured",
		settings: []uint64{0x6, 16384, 0x33, 1, settingDraft02, 1, 0x1, 65536, 0x7, 100, 0xffd277, 1, grease, 12345},
		token:    protocolLegacy,
		fields:   append([]string{"origin", "https://example.com"}, draft02Offer...),
		needs:    "0x2b603742, 0x33",
		draft:    Draft02, answered: true,
	},
	{
		name: "Firefox 153", from: "measured",
		settings: []uint64{0x33, 1, 0x8, 1, 0x1, 65536, 0x7, 20, settingDraft02, 1, 0xffd277, 1},
		token:    protocolLegacy,
		fields: append([]string{
			"user-agent", "Mozilla/5.0", "accept", "*/*", "accept-language", "en-US", "accept-encoding", "gzip, deflate, br",
			"origin", "https://example.com", "sec-fetch-dest", "webtransport", "sec-fetch-mode", "no-cors", "sec-fetch-site", "same-origin",
			"pragma", "no-cache", "cache-control", "no-cache",
		}, draft02Offer...),
		needs: "0x2b603742, 0x8, 0x33",
		draft: Draft02, answered: true,
	},
	{
		name: "google/quiche, 2026", from: "source",
		settings: []uint64{0x1, 65536, 0x6, 16384, 0x7, 100, 0x33, 1, 0xffd277, 1, settingDraft02, 1, settingDraft07, 16},
		token:    protocolLegacy,
		fields:   []string{"origin", "https://example.com"},
		needs:    "0x2b603742 or 0xc671706a, 0x33",
		draft:    Draft07,
	},
	{
		name: "webtransport-go v0.9", from: "source",
		settings: []uint64{0x33, 1},
		token:    protocolLegacy,
		fields:   draft02Offer,
		needs:    "0x2b603742, 0x8, 0x33",
		draft:    0, answered: true,
	},
	{
		name: "webtransport-go v0.13", from: "source",
		settings: []uint64{0x33, 1, settingEnabled, 1}, resetStreamAt: true,
		token: protocolH3,
		needs: "0x2c7cf000, 0x8, 0x33, reset_stream_at",
		draft: Draft15,
	},
	{
		name: "drafts 09 to 11", from: "draft",
		settings: []uint64{0x33, 1},
		token:    protocolLegacy,
		needs:    "0xc671706a, 0x8, 0x33",
		draft:    0,
	},
	{
		name: "draft 12", from: "draft",
		settings: []uint64{0x33, 1, settingInitialMaxData, 4000, settingInitialMaxStreamsBidi, 20, settingInitialMaxStreamsUni, 20}, resetStreamAt: true,
		token: protocolLegacy,
		needs: "0xc671706a, 0x8, 0x33",
		draft: 0, flow: true,
	},
	{
		name: "draft 13, several sessions, limits by capsule", from: "draft",
		settings: []uint64{0x33, 1, settingMaxSessions, 16}, resetStreamAt: true,
		token: protocolLegacy,
		needs: "0x14e9cd29, 0x8, 0x33",
		draft: Draft13, flow: true,
	},
	{
		name: "draft 14, one session", from: "draft",
		settings: []uint64{0x33, 1, settingMaxSessions, 1}, resetStreamAt: true,
		token: protocolLegacy,
		needs: "0x14e9cd29, 0x8, 0x33",
		draft: Draft13,
	},
	{
		name: "draft 14, one session with limits", from: "draft",
		settings: []uint64{0x33, 1, settingMaxSessions, 1, settingInitialMaxData, 4000, settingInitialMaxStreamsBidi, 20, settingInitialMaxStreamsUni, 20},
		// without the transport parameter, which browsers of older drafts lack
		token: protocolLegacy,
		needs: "0x14e9cd29, 0x8, 0x33",
		draft: Draft13, flow: true,
	},
	{
		name: "drafts 15 and 16 with limits", from: "draft",
		settings: []uint64{0x33, 1, settingEnabled, 1, settingInitialMaxData, 4000, settingInitialMaxStreamsBidi, 20, settingInitialMaxStreamsUni, 20}, resetStreamAt: true,
		token: protocolH3,
		needs: "0x2c7cf000, 0x8, 0x33, reset_stream_at",
		draft: Draft15, flow: true,
	},
	{
		name: "draft 15 that kept the older token", from: "draft",
		settings: []uint64{0x33, 1, settingEnabled, 2}, resetStreamAt: true,
		token: protocolLegacy,
		needs: "0x2c7cf000, 0x8, 0x33, reset_stream_at",
		draft: Draft15,
	},
}

// recordedServers are played against our client.
var recordedServers = []recordedPeer{
	{
		name: "webtransport-go v0.9", from: "source",
		settings: []uint64{0x33, 1, 0x8, 1, settingDraft02, 1},
		fields:   []string{"sec-webtransport-http3-draft", "draft02"},
		needs:    "the header field of draft 02, 0x33",
		draft:    Draft02, offers: true,
	},
	{
		name: "draft 02, without 0x8", from: "draft",
		settings: []uint64{0x33, 1, 0xffd277, 1, settingDraft02, 1},
		fields:   []string{"sec-webtransport-http3-draft", "draft02"},
		needs:    "0x2b603742, 0x33",
		draft:    Draft02, offers: true,
	},
	{
		name: "google/quiche, 2026", from: "source",
		settings: []uint64{0x1, 65536, 0x6, 16384, 0x7, 100, 0x33, 1, 0xffd277, 1, settingDraft02, 1, settingDraft07, 16, 0x8, 1},
		needs:    "0x2b603742 or 0xc671706a, 0x33",
		draft:    Draft07,
	},
	{
		name: "drafts 07 to 11", from: "draft",
		settings: []uint64{0x33, 1, 0x8, 1, settingDraft07, 10},
		needs:    "0xc671706a (07 and 08), 0x33",
		draft:    Draft07,
	},
	{
		name: "draft 12", from: "draft",
		settings: []uint64{0x33, 1, 0x8, 1, settingDraft07, 2, settingInitialMaxData, 4000, settingInitialMaxStreamsBidi, 20, settingInitialMaxStreamsUni, 20}, resetStreamAt: true,
		needs: "0x33",
		draft: Draft07, flow: true,
	},
	{
		name: "draft 13, several sessions, limits by capsule", from: "draft",
		settings: []uint64{0x33, 1, 0x8, 1, settingMaxSessions, 2}, resetStreamAt: true,
		needs: "0x14e9cd29, 0x33",
		draft: Draft13, flow: true,
	},
	{
		name: "draft 14, one session", from: "draft",
		settings: []uint64{0x33, 1, 0x8, 1, settingMaxSessions, 1}, resetStreamAt: true,
		needs: "0x14e9cd29, 0x33",
		draft: Draft13,
	},
	{
		name: "draft 14 with limits", from: "draft",
		settings: []uint64{0x33, 1, 0x8, 1, settingMaxSessions, 16, settingInitialMaxData, 4000, settingInitialMaxStreamsBidi, 20, settingInitialMaxStreamsUni, 20}, resetStreamAt: true,
		needs: "0x14e9cd29, 0x33",
		draft: Draft13, flow: true,
	},
	{
		name: "webtransport-go v0.11", from: "source",
		settings: []uint64{
			0x33, 1, 0x8, 1, settingDraft02, 1, settingEnabled, 1, settingMaxSessions, math.MaxUint64 >> 2,
			settingInitialMaxStreamsUni, 1 << 60, settingInitialMaxStreamsBidi, 1 << 60, settingInitialMaxData, 1 << 60,
		}, resetStreamAt: true,
		needs: "0x33, reset_stream_at",
		draft: Draft15, flow: true,
	},
	{
		name: "webtransport-go v0.13", from: "measured",
		settings: []uint64{0x6, 1 << 20, 0x33, 1, 0x8, 1, settingDraft02, 1, settingEnabled, 1, settingMaxSessions, math.MaxUint64 >> 2}, resetStreamAt: true,
		needs: "0x33, reset_stream_at",
		draft: Draft15,
	},
	{
		name: "drafts 15 and 16 with limits", from: "draft",
		settings: []uint64{0x33, 1, 0x8, 1, settingEnabled, 1, settingInitialMaxData, 4000, settingInitialMaxStreamsBidi, 20, settingInitialMaxStreamsUni, 20}, resetStreamAt: true,
		needs: "0x2c7cf000, 0x33, reset_stream_at",
		draft: Draft15, flow: true,
	},
}
