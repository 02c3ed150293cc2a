package h3wt

import (
	"time"

	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// Session flow control (draft-ietf-webtrans-http3 "Flow Control") limits the
// bytes of all streams together and the number of streams. Stream headers do
// not count; of a reset stream its final size counts.

// raiseData takes WT_MAX_DATA. It reports whether that had an effect.
func (s *Session) raiseData(limit uint64) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.flowControl {
		return false, nil
	}
	change := s.sendCredit.Raise(limit)
	if change == sessionstate.Raised {
		s.raiseLocked(&s.creditRaised)
		return true, nil
	}
	return false, s.limitRule.notRaised("WT_MAX_DATA", change)
}

// raiseStreams takes WT_MAX_STREAMS. It reports whether that had an effect.
func (s *Session) raiseStreams(kind int, limit uint64) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.flowControl {
		return false, nil
	}
	change, err := s.local[kind].Raise(limit)
	if err != nil {
		return false, err
	}
	if change == sessionstate.Raised {
		s.raiseLocked(&s.streamsRaised[kind])
		return true, nil
	}
	return false, s.limitRule.notRaised("WT_MAX_STREAMS", change)
}

// notRaised judges a limit that does not raise the one in force, which stays.
func (r limitRule) notRaised(name string, change sessionstate.Change) error {
	if r == limitsAny || r == limitsNotLower && change == sessionstate.Unchanged {
		return nil
	}
	return &transport.ProtocolError{Violation: transport.ViolationFlowControl, Reason: name + " does not increase"}
}

// startWindow sets up the window for what the peer sends. SETTINGS may have
// offered less than the session's initial window; the rest comes out of the
// connection's, if it has room.
func (s *Session) startWindow() {
	announced := s.c.limits.maxData
	window, most := uint64(s.cfg.InitialSessionWindow), uint64(s.cfg.MaxSessionWindow)
	if more := int64(window) - int64(announced); more > 0 {
		if s.c.takeWindow(more) {
			s.windowTaken = more
		} else {
			window = announced
		}
	}
	s.window = sessionstate.NewSessionWindow(announced, window, most)
}

// announceLimits announces what the session allows beyond SETTINGS.
func (s *Session) announceLimits() {
	if !s.flowControl {
		return
	}
	s.mu.Lock()
	for k := range s.peer {
		s.updateStreamsLocked(k)
	}
	s.mu.Unlock()
	s.giveCredit()
	s.flushControl()
}

func (s *Session) updateStreamsLocked(kind int) {
	if limit, ok := s.peer[kind].Update(); ok {
		s.control.maxStreams[kind], s.control.hasMaxStreams[kind] = limit, true
	}
}

// receivedLocked counts n bytes of stream data from the peer.
func (s *Session) receivedLocked(n uint64) error {
	if n == 0 || s.err != nil {
		return nil
	}
	s.trafficLocked()
	s.floods.Received(int(min(n, 1<<30)))
	if s.flowControl {
		if err := s.window.Receive(n); err != nil {
			return err
		}
	}
	s.stats.BytesReceived += n
	return nil
}

// consumeLocked counts n of them as read or discarded.
func (s *Session) consumeLocked(n uint64) {
	if s.flowControl {
		s.window.Consume(min(n, s.window.Unread()))
	}
}

// giveCredit announces a new limit on data, if one is due. It may be called
// from quic-go's event loop.
func (s *Session) giveCredit() {
	s.mu.Lock()
	due := s.creditDueLocked()
	s.mu.Unlock()
	if due {
		s.announceCredit()
	}
}

// creditDueLocked reports whether a new limit is due, and sees to what is not due
// yet.
func (s *Session) creditDueLocked() bool {
	if !s.flowControl {
		return false
	}
	if s.err == nil && !s.pacing.withheld && s.window.Due() {
		return true
	}
	s.giveRestLaterLocked()
	return false
}

// announceCredit announces the limit that is due.
func (s *Session) announceCredit() {
	s.mu.Lock()
	size := int64(s.window.Window())
	s.mu.Unlock()
	rtt, known := s.c.rtt()
	if !known {
		rtt = 0
	}
	// A window that doubles takes as much again of the connection's.
	pressure := s.holder.Credit()
	room := pressure == sessionstate.PressureNone && s.c.takeWindow(size)
	if pressure == sessionstate.PressureNone && !room {
		pressure = sessionstate.PressureHigh
	}
	var wait time.Duration
	s.mu.Lock()
	if s.err == nil {
		before := int64(s.window.Window())
		var limit uint64
		var ok bool
		if limit, ok, wait = s.updateWindowLocked(time.Now(), rtt, pressure, false); ok {
			s.control.maxData, s.control.hasMaxData = limit, true
		}
		grown := int64(s.window.Window()) - before
		s.windowTaken += grown
		size -= grown
	}
	s.mu.Unlock()
	if room && size != 0 {
		s.c.returnWindow(size)
	}
	s.withheld(wait)
	s.flushControl()
}

// restDelay is how long nothing has to be consumed before a limit is announced
// that gives back too little to be due.
const restDelay = 20 * time.Millisecond

// giveRestLaterLocked sees to it that small credit is given back too. What the
// peer has sent on streams that nobody reads is not known here, so it may have
// used up all that is not due yet, and the other streams would wait for ever.
func (s *Session) giveRestLaterLocked() {
	if s.restTimer || s.err != nil || s.pacing.withheld || !s.window.Remainder() {
		return
	}
	s.restTimer = true
	consumed := s.window.Consumed()
	// Does nothing once the session has ended.
	time.AfterFunc(restDelay, func() { s.giveRest(consumed) })
}

// giveRest announces what is left to be given back, unless more than consumed
// was consumed meanwhile: then more may follow soon.
func (s *Session) giveRest(consumed uint64) {
	pressure := s.holder.Credit()
	var wait time.Duration
	s.mu.Lock()
	s.restTimer = false
	if s.err == nil {
		var limit uint64
		var ok bool
		if s.window.Consumed() != consumed {
			s.giveRestLaterLocked()
		} else if limit, ok, wait = s.updateWindowLocked(time.Now(), 0, pressure, true); ok {
			s.control.maxData, s.control.hasMaxData = limit, true
		}
	}
	s.mu.Unlock()
	s.withheld(wait)
	s.flushControl()
}
