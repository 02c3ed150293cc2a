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

// kdraftLimits are the limits that both sides begin with: no credit, and on a
// server the streams that the client opens unasked. A greeting says the same,
// since not every version of the client need know.
func (c *Config) kdraftLimits(client bool) (local, peer session.InitialLimits) {
	if c.initial != nil {
		l, p := c.limits(client)
		local.MaxStreamsBidi, local.MaxStreamsUni = l.MaxStreamsBidi, l.MaxStreamsUni
		peer.MaxStreamsBidi, peer.MaxStreamsUni = p.MaxStreamsBidi, p.MaxStreamsUni
		return local, peer
	}
	local.MaxStreamsBidi, local.MaxStreamsUni = kdraftStreams, kdraftStreams
	return local, peer
}

// kdraftMapping is the mapping of fails-components' subprotocols on a server.
type kdraftMapping struct {
	s        *session.Session
	recv     kdraftRecv // of the reader
	send     kdraftSend // of the writer
	greeting []byte     // of the writer: capsules that go out first
}

// newKDraftMapping returns the mapping of a connection whose session was made
// with p.
func newKDraftMapping(c *conn, p session.Params) *kdraftMapping {
	m := &kdraftMapping{s: c.sess, recv: kdraftRecv{
		deliver:     c.sess.Data,
		maxDatagram: p.Config.WithDefaults().MaxDatagramSize,
		hold:        c.hold,
	}}
	m.greeting = capsule.MaxStreams{MaximumStreams: p.Local.MaxStreamsBidi}.Append(m.greeting)
	m.greeting = capsule.MaxStreams{Uni: true, MaximumStreams: p.Local.MaxStreamsUni}.Append(m.greeting)
	return m
}

// kdraftMaxMessage is the longest message that is received: one may carry all
// the credit of a stream, and none of it is held, or a whole datagram.
func kdraftMaxMessage(cfg *Config, session *transport.Config) int64 {
	d := session.WithDefaults()
	return max(cfg.maxMessageSize(), d.MaxStreamWindow+capsule.MaxStreamHeader, int64(d.MaxDatagramSize)+8)
}

// received implements mapping.
func (m *kdraftMapping) received(p []byte, last bool) error { return m.recv.message(p, last) }

// within implements mapping.
func (m *kdraftMapping) within() bool { return m.recv.within() }

// fill implements mapping. It writes one frame for each capsule, and more for
// one that is longer than dst, which is at least 2 KiB long.
func (m *kdraftMapping) fill(dst []byte) (n int, end bool) {
	if m.greeting != nil {
		n = m.send.frames(dst, m.greeting)
		m.greeting = nil
		return n, false
	}
	gap := kdraftGap(len(dst))
	n, end = m.s.Fill(dst[gap:])
	return m.send.frames(dst, dst[gap:gap+n]), end
}

// kdraftGap is the room that capsules at the end of a buffer of n bytes need in
// front of them, so that the frames that they become never catch up with them. A
// frame takes at most half as much again as its capsule, which is 2 bytes or
// longer, and the first one up to 4 bytes without a capsule's header.
func kdraftGap(n int) int { return n/3 + 4 }

// frames writes what p, the next bytes of the capsule stream, becomes to dst, and
// returns its length. P may stand in dst, behind kdraftGap.
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
