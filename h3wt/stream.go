package h3wt

import (
	"context"
	"io"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/transport"
)

// A receiver is the receiving part of a QUIC stream.
type receiver interface {
	io.Reader
	Peek([]byte) (int, error)
	CancelRead(quic.StreamErrorCode)
	SetReadDeadline(time.Time) error
	SetReceiveFinalSizeCallback(func(int64))
	StreamID() quic.StreamID
}

// A sender is the sending part of a QUIC stream.
type sender interface {
	io.WriteCloser
	WriteWithLimit([]byte, func(int) int) (int, error)
	TryWriteAll([]byte) error
	CancelWrite(quic.StreamErrorCode)
	SetReliableBoundary()
	SetWriteDeadline(time.Time) error
	SetPriority(urgency int8, incremental bool)
	Context() context.Context
	StreamID() quic.StreamID
}

var (
	_ receiver = (*quic.Stream)(nil)
	_ receiver = (*quic.ReceiveStream)(nil)
	_ sender   = (*quic.Stream)(nil)
	_ sender   = (*quic.SendStream)(nil)
)

// dataStream is a stream of a session. It stays in the session's table while the
// application may still use one of its parts.
type dataStream struct {
	s    *Session
	id   quic.StreamID
	peer bool      // opened by the peer
	send *sendPart // nil if there is none
	recv *recvPart // nil if there is none
	both *bidiStream
}

// newStream makes a bidirectional stream, of one piece with its parts. Header is
// how many bytes the peer began it with.
func newStream(s *Session, q *quic.Stream, header int, peer bool) *dataStream {
	w := new(struct {
		d    dataStream
		send sendPart
		recv recvPart
		both bidiStream
	})
	w.d = dataStream{s: s, id: q.StreamID(), peer: peer, send: &w.send, recv: &w.recv, both: &w.both}
	w.send.init(&w.d, q, peer)
	w.recv.init(&w.d, q, header)
	w.both = bidiStream{&w.send, &w.recv}
	return &w.d
}

// newSendStream makes a unidirectional stream that was opened here.
func newSendStream(s *Session, q *quic.SendStream) *dataStream {
	w := new(struct {
		d    dataStream
		send sendPart
	})
	w.d = dataStream{s: s, id: q.StreamID(), send: &w.send}
	w.send.init(&w.d, q, false)
	return &w.d
}

// newReceiveStream makes a unidirectional stream of the peer.
func newReceiveStream(s *Session, q *quic.ReceiveStream, header int) *dataStream {
	w := new(struct {
		d    dataStream
		recv recvPart
	})
	w.d = dataStream{s: s, id: q.StreamID(), peer: true, recv: &w.recv}
	w.recv.init(&w.d, q, header)
	return &w.d
}

func (d *dataStream) uni() bool { return d.send == nil || d.recv == nil }

// overLocked reports whether both parts are over, so that the stream gives its
// place in the session back.
func (d *dataStream) overLocked() bool {
	return (d.send == nil || d.send.state.over()) && (d.recv == nil || d.recv.state.over())
}

// bidiStream is what the application sees of a bidirectional stream; of a
// unidirectional one it sees the part.
type bidiStream struct {
	*sendPart
	*recvPart
}

func (b *bidiStream) StreamID() transport.StreamID { return b.sendPart.StreamID() }

func (b *bidiStream) SetDeadline(t time.Time) error {
	err := b.SetReadDeadline(t)
	if werr := b.SetWriteDeadline(t); err == nil {
		err = werr
	}
	return err
}

var (
	_ transport.Stream        = (*bidiStream)(nil)
	_ transport.SendStream    = (*sendPart)(nil)
	_ transport.ReceiveStream = (*recvPart)(nil)
)

// past is a deadline that makes a waiting call of quic-go return.
var past = time.Unix(1, 0)

// streamHeader is what a stream of the session begins with
// (draft-ietf-webtrans-http3 "Unidirectional Streams", "Bidirectional Streams").
func (s *Session) streamHeader(uni bool) []byte {
	if uni {
		return s.uniHeader
	}
	return s.bidiHeader
}
