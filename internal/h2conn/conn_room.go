package h2conn

import "time"

// A roomConn is a net.Conn that can say how much to write now. Bytes that it took
// cannot be overtaken, so the writer chooses them no earlier than it must.
type roomConn interface {
	// Room returns how much to write now, at most most and otherwise at least
	// about 2 KiB, or 0 if the connection has enough.
	Room(most int) int
	// AwaitRoom waits until that is not 0, or returns an error: the write
	// deadline has passed, or the connection is closed.
	AwaitRoom(most int) (int, error)
}

// awaitRoom waits within the write timeout until the socket takes more, and has
// the writer encode no more than that. Its error is one of the write that follows,
// if there is anything to write at all: there need not be, and then nothing is
// wrong with a socket that takes nothing.
func (c *Conn) awaitRoom() error {
	w, most := &c.w, c.cfg.WriteBuffer
	w.room = most
	nc, ok := c.nc.(roomConn)
	if !ok {
		return nil
	}
	if n := nc.Room(most); n > 0 {
		w.room = n
		return nil
	}
	if d := c.cfg.WriteTimeout; d > 0 {
		c.setWriteDeadline(time.Now().Add(d))
	}
	n, err := nc.AwaitRoom(most)
	w.room = n
	if err != nil {
		// TLS may write by itself, as after write.
		c.setWriteDeadline(time.Time{})
	}
	return err
}
