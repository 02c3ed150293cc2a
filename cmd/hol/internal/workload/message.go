package workload

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
)

// HeaderSize is the least size of a message, call or object, in bytes.
const HeaderSize = 20

// mark begins every message of this package.
const mark = 0xa7

type kind uint8

const (
	hello    kind = iota + 1 // first on every channel, from the end that opens it
	update                   // timed message
	bulk                     // a part of the bulk transfer
	request                  // of a call
	response                 // of a call
)

func (k kind) String() string {
	switch k {
	case hello:
		return "hello"
	case update:
		return "update"
	case bulk:
		return "bulk"
	case request:
		return "request"
	case response:
		return "response"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// A header begins a message; the rest is content.
//
//	mark (1) kind (1) channel (2) sequence (4) scheduled (8) answer (4)
type header struct {
	kind     kind
	channel  int // object of a page
	sequence int // page
	// scheduled is by the run's clock.
	scheduled time.Duration
	answer    int // size of the response that a request asks for
}

// content is what messages are filled with: without pattern, so that a transport
// that compresses gains nothing.
var content = sync.OnceValue(func() []byte {
	b := make([]byte, 0, adapter.MaxCall)
	for i := uint64(0); len(b) < adapter.MaxCall; i++ {
		b = binary.BigEndian.AppendUint64(b, mix(i))
	}
	return b
})

// newMessage returns a buffer for messages of up to size bytes, with content.
func newMessage(size int) []byte { return bytes.Clone(content()[:size]) }

// put writes the header to the beginning of a message.
func (h header) put(m []byte) {
	m[0] = mark
	m[1] = byte(h.kind)
	binary.BigEndian.PutUint16(m[2:], uint16(h.channel))
	binary.BigEndian.PutUint32(m[4:], uint32(h.sequence))
	binary.BigEndian.PutUint64(m[8:], uint64(h.scheduled))
	binary.BigEndian.PutUint32(m[16:], uint32(h.answer))
}

var (
	errForeign = errors.New("a message that the workload did not send")
	errContent = errors.New("a message with changed content")
)

// parse reads a message and checks its content.
func parse(m []byte) (header, error) {
	if len(m) < HeaderSize || len(m) > adapter.MaxCall || m[0] != mark {
		return header{}, errForeign
	}
	h := header{
		kind:      kind(m[1]),
		channel:   int(binary.BigEndian.Uint16(m[2:])),
		sequence:  int(binary.BigEndian.Uint32(m[4:])),
		scheduled: time.Duration(binary.BigEndian.Uint64(m[8:])),
		answer:    int(binary.BigEndian.Uint32(m[16:])),
	}
	if !bytes.Equal(m[HeaderSize:], content()[HeaderSize:len(m)]) {
		return header{}, errContent
	}
	return h, nil
}
