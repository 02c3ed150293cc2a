package adapter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

const (
	// callChunk is how much of a request or response one message of a channel
	// carries, in bytes. What is larger travels in several, between which the
	// messages of other calls find room.
	callChunk = 16 << 10
	// callHeader is the call's number, as 32 bits, big-endian, and a byte of
	// chunkFlags.
	callHeader = 5
	// maxOpenCalls bounds the calls of one channel that have begun and not ended,
	// and with them the memory for what has arrived in part: maxOpenCalls * MaxCall
	// at either end.
	maxOpenCalls = 256
)

// errCallsViolation is what a channel of calls ends with if the peer does not
// keep to the rules of chunks.
var errCallsViolation = errors.New("calls: violation")

type chunkFlags byte

const (
	// chunkEnd marks the last chunk of a request or response.
	chunkEnd chunkFlags = 1 << iota
	// chunkAbort, without payload, takes back a request that has begun, to which
	// there is no response then; or says in place of a response that it would be
	// larger than MaxCall.
	chunkAbort
)

// A chunk is one message of a channel of calls.
type chunk struct {
	number  uint32
	flags   chunkFlags
	payload []byte
}

// parseChunk returns the chunk in a message, which it refers to.
func parseChunk(message []byte) (chunk, error) {
	if len(message) < callHeader {
		return chunk{}, fmt.Errorf("%w: a chunk of %d bytes", errCallsViolation, len(message))
	}
	c := chunk{
		number:  binary.BigEndian.Uint32(message),
		flags:   chunkFlags(message[4]),
		payload: message[callHeader:],
	}
	switch {
	case len(c.payload) > callChunk:
		return chunk{}, fmt.Errorf("%w: %d bytes of payload in a chunk", errCallsViolation, len(c.payload))
	case c.flags == 0 && len(c.payload) == 0:
		return chunk{}, fmt.Errorf("%w: a chunk of nothing", errCallsViolation)
	case c.flags == chunkAbort && len(c.payload) != 0:
		return chunk{}, fmt.Errorf("%w: an abort with payload", errCallsViolation)
	case c.flags > chunkAbort, c.flags == chunkEnd|chunkAbort:
		return chunk{}, fmt.Errorf("%w: flags %#x", errCallsViolation, c.flags)
	}
	return c, nil
}

// appendChunk appends a message.
func appendChunk(b []byte, c chunk) []byte {
	b = binary.BigEndian.AppendUint32(b, c.number)
	b = append(b, byte(c.flags))
	return append(b, c.payload...)
}

// An outgoing is a request or response that waits to be sent, in part or whole.
type outgoing struct {
	number uint32
	rest   []byte
	begun  bool // whether a chunk of it was taken
	abort  bool // whether chunkAbort is due instead
}

// A chunkQueue is what one end of a channel has to send, in turns: of each
// request or response one chunk, then of the next. It has no lock.
type chunkQueue struct {
	waiting []*outgoing
}

func (q *chunkQueue) add(o *outgoing) { q.waiting = append(q.waiting, o) }

func (q *chunkQueue) remove(o *outgoing) {
	q.waiting = slices.DeleteFunc(q.waiting, func(other *outgoing) bool { return other == o })
}

func (q *chunkQueue) empty() bool { return len(q.waiting) == 0 }

// next appends the next message to b. It reports whether the request or response
// that the message belongs to is complete with it. The queue must not be empty.
func (q *chunkQueue) next(b []byte) (message []byte, number uint32, complete bool) {
	o := q.waiting[0]
	copy(q.waiting, q.waiting[1:])
	q.waiting[len(q.waiting)-1] = nil
	q.waiting = q.waiting[:len(q.waiting)-1]

	if o.abort {
		return appendChunk(b, chunk{number: o.number, flags: chunkAbort}), o.number, true
	}
	c := chunk{number: o.number, payload: o.rest[:min(len(o.rest), callChunk)]}
	o.rest = o.rest[len(c.payload):]
	o.begun = true
	if len(o.rest) == 0 {
		c.flags = chunkEnd
	} else {
		q.add(o)
	}
	return appendChunk(b, c), o.number, c.flags == chunkEnd
}

// An assembly puts requests, or responses, together from their chunks. It has no
// lock. Its owner bounds their number.
type assembly struct {
	parts map[uint32][]byte
}

// add takes a chunk that is no abort. It returns what is complete with it, which
// is the caller's.
func (a *assembly) add(c chunk) (whole []byte, complete bool, err error) {
	part := a.parts[c.number]
	if len(part)+len(c.payload) > MaxCall {
		return nil, false, fmt.Errorf("%w: call %d is larger than %d bytes", errCallsViolation, c.number, MaxCall)
	}
	// The capacity grows with what has arrived, never with what is announced.
	part = append(part, c.payload...)
	if c.flags&chunkEnd != 0 {
		delete(a.parts, c.number)
		return part, true, nil
	}
	if a.parts == nil {
		a.parts = make(map[uint32][]byte)
	}
	a.parts[c.number] = part
	return nil, false, nil
}

// begun says whether a part of the call is here.
func (a *assembly) begun(number uint32) bool {
	_, ok := a.parts[number]
	return ok
}

// drop forgets the part of a call.
func (a *assembly) drop(number uint32) { delete(a.parts, number) }
