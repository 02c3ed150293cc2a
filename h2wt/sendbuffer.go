package h2wt

import (
	"context"
	"os"

	"golang.org/x/net/http2/hpack"

	"github.com/towpath-go/towpath/internal/deadline"
	"github.com/towpath-go/towpath/internal/gate"
)

// sendBufferSize bounds the bytes that a handler wrote and the connection has
// not taken, per stream.
const sendBufferSize = 64 << 10

// sendBuffer is the Source of an ordinary response or of a bridged WebSocket.
type sendBuffer struct {
	deadline deadline.Deadline
	wake     func() // tells the connection; called without the gate
	onEnd    func() // called once on the write goroutine when all was taken; may be nil

	gate     *gate.Gate // guards the following; set: Write need not wait
	buf      []byte
	off      int // buf[:off] was taken
	closed   bool
	err      error // why nothing is taken any more
	trailers []hpack.HeaderField
}

func newSendBuffer(wake func()) *sendBuffer {
	return &sendBuffer{wake: wake, gate: gate.New(true)}
}

func (b *sendBuffer) unlock() {
	b.gate.Unlock(len(b.buf)-b.off < sendBufferSize || b.closed || b.err != nil)
}

// Write copies p, waiting while the buffer is full.
func (b *sendBuffer) Write(p []byte) (n int, err error) {
	for {
		if b.deadline.Passed() {
			return n, os.ErrDeadlineExceeded
		}
		if err := b.gate.Wait(context.Background(), b.deadline.Done()); err != nil {
			return n, err
		}
		switch {
		case b.err != nil:
			err := b.err
			b.unlock()
			return n, err
		case b.closed:
			b.unlock()
			return n, errSendClosed
		}
		chunk := min(len(p), sendBufferSize-(len(b.buf)-b.off))
		if b.off > 0 && len(b.buf)+chunk > cap(b.buf) {
			b.buf = b.buf[:copy(b.buf, b.buf[b.off:])]
			b.off = 0
		}
		b.buf = append(b.buf, p[:chunk]...)
		b.unlock()
		if chunk > 0 {
			b.wake()
		}
		n += chunk
		if p = p[chunk:]; len(p) == 0 {
			return n, nil
		}
	}
}

// close says that nothing follows but trailers.
func (b *sendBuffer) close(trailers []hpack.HeaderField) {
	b.gate.Lock()
	again := b.closed
	if !again {
		b.closed, b.trailers = true, trailers
	}
	b.unlock()
	if !again {
		b.wake()
	}
}

// fail drops what was not taken; Write returns err.
func (b *sendBuffer) fail(err error) {
	b.gate.Lock()
	if b.err == nil {
		b.err = err
	}
	b.buf, b.off = nil, 0
	b.unlock()
}

// state returns why writing is not possible, or nil.
func (b *sendBuffer) state() error {
	b.gate.Lock()
	defer b.unlock()
	if b.err == nil && b.closed {
		return errSendClosed
	}
	return b.err
}

// Fill implements h2conn.Source.
func (b *sendBuffer) Fill(dst []byte) (n int, end bool) {
	b.gate.Lock()
	if b.err != nil {
		b.unlock()
		return 0, false
	}
	n = copy(dst, b.buf[b.off:])
	b.off += n
	if b.off == len(b.buf) {
		b.off, b.buf = 0, b.buf[:0]
		if cap(b.buf) > keepBuffer {
			b.buf = nil
		}
		end = b.closed
	}
	b.unlock()
	if end && b.onEnd != nil {
		b.onEnd()
	}
	return n, end
}

// Trailers implements h2conn.TrailerSource.
func (b *sendBuffer) Trailers() []hpack.HeaderField {
	b.gate.Lock()
	defer b.unlock()
	return b.trailers
}
