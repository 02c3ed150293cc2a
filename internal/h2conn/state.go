package h2conn

import "fmt"

// streamState is the state of a stream as in RFC 9113, section 5.1, without the
// reserved states, for nothing is pushed.
type streamState uint8

const (
	streamIdle             streamState = iota // a client's HEADERS are queued
	streamOpen                                // both sides may send
	streamHalfClosedLocal                     // we have sent END_STREAM
	streamHalfClosedRemote                    // the peer has sent END_STREAM
	streamClosed
)

func (s streamState) String() string {
	switch s {
	case streamIdle:
		return "idle"
	case streamOpen:
		return "open"
	case streamHalfClosedLocal:
		return "half-closed (local)"
	case streamHalfClosedRemote:
		return "half-closed (remote)"
	case streamClosed:
		return "closed"
	}
	return fmt.Sprintf("streamState(%d)", uint8(s))
}

// streamEvent moves a stream from state to state.
type streamEvent uint8

const (
	eventHeaders streamEvent = iota // the first HEADERS were sent or received
	eventSendEnd                    // we sent END_STREAM
	eventRecvEnd                    // END_STREAM came
	eventReset                      // RST_STREAM either way, or the connection ended
)

// after returns the state that follows, or false if the event cannot happen in s.
// The checks of received frames come first, so that false is a bug of ours.
func (s streamState) after(e streamEvent) (streamState, bool) {
	switch e {
	case eventHeaders:
		if s == streamIdle {
			return streamOpen, true
		}
	case eventSendEnd:
		switch s {
		case streamOpen:
			return streamHalfClosedLocal, true
		case streamHalfClosedRemote:
			return streamClosed, true
		}
	case eventRecvEnd:
		switch s {
		case streamOpen:
			return streamHalfClosedRemote, true
		case streamHalfClosedLocal:
			return streamClosed, true
		}
	case eventReset:
		if s != streamClosed {
			return streamClosed, true
		}
	}
	return s, false
}

// canSend and canRecv tell whether that side of the stream is open.
func (s streamState) canSend() bool { return s == streamOpen || s == streamHalfClosedRemote }
func (s streamState) canRecv() bool { return s == streamOpen || s == streamHalfClosedLocal }

// closeReason is how a stream came to its end. What a late frame on it means
// depends on that (RFC 9113, section 5.1).
type closeReason uint8

const (
	closeUnknown closeReason = iota // forgotten, or skipped by a higher id
	closeEnded                      // END_STREAM both ways
	closeByPeer                     // RST_STREAM received
	closeByUs                       // RST_STREAM sent, or the stream was refused
)

// closedSize is how many closed streams are remembered.
const closedSize = 256

// closedStreams remembers how the last closed streams ended.
type closedStreams struct {
	ends []closedStream // a ring, once there are closedSize
	next int
}

type closedStream struct {
	id     uint32
	reason closeReason
}

func (c *closedStreams) add(id uint32, r closeReason) {
	switch s := c.find(id); {
	case s != nil:
		s.reason = r
	case len(c.ends) < closedSize:
		c.ends = append(c.ends, closedStream{id, r})
	default:
		c.ends[c.next] = closedStream{id, r}
		c.next = (c.next + 1) % closedSize
	}
}

func (c *closedStreams) find(id uint32) *closedStream {
	for i := range c.ends {
		if c.ends[i].id == id {
			return &c.ends[i]
		}
	}
	return nil
}

func (c *closedStreams) reason(id uint32) closeReason {
	if s := c.find(id); s != nil {
		return s.reason
	}
	return closeUnknown
}
