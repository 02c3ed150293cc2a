package h2conn

import (
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// ServerHandler learns of requests.
type ServerHandler interface {
	// Request is called on the read goroutine for every well-formed request
	// whose stream fits the limit. It must not block. A nil Receiver refuses the
	// stream (REFUSED_STREAM: nothing was processed). Unless it is refused, the
	// owner must call Stream.Done once it has stopped working on it.
	//
	// Malformed requests are reset, and too large ones answered 431, without
	// this call.
	Request(st *Stream, h *Header) Receiver
}

// Receiver is the receiving side of one stream. Its methods are called on the
// read goroutine, one at a time, and must not block. Slices and the Header's
// Fields are only lent for the call; the Header's strings may be kept.
type Receiver interface {
	// Headers brings the response on a client: any number of interim ones (1xx),
	// then the final one. Never called on a server.
	Headers(h *Header)
	// Data brings bytes. It returns how many of them are consumed already; the
	// flow-control credit of the rest is returned by Stream.Consume.
	Data(p []byte) (consumed int)
	// Trailers brings trailer fields; the stream's receiving side has ended.
	Trailers(h *Header)
	// End is called when END_STREAM came with a DATA frame.
	End()
	// Reset is called at most once, as the last call, if the stream ended
	// abruptly: by the peer's RST_STREAM (remote), by an error of the peer that
	// made us reset it, or with the connection. err is a *StreamError. It is not
	// called after the owner's own Stream.Reset, nor once both sides have ended.
	Reset(code http2.ErrCode, remote bool, err error)
}

// PriorityReceiver is implemented by a Receiver on a server that wants
// PRIORITY_UPDATE frames (RFC 9218, section 7.1).
type PriorityReceiver interface {
	PriorityUpdate(value string)
}

// Source is the sending side of one stream.
type Source interface {
	// Fill is called on the write goroutine to get the next bytes, when they can
	// go out at once. It writes at most len(dst) bytes and returns their number,
	// and end if nothing follows them. 0, false means nothing now: Fill is next
	// called after Stream.Wake. dst may be empty if only END_STREAM could be
	// sent. It must not block.
	Fill(dst []byte) (n int, end bool)
}

// TrailerSource is implemented by a Source that ends with trailers.
type TrailerSource interface {
	// Trailers is called after Fill returned end. If it returns fields,
	// END_STREAM goes on them.
	Trailers() []hpack.HeaderField
}

// Stream is one HTTP/2 stream. Its methods do not block.
type Stream struct {
	conn *Conn
	id   uint32
}

// ID returns the stream identifier. A client's stream has it when OpenStream
// returns.
func (s *Stream) ID() uint32 { return s.id }

// Conn returns the stream's connection.
func (s *Stream) Conn() *Conn { return s.conn }

// WriteHeaders sends a header list, pseudo-header fields first: on a server an
// interim response, then the final one. Names must be in lower case. end makes it
// the last thing sent. Lists are written in the order of the calls, before any
// byte of the Source; nothing is taken from the Source before the final response.
// Fields named cookie, set-cookie, authorization or proxy-authorization are never
// indexed, like those marked Sensitive.
//
// onWrite, if not nil, is called on the write goroutine when the frames are
// encoded: peer are the settings we have acknowledged before them.
//
// It returns ErrStreamClosed, or the *StreamError that ended the stream.
func (s *Stream) WriteHeaders(fields []hpack.HeaderField, end bool, onWrite func(peer Settings)) error {
	panic("TODO")
}

// SetSource gives the stream what to send after its headers, and wakes it. It is
// called at most once.
func (s *Stream) SetSource(src Source) { panic("TODO") }

// Wake says that the Source has something to give, or has ended.
func (s *Stream) Wake() { panic("TODO") }

// Consume returns flow-control credit for n bytes that Data did not count as
// consumed.
func (s *Stream) Consume(n int) { panic("TODO") }

// HoldCredit stops WINDOW_UPDATE frames for the stream (not for the connection)
// until ReleaseCredit: the peer can send one initial window and no more.
func (s *Stream) HoldCredit() { panic("TODO") }

// ReleaseCredit ends HoldCredit. Credit that became due meanwhile is sent.
func (s *Stream) ReleaseCredit() { panic("TODO") }

// Reset ends both sides of the stream at once with RST_STREAM. What was not
// written is dropped. It does nothing on a stream that has ended.
func (s *Stream) Reset(code http2.ErrCode) { panic("TODO") }

// Fault is Reset for an error that the peer made. It is charged to
// Config.Resets; beyond that the connection ends with ENHANCE_YOUR_CALM.
func (s *Stream) Fault(code http2.ErrCode) { panic("TODO") }

// Done tells that the owner has stopped working on a server's stream: it counts
// against Config.MaxConcurrentStreams until both the stream has ended and Done
// was called, however it ended. If the response is complete and the request is
// not, the stream is then reset with NO_ERROR (RFC 9113, section 8.1). It has no
// effect on a client.
func (s *Stream) Done() { panic("TODO") }

// SetPriority sets the urgency, 0 (first) to 7, default 3. Streams of one urgency
// share the connection fairly by bytes; a lower number goes strictly first.
func (s *Stream) SetPriority(urgency uint8) { panic("TODO") }
