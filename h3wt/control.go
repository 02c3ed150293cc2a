package h3wt

import (
	"errors"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/sessionstate"
)

// control is what has to be written to the CONNECT stream. It is state, encoded
// when it is written, so that however slowly the peer takes it there is never
// more than one capsule of each kind.
type control struct {
	writing bool // somebody is in writeControl: the one writer
	over    bool // the sending side has ended
	// closing is while WT_CLOSE_SESSION is handed to quic-go without waiting:
	// it may be answered before the writer comes to say that it has gone out.
	closing bool

	maxData           uint64
	hasMaxData        bool
	maxStreams        [2]uint64
	hasMaxStreams     [2]bool
	dataBlocked       uint64
	hasDataBlocked    bool
	streamsBlocked    [2]uint64
	hasStreamsBlocked [2]bool
	close             capsule.CloseSession // due in sessionstate.Closing
}

// takeControlLocked returns the capsules that are due, and whether the end of
// the stream follows them.
func (s *Session) takeControlLocked() (capsules []capsule.Capsule, end bool) {
	c := &s.control
	switch {
	case c.over:
		return nil, false
	case s.life.EndDue():
		return nil, true
	case s.life == sessionstate.Closing:
		return []capsule.Capsule{c.close}, true
	case s.life != sessionstate.Open:
		return nil, false
	}
	if c.hasMaxData {
		capsules = append(capsules, capsule.MaxData{MaximumData: c.maxData})
		c.hasMaxData = false
	}
	for k := range c.maxStreams {
		if c.hasMaxStreams[k] {
			capsules = append(capsules, capsule.MaxStreams{Uni: k == uni, MaximumStreams: c.maxStreams[k]})
			c.hasMaxStreams[k] = false
		}
		if c.hasStreamsBlocked[k] {
			capsules = append(capsules, capsule.StreamsBlocked{Uni: k == uni, MaximumStreams: c.streamsBlocked[k]})
			c.hasStreamsBlocked[k] = false
		}
	}
	if c.hasDataBlocked {
		capsules = append(capsules, capsule.DataBlocked{MaximumData: c.dataBlocked})
		c.hasDataBlocked = false
	}
	if s.drain.TakeDue() {
		capsules = append(capsules, capsule.DrainSession{})
	}
	return capsules, false
}

// controlDueLocked reports whether takeControlLocked has anything to return.
func (s *Session) controlDueLocked() bool {
	c := &s.control
	if s.life != sessionstate.Open {
		return !c.over
	}
	return !c.over && (c.hasMaxData || c.hasDataBlocked || c.hasMaxStreams != [2]bool{} || c.hasStreamsBlocked != [2]bool{} || s.drain.Due())
}

// flushControl writes what is due, without waiting: where the peer has given no
// credit for the CONNECT stream, a goroutine goes on, which ends with the
// stream. It may be called from quic-go's event loop.
func (s *Session) flushControl() {
	s.mu.Lock()
	if s.control.writing || !s.controlDueLocked() {
		s.mu.Unlock()
		return
	}
	s.control.writing = true
	s.mu.Unlock()
	s.writeControl(s.str.TryWriteAll, false)
}

// writeControl is run by one at a time. waits says that write waits for credit.
func (s *Session) writeControl(write func([]byte) error, waits bool) {
	for {
		s.mu.Lock()
		capsules, end := s.takeControlLocked()
		if len(capsules) == 0 && !end {
			s.control.writing = false
			s.mu.Unlock()
			return
		}
		s.control.closing = end && len(capsules) > 0 && !waits
		s.mu.Unlock()
		if len(capsules) > 0 {
			var b []byte
			for _, c := range capsules {
				before := len(b)
				b = c.Append(b)
				s.mu.Lock()
				s.floods.Sent(len(b) - before)
				s.mu.Unlock()
				s.sent(c)
			}
			err := write(b)
			if errors.Is(err, quic.ErrWouldBlock) {
				s.mu.Lock()
				s.control.closing = false // nothing of it has gone out
				s.mu.Unlock()
				go func() {
					s.wroteControl(s.writeWaiting(b), end)
					s.writeControl(s.writeWaiting, true)
				}()
				return
			}
			s.wroteControl(err, end)
			continue
		}
		s.wroteControl(nil, end)
	}
}

// writeWaiting waits for credit. The session's end bounds that.
func (s *Session) writeWaiting(b []byte) error {
	_, err := s.str.Write(b)
	return err
}

// wroteControl follows a write: after the last one it ends the stream.
func (s *Session) wroteControl(err error, end bool) {
	if err != nil {
		// The stream is stopped or the connection lost; the reader learns
		// that too and says what it means.
		s.mu.Lock()
		s.control.over, s.control.closing = true, false
		s.mu.Unlock()
		return
	}
	if !end {
		return
	}
	s.str.Close() // FIN at once, and no STOP_SENDING: it would take the peer's answer
	s.mu.Lock()
	s.control.over, s.control.closing = true, false
	event := sessionstate.EventEndSent
	if s.life == sessionstate.Closing {
		event = sessionstate.EventCloseSent
	}
	if s.life != sessionstate.Closed && (s.life == sessionstate.Closing || s.life.EndDue()) {
		s.life, _ = s.life.Next(event)
	}
	s.mu.Unlock()
}
