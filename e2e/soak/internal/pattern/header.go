package pattern

import (
	"encoding/binary"
	"fmt"
)

// A Kind says what the two sides of a stream do with it. "The opener" opened it,
// "the other" accepted it.
type Kind uint8

const (
	Echo         Kind = iota + 1 // the other sends all of it back
	EchoReset                    // the other resets its direction after At bytes, and stops the opener's
	EchoStop                     // the other stops the opener's direction after At bytes, and sends these back
	EchoAbort                    // the opener resets its direction after At bytes; the other does the same
	Uni                          // one direction, whole
	UniStop                      // the other stops it after At bytes
	UniAbort                     // the opener resets it after At bytes
	Message                      // as Uni, by the functions for messages
	Sync                         // the other answers with what it has received, see endpoint
	CloseSession                 // the other closes the session, with Code
	DrainSession                 // the other asks to drain the session
)

var kinds = [...]string{"", "echo", "echo reset", "echo stopped", "echo aborted", "uni", "uni stopped", "uni aborted",
	"message", "sync", "close", "drain"}

// String returns a few words.
func (k Kind) String() string {
	if int(k) < len(kinds) {
		return kinds[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Size is the length of a Header in bytes.
const Size = 40

const magic = 0x6b616f53 // "Soak"

// A Header begins each stream that is not empty.
type Header struct {
	Kind    Kind
	Server  bool // the server opened it
	Code    uint32
	Session uint64
	Serial  uint64
	Length  uint64 // bytes that follow, if nobody aborts the stream
	At      uint32 // see Kind
}

// Key returns the key of the bytes that follow.
func (h Header) Key() Key { return NewKey(h.Session, h.Serial, h.Server) }

// Append appends the Size bytes of h.
func (h Header) Append(b []byte) []byte {
	server := uint8(0)
	if h.Server {
		server = 1
	}
	b = binary.LittleEndian.AppendUint32(b, magic)
	b = append(b, byte(h.Kind), server, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, h.Code)
	b = binary.LittleEndian.AppendUint32(b, h.At)
	b = binary.LittleEndian.AppendUint64(b, h.Session)
	b = binary.LittleEndian.AppendUint64(b, h.Serial)
	return binary.LittleEndian.AppendUint64(b, h.Length)
}

// Parse reads a header; ok is false if these are not the bytes of one.
func Parse(b []byte) (h Header, ok bool) {
	if len(b) != Size || binary.LittleEndian.Uint32(b) != magic || b[5] > 1 || b[6] != 0 || b[7] != 0 {
		return Header{}, false
	}
	h = Header{
		Kind:    Kind(b[4]),
		Server:  b[5] == 1,
		Code:    binary.LittleEndian.Uint32(b[8:]),
		At:      binary.LittleEndian.Uint32(b[12:]),
		Session: binary.LittleEndian.Uint64(b[16:]),
		Serial:  binary.LittleEndian.Uint64(b[24:]),
		Length:  binary.LittleEndian.Uint64(b[32:]),
	}
	return h, h.Kind >= Echo && h.Kind <= DrainSession
}
