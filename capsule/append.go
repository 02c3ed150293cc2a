package capsule

import (
	"encoding/binary"
	"slices"
)

// MaxStreamHeader is the longest header that [AppendStreamHeader] appends, in
// bytes: type, Length and Stream ID.
const MaxStreamHeader = 4 + 2*maxVarintLen

// MaxDatagramHeader is the longest header that [AppendDatagramHeader] appends.
const MaxDatagramHeader = 1 + maxVarintLen

// AppendStreamHeader appends the header of a WT_STREAM capsule. Exactly dataLen
// bytes of stream data have to follow it. A dataLen for which Length would
// exceed [MaxVarint] is a bug of the caller and panics.
func AppendStreamHeader(b []byte, fin bool, d Dialect, streamID, dataLen uint64) []byte {
	b = AppendVarint(b, uint64(d.streamType(fin)))
	b = AppendVarint(b, uint64(VarintLen(streamID))+dataLen)
	return AppendVarint(b, streamID)
}

// StreamHeaderLen returns the length in bytes of what [AppendStreamHeader]
// appends.
func StreamHeaderLen(streamID, dataLen uint64) int {
	id := VarintLen(streamID)
	return VarintLen(uint64(TypeStream)) + VarintLen(uint64(id)+dataLen) + id
}

// AppendDatagramHeader appends the header of a DATAGRAM capsule. Exactly
// payloadLen bytes have to follow it.
func AppendDatagramHeader(b []byte, payloadLen uint64) []byte {
	return appendHeader(b, TypeDatagram, payloadLen)
}

// appendHeader appends a capsule's type and length.
func appendHeader(b []byte, t Type, length uint64) []byte {
	return AppendVarint(AppendVarint(b, uint64(t)), length)
}

// Append appends the whole capsule.
func (c ResetStream) Append(b []byte) []byte {
	n := VarintLen(c.StreamID) + VarintLen(c.ErrorCode)
	if !c.SizeAbsent {
		n += VarintLen(c.ReliableSize)
	}
	return c.appendValue(appendHeader(b, TypeResetStream, uint64(n)))
}

func (c ResetStream) appendValue(b []byte) []byte {
	b = appendPair(b, c.StreamID, c.ErrorCode)
	if c.SizeAbsent {
		return b
	}
	return AppendVarint(b, c.ReliableSize)
}

// Append appends the whole capsule.
func (c StopSending) Append(b []byte) []byte {
	n := VarintLen(c.StreamID) + VarintLen(c.ErrorCode)
	return c.appendValue(appendHeader(b, TypeStopSending, uint64(n)))
}

func (c StopSending) appendValue(b []byte) []byte {
	return appendPair(b, c.StreamID, c.ErrorCode)
}

// Append appends the whole capsule.
func (c MaxData) Append(b []byte) []byte {
	return c.appendValue(appendHeader(b, TypeMaxData, uint64(VarintLen(c.MaximumData))))
}

func (c MaxData) appendValue(b []byte) []byte { return AppendVarint(b, c.MaximumData) }

// Append appends the whole capsule.
func (c MaxStreamData) Append(b []byte) []byte {
	n := VarintLen(c.StreamID) + VarintLen(c.MaximumStreamData)
	return c.appendValue(appendHeader(b, TypeMaxStreamData, uint64(n)))
}

func (c MaxStreamData) appendValue(b []byte) []byte {
	return appendPair(b, c.StreamID, c.MaximumStreamData)
}

// Append appends the whole capsule.
func (c MaxStreams) Append(b []byte) []byte {
	return c.appendValue(appendHeader(b, c.Type(), uint64(VarintLen(c.MaximumStreams))))
}

func (c MaxStreams) appendValue(b []byte) []byte { return AppendVarint(b, c.MaximumStreams) }

// Append appends the whole capsule.
func (c DataBlocked) Append(b []byte) []byte {
	return c.appendValue(appendHeader(b, TypeDataBlocked, uint64(VarintLen(c.MaximumData))))
}

func (c DataBlocked) appendValue(b []byte) []byte { return AppendVarint(b, c.MaximumData) }

// Append appends the whole capsule.
func (c StreamDataBlocked) Append(b []byte) []byte {
	n := VarintLen(c.StreamID) + VarintLen(c.MaximumStreamData)
	return c.appendValue(appendHeader(b, TypeStreamDataBlocked, uint64(n)))
}

func (c StreamDataBlocked) appendValue(b []byte) []byte {
	return appendPair(b, c.StreamID, c.MaximumStreamData)
}

// Append appends the whole capsule.
func (c StreamsBlocked) Append(b []byte) []byte {
	return c.appendValue(appendHeader(b, c.Type(), uint64(VarintLen(c.MaximumStreams))))
}

func (c StreamsBlocked) appendValue(b []byte) []byte { return AppendVarint(b, c.MaximumStreams) }

// Append appends the whole capsule. A Message longer than [MaxCloseMessage] is
// a bug of the caller and panics.
func (c CloseSession) Append(b []byte) []byte {
	if len(c.Message) > MaxCloseMessage {
		panic("BUG: capsule: message of WT_CLOSE_SESSION longer than 1024 bytes")
	}
	return c.appendValue(appendHeader(b, TypeCloseSession, uint64(closeCodeLen+len(c.Message))))
}

func (c CloseSession) appendValue(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, c.ErrorCode), c.Message...)
}

// Append appends the whole capsule.
func (c DrainSession) Append(b []byte) []byte { return appendHeader(b, TypeDrainSession, 0) }

func (DrainSession) appendValue(b []byte) []byte { return b }

// Append appends the whole capsule, its value zero bytes only as
// draft-ietf-webtrans-http2 "PADDING Capsule" demands of a sender. A Length
// that does not fit memory panics.
func (c Padding) Append(b []byte) []byte {
	return c.appendValue(appendHeader(b, TypePadding, c.Length))
}

func (c Padding) appendValue(b []byte) []byte {
	n := int(c.Length)
	b = slices.Grow(b, n)
	value := b[len(b) : len(b)+n]
	clear(value)
	return b[:len(b)+n]
}

func appendPair(b []byte, v, w uint64) []byte { return AppendVarint(AppendVarint(b, v), w) }
