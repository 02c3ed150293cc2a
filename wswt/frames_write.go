package wswt

import (
	"crypto/rand"

	"github.com/gobwas/ws"
)

// A frameWriter encodes frames. On a client it masks them, each with a new key.
type frameWriter struct {
	client  bool
	key     [4]byte
	scratch [ws.MaxHeaderSize]byte
	header  [ws.MaxHeaderSize]byte
	size    int // of header
}

// Write implements io.Writer for the header codec: it keeps the header.
func (f *frameWriter) Write(p []byte) (int, error) {
	f.size = copy(f.header[:], p)
	return f.size, nil
}

// encode returns the header of an unfragmented frame whose payload is p, which it
// masks in place. The header is valid until the next call.
func (f *frameWriter) encode(op ws.OpCode, p []byte) (header []byte) {
	h := ws.Header{Fin: true, OpCode: op, Length: int64(len(p))}
	if f.client {
		// RFC 6455 section 5.3: each frame has a new key from a strong source of
		// entropy.
		_, _ = rand.Read(f.key[:]) // never fails
		h.Masked, h.Mask = true, f.key
		ws.Cipher(p, f.key, 0)
	}
	_ = ws.WriteHeaderBuffer(f, h, f.scratch[:]) // fails for a negative length only
	return f.header[:f.size]
}

// appendFrame appends a frame. The payload is copied before it is masked.
func (f *frameWriter) appendFrame(b []byte, op ws.OpCode, payload []byte) []byte {
	room := ws.MaxHeaderSize
	start := len(b)
	b = append(b, f.header[:room]...)
	b = append(b, payload...)
	h := f.encode(op, b[start+room:])
	n := copy(b[start:], h)
	n += copy(b[start+n:], b[start+room:])
	return b[:start+n]
}

// closePayload is the payload of a Close frame. The reason is at most 123 bytes.
func closePayload(status ws.StatusCode, reason string) []byte {
	return append([]byte{byte(status >> 8), byte(status)}, reason...)
}
