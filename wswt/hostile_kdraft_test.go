package wswt

import (
	"testing"

	"github.com/gobwas/ws"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// TestHostileKDraft has messages of fails-components' subprotocol bring nothing, or
// never end.
func TestHostileKDraft(t *testing.T) {
	const n = 50
	// message is n messages of one capsule: its type, and then its value.
	message := func(typ capsule.Type, value ...byte) func(p *rawPeer) []byte {
		return again(n, func(p *rawPeer) []byte {
			return p.encode(ws.OpBinary, true, append(capsule.AppendVarint(nil, uint64(typ)), value...))
		})
	}
	// begin is a message that begins with bytes and has no end.
	begin := func(typ capsule.Type) func(p *rawPeer) []byte {
		return func(p *rawPeer) []byte {
			return p.encode(ws.OpBinary, false, capsule.AppendVarint(nil, uint64(typ)))
		}
	}
	piece := func(size int) func(p *rawPeer) []byte {
		return func(p *rawPeer) []byte { return p.encode(ws.OpContinuation, false, make([]byte, size)) }
	}
	opens := message(capsule.TypeStreamFin, 1) // without FIN in this dialect
	tiny := message(capsule.TypeDatagram, 0)
	for _, f := range []flood{
		{name: "kDraft messages of unknown type", piece: message(0x17), frames: n, limit: transport.LimitCapsules},
		{name: "kDraft messages of PADDING", piece: message(capsule.TypePadding, make([]byte, 100)...), frames: n, limit: transport.LimitCapsules},
		{name: "kDraft WT_DATA_BLOCKED again and again", piece: message(capsule.TypeDataBlocked, 1), frames: n, limit: transport.LimitCapsules},
		{name: "kDraft WT_MAX_DATA again and again", piece: message(capsule.TypeMaxData, 0), frames: n, limit: transport.LimitCapsules},
		{name: "kDraft WT_DRAIN_SESSION again and again", piece: message(capsule.TypeDrainSession), frames: n, limit: transport.LimitCapsules},
		{name: "kDraft WT_STREAM that brings nothing", first: opens, piece: opens, frames: n, limit: transport.LimitCapsules},
		{name: "kDraft datagrams of 1 byte", piece: tiny, frames: n, limit: transport.LimitTinyDatagrams},
		{name: "a kDraft control capsule without end", first: begin(capsule.TypeCloseSession), piece: piece(100), frames: 1, status: 1009,
			limit: transport.LimitMessageSize},
		{name: "a kDraft datagram without end", first: begin(capsule.TypeDatagram), piece: piece(1000), frames: 1, status: 1009,
			// A datagram of Config.MaxDatagramSize, gathered by appends.
			bytes: 2 * transport.DefaultMaxDatagramSize, limit: transport.LimitMessageSize},
		{name: "kDraft PADDING without end", first: begin(capsule.TypePadding), piece: piece(1000), frames: 1, status: 1009,
			limit: transport.LimitMessageSize},
		{name: "a kDraft message in fragments of 1 byte", first: begin(capsule.TypePadding), piece: again(n, piece(1)), frames: n,
			limit: transport.LimitFrames},
		{name: "a kDraft message in empty fragments", first: begin(capsule.TypeDatagram), piece: again(n, piece(0)), frames: n,
			limit: transport.LimitFrames},
	} {
		f.id, f.kdraft, f.reads, f.bytes, f.unbound = "DS-17", true, true, f.bytes+sessionBytes, openFloods
		if f.status == 0 {
			f.status = 1008
		}
		f.fixed = f.status == 1009
		f.reaction = "Close " + status(f.status) + " and the end of the session"
		f.run(t)
	}
}
