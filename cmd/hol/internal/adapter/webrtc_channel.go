package adapter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/pion/datachannel"
	"github.com/pion/webrtc/v4"
)

const (
	// webrtcMaxBuffered is how many bytes of a reliable channel may be without
	// acknowledgement before Send waits, and webrtcLowBuffered is how many there
	// are when it goes on. pion counts what is on its way as well as what waits,
	// so that they bound the throughput too: to 1 MiB in a round trip, which is
	// SCTP's receive window in pion.
	webrtcMaxBuffered = 1 << 20
	webrtcLowBuffered = webrtcMaxBuffered / 2
	// webrtcMaxOnce is how many bytes of a channel without retransmission may be
	// without acknowledgement before Send drops: enough for half a second of the
	// full load of updates, and little enough that what arrives is of use.
	webrtcMaxOnce = 16 << 10
	// webrtcReadBuffer is what a channel receives into at first, in bytes. It
	// doubles up to MaxMessage.
	webrtcReadBuffer = 2 << 10
)

// webrtcChannel is one end of a data channel.
//
// A goroutine receives as long as there is a channel, also while nobody waits in
// Receive: pion handles the acknowledgement of an announcement where the
// application reads, and before that sends a channel that is to be unordered in
// order.
type webrtcChannel struct {
	conn *webrtcConn
	data *webrtc.DataChannel
	// drops says that Send never waits.
	drops bool
	// acknowledged is called when the peer has acknowledged the announcement, or
	// never will. It is nil for a channel that the peer announced.
	acknowledged func()
	// messages takes what was received to Receive. It has no buffer, so that the
	// goroutine's two buffers are enough: while it sends one the caller is done
	// with the other.
	messages chan []byte
	low      chan struct{} // has an element when Send may look again
	opened   chan struct{} // closed when raw is set
	closed   chan struct{} // closed by Close
	once     sync.Once     // Close
	ended    chan struct{} // closed when the receiving goroutine has ended
	raw      datachannel.ReadWriteCloser
	err      error // of receiving; may be read when ended is closed
	closeErr error
}

func newWebRTCChannel(conn *webrtcConn, data *webrtc.DataChannel) *webrtcChannel {
	retransmits := data.MaxRetransmits()
	return &webrtcChannel{
		conn: conn, data: data,
		drops:    retransmits != nil && *retransmits == 0,
		messages: make(chan []byte), low: make(chan struct{}, 1),
		opened: make(chan struct{}), closed: make(chan struct{}), ended: make(chan struct{}),
	}
}

// open is pion's callback for a channel that the peer announced.
func (ch *webrtcChannel) open() {
	if err := ch.attach(); err != nil {
		ch.conn.log.Warn("webrtc: channel", "label", ch.data.Label(), "error", err)
	}
}

// attach takes the channel from pion and starts to receive. It fails when the
// connection is being closed.
func (ch *webrtcChannel) attach() error {
	raw, err := ch.data.Detach()
	if err != nil {
		return fmt.Errorf("webrtc: %w", err)
	}
	ch.raw = raw
	if ch.acknowledged != nil {
		channel, ok := raw.(*datachannel.DataChannel)
		if !ok {
			return fmt.Errorf("webrtc: a detached channel is a %T", raw)
		}
		channel.OnOpen(ch.acknowledged)
	}
	ch.data.SetBufferedAmountLowThreshold(webrtcLowBuffered)
	ch.data.OnBufferedAmountLow(func() {
		signal(ch.low)
	})
	if !ch.conn.startPump(ch.receive) {
		return net.ErrClosed
	}
	close(ch.opened)
	return nil
}

// receive runs until the peer has closed the channel, or the association is at
// its end.
func (ch *webrtcChannel) receive() {
	defer close(ch.ended)
	if ch.acknowledged != nil {
		defer ch.acknowledged()
	}
	buffer, spare := make([]byte, webrtcReadBuffer), make([]byte, webrtcReadBuffer)
	for {
		n, _, err := ch.raw.ReadDataChannel(buffer)
		if errors.Is(err, io.ErrShortBuffer) && len(buffer) < MaxMessage {
			buffer = make([]byte, 2*len(buffer))
			continue
		}
		if err != nil {
			ch.err = ch.reason(err)
			return
		}
		select {
		case ch.messages <- buffer[:n]:
			buffer, spare = spare, buffer
		case <-ch.closed: // nobody wants it
		case <-ch.conn.failed:
		}
	}
}

// reason is what Receive returns for an error of pion's.
func (ch *webrtcChannel) reason(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return io.EOF
	case isClosed(ch.conn.failed):
		return net.ErrClosed
	default:
		return fmt.Errorf("webrtc: %w", err)
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Send waits for room if the channel is reliable, and otherwise drops what finds
// none. A message of a channel without retransmission has to fit into a packet:
// pion gives up what it has not sent of a longer one at the first acknowledgement.
func (ch *webrtcChannel) Send(message []byte) error {
	limit := MaxMessage
	if ch.drops {
		limit = MaxDatagram
	}
	if len(message) > limit {
		return fmt.Errorf("webrtc: %d bytes: %w", len(message), ErrTooLarge)
	}
	if isClosed(ch.closed) {
		return net.ErrClosed
	}
	if ch.drops {
		if !ch.room(len(message), webrtcMaxOnce) {
			ch.conn.drop()
			return nil
		}
	} else if err := ch.awaitRoom(len(message)); err != nil {
		return err
	}
	if _, err := ch.raw.Write(message); err != nil {
		if isClosed(ch.conn.failed) {
			return net.ErrClosed
		}
		return fmt.Errorf("webrtc: %w", err)
	}
	return nil
}

// room says whether size more bytes stay below limit; one message always does.
func (ch *webrtcChannel) room(size, limit int) bool {
	buffered := ch.data.BufferedAmount()
	return buffered == 0 || buffered+uint64(size) <= uint64(limit)
}

func (ch *webrtcChannel) awaitRoom(size int) error {
	for !ch.room(size, webrtcMaxBuffered) {
		select {
		case <-ch.low:
		case <-ch.closed:
			return net.ErrClosed
		case <-ch.ended:
			return ch.err
		}
	}
	return nil
}

func (ch *webrtcChannel) Receive(ctx context.Context) ([]byte, error) {
	select {
	case message := <-ch.messages: // also when ctx is over
		return message, nil
	default:
	}
	select {
	case message := <-ch.messages:
		return message, nil
	case <-ch.closed:
		return nil, net.ErrClosed
	case <-ch.ended:
		return nil, ch.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Close resets the channel's stream once what was sent has left (RFC 8831,
// section 6.7); the peer receives the rest, and then io.EOF.
func (ch *webrtcChannel) Close() error {
	ch.once.Do(func() {
		close(ch.closed)
		if err := ch.raw.Close(); err != nil && !webrtcOver(err) {
			ch.closeErr = fmt.Errorf("webrtc: %w", err)
		}
	})
	return ch.closeErr
}
