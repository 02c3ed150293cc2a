package adapter

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// A messagePipe carries whole messages between the two ends: one WebSocket, or a
// session's datagrams.
type messagePipe interface {
	// Send hands over one message, which is not kept. Several goroutines may call
	// it at once.
	Send(message []byte) error
	// Receive waits for a message; the slice is valid until the next call. One
	// goroutine calls it. An io.EOF is the orderly end of the whole pipe.
	Receive(ctx context.Context) ([]byte, error)
	// Close ends calls of Send and Receive that wait.
	Close() error
}

const (
	// maxVirtual bounds the channels of each of the kinds, ended ones
	// included.
	maxVirtual = 1 << 10
	// maxQueued bounds the received messages of a channel that drops, as the
	// session's own queue of datagrams does.
	maxQueued = 128
	// maxHeld bounds what all channels of a pipe hold together, in bytes;
	// messageCost counts for each message besides its payload.
	maxHeld     = 4 << 20
	messageCost = 64
	// virtualPrefix is the longest prefix, see virtual.
	virtualPrefix = 2
)

// Kinds of virtual channels: who opened it, and what for.
const (
	serverOpened = 1 << iota
	forBulk
	forCalls
	kinds    = 1 << iota
	kindBits = iota - 1
)

var errVirtual = errors.New("malformed message on virtual channels")

// virtual divides one pipe of messages into channels, as an application does that
// has nothing else to divide it: each message begins with the number of its
// channel. Nothing announces a channel: the first that one end opens is the first
// that the other accepts, which may be before or after.
//
//	message = uvarint(number<<4 | kind<<1 | end) payload
//
// With end there is no payload: the sender has closed the channel.
//
// Where the pipe is reliable, a channel whose messages nobody receives stops the
// whole pipe once maxHeld is reached; otherwise the channel's oldest message is
// dropped at maxQueued, and counted.
type virtual struct {
	pipe     messagePipe
	server   bool
	reliable bool
	limit    int // of a payload

	cancel context.CancelFunc // of the loop
	ended  chan struct{}      // closed when the loop has ended
	room   chan struct{}      // of 1: something was taken out of a queue

	mu       sync.Mutex // guards the following
	channels map[uint64]*virtualChannel
	opened   [kinds]uint64 // here
	accepted [kinds]uint64
	held     int
	dropped  uint64
	err      error // why the loop ended
	closed   bool
}

// newVirtual begins to receive from the pipe, until Close. Payloads have at most
// limit bytes.
func newVirtual(pipe messagePipe, server, reliable bool, limit int) *virtual {
	ctx, cancel := context.WithCancel(context.Background())
	v := &virtual{
		pipe:     pipe,
		server:   server,
		reliable: reliable,
		limit:    limit,
		cancel:   cancel,
		ended:    make(chan struct{}),
		room:     make(chan struct{}, 1),
		channels: make(map[uint64]*virtualChannel),
	}
	go v.receive(ctx) // ends with the pipe or by Close, which waits for it
	return v
}

// OpenChannel opens the next channel of this end. It does not wait.
func (v *virtual) OpenChannel(context.Context) (Channel, error) { return v.next(&v.opened, v.kind(0)) }

// AcceptChannel returns the other end of the peer's next channel. It does not
// wait.
func (v *virtual) AcceptChannel(context.Context) (Channel, error) {
	return v.next(&v.accepted, v.kind(0)^serverOpened)
}

// OpenBulk opens the next bulk channel of this end. It does not wait.
func (v *virtual) OpenBulk(context.Context) (Channel, error) {
	return v.next(&v.opened, v.kind(forBulk))
}

// AcceptBulk returns the other end of the peer's next bulk channel. It does not
// wait.
func (v *virtual) AcceptBulk(context.Context) (Channel, error) {
	return v.next(&v.accepted, v.kind(forBulk)^serverOpened)
}

// OpenCalls opens the next channel of this end for calls. It does not wait.
func (v *virtual) OpenCalls(context.Context) (Channel, error) {
	return v.next(&v.opened, v.kind(forCalls))
}

// AcceptCalls returns the other end of the peer's next channel for calls. It does
// not wait.
func (v *virtual) AcceptCalls(context.Context) (Channel, error) {
	return v.next(&v.accepted, v.kind(forCalls)^serverOpened)
}

func (v *virtual) kind(k int) int {
	if v.server {
		k |= serverOpened
	}
	return k
}

func (v *virtual) next(counters *[kinds]uint64, kind int) (Channel, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil, net.ErrClosed
	}
	if v.err != nil {
		return nil, v.err
	}
	n := counters[kind]
	if n == maxVirtual {
		return nil, fmt.Errorf("more than %d virtual channels", maxVirtual)
	}
	counters[kind]++
	return v.channelLocked(n<<kindBits | uint64(kind)), nil
}

func (v *virtual) channelLocked(key uint64) *virtualChannel {
	c := v.channels[key]
	if c == nil {
		c = &virtualChannel{v: v, key: key, wake: make(chan struct{}, 1)}
		v.channels[key] = c
	}
	return c
}

// Close closes the pipe and waits for the loop.
func (v *virtual) Close() error {
	v.mu.Lock()
	v.closed = true
	v.mu.Unlock()
	v.cancel()
	err := v.pipe.Close()
	<-v.ended
	return err
}

// Dropped counts the messages that were received and dropped.
func (v *virtual) Dropped() uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.dropped
}

// receive puts every message into its channel's queue.
func (v *virtual) receive(ctx context.Context) {
	defer close(v.ended)
	var err error
	for err == nil {
		var message []byte
		if message, err = v.pipe.Receive(ctx); err == nil {
			err = v.deliver(ctx, message)
		}
		if errors.Is(err, errVirtual) && !v.reliable {
			v.mu.Lock()
			v.dropped++
			v.mu.Unlock()
			err = nil
		}
	}
	v.mu.Lock()
	v.err = err
	if v.closed {
		v.err = net.ErrClosed
	}
	channels := make([]*virtualChannel, 0, len(v.channels))
	for _, c := range v.channels {
		channels = append(channels, c)
	}
	v.mu.Unlock()
	for _, c := range channels {
		signal(c.wake)
	}
}

func (v *virtual) deliver(ctx context.Context, message []byte) error {
	prefix, n := binary.Uvarint(message)
	if n <= 0 || n > virtualPrefix || prefix>>(kindBits+1) >= maxVirtual {
		return fmt.Errorf("%w: its channel's number", errVirtual)
	}
	payload, end := message[n:], prefix&1 != 0
	if end != (len(payload) == 0) || len(payload) > v.limit {
		return fmt.Errorf("%w: %d bytes of payload", errVirtual, len(payload))
	}
	cost := len(payload) + messageCost
	v.mu.Lock()
	c := v.channelLocked(prefix >> 1)
	for v.reliable && !c.closed && v.held+cost > maxHeld {
		v.mu.Unlock()
		select {
		case <-v.room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		v.mu.Lock()
	}
	switch {
	case c.closed || c.ended: // nobody wants it, or it came after the end
	case end:
		c.ended = true
	case v.held+cost > maxHeld: // here nothing waits
		v.dropped++
	default:
		if !v.reliable && len(c.queue) == maxQueued {
			v.takeLocked(c)
			v.dropped++
		}
		c.queue = append(c.queue, append([]byte(nil), payload...))
		v.held += cost
	}
	v.mu.Unlock()
	signal(c.wake)
	return nil
}

// takeLocked takes the oldest message out of a queue.
func (v *virtual) takeLocked(c *virtualChannel) []byte {
	message := c.queue[0]
	c.queue[0] = nil
	c.queue = c.queue[1:]
	v.held -= len(message) + messageCost
	return message
}

// virtualChannel is one channel of a pipe. Its fields, but for scratch, are
// guarded by the pipe's mutex.
type virtualChannel struct {
	v       *virtual
	key     uint64
	wake    chan struct{} // of 1: queue or end changed
	scratch []byte        // the sender's

	queue  [][]byte
	ended  bool // by the peer
	closed bool // here
}

func (c *virtualChannel) Send(message []byte) error {
	if len(message) > c.v.limit {
		return ErrTooLarge
	}
	c.v.mu.Lock()
	closed, err := c.closed || c.v.closed, c.v.err
	c.v.mu.Unlock()
	switch {
	case closed:
		return net.ErrClosed
	case err != nil:
		return err
	case len(message) == 0:
		return errors.New("an empty message")
	}
	c.scratch = append(binary.AppendUvarint(c.scratch[:0], c.key<<1), message...)
	return c.v.pipe.Send(c.scratch)
}

func (c *virtualChannel) Receive(ctx context.Context) ([]byte, error) {
	v := c.v
	for {
		v.mu.Lock()
		var message []byte
		var err error
		switch {
		case c.closed:
			err = net.ErrClosed
		case len(c.queue) > 0:
			message = v.takeLocked(c)
		case c.ended:
			err = io.EOF
		default:
			err = v.err
		}
		v.mu.Unlock()
		if message != nil {
			signal(v.room)
			return message, nil
		}
		if err != nil {
			return nil, err
		}
		select {
		case <-c.wake:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Close tells the peer, once. What was received and not taken is dropped.
func (c *virtualChannel) Close() error {
	v := c.v
	v.mu.Lock()
	again, err := c.closed || v.closed, v.err
	c.closed = true
	for len(c.queue) > 0 {
		v.takeLocked(c)
	}
	v.mu.Unlock()
	signal(v.room)
	signal(c.wake)
	if again || err != nil {
		return nil // nobody is left to tell
	}
	return v.pipe.Send(binary.AppendUvarint(nil, c.key<<1|1))
}
