package transport

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// A Session is one WebTransport session, the same on every backend. Its
// methods may be called from any goroutine.
//
// The context given to a method bounds that call alone. Ending it never ends
// the session or a stream. A call that does not need to wait succeeds even with
// a context that has already ended.
//
// Once the session has ended, every method returns the [*SessionError] that
// ended it, as does [context.Cause] of [Session.Context]. Only streams whose
// end had arrived before stay readable.
//
// What arrived and was not read holds credit, the stream's and the session's.
// One stream that nobody reads can hold all that [Config.InitialSessionWindow]
// allows: then the peer can send on no other stream either, until the application
// reads that one or calls CancelRead, which gives the credit back. So read every
// stream that was accepted, accept all that come, and cancel those that are
// not wanted. Datagrams and control need no such credit.
type Session interface {
	// OpenStream opens a bidirectional stream. It waits while the peer's limit
	// on streams is reached. With a context that has already ended and no
	// credit it returns [ErrStreamLimit]. The peer learns of the stream with
	// its first bytes or its end, not by the opening alone.
	OpenStream(ctx context.Context) (Stream, error)
	// OpenUniStream opens a unidirectional stream; it waits as OpenStream does.
	OpenUniStream(ctx context.Context) (SendStream, error)
	// AcceptStream waits for the next bidirectional stream that the peer opened.
	AcceptStream(ctx context.Context) (Stream, error)
	// AcceptUniStream waits for the next unidirectional stream that the peer opened.
	AcceptUniStream(ctx context.Context) (ReceiveStream, error)

	// SendDatagram queues one datagram and returns without waiting for the
	// network. The payload is copied. A full queue drops a datagram as
	// [Config.DatagramDrop] says, counted in Stats; on HTTP/3 it is first given a
	// millisecond to be half empty again, but not while the last time that was in
	// vain. A payload larger than [Info.MaxDatagramSize] gives
	// [*DatagramTooLargeError].
	SendDatagram(p []byte) error
	// ReceiveDatagram waits for the next datagram. The caller owns the slice.
	ReceiveDatagram(ctx context.Context) ([]byte, error)

	// Drain asks the peer to wind the session down (WT_DRAIN_SESSION). The
	// session goes on working; a second call does nothing.
	Drain() error
	// Draining is closed once the peer asked to wind down: by
	// WT_DRAIN_SESSION, or because its connection is going away.
	Draining() <-chan struct{}

	// CloseWithError ends the session with a code and a reason for the peer.
	// The reason is cut to 1,024 bytes at a UTF-8 boundary. Streams already
	// finished with Close are flushed first, for at most [Config.CloseTimeout];
	// what could not be handed to the transport by then is reported as
	// [*UnsentError]. It waits as long again for the peer's answer, without
	// which it returns [ErrUnconfirmed] if streams had been finished; a close of the
	// peer that crossed this one is no answer. With a CloseTimeout of none it waits
	// for neither, and reports only what it knows. Only the first call counts; a
	// later one returns nil.
	//
	// A confirmed end says that the peer's side learned of it, not that its
	// application has read what was finished before: streams that it has not
	// accepted by then it does not get any more. Over HTTP/3 the close can also
	// overtake streams whose packets were lost, or that were finished in the same
	// instant. Let the peer end the session, or answer, where that matters.
	CloseWithError(code SessionErrorCode, reason string) error
	// Context ends when the session ends. Its cause is the *SessionError.
	Context() context.Context

	// Info describes the session. It keeps answering after the end.
	Info() Info
	// Stats returns the session's counters. It keeps answering after the end.
	Stats() Stats

	// ExportKeyingMaterial derives length bytes bound to this session by the
	// TLS exporter (RFC 8446 section 7.5) with the context that both drafts
	// define. Label (1 to 255 bytes) and context (at most 255 bytes, nil is
	// empty) are the application's.
	ExportKeyingMaterial(label string, context []byte, length int) ([]byte, error)
}

// A Protocol says which way a session is carried.
type Protocol uint8

const (
	ProtocolUnknown Protocol = iota
	HTTP3                    // QUIC
	HTTP2                    // TLS over TCP
	WebSocket                // WebSocket messages over TLS and TCP
)

// String returns "h3", "h2" or "ws".
func (p Protocol) String() string {
	switch p {
	case HTTP3:
		return "h3"
	case HTTP2:
		return "h2"
	case WebSocket:
		return "ws"
	}
	return "unknown"
}

// Info describes a session.
type Info struct {
	// Protocol is the way the session is carried.
	Protocol Protocol
	// Unreliable says whether datagrams can be lost on the way instead of
	// holding up what follows: true on HTTP/3 only. W3C "reliability".
	Unreliable bool
	// ApplicationProtocol is the negotiated WT-Protocol, empty if none.
	ApplicationProtocol string
	// LocalAddr and RemoteAddr are the connection's addresses.
	LocalAddr, RemoteAddr net.Addr
	// TLS is the state of the connection's TLS session.
	TLS *tls.ConnectionState
	// MaxDatagramSize is the largest payload SendDatagram accepts now, in
	// bytes; 0 means that datagrams cannot be sent. On HTTP/3 it follows the
	// path's MTU.
	MaxDatagramSize int
	// ID is the session ID: the HTTP/2 or QUIC stream ID of the CONNECT stream,
	// 0 on a WebSocket over HTTP/1.1.
	ID uint64
	// Header is the peer's header: the response's on a client, the request's on
	// a server. Not to be modified.
	Header http.Header
}

// Stats are a session's counters since it began. Nothing here tells of other
// sessions on the same connection.
type Stats struct {
	StreamsOpened   uint64 // streams opened here, both kinds
	StreamsAccepted uint64 // streams opened by the peer, both kinds
	BytesSent       uint64 // stream data handed to the transport
	BytesReceived   uint64 // stream data received; on HTTP/3 when read, or when the stream's end arrived
	BytesRead       uint64 // stream data read by the application

	DatagramsSent            uint64 // handed to the transport
	DatagramsReceived        uint64 // received, dropped ones included
	DatagramsDroppedOutgoing uint64 // dropped before the transport: queue full
	DatagramsExpiredOutgoing uint64 // dropped before the transport: older than MaxAge
	DatagramsDroppedIncoming uint64 // dropped after reception: queue full or too large
	DatagramsExpiredIncoming uint64 // dropped after reception: older than MaxAge
	DatagramsThrottled       uint64 // dropped after reception: above Config.IncomingDatagramRate

	// Stalls counts how often sending stopped for want of the peer's credit: the
	// session's, a stream's, or its limit on streams. On HTTP/3 QUIC's own
	// windows are not seen.
	Stalls uint64
	// Throttled counts how often credit was withheld for Config.IncomingByteRate.
	Throttled uint64

	// RTT is the smoothed round-trip time; negative while it is not known.
	RTT time.Duration
}
