package session

import (
	"fmt"
	"slices"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// A reading is what a session takes WT_STREAM's two types for. Draft 15 gave
// them each other's meaning, and only what a peer does with them tells which one
// it has in mind.
type reading uint8

const (
	// readingDraft15: 0x190b4d3b has FIN, and draft 15 is kept to in all else.
	// It is configured or learned, and final.
	readingDraft15 reading = iota
	// readingLegacy: 0x190b4d3c has FIN, and what peers of older drafts do is
	// tolerated. It is configured or learned, and final.
	readingLegacy
	// readingPrior is readingLegacy as a supposition, until the first evidence.
	readingPrior
)

func readingOf(d transport.Dialect) reading {
	switch d {
	case transport.DialectDraft15:
		return readingDraft15
	case transport.DialectLegacy:
		return readingLegacy
	}
	return readingPrior
}

// codec is the reading for package capsule.
func (r reading) codec() capsule.Dialect {
	if r == readingDraft15 {
		return capsule.Draft15
	}
	return capsule.Legacy
}

// tolerant reports whether the peer has, or may have, the manners of older
// drafts.
func (r reading) tolerant() bool { return r != readingDraft15 }

// finGrace is how long the end of a stream is held back that rests on the prior
// alone. A sender that has more for the stream mostly has it at once.
const finGrace = 100 * time.Millisecond

// A dialect is what a session knows of its peer's reading, and what it did
// before it knew. All of it but the reading is used under readingPrior only.
type dialect struct {
	reading reading
	// staked says that what was done on the prior cannot be taken back: the
	// application was told an end, the state of a stream is gone, or a capsule
	// was sent that stands behind an end as draft 15 reads it. If the prior
	// turns out wrong then, the session ends.
	staked   bool
	unfunded bool        // a stream may have recvHalf.unfunded
	held     []heldEnd   // the streams in recvHeld whose grace runs, in the order in which it ends
	timer    *time.Timer // runs graceOver while there are any
}

// A heldEnd is a stream whose end is held back, and since when its peer could
// have shown that it was none.
type heldEnd struct {
	st *stream
	at time.Time
}

// stake notes that the prior has consequences that stay.
func (d *dialect) stake() {
	if d.reading == readingPrior {
		d.staked = true
	}
}

// sent notes a WT_STREAM of this side.
func (d *dialect) sent(h *sendHalf, fin bool) {
	if d.reading != readingPrior {
		return
	}
	d.behind(h)
	if !fin {
		h.put = true
	}
}

// behind notes a capsule that only a sending part that has not ended may send.
func (d *dialect) behind(h *sendHalf) {
	if h.put {
		d.stake()
	}
}

// learnLocked takes the evidence that a capsule about the receiving part of a
// stream is: what was there before cannot have been FIN, for nothing of the
// kind may follow FIN. It is called before the capsule is applied.
func (s *Session) learnLocked(st *stream, what string) error {
	if s.dialect.reading != readingPrior {
		return nil
	}
	switch h := &st.recv; h.state {
	case recvHeld, recvDataRecvd, recvDataRead:
		return s.decideLocked(readingDraft15, follows(capsule.TypeStream, what, st.id))
	case recvOpen:
		if h.begun {
			return s.decideLocked(readingLegacy, follows(capsule.TypeStreamFin, what, st.id))
		}
	}
	return nil
}

func follows(t capsule.Type, what string, id uint64) string {
	return fmt.Sprintf("%v was followed by %s on stream %d", t, what, id)
}

// learnFromEmptyLocked takes the evidence of the first WT_STREAM of a stream if
// it is empty. A stream that this side opened is open already; what neither
// opens nor carries anything can only end. Of one that the peer opens it proves
// nothing, even if a capsule for a higher stream was there before. The peers
// whose parity is swapped begin every answer with an empty WT_STREAM that ends
// nothing.
func (s *Session) learnFromEmptyLocked(st *stream, fin bool) error {
	if s.dialect.reading != readingPrior || st.recv.state != recvOpen || st.recv.begun || !s.isLocal(st.id) {
		return nil
	}
	t, to := capsule.TypeStreamFin, readingDraft15
	if fin {
		t, to = capsule.TypeStream, readingLegacy
	} else if s.swapped {
		return nil
	}
	return s.decideLocked(to, fmt.Sprintf("%v was empty on stream %d, which was open", t, st.id))
}

// endedError is the error of a capsule for a stream that is forgotten. If that
// rests on the prior, it may be the proof that the prior is wrong.
func (s *Session) endedError(what string, id uint64) error {
	if d := &s.dialect; d.reading == readingPrior && d.staked {
		return s.decideLocked(readingDraft15, follows(capsule.TypeStream, what, id))
	}
	return stateError("%s on stream %d, which has ended", what, id)
}

// decideLocked settles the reading, once, for both directions.
func (s *Session) decideLocked(to reading, evidence string) error {
	d := &s.dialect
	d.reading = to
	s.reader.decoder.Dialect = to.codec()
	learned := transport.DialectLegacy
	if to == readingDraft15 {
		learned = transport.DialectDraft15
	}
	s.eventLocked(event{what: eventDialect, text: evidence, value: uint64(learned)})
	s.dropHeldLocked()
	if to == readingLegacy {
		for _, st := range s.streams {
			switch {
			case st.recv.state == recvHeld:
				s.finLocked(st)
			case st.recv.stop == stopSent:
				// It was asked to stop before, and need not answer either. Fill
				// forgets it, since the capsule at hand may be one of its own.
				st.recv.waived = true
				s.dirtyLocked(st)
			}
		}
		return nil
	}
	var err error
	if d.staked {
		err = &transport.DialectError{Evidence: evidence}
	}
	for _, st := range s.streams {
		if err == nil {
			err = s.rereadSendLocked(st, evidence)
		}
		// Also if the session ends: no wrong end is to be read afterwards.
		s.rereadRecvLocked(st)
	}
	return err
}

// rereadRecvLocked corrects what a receiving part made of the types.
func (s *Session) rereadRecvLocked(st *stream) {
	h := &st.recv
	switch {
	case h.state == recvOpen && h.begun:
		s.finLocked(st)
	case h.on(recvEventReopen) == accepted:
		s.creditLocked(st)
		if h.stop == stopDue {
			s.dirtyLocked(st)
		}
	}
}

// rereadSendLocked corrects, as far as that is possible, what the peer made of
// what was sent on a stream.
func (s *Session) rereadSendLocked(st *stream, evidence string) error {
	h := &st.send
	if !h.put {
		if h.on(sendEventFinMisread) == accepted {
			s.dirtyLocked(st) // it takes FIN for data, so it is sent again
		}
		return nil
	}
	// The one capsule that was sent ended the stream for the peer.
	h.ended = true
	if h.buf.n > 0 || h.state == sendResetDue && !h.stopRecvd {
		return &transport.DialectError{Evidence: evidence}
	}
	return nil
}

// misreadLocked ends the session because the application wants more of a stream
// that has ended for the peer.
func (s *Session) misreadLocked(st *stream) {
	s.failLocked(&transport.DialectError{
		Evidence: fmt.Sprintf("stream %d was ended by its first %v", st.id, capsule.TypeStreamFin),
	})
}

// doubtsEndsLocked reports whether an end that rests on the prior is not to be
// told any more: the session was over before anything confirmed it, and not
// because the peer closed it in good order, having ended what it wanted to end.
// A peer of draft 15 that was misunderstood resets the session, for example.
func (s *Session) doubtsEndsLocked() bool {
	return s.err != nil && s.dialect.reading != readingLegacy && !closedByPeer(s.err)
}

// closedByPeer reports whether the peer ended the session with WT_CLOSE_SESSION,
// or with END_STREAM alone.
func closedByPeer(e *transport.SessionError) bool { return e.Remote && e.Err == nil }

// holdLocked holds back the end of a stream, which the last capsule is by the
// prior. A peer that has used up its credit could not go on if it wanted to, so
// its silence means nothing before it has been given some. Data says that the
// capsule had some: an empty one that is no end opens the stream, and a peer does
// not wait for credit to do that.
func (s *Session) holdLocked(st *stream, now time.Time, data bool) {
	h := &st.recv
	must(h.on(recvEventHold))
	h.full = h.win.Received() == h.win.Limit() && !h.discards()
	h.unfunded = data && s.window.Received() == s.window.Limit()
	s.dialect.unfunded = s.dialect.unfunded || h.unfunded
	if h.full {
		s.creditLocked(st) // what was read while the capsule came
	}
	if !h.full && !h.unfunded {
		s.graceLocked(st, now)
	}
}

// fundedLocked follows WT_MAX_DATA, which the peer knows of at a time.
func (s *Session) fundedLocked(at time.Time) {
	if !s.dialect.unfunded {
		return
	}
	s.dialect.unfunded = false
	for _, st := range s.streams {
		if h := &st.recv; h.unfunded {
			h.unfunded = false
			if h.state == recvHeld && !h.full {
				s.graceLocked(st, at)
			}
		}
	}
}

// unfilledLocked has the grace of a held end begin, if no credit of the session is
// waited for.
func (s *Session) unfilledLocked(st *stream, from time.Time) {
	st.recv.full = false
	if !st.recv.unfunded {
		s.graceLocked(st, from)
	}
}

// graceLocked has the end of a stream told after the grace. The queue is bounded
// by the streams that are open: each is in it at most once, for it does not end a
// second time.
func (s *Session) graceLocked(st *stream, from time.Time) {
	d := &s.dialect
	i := len(d.held)
	for i > 0 && d.held[i-1].at.After(from) {
		i--
	}
	d.held = slices.Insert(d.held, i, heldEnd{st, from})
	switch {
	case d.timer == nil:
		d.timer = time.AfterFunc(time.Until(from)+finGrace, s.graceOver)
	case i == 0:
		d.timer.Reset(time.Until(from) + finGrace)
	}
}

// graceOver runs when an end has been held back for long enough: it is told on
// the strength of the prior.
func (s *Session) graceOver() {
	s.mu.Lock()
	defer s.unlock()
	d := &s.dialect
	n, now := 0, time.Now()
	for n < len(d.held) && now.Sub(d.held[n].at) >= finGrace {
		s.finLocked(d.held[n].st)
		n++
	}
	left := copy(d.held, d.held[n:])
	clear(d.held[left:])
	d.held = d.held[:left]
	if left > 0 {
		d.timer.Reset(finGrace - now.Sub(d.held[0].at))
	}
}

// dropHeldLocked holds back nothing any more.
func (s *Session) dropHeldLocked() {
	d := &s.dialect
	if d.timer != nil {
		d.timer.Stop()
	}
	d.held = nil
}

// finLocked ends a receiving part by FIN.
func (s *Session) finLocked(st *stream) {
	must(st.recv.on(recvEventFin))
	s.abuse.EndedCleanly()
	if st.readable != nil {
		signal(st.readable)
	}
	s.forgetLocked(st)
}
