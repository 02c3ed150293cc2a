package wswt

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

const (
	// maxMessage is the longest message sent. With its header it fills one TLS
	// record, and it is what a byte of high priority may have to wait for.
	maxMessage = 16<<10 - 8
	// leadSize is the room before a message: for its header, a pong and a ping.
	leadSize = ws.MaxHeaderSize + (6 + maxControl) + (6 + pingSize)
	// tailSize is the room behind it: for a Close frame, while it is encoded.
	tailSize = ws.MaxHeaderSize + maxControl
)

// A writeBuffer is what the writer takes from the pool while it has something to
// write.
type writeBuffer [leadSize + maxMessage + tailSize]byte

var writeBuffers = sync.Pool{New: func() any { return new(writeBuffer) }}

// writeLoop is the writing goroutine. It ends the connection.
func (c *conn) writeLoop() {
	for range c.wake {
		if !c.flush() {
			break
		}
	}
	// The reader ends by itself: with the peer's Close frame, with the end of the
	// connection, or at conn.bound.
	<-c.readDone
	c.sess.Lost(errOver) // does nothing if the session has ended in order
	c.holder.Close().Run()
	c.end()
	c.closed()
	if c.onEnd != nil {
		c.onEnd(c)
	}
	close(c.done)
}

// end closes the connection. Of a peer that has not said Close nobody knows
// whether it reads, and the TLS alert that says goodbye would wait for it.
func (c *conn) end() {
	c.mu.Lock()
	answered := c.recv == recvClosed
	c.mu.Unlock()
	if !answered {
		hangUp(c.nc)
		return
	}
	c.goodbye(c.nc.Close)
}

// hangUp closes a connection without a goodbye of TLS, which would wait for a peer
// that does not read.
func hangUp(nc net.Conn) {
	if under, ok := nc.(interface{ NetConn() net.Conn }); ok {
		_ = under.NetConn().Close()
	}
	_ = nc.Close()
}

// goodbye calls what has TLS write its last alert. Crypto/tls gives that 5 s
// whatever the deadline was, so at conn.bound the connection is ended under it.
func (c *conn) goodbye(say func() error) {
	if under, ok := c.nc.(interface{ NetConn() net.Conn }); ok {
		c.mu.Lock()
		bound := c.bound
		c.mu.Unlock()
		t := time.AfterFunc(time.Until(bound), func() { _ = under.NetConn().Close() })
		defer t.Stop()
	}
	_ = say() // an error means that it has ended
}

// flush writes what there is to write. It reports false when nothing can follow.
func (c *conn) flush() bool {
	buf := writeBuffers.Get().(*writeBuffer)
	defer writeBuffers.Put(buf)
	for {
		room, err := c.awaitRoom()
		frames, state := c.control()
		if state == sendClosed {
			return false
		}
		start, end := leadSize, leadSize
		over := state == sendClosing
		if !over {
			// Chosen now and not before: what is written goes to the connection
			// at once.
			var n int
			n, over = c.mapping.fill(buf[leadSize : leadSize+room])
			switch {
			case n == 0:
			case c.mapping.framed():
				end = start + n
			default:
				start, end = c.frame(buf, n)
			}
			if over {
				c.ended()
			}
		}
		if len(frames) > 0 {
			start -= copy(buf[start-len(frames):], frames)
		}
		if over {
			end = len(c.appendClose(buf[:end]))
		}
		if start == end {
			return true
		}
		if !c.write(buf[start:end], err) {
			return false
		}
		if over {
			c.closeSent()
			return false
		}
	}
}

// control returns the pong and the ping that are due, as frames, and what may be
// sent.
func (c *conn) control() ([]byte, sendState) {
	c.mu.Lock()
	state := c.send
	if state != sendOpen || !c.pongDue && !c.ping.due {
		c.mu.Unlock()
		return nil, state
	}
	var pong [maxControl]byte
	var ping [pingSize]byte
	pongDue, pingDue, size := c.pongDue, c.ping.due, int(c.pongSize)
	copy(pong[:], c.pong[:size])
	c.pongDue = false
	if pingDue {
		ping = c.ping.takeLocked(time.Now())
	}
	c.mu.Unlock()
	var frames []byte
	if pongDue {
		frames = c.writer.appendFrame(frames, ws.OpPong, pong[:size])
	}
	if pingDue {
		frames = c.writer.appendFrame(frames, ws.OpPing, ping[:])
	}
	return frames, state
}

// frame puts a header in front of a message of n bytes at leadSize, masks it if
// that is due, and returns where both are in buf.
func (c *conn) frame(buf *writeBuffer, n int) (start, end int) {
	end = leadSize + n
	h := c.writer.encode(ws.OpBinary, buf[leadSize:end])
	start = leadSize - copy(buf[leadSize-len(h):], h)
	return start, end
}

// ended says that the session has given its last byte. The Close frame follows:
// the answer to the peer's, or ours.
func (c *conn) ended() {
	status := ws.StatusNormalClosure
	c.mu.Lock()
	if c.recv == recvClosed {
		status = c.status
	}
	c.mu.Unlock()
	c.startClose(status, c.mapping.farewell())
}

// appendClose appends the Close frame that is due.
func (c *conn) appendClose(b []byte) []byte {
	c.mu.Lock()
	status, reason := c.status, c.reason
	c.mu.Unlock()
	return c.writer.appendFrame(b, ws.OpClose, closePayload(status, reason))
}

// closeSent follows the writing of the Close frame. From now the peer has time
// to answer, and to end the connection.
func (c *conn) closeSent() {
	bound := time.Now().Add(c.closing)
	c.mu.Lock()
	c.send = sendClosed
	if c.bound != past {
		c.bound = bound
	}
	bound = c.bound
	broken := c.recv == recvBroken
	c.mu.Unlock()
	_ = c.nc.SetReadDeadline(bound) // an error means that it has ended
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok && broken {
		// The peer's Close frame could not be told from other bytes, so the end of
		// the connection is to be its answer.
		c.goodbye(half.CloseWrite)
	}
}

// A roomConn is a connection that can say how much to write now, see cork.TLSConn.
type roomConn interface {
	Room(most int) int
	AwaitRoom(most int) (int, error)
}

// awaitRoom waits within the write timeout until the connection takes more, and
// returns how long a message may be. Its error is one of the write that follows,
// if there is anything to write at all.
func (c *conn) awaitRoom() (int, error) {
	if c.room == nil {
		return maxMessage, nil
	}
	// With its header, too, the message is to be what there is room for.
	const most, header = maxMessage + ws.MaxHeaderSize, ws.MaxHeaderSize
	if n := c.room.Room(most); n > 0 {
		return n - header, nil
	}
	if d := c.cfg.writeTimeout(); d > 0 {
		c.setWriteDeadline(time.Now().Add(d))
	}
	n, err := c.room.AwaitRoom(most)
	if err != nil {
		c.setWriteDeadline(time.Time{}) // TLS may write by itself, as after write
	}
	return n - header, err
}

// write writes frames to the connection, unless err says that it has failed
// already. It reports false if that failed, which ends it.
func (c *conn) write(p []byte, err error) bool {
	if err == nil {
		if d := c.cfg.writeTimeout(); d > 0 {
			c.setWriteDeadline(time.Now().Add(d))
		}
		_, err = c.nc.Write(p)
	}
	switch {
	case err == nil:
		// TLS writes by itself too, when the peer changes keys, and a deadline
		// that has passed would fail that and everything after it.
		c.setWriteDeadline(time.Time{})
		return true
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.lost(writeTimeoutError(c.cfg.writeTimeout()))
		c.abandon()
	default:
		c.writeFailed(err)
	}
	return false
}

// writeFailed has the reader read what is there: it may be the Close frame with
// which the peer has ended the connection.
func (c *conn) writeFailed(err error) {
	bound := time.Now().Add(c.closing)
	c.mu.Lock()
	c.send, c.writeErr = sendClosed, err
	if c.bound.IsZero() {
		c.bound = bound
	}
	bound = c.bound
	c.mu.Unlock()
	_ = c.nc.SetReadDeadline(bound) // an error means that it has ended
}

// setWriteDeadline sets the writer's deadline, or that of the closing if it is
// earlier, as setReadDeadline does.
func (c *conn) setWriteDeadline(t time.Time) {
	_ = c.nc.SetWriteDeadline(t) // an error means that it has ended
	c.mu.Lock()
	bound := c.bound
	c.mu.Unlock()
	if !bound.IsZero() && (t.IsZero() || bound.Before(t)) {
		_ = c.nc.SetWriteDeadline(bound)
	}
}
