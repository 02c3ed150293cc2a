package wswt

import (
	"errors"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/gobwas/ws"
)

// receiver is the connection as frames are read from it: its Read looks after
// the peer's being alive, by the deadline of the connection underneath.
type receiver struct{ c *conn }

// Read implements io.Reader.
func (r receiver) Read(p []byte) (int, error) {
	c := r.c
	for {
		n, err := c.nc.Read(p)
		if n > 0 {
			if !c.heard(time.Now(), n) {
				c.abandon()
				return 0, errLate
			}
			if c.turn += n; c.turn >= maxTurn {
				c.turn = 0
				runtime.Gosched()
			}
			return n, nil // an error will come again
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err
		}
		if err := c.quiet(time.Now()); err != nil {
			return 0, err
		}
	}
}

// maxTurn is how many bytes are read before others may run. A connection on which
// something has always come already does not wait by itself, and bytes that cost
// much and bring nothing would have the processor until it is taken away.
const maxTurn = 64 << 10

// maxLate bounds what is received, and dropped, behind a Close frame that the peer
// is to blame for: to read that takes its time, but more than this comes only from
// one that goes on regardless.
const maxLate = 1 << 20

var errLate = errors.New("wswt: the peer goes on sending behind a Close frame")

// readLoop is the reading goroutine.
func (c *conn) readLoop() {
	defer close(c.readDone)
	defer c.signal()
	c.armRead(time.Now())
	var err error
	for err == nil && c.receiving() {
		err = c.frames.next(handler{c})
	}
	if f, ok := errors.AsType[*fault](err); ok {
		// What follows cannot be read as frames any more. It is received all the
		// same, or the connection's end could overtake the Close frame.
		c.fail(f)
		_, _ = io.Copy(io.Discard, receiver{c})
		return
	}
	if err == nil {
		// RFC 6455 section 7.1.1: the server closes the connection first.
		if c.client {
			_, _ = io.Copy(io.Discard, receiver{c})
		}
		return
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = errNoClose
	}
	c.mu.Lock()
	due := c.send == sendClosing && err == errNoClose // it can be that the peer still reads
	if c.writeErr != nil {
		err = c.writeErr
	}
	c.mu.Unlock()
	c.lost(err)
	if !due {
		c.abandon()
	}
}

// receiving reports whether frames of the peer may still come.
func (c *conn) receiving() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.recv == recvOpen
}

// handler takes the frames that the peer sent, on the reading goroutine.
type handler struct{ c *conn }

func (h handler) message(p []byte, last bool) error { return h.c.mapping.received(p, last) }

// ping has a pong answer. Of several that were not answered yet only the newest
// is: RFC 6455 section 5.5.3.
func (h handler) ping(p []byte) error {
	c := h.c
	c.mu.Lock()
	due := c.send == sendOpen
	if due {
		c.pongDue = true
		c.pongSize = uint8(copy(c.pong[:], p))
	}
	c.mu.Unlock()
	if due {
		c.signal()
	}
	return nil
}

func (h handler) pong(p []byte) error {
	h.c.answered(p, time.Now())
	return nil
}

// closed takes the peer's Close frame, behind which it sends nothing.
func (h handler) closed(p []byte) error {
	c := h.c
	status, reason, err := parseClose(p)
	if err != nil {
		return err
	}
	bound := time.Now().Add(c.closing)
	c.mu.Lock()
	c.recv = recvClosed
	open := c.send == sendOpen
	if open {
		c.status = answerStatus(status)
		c.bound = bound // for the answer and the connection's end
	}
	c.mu.Unlock()
	if open {
		_ = c.nc.SetDeadline(bound) // an error means that it has ended
	}
	if clean(status) {
		if c.mapping.within() {
			c.startClose(faultShort.status, faultShort.reason)
			c.sess.Abort(faultShort.protocolError())
			return nil
		}
		c.sess.End() // its end, by way of the writer, is the answer
		return nil
	}
	c.sess.Lost(closedByPeer(status, reason))
	c.startClose(answerStatus(status), "")
	return nil
}

// answerStatus is the status of the Close frame that answers one: RFC 6455
// section 5.5.1 has it echoed.
func answerStatus(peer ws.StatusCode) ws.StatusCode {
	if peer == 0 {
		return ws.StatusNormalClosure
	}
	return peer
}

// armRead sets the deadline of the next reads.
func (c *conn) armRead(at time.Time) {
	var deadline time.Time
	if d := c.cfg.keepAlive(); d > 0 {
		deadline = at.Add(d)
	}
	c.setReadDeadline(deadline)
}

// setReadDeadline sets the reader's deadline, or that of the closing if it is
// earlier. The order of the two steps sees to it that one that is set meanwhile
// is not lost.
func (c *conn) setReadDeadline(t time.Time) {
	_ = c.nc.SetReadDeadline(t) // an error means that it has ended
	c.mu.Lock()
	bound := c.bound
	c.mu.Unlock()
	if !bound.IsZero() && (t.IsZero() || bound.Before(t)) {
		_ = c.nc.SetReadDeadline(bound)
	}
}

// quiet is called when the deadline has passed and nothing was received. It
// returns why the connection has to end, or nil after a new deadline was set.
func (c *conn) quiet(now time.Time) error {
	keepAlive, wait := c.cfg.keepAlive(), c.cfg.pingTimeout()
	c.mu.Lock()
	p := &c.ping
	var next time.Time
	ask := false
	switch {
	case !c.bound.IsZero() && !now.Before(c.bound):
		c.overdue = true
		c.mu.Unlock()
		return errCloseTimeout
	case keepAlive == 0 || !c.bound.IsZero():
		// The deadline was set before the closing began.
	case p.probing && !now.Before(p.probe.Add(wait)):
		c.mu.Unlock()
		return pingTimeoutError(wait)
	case p.probing:
		next = p.probe.Add(wait)
	case now.Sub(p.heard) < keepAlive:
		next = p.heard.Add(keepAlive)
	default:
		p.probing, p.probe = true, now
		p.dueLocked()
		next, ask = now.Add(wait), true
	}
	c.mu.Unlock()
	if ask {
		c.signal()
	}
	c.setReadDeadline(next)
	return nil
}
