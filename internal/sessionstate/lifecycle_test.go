package sessionstate

import (
	"errors"
	"fmt"
	"testing"

	"github.com/towpath-go/towpath/transport"
)

// outcome is what an event must lead to: a state, or one of these.
type outcome int

const (
	peerFault outcome = -1 // a protocol error, the state stays
	bug       outcome = -2 // a panic
)

// TestLifecycle has every state and every event.
func TestLifecycle(t *testing.T) {
	to := func(s Lifecycle) outcome { return outcome(s) }
	table := map[Lifecycle]map[Event]outcome{
		Open: {
			EventClose:     to(Closing),
			EventCloseSent: bug,
			EventEndSent:   bug,
			EventPeerClose: to(PeerClosed),
			EventPeerEnd:   to(PeerEnded),
			EventAbort:     to(Closed),
		},
		Closing: {
			EventClose:     to(Closing),
			EventCloseSent: to(CloseSent),
			EventEndSent:   bug,
			EventPeerClose: to(PeerClosed),
			EventPeerEnd:   to(PeerEnded),
			EventAbort:     to(Closed),
		},
		CloseSent: {
			EventClose:     to(CloseSent),
			EventCloseSent: bug,
			EventEndSent:   bug,
			EventPeerClose: to(Ending),
			EventPeerEnd:   to(Closed),
			EventAbort:     to(Closed),
		},
		PeerClosed: {
			EventClose:     to(PeerClosed),
			EventCloseSent: bug,
			EventEndSent:   to(Ending),
			EventPeerClose: peerFault,
			EventPeerEnd:   to(PeerEnded),
			EventAbort:     to(Closed),
		},
		PeerEnded: {
			EventClose:     to(PeerEnded),
			EventCloseSent: bug,
			EventEndSent:   to(Closed),
			EventPeerClose: peerFault,
			EventPeerEnd:   peerFault,
			EventAbort:     to(Closed),
		},
		Ending: {
			EventClose:     to(Ending),
			EventCloseSent: bug,
			EventEndSent:   bug,
			EventPeerClose: peerFault,
			EventPeerEnd:   to(Closed),
			EventAbort:     to(Closed),
		},
		Closed: {
			EventClose:     to(Closed),
			EventCloseSent: to(Closed),
			EventEndSent:   to(Closed),
			EventPeerClose: to(Closed),
			EventPeerEnd:   to(Closed),
			EventAbort:     to(Closed),
		},
	}
	for s := range numLifecycles {
		for e := range numEvents {
			t.Run(fmt.Sprintf("%v, %v", s, e), func(t *testing.T) {
				want, ok := table[s][e]
				if !ok {
					t.Fatal("not in the table")
				}
				if want == bug {
					wantPanic(t, "an event that this side cannot have", func() { s.Next(e) })
					return
				}
				got, err := s.Next(e)
				if want == peerFault {
					wantViolation(t, err, transport.ViolationMalformed, "an event that the peer must not cause")
					want = to(s)
				} else if err != nil {
					t.Errorf("error %v", err)
				}
				if got != Lifecycle(want) {
					t.Errorf("leads to %v, want %v", got, Lifecycle(want))
				}
			})
		}
	}
}

// TestLifecyclePaths walks the ways a session ends, on both sides.
func TestLifecyclePaths(t *testing.T) {
	walk := func(t *testing.T, events ...Event) Lifecycle {
		t.Helper()
		s := Open
		for _, e := range events {
			next, err := s.Next(e)
			if err != nil {
				t.Fatalf("%v in %v: %v", e, s, err)
			}
			s = next
		}
		return s
	}
	for _, c := range []struct {
		name   string
		events []Event
	}{
		{"closing", []Event{EventClose, EventCloseSent, EventPeerEnd}},
		{"closed by the peer", []Event{EventPeerClose, EventEndSent, EventPeerEnd}},
		{"closed by the peer, the end with the capsule", []Event{EventPeerClose, EventPeerEnd, EventEndSent}},
		{"ended by the peer", []Event{EventPeerEnd, EventEndSent}},
		{"both at once, each ends first", []Event{EventClose, EventCloseSent, EventPeerClose, EventPeerEnd}},
		{"both at once, the peer's first", []Event{EventClose, EventPeerClose, EventEndSent, EventPeerEnd}},
		{"reset", []Event{EventAbort}},
		{"the peer never answers", []Event{EventClose, EventCloseSent, EventAbort}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if s := walk(t, c.events...); s != Closed {
				t.Errorf("ends in %v", s)
			}
			for n := range c.events {
				if s := walk(t, c.events[:n]...); s == Closed {
					t.Errorf("closed after %v already", c.events[:n])
				}
			}
		})
	}
}

func TestLifecyclePredicates(t *testing.T) {
	for _, c := range []struct {
		s               Lifecycle
		flowing, endDue bool
		name            string
	}{
		{Open, true, false, "open"},
		{Closing, true, false, "closing"},
		{CloseSent, false, false, "close sent"},
		{PeerClosed, false, true, "peer closed"},
		{PeerEnded, false, true, "peer ended"},
		{Ending, false, false, "ending"},
		{Closed, false, false, "closed"},
	} {
		if c.s.Flowing() != c.flowing || c.s.EndDue() != c.endDue || c.s.String() != c.name {
			t.Errorf("%v: Flowing %v, EndDue %v; want %v, %v, %q", c.s, c.s.Flowing(), c.s.EndDue(), c.flowing, c.endDue, c.name)
		}
		// EventEndSent is legal exactly where the end is due.
		if c.s == Closed {
			continue
		}
		func() {
			defer func() {
				if illegal := recover() != nil; illegal == c.endDue {
					t.Errorf("%v: EndDue %v, but EventEndSent illegal = %v", c.s, c.endDue, illegal)
				}
			}()
			c.s.Next(EventEndSent)
		}()
	}
}

func TestProtocolErrorIsNotABug(t *testing.T) {
	_, err := PeerClosed.Next(EventPeerClose)
	var e *transport.ProtocolError
	if !errors.As(err, &e) || e.Reason == "" {
		t.Errorf("got %v, want a ProtocolError with a reason", err)
	}
}
