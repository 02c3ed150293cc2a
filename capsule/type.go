package capsule

import "strconv"

// A Type is a capsule type.
type Type uint64

// The capsule types of RFC 9297 and of both drafts. The drafts' HTTP/3 side
// uses the same numbers for those capsules that it has.
const (
	TypeDatagram Type = 0x00 // DATAGRAM, RFC 9297 section 3.5

	TypePadding            Type = 0x190B4D38 // PADDING
	TypeResetStream        Type = 0x190B4D39 // WT_RESET_STREAM
	TypeStopSending        Type = 0x190B4D3A // WT_STOP_SENDING
	TypeStreamFin          Type = 0x190B4D3B // WT_STREAM with FIN; without, to Legacy
	TypeStream             Type = 0x190B4D3C // WT_STREAM without FIN; with, to Legacy
	TypeMaxData            Type = 0x190B4D3D // WT_MAX_DATA
	TypeMaxStreamData      Type = 0x190B4D3E // WT_MAX_STREAM_DATA
	TypeMaxStreamsBidi     Type = 0x190B4D3F // WT_MAX_STREAMS, bidirectional
	TypeMaxStreamsUni      Type = 0x190B4D40 // WT_MAX_STREAMS, unidirectional
	TypeDataBlocked        Type = 0x190B4D41 // WT_DATA_BLOCKED
	TypeStreamDataBlocked  Type = 0x190B4D42 // WT_STREAM_DATA_BLOCKED
	TypeStreamsBlockedBidi Type = 0x190B4D43 // WT_STREAMS_BLOCKED, bidirectional
	TypeStreamsBlockedUni  Type = 0x190B4D44 // WT_STREAMS_BLOCKED, unidirectional

	TypeCloseSession Type = 0x2843 // WT_CLOSE_SESSION
	TypeDrainSession Type = 0x78ae // WT_DRAIN_SESSION
)

// MaxCloseMessage is the longest Application Error Message of
// WT_CLOSE_SESSION, in bytes.
const MaxCloseMessage = 1024

// MaxStreamCount is the largest Maximum Streams that WT_MAX_STREAMS and
// WT_STREAMS_BLOCKED may carry: a greater one would allow a stream ID that no
// varint can hold.
const MaxStreamCount = 1 << 60

// String returns the drafts' name of the type, or its number.
func (t Type) String() string {
	switch t {
	case TypeDatagram:
		return "DATAGRAM"
	case TypePadding:
		return "PADDING"
	case TypeResetStream:
		return "WT_RESET_STREAM"
	case TypeStopSending:
		return "WT_STOP_SENDING"
	case TypeStreamFin, TypeStream:
		// Which of the two is which depends on the dialect, so the name
		// tells the number.
		return "WT_STREAM(0x" + strconv.FormatUint(uint64(t), 16) + ")"
	case TypeMaxData:
		return "WT_MAX_DATA"
	case TypeMaxStreamData:
		return "WT_MAX_STREAM_DATA"
	case TypeMaxStreamsBidi:
		return "WT_MAX_STREAMS(bidi)"
	case TypeMaxStreamsUni:
		return "WT_MAX_STREAMS(uni)"
	case TypeDataBlocked:
		return "WT_DATA_BLOCKED"
	case TypeStreamDataBlocked:
		return "WT_STREAM_DATA_BLOCKED"
	case TypeStreamsBlockedBidi:
		return "WT_STREAMS_BLOCKED(bidi)"
	case TypeStreamsBlockedUni:
		return "WT_STREAMS_BLOCKED(uni)"
	case TypeCloseSession:
		return "WT_CLOSE_SESSION"
	case TypeDrainSession:
		return "WT_DRAIN_SESSION"
	}
	return "0x" + strconv.FormatUint(uint64(t), 16)
}

// valueRange returns the shortest and the longest value, in bytes, that a
// capsule with a fixed layout can have. Non-minimal integers count: each takes
// 1 to 8 bytes. It returns ok == false for types of any length, known or not.
func (t Type) valueRange() (shortest, longest uint64, ok bool) {
	switch t {
	case TypeResetStream:
		return 3, 3 * maxVarintLen, true
	case TypeStopSending, TypeMaxStreamData, TypeStreamDataBlocked:
		return 2, 2 * maxVarintLen, true
	case TypeMaxData, TypeDataBlocked,
		TypeMaxStreamsBidi, TypeMaxStreamsUni,
		TypeStreamsBlockedBidi, TypeStreamsBlockedUni:
		return 1, maxVarintLen, true
	case TypeCloseSession:
		return closeCodeLen, closeCodeLen + MaxCloseMessage, true
	case TypeDrainSession:
		return 0, 0, true
	}
	return 0, 0, false
}

// closeCodeLen is the length of WT_CLOSE_SESSION's Application Error Code.
const closeCodeLen = 4

// A Dialect says which of the two types of WT_STREAM ends a stream, and what
// WT_RESET_STREAM may look like. Nothing on the wire tells it.
type Dialect uint8

const (
	// Draft15 is the reading of draft-ietf-webtrans-http2-15 "WT_STREAM
	// Capsule": 0x190B4D3B is FIN, as its low bit says.
	Draft15 Dialect = iota
	// Legacy is what peers of drafts up to 14 do: 0x190B4D3C is FIN. A
	// WT_RESET_STREAM without Reliable Size, as in drafts up to 08, is accepted.
	Legacy
)

// String returns "draft15" or "legacy".
func (d Dialect) String() string {
	if d == Legacy {
		return "legacy"
	}
	return "draft15"
}

// streamType returns the type of a WT_STREAM capsule.
func (d Dialect) streamType(fin bool) Type {
	if fin == (d != Legacy) {
		return TypeStreamFin
	}
	return TypeStream
}
