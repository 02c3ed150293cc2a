package wswt

import (
	"context"
	"errors"
	"strconv"
	"unicode/utf8"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/session"
	"github.com/towpath-go/towpath/transport"
)

// kdraftLimits are the limits that a server begins with: no credit, and the
// streams that the client opens unasked. A greeting says the same, since not
// every version of the client need know.
var kdraftLimits = session.InitialLimits{MaxStreamsBidi: kdraftStreams, MaxStreamsUni: kdraftStreams}

// kdraftMapping is the mapping of fails-components' subprotocols on a server.
type kdraftMapping struct {
	s       *session.Session
	recv    kdraftRecv // of the reader
	send    kdraftSend // of the writer
	greeted bool       // of the writer
}

func newKDraftMapping(s *session.Session, cfg *transport.Config) *kdraftMapping {
	return &kdraftMapping{s: s, recv: kdraftRecv{deliver: s.Data, maxDatagram: cfg.WithDefaults().MaxDatagramSize}}
}

// kdraftMaxMessage is the longest message that is received: one may carry all
// the credit of a stream, and none of it is held.
func kdraftMaxMessage(cfg *Config, session *transport.Config) int64 {
	return max(cfg.maxMessageSize(), session.WithDefaults().MaxStreamWindow+capsule.MaxStreamHeader)
}

// received implements mapping.
func (m *kdraftMapping) received(p []byte, last bool) error { return m.recv.message(p, last) }

// fill implements mapping. It writes one frame for each capsule, and more for
// one that is longer than dst, which is at least 16 KiB - 8 long.
func (m *kdraftMapping) fill(dst []byte) (n int, end bool) {
	if !m.greeted {
		m.greeted = true
		for _, uni := range []bool{false, true} {
			var b [32]byte
			c := capsule.MaxStreams{Uni: uni, MaximumStreams: kdraftStreams}
			n += m.send.frames(dst[n:], c.Append(b[:0]))
		}
		return n, false
	}
	// A frame takes at most half as much again as its capsule, which is 2 bytes
	// or longer, and the first one up to 4 bytes without a capsule's header. So
	// this much in front of the capsules lets the frames never catch up with
	// them.
	gap := len(dst)/3 + 4
	n, end = m.s.Fill(dst[gap:])
	return m.send.frames(dst, dst[gap:gap+n]), end
}

// frames writes what p, the next bytes of the capsule stream, becomes to dst, and
// returns its length. P may stand in dst, as far behind as fill says.
func (e *kdraftSend) frames(dst, p []byte) (n int) {
	for len(p) > 0 {
		piece, taken, ok := e.next(p)
		p = p[taken:]
		if !ok {
			break
		}
		var typ []byte
		if piece.First {
			var b [8]byte
			typ = capsule.AppendVarint(b[:0], uint64(piece.Type))
		}
		n += putFrameHeader(dst[n:], piece.First, piece.Last, len(typ)+len(piece.Value))
		n += copy(dst[n:], typ)
		n += copy(dst[n:], piece.Value)
	}
	return n
}

// putFrameHeader writes the header of an unmasked frame of a binary message to
// b: RFC 6455 section 5.2. The frame is shorter than 64 KiB.
func putFrameHeader(b []byte, first, last bool, length int) int {
	b[0] = 0
	if first {
		b[0] = 0x2 // binary, and not a continuation
	}
	if last {
		b[0] |= 0x80 // FIN
	}
	if length < 126 {
		b[1] = byte(length)
		return 2
	}
	b[1], b[2], b[3] = 126, byte(length>>8), byte(length)
	return 4
}

// farewell is the reason of the Close frame that answers the peer's close: the
// browser build reports what stands there as code and reason of its own close,
// and 1000 if nothing does. It is as much of the reason as fits.
func (m *kdraftMapping) farewell() string {
	var end *transport.SessionError
	if !errors.As(context.Cause(m.s.Context()), &end) || !end.Remote || end.Err != nil {
		return ""
	}
	s := strconv.FormatUint(uint64(end.Code), 10) + ":" + end.Reason
	if len(s) <= maxCloseReason {
		return s
	}
	n := maxCloseReason
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// maxCloseReason is the longest reason of a Close frame, in bytes.
const maxCloseReason = maxControl - 2

// framed implements mapping.
func (*kdraftMapping) framed() bool { return true }
