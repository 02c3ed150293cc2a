package adapter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// closeTimeout bounds how long the end of a connection waits for the closing
// handshakes of its WebSockets.
const closeTimeout = time.Second

// A socket is one WebSocket, framed by a library. All messages are binary.
type socket interface {
	// write sends a message in one frame. Several goroutines may call it at once.
	write(message []byte) error
	// read appends the next message of at most the socket's limit to buf, and
	// answers control frames before it. It returns io.EOF after the closing
	// handshake. One goroutine calls it.
	read(buf []byte) ([]byte, error)
	// close begins the closing handshake, once. It may wait for the peer while
	// read is called.
	close()
	// finish is called once read has returned an error, and after that nothing
	// but abort. Without clean what was sent need not arrive.
	finish(clean bool)
	// abort ends the calls of all others, at once. It may be called at any time
	// and more than once.
	abort()
}

// A socketChannel is a channel that is a WebSocket. A goroutine of its own reads,
// so that a Receive may be given up, and so that the closing handshake does not
// depend on anyone who receives.
type socketChannel struct {
	socket socket
	limit  int // of a message that is sent

	// Buffers wander between free and full. There are never more than fit into
	// each, so that nobody waits to put one back.
	free chan []byte
	full chan []byte // closed once err is set
	err  error       // of reading
	last []byte      // what the receiver has, and gives back with its next call

	closed chan struct{} // by Close: what comes is dropped
	once   sync.Once
	wg     sync.WaitGroup // the goroutines of read and Close
}

// socketBuffers is how many received messages a socketChannel holds, that of the
// receiver included.
const socketBuffers = 4

func newSocketChannel(s socket, limit int) *socketChannel {
	c := &socketChannel{
		socket: s,
		limit:  limit,
		free:   make(chan []byte, socketBuffers),
		full:   make(chan []byte, socketBuffers),
		closed: make(chan struct{}),
	}
	for range socketBuffers {
		c.free <- nil
	}
	c.wg.Go(c.read) // ends with the closing handshake or with abort
	return c
}

func (c *socketChannel) read() {
	var spare []byte
	for {
		var buf []byte
		select {
		case buf = <-c.free:
		case <-c.closed:
			buf, spare = spare, nil
		}
		message, err := c.socket.read(buf[:0])
		if err != nil {
			c.err = err
			close(c.full)
			c.socket.finish(err == io.EOF)
			return
		}
		select {
		case <-c.closed:
			spare = message
		default:
			c.full <- message
		}
	}
}

// Send may be called by several goroutines at once.
func (c *socketChannel) Send(message []byte) error {
	switch {
	case len(message) > c.limit:
		return ErrTooLarge
	case len(message) == 0:
		return errors.New("an empty message")
	}
	select {
	case <-c.closed:
		return net.ErrClosed
	default:
	}
	return c.socket.write(message)
}

func (c *socketChannel) Receive(ctx context.Context) ([]byte, error) {
	if c.last != nil {
		c.free <- c.last
		c.last = nil
	}
	var ok bool
	select {
	case <-c.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c.last, ok = <-c.full:
	default:
		select {
		case c.last, ok = <-c.full:
		case <-c.closed:
			return nil, net.ErrClosed
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if !ok {
		return nil, c.err
	}
	return c.last, nil
}

// Close begins the closing handshake, which goes on in the background.
func (c *socketChannel) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.wg.Go(c.socket.close) // ends with the handshake or with abort
	})
	return nil
}

// maxSockets bounds the WebSockets of one connection of the laboratory, ended
// ones included.
const maxSockets = 1 << 10

// sockets are the WebSockets of one end.
type sockets struct {
	limit int // of a message that is sent

	mu     sync.Mutex // guards the following
	all    []*socketChannel
	closed bool
}

// add makes a channel of a WebSocket, or ends it.
func (s *sockets) add(socket socket) (*socketChannel, error) {
	c := newSocketChannel(socket, s.limit)
	s.mu.Lock()
	closed, full := s.closed, len(s.all) == maxSockets
	if !closed && !full {
		s.all = append(s.all, c)
	}
	s.mu.Unlock()
	switch {
	case closed:
		c.end()
		return nil, net.ErrClosed
	case full:
		c.end()
		return nil, fmt.Errorf("more than %d WebSockets", maxSockets)
	}
	return c, nil
}

// close ends all WebSockets, at last by force, and waits for their goroutines.
func (s *sockets) close() {
	s.mu.Lock()
	s.closed = true
	all := s.all
	s.mu.Unlock()
	force := time.AfterFunc(closeTimeout, func() {
		for _, c := range all {
			c.socket.abort()
		}
	})
	defer force.Stop()
	for _, c := range all {
		_ = c.Close()
	}
	for _, c := range all {
		c.wg.Wait()
	}
	for _, c := range all {
		c.socket.abort() // what the libraries keep for it
	}
}

// end ends a channel that nobody has, and waits for its goroutines.
func (c *socketChannel) end() {
	c.socket.abort()
	_ = c.Close()
	c.wg.Wait()
}
