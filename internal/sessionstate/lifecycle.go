package sessionstate

import (
	"fmt"

	"github.com/towpath-go/towpath/transport"
)

// Lifecycle is where a session stands on its way from open to closed, as both
// drafts' "Session Termination" describe it: each side says once that it is
// finished, with WT_CLOSE_SESSION and the end of its half of the CONNECT
// stream, or with that end alone.
//
//	Open ──Close──► Closing ──CloseSent──► CloseSent ──PeerEnd──────────────► Closed
//	 │                │                        └──PeerClose──► Ending ──PeerEnd──┘
//	 ├──PeerClose─────┴──► PeerClosed ──EndSent──► Ending
//	 │                │        └──PeerEnd──► PeerEnded
//	 └──PeerEnd───────┴──► PeerEnded ──EndSent──► Closed
//	any ──Abort──► Closed
//
// A session is over for the application in every state but Open.
type Lifecycle uint8

const (
	// Open is the state from acceptance on.
	Open Lifecycle = iota
	// Closing is between the local close and its WT_CLOSE_SESSION: finished
	// streams are being flushed.
	Closing
	// CloseSent is between the own WT_CLOSE_SESSION, with the end of the own
	// half, and the peer's end. What the peer still sends is discarded.
	CloseSent
	// PeerClosed is after the peer's WT_CLOSE_SESSION and before its end. The
	// own end is due; nothing else may be sent.
	PeerClosed
	// PeerEnded is after the end of the peer's half. The own end is due.
	PeerEnded
	// Ending is when the own half has ended and the peer has said
	// WT_CLOSE_SESSION, but not ended its half.
	Ending
	// Closed is final: both halves have ended, or the CONNECT stream was
	// reset by somebody.
	Closed

	numLifecycles
)

// String returns the state's name.
func (s Lifecycle) String() string {
	switch s {
	case Open:
		return "open"
	case Closing:
		return "closing"
	case CloseSent:
		return "close sent"
	case PeerClosed:
		return "peer closed"
	case PeerEnded:
		return "peer ended"
	case Ending:
		return "ending"
	case Closed:
		return "closed"
	}
	return "unknown state"
}

// An Event moves a Lifecycle.
type Event uint8

const (
	EventClose     Event = iota // the application closes the session
	EventCloseSent              // WT_CLOSE_SESSION and the own end went to the transport
	EventEndSent                // the own end went to the transport, as the answer to the peer's
	EventPeerClose              // WT_CLOSE_SESSION arrived
	EventPeerEnd                // the end of the peer's half arrived
	EventAbort                  // the CONNECT stream was reset, by either side, or lost

	numEvents
)

// String returns the event's name.
func (e Event) String() string {
	switch e {
	case EventClose:
		return "close"
	case EventCloseSent:
		return "close sent"
	case EventEndSent:
		return "end sent"
	case EventPeerClose:
		return "peer close"
	case EventPeerEnd:
		return "peer end"
	case EventAbort:
		return "abort"
	}
	return "unknown event"
}

// Next returns the state after an event. An event of the peer that cannot
// happen in this state is a *transport.ProtocolError, and the state stays. One
// of this side panics. In Closed every event is ignored, since events cross. A
// local close after any close is ignored: the first counts.
func (s Lifecycle) Next(e Event) (Lifecycle, error) {
	if s == Closed || e == EventAbort {
		return Closed, nil
	}
	switch e {
	case EventClose:
		if s == Open {
			return Closing, nil
		}
		return s, nil
	case EventCloseSent:
		if s == Closing {
			return CloseSent, nil
		}
	case EventEndSent:
		switch s {
		case PeerClosed:
			return Ending, nil
		case PeerEnded:
			return Closed, nil
		}
	case EventPeerClose:
		switch s {
		case Open, Closing:
			return PeerClosed, nil
		case CloseSent:
			// Both closed at once. Each keeps its own reason.
			return Ending, nil
		}
		return s, peerEventError(s, e)
	case EventPeerEnd:
		switch s {
		case Open, Closing, PeerClosed:
			return PeerEnded, nil
		case CloseSent, Ending:
			return Closed, nil
		}
		return s, peerEventError(s, e)
	}
	panic(fmt.Sprintf("BUG: sessionstate: event %q in state %q", e, s))
}

// Flowing reports whether capsules are exchanged: streams, datagrams and
// limits. In Closing that is for the sake of what is being flushed.
func (s Lifecycle) Flowing() bool { return s == Open || s == Closing }

// EndDue reports whether the own half has to be ended now, with nothing more
// sent before.
func (s Lifecycle) EndDue() bool { return s == PeerClosed || s == PeerEnded }

func peerEventError(s Lifecycle, e Event) error {
	return &transport.ProtocolError{
		Violation: transport.ViolationMalformed,
		Reason:    fmt.Sprintf("%v in state %q", e, s),
	}
}
