package h2wt

import (
	"context"
	"os"

	"github.com/towpath-go/towpath/internal/deadline"
	"github.com/towpath-go/towpath/internal/gate"
)

// keepBuffer is the largest buffer that is kept when it is empty.
const keepBuffer = 16 << 10

// recvBuffer holds the received bytes of one stream until the application reads
// them: a request's body, or the bytes of a bridged WebSocket. The stream's
// flow-control window bounds it, since credit goes back as bytes are read.
type recvBuffer struct {
	deadline deadline.Deadline
	consume  func(n int) // returns credit to the peer; called without the gate
	account  *account    // counts what is held

	gate *gate.Gate // guards the following; set: Read need not wait
	buf  []byte
	off  int   // buf[:off] was read
	err  error // what Read returns after the last byte; nil while more may come
	gone error // not nil: nobody reads any more, and this is what Read returns
}

func newRecvBuffer(consume func(int)) *recvBuffer {
	return &recvBuffer{consume: consume, gate: gate.New(false)}
}

// put takes received bytes, on the read goroutine. It returns how many of them
// need no reader because there is none.
func (b *recvBuffer) put(p []byte) (consumed int) {
	effect := b.account.hold(len(p)) // before a reader can release them
	defer effect.Run()               // without the gate
	b.gate.Lock()
	if b.gone != nil || b.err != nil {
		b.unlock()
		b.account.release(len(p))
		return len(p)
	}
	defer b.unlock()
	if b.off > 0 && len(b.buf)+len(p) > cap(b.buf) {
		b.buf = b.buf[:copy(b.buf, b.buf[b.off:])]
		b.off = 0
	}
	b.buf = append(b.buf, p...)
	return 0
}

// end says that no bytes follow: err is io.EOF or why. The first call counts.
func (b *recvBuffer) end(err error) {
	b.gate.Lock()
	defer b.unlock()
	if b.err == nil {
		b.err = err
	}
}

// fail ends the buffer because its stream was reset. What came of a body that is
// not complete is dropped: it is worth nothing, and a client could fill the memory
// with such bodies, while handlers work on something else.
func (b *recvBuffer) fail(err error) {
	b.gate.Lock()
	complete := b.err != nil
	b.unlock()
	if complete {
		return
	}
	b.end(err)
	b.abandon(err)
}

// abandon drops what was not read, now and later; Read returns err.
func (b *recvBuffer) abandon(err error) {
	b.gate.Lock()
	if b.gone == nil {
		b.gone = err
	}
	n := len(b.buf) - b.off
	b.buf, b.off = nil, 0
	b.unlock()
	if n > 0 {
		b.account.release(n)
		b.consume(n)
	}
}

func (b *recvBuffer) unlock() {
	b.gate.Unlock(b.off < len(b.buf) || b.err != nil || b.gone != nil)
}

// Read waits for at least one byte, the end, or the deadline.
func (b *recvBuffer) Read(p []byte) (int, error) {
	if b.deadline.Passed() {
		return 0, os.ErrDeadlineExceeded
	}
	if err := b.gate.Wait(context.Background(), b.deadline.Done()); err != nil {
		return 0, err
	}
	if b.gone != nil {
		err := b.gone
		b.unlock()
		return 0, err
	}
	n := copy(p, b.buf[b.off:])
	b.off += n
	var err error
	if b.off == len(b.buf) {
		b.off, b.buf = 0, b.buf[:0]
		if cap(b.buf) > keepBuffer {
			b.buf = nil
		}
		if n == 0 && len(p) > 0 {
			err = b.err
		}
	}
	b.unlock()
	if n > 0 {
		b.account.release(n)
		b.consume(n)
	}
	return n, err
}
