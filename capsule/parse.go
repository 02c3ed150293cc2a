package capsule

import (
	"encoding/binary"
	"fmt"
)

// A Fault says what is wrong with a capsule, as far as the reaction differs.
type Fault uint8

const (
	// FaultMalformed is a layout that no value of the type can have. It makes
	// the message malformed: RFC 9297 section 3.3.
	FaultMalformed Fault = iota
	// FaultCloseMessage is a WT_CLOSE_SESSION with a message longer than
	// [MaxCloseMessage]. On HTTP/2 it is the session error WT_ERROR, on HTTP/3
	// it makes the message malformed.
	FaultCloseMessage
)

// A SyntaxError is a capsule that cannot be decoded. The stream of capsules
// cannot be followed beyond it.
type SyntaxError struct {
	Type   Type // of the capsule
	Fault  Fault
	Reason string // for logs
}

func (e *SyntaxError) Error() string { return "capsule: " + e.Type.String() + ": " + e.Reason }

// Parse decodes the complete value of a fixed-layout capsule, and keeps nothing
// of it. It returns a [*SyntaxError] if the fields do not fill value exactly,
// and if t is DATAGRAM, WT_STREAM, PADDING or unknown, which have no fixed
// layout.
func Parse(t Type, value []byte) (Capsule, error) {
	if err := checkLength(t, uint64(len(value))); err != nil {
		return nil, err
	}
	f := fields{rest: value}
	var c Capsule
	switch t {
	case TypeResetStream:
		c = ResetStream{StreamID: f.varint(), ErrorCode: f.varint(), ReliableSize: f.varint()}
	case TypeStopSending:
		c = StopSending{StreamID: f.varint(), ErrorCode: f.varint()}
	case TypeMaxData:
		c = MaxData{MaximumData: f.varint()}
	case TypeMaxStreamData:
		c = MaxStreamData{StreamID: f.varint(), MaximumStreamData: f.varint()}
	case TypeMaxStreamsBidi, TypeMaxStreamsUni:
		c = MaxStreams{Uni: t == TypeMaxStreamsUni, MaximumStreams: f.varint()}
	case TypeDataBlocked:
		c = DataBlocked{MaximumData: f.varint()}
	case TypeStreamDataBlocked:
		c = StreamDataBlocked{StreamID: f.varint(), MaximumStreamData: f.varint()}
	case TypeStreamsBlockedBidi, TypeStreamsBlockedUni:
		c = StreamsBlocked{Uni: t == TypeStreamsBlockedUni, MaximumStreams: f.varint()}
	case TypeCloseSession:
		// checkLength has seen to it that the code is there.
		return CloseSession{
			ErrorCode: binary.BigEndian.Uint32(value),
			Message:   string(value[closeCodeLen:]),
		}, nil
	case TypeDrainSession:
		return DrainSession{}, nil
	default:
		return nil, &SyntaxError{Type: t, Reason: "no fixed layout"}
	}
	if f.short {
		return nil, &SyntaxError{Type: t, Reason: "value ends inside a field"}
	}
	if len(f.rest) > 0 {
		return nil, &SyntaxError{Type: t, Reason: "bytes left after the last field"}
	}
	return c, nil
}

// legacyResetLen is the shortest value of a WT_RESET_STREAM without Reliable
// Size; longer ones are long enough for one with it.
const legacyResetLen = 2

// parseLegacyReset decodes the value of a WT_RESET_STREAM without Reliable Size.
// Ok is false for any other.
func parseLegacyReset(value []byte) (c ResetStream, ok bool) {
	f := fields{rest: value}
	c = ResetStream{StreamID: f.varint(), ErrorCode: f.varint(), SizeAbsent: true}
	return c, !f.short && len(f.rest) == 0
}

// checkLength refuses a Length that no value of the type can have. It returns
// an error interface that is nil for every type without a fixed layout.
func checkLength(t Type, length uint64) error {
	shortest, longest, ok := t.valueRange()
	switch {
	case !ok:
		return nil
	case length < shortest:
		return &SyntaxError{Type: t, Reason: fmt.Sprintf("Length %d, at least %d expected", length, shortest)}
	case length > longest:
		e := &SyntaxError{Type: t, Reason: fmt.Sprintf("Length %d, at most %d expected", length, longest)}
		if t == TypeCloseSession {
			e.Fault = FaultCloseMessage
		}
		return e
	}
	return nil
}

// fields reads the integers of a value one after the other.
type fields struct {
	rest  []byte
	short bool // the value ended inside a field
}

func (f *fields) varint() uint64 {
	v, n := ParseVarint(f.rest)
	if n == 0 {
		f.short = true
		f.rest = nil
	}
	f.rest = f.rest[n:]
	return v
}
