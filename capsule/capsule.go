package capsule

import (
	"fmt"
	"log/slog"
	"strconv"
)

// A Capsule is one of the structs of this package, by value. The set is closed.
//
// String and LogValue escape what a peer wrote, so their results can go into
// any log.
type Capsule interface {
	// Type returns the capsule type.
	Type() Type
	// Append appends the whole capsule, header and value, to b.
	Append(b []byte) []byte
	fmt.Stringer
	slog.LogValuer

	// appendValue appends the value alone; it also closes the set.
	appendValue(b []byte) []byte
}

// ResetStream is WT_RESET_STREAM: the sending part of a stream was aborted.
type ResetStream struct {
	StreamID     uint64
	ErrorCode    uint64 // must be below 2^32; one received may not be
	ReliableSize uint64 // must be the bytes sent on the stream; one received may not be
	// SizeAbsent says that there is no Reliable Size, which is then 0. Only a
	// Decoder of the Legacy dialect reports it.
	SizeAbsent bool
}

// StopSending is WT_STOP_SENDING: the peer is asked to abort its sending part.
type StopSending struct {
	StreamID  uint64
	ErrorCode uint64 // must be below 2^32; one received may not be
}

// MaxData is WT_MAX_DATA: the limit on the bytes of all streams together.
type MaxData struct{ MaximumData uint64 }

// MaxStreamData is WT_MAX_STREAM_DATA: the limit on one stream's bytes.
type MaxStreamData struct {
	StreamID          uint64
	MaximumStreamData uint64
}

// MaxStreams is WT_MAX_STREAMS: the limit on streams ever opened, per kind.
type MaxStreams struct {
	Uni            bool
	MaximumStreams uint64 // must be at most MaxStreamCount; one received may not be
}

// DataBlocked is WT_DATA_BLOCKED: sending stopped at this limit of MaxData.
type DataBlocked struct{ MaximumData uint64 }

// StreamDataBlocked is WT_STREAM_DATA_BLOCKED: sending on a stream stopped at
// this limit of MaxStreamData.
type StreamDataBlocked struct {
	StreamID          uint64
	MaximumStreamData uint64
}

// StreamsBlocked is WT_STREAMS_BLOCKED: opening streams stopped at this limit
// of MaxStreams.
type StreamsBlocked struct {
	Uni            bool
	MaximumStreams uint64 // must be at most MaxStreamCount; one received may not be
}

// CloseSession is WT_CLOSE_SESSION.
type CloseSession struct {
	ErrorCode uint32
	// Message must be UTF-8 of at most MaxCloseMessage bytes. A longer one is
	// never received and must not be appended; one received may not be UTF-8.
	Message string
}

// DrainSession is WT_DRAIN_SESSION.
type DrainSession struct{}

// Padding is PADDING with so many zero bytes. A Decoder reports it through
// [Handler.Skipped], never as a Capsule.
type Padding struct{ Length uint64 }

// Type returns the capsule type; so for the types below.
func (ResetStream) Type() Type       { return TypeResetStream }
func (StopSending) Type() Type       { return TypeStopSending }
func (MaxData) Type() Type           { return TypeMaxData }
func (MaxStreamData) Type() Type     { return TypeMaxStreamData }
func (DataBlocked) Type() Type       { return TypeDataBlocked }
func (StreamDataBlocked) Type() Type { return TypeStreamDataBlocked }
func (CloseSession) Type() Type      { return TypeCloseSession }
func (DrainSession) Type() Type      { return TypeDrainSession }
func (Padding) Type() Type           { return TypePadding }

// Type returns the capsule type, which depends on Uni.
func (c MaxStreams) Type() Type {
	if c.Uni {
		return TypeMaxStreamsUni
	}
	return TypeMaxStreamsBidi
}

// Type returns the capsule type, which depends on Uni.
func (c StreamsBlocked) Type() Type {
	if c.Uni {
		return TypeStreamsBlockedUni
	}
	return TypeStreamsBlockedBidi
}

// String returns the capsule's name and fields.
func (c ResetStream) String() string {
	if c.SizeAbsent {
		return text(c, field{"stream", c.StreamID}, field{"code", c.ErrorCode})
	}
	return text(c, field{"stream", c.StreamID}, field{"code", c.ErrorCode}, field{"size", c.ReliableSize})
}

// String returns the capsule's name and fields.
func (c StopSending) String() string {
	return text(c, field{"stream", c.StreamID}, field{"code", c.ErrorCode})
}

// String returns the capsule's name and fields.
func (c MaxData) String() string { return text(c, field{"max", c.MaximumData}) }

// String returns the capsule's name and fields.
func (c MaxStreamData) String() string {
	return text(c, field{"stream", c.StreamID}, field{"max", c.MaximumStreamData})
}

// String returns the capsule's name and fields.
func (c MaxStreams) String() string { return text(c, field{"max", c.MaximumStreams}) }

// String returns the capsule's name and fields.
func (c DataBlocked) String() string { return text(c, field{"max", c.MaximumData}) }

// String returns the capsule's name and fields.
func (c StreamDataBlocked) String() string {
	return text(c, field{"stream", c.StreamID}, field{"max", c.MaximumStreamData})
}

// String returns the capsule's name and fields.
func (c StreamsBlocked) String() string { return text(c, field{"max", c.MaximumStreams}) }

// String returns the capsule's name and fields, the message quoted.
func (c CloseSession) String() string {
	return text(c, field{"code", uint64(c.ErrorCode)}) + " message=" + strconv.QuoteToGraphic(c.Message)
}

// String returns the capsule's name.
func (c DrainSession) String() string { return text(c) }

// String returns the capsule's name and length.
func (c Padding) String() string { return text(c, field{"length", c.Length}) }

// LogValue returns String, as a value; so for the types below.
func (c ResetStream) LogValue() slog.Value       { return slog.StringValue(c.String()) }
func (c StopSending) LogValue() slog.Value       { return slog.StringValue(c.String()) }
func (c MaxData) LogValue() slog.Value           { return slog.StringValue(c.String()) }
func (c MaxStreamData) LogValue() slog.Value     { return slog.StringValue(c.String()) }
func (c MaxStreams) LogValue() slog.Value        { return slog.StringValue(c.String()) }
func (c DataBlocked) LogValue() slog.Value       { return slog.StringValue(c.String()) }
func (c StreamDataBlocked) LogValue() slog.Value { return slog.StringValue(c.String()) }
func (c StreamsBlocked) LogValue() slog.Value    { return slog.StringValue(c.String()) }
func (c CloseSession) LogValue() slog.Value      { return slog.StringValue(c.String()) }
func (c DrainSession) LogValue() slog.Value      { return slog.StringValue(c.String()) }
func (c Padding) LogValue() slog.Value           { return slog.StringValue(c.String()) }

// A field is one number of a capsule in its printed form.
type field struct {
	name  string
	value uint64
}

func text(c Capsule, fields ...field) string {
	s := c.Type().String()
	for _, f := range fields {
		s += " " + f.name + "=" + strconv.FormatUint(f.value, 10)
	}
	return s
}
