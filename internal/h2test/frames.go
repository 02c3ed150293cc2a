package h2test

import (
	"fmt"
	"strings"

	"golang.org/x/net/http2"
)

// Frame is a received frame as a value: one of the types below.
type Frame interface{ String() string }

// Settings is a SETTINGS frame.
type Settings struct {
	Ack      bool
	Settings []http2.Setting
}

// Value returns the last value given for id.
func (f Settings) Value(id http2.SettingID) (v uint32, ok bool) {
	for _, s := range f.Settings {
		if s.ID == id {
			v, ok = s.Val, true
		}
	}
	return v, ok
}

func (f Settings) String() string {
	if f.Ack {
		return "SETTINGS ACK"
	}
	return fmt.Sprintf("SETTINGS %v", f.Settings)
}

// Headers is a HEADERS frame with its CONTINUATION frames, decoded. Fields are
// names and values in turn.
type Headers struct {
	StreamID  uint32
	EndStream bool
	Fields    []string
	// Sensitive lists the names of the fields that were never-indexed literals.
	Sensitive []string
	// Frames is how many frames the block took.
	Frames int
}

// Value returns the first field of that name, or "".
func (f Headers) Value(name string) string {
	for i := 0; i+1 < len(f.Fields); i += 2 {
		if f.Fields[i] == name {
			return f.Fields[i+1]
		}
	}
	return ""
}

func (f Headers) String() string {
	return fmt.Sprintf("HEADERS stream=%d end=%v %q", f.StreamID, f.EndStream, f.Fields)
}

// Data is a DATA frame. Padding counts the padding with its length byte.
type Data struct {
	StreamID  uint32
	EndStream bool
	Data      string
	Padding   int
}

func (f Data) String() string {
	d := f.Data
	if len(d) > 40 {
		d = d[:40] + "..."
	}
	return fmt.Sprintf("DATA stream=%d end=%v len=%d %q", f.StreamID, f.EndStream, len(f.Data), d)
}

// RSTStream is a RST_STREAM frame.
type RSTStream struct {
	StreamID uint32
	Code     http2.ErrCode
}

func (f RSTStream) String() string {
	return fmt.Sprintf("RST_STREAM stream=%d %v", f.StreamID, f.Code)
}

// Ping is a PING frame.
type Ping struct {
	Ack  bool
	Data [8]byte
}

func (f Ping) String() string { return fmt.Sprintf("PING ack=%v %x", f.Ack, f.Data) }

// GoAway is a GOAWAY frame. WantFrame does not compare Debug.
type GoAway struct {
	Last  uint32
	Code  http2.ErrCode
	Debug string
}

func (f GoAway) String() string {
	return fmt.Sprintf("GOAWAY last=%d %v %q", f.Last, f.Code, f.Debug)
}

// WindowUpdate is a WINDOW_UPDATE frame.
type WindowUpdate struct {
	StreamID  uint32
	Increment uint32
}

func (f WindowUpdate) String() string {
	return fmt.Sprintf("WINDOW_UPDATE stream=%d +%d", f.StreamID, f.Increment)
}

// Unknown is any other frame.
type Unknown struct {
	Type     http2.FrameType
	Flags    http2.Flags
	StreamID uint32
	Payload  string
}

func (f Unknown) String() string {
	return fmt.Sprintf("%v flags=%#x stream=%d %q", f.Type, f.Flags, f.StreamID, f.Payload)
}

// Closed is the end of the connection as the peer sees it; Err is "" for a clean
// end of the stream.
type Closed struct{ Err string }

func (f Closed) String() string { return strings.TrimSpace("connection closed " + f.Err) }

func same(got, want Frame) bool {
	if w, ok := want.(GoAway); ok {
		g, ok := got.(GoAway)
		return ok && g.Last == w.Last && g.Code == w.Code
	}
	return got.String() == want.String() && fmt.Sprintf("%#v", got) == fmt.Sprintf("%#v", want)
}
