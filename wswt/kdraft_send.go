package wswt

import "github.com/towpath-go/towpath/capsule"

// kdraftSend cuts the engine's capsule stream into messages: one for each
// capsule, without its Length. It keeps nothing but a header that was cut.
type kdraftSend struct {
	header [16]byte // type and Length that the last piece ended in
	filled int      // bytes of it
	left   uint64   // bytes to come of the message that was begun
	within bool     // a message was begun
}

// A kdraftPiece is a piece of a message, to be sent as one frame. Its bytes are
// Type, if the message begins with it, and then Value.
type kdraftPiece struct {
	First, Last bool
	Type        capsule.Type
	Value       []byte // within what next was given
}

// next takes from p, the next bytes of the capsule stream, what belongs to one
// message, and returns how many bytes that were. Ok is false if they are not
// enough to begin a message; then it has taken all of p.
func (e *kdraftSend) next(p []byte) (piece kdraftPiece, n int, ok bool) {
	if !e.within {
		t, length, size, ok := e.begin(p)
		n = size
		if !ok {
			return piece, n, false
		}
		e.within, e.left = true, length
		piece.First, piece.Type = true, t
	}
	piece.Value = p[n:]
	if uint64(len(piece.Value)) > e.left {
		piece.Value = piece.Value[:e.left]
	}
	n += len(piece.Value)
	e.left -= uint64(len(piece.Value))
	piece.Last = e.left == 0
	e.within = !piece.Last
	return piece, n, true
}

// begin reads a capsule's type and Length, which may have begun in an earlier
// piece. It returns how many bytes of p it took; ok is false if p ended first.
func (e *kdraftSend) begin(p []byte) (t capsule.Type, length uint64, n int, ok bool) {
	for n < len(p) {
		e.header[e.filled] = p[n]
		e.filled++
		n++
		v, size := capsule.ParseVarint(e.header[:e.filled])
		if size == 0 {
			continue
		}
		length, rest := capsule.ParseVarint(e.header[size:e.filled])
		if rest > 0 {
			e.filled = 0
			return capsule.Type(v), length, n, true
		}
	}
	return 0, 0, n, false
}
