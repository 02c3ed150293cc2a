package session

import (
	"context"
	"errors"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// enterLocked applies an event to the session's lifecycle. It reports whether
// the state changed.
func (s *Session) enterLocked(e sessionstate.Event) bool {
	next, err := s.life.Next(e)
	if err != nil || next == s.life {
		// Only the peer's events can be out of place, and only behind its own
		// end, where the reader drops bytes before they are events.
		return false
	}
	s.life = next
	switch next {
	case sessionstate.Closing:
		s.flushing = true
		s.boundLocked(s.cfg.CloseTimeout)
	case sessionstate.PeerClosed, sessionstate.PeerEnded:
		if s.answering {
			break
		}
		s.answering = true
		s.boundLocked(s.answerTimeout())
		// Also if Fill was not idle: the carrier may wait for window, which
		// END_STREAM does not need.
		s.idle = false
		s.after.add(afterWake)
	case sessionstate.Closed:
		if s.timer != nil {
			s.timer.Stop()
			s.timer = nil
		}
		s.flushing = false
		s.cutRestLocked()
		s.settleLocked()
		s.closed.Happen()
		s.after.add(afterClosed)
	}
	return true
}

// answerTimeout is how long WT_CLOSE_SESSION may take to go out and be
// answered. It is never 0, or a CloseTimeout of 0 would take away the capsule.
func (s *Session) answerTimeout() time.Duration {
	if s.cfg.CloseTimeout > 0 {
		return s.cfg.CloseTimeout
	}
	return transport.DefaultCloseTimeout
}

// boundLocked has timeUp called after d, and no longer what an earlier call
// asked for.
func (s *Session) boundLocked(d time.Duration) {
	if s.timer != nil {
		s.timer.Stop()
	}
	s.bound++
	bound := s.bound
	s.timer = time.AfterFunc(d, func() { s.timeUp(bound) })
}

// timeUp runs when the closing has taken too long: first to flush, then to end.
func (s *Session) timeUp(bound uint32) {
	s.mu.Lock()
	defer s.unlock()
	if s.bound != bound || s.life == sessionstate.Closed {
		return
	}
	if s.flushing {
		s.dropUnsentLocked()
		s.flushedLocked()
		return
	}
	// The peer does not answer, or gives no window (H2-182).
	s.unconfirmedLocked()
	s.after.add(afterCancel)
	s.enterLocked(sessionstate.EventAbort)
}

// CloseWithError implements transport.Session. It returns once the peer has
// answered, or its connection broke. It waits at most Config.CloseTimeout for
// finished streams to be flushed and, from then, at most Config.CloseTimeout for
// the answer.
func (s *Session) CloseWithError(code transport.SessionErrorCode, reason string) error {
	if !s.StartClose(code, reason) {
		return nil
	}
	if s.cfg.CloseTimeout > 0 {
		<-s.Done()
	}
	s.mu.Lock()
	defer s.unlock()
	switch {
	case s.cut:
		return &transport.UnsentError{Bytes: s.unsent}
	case s.unconfirmed && s.finished:
		return transport.ErrUnconfirmed
	}
	return nil
}

// unconfirmedLocked notes that an own close will have no answer. What is sent is
// in order, so an answer would mean that all of it had arrived. A peer answers
// with the end of its half alone: its own WT_CLOSE_SESSION has crossed this one.
func (s *Session) unconfirmedLocked() {
	if s.life == sessionstate.Closing || s.life == sessionstate.CloseSent {
		s.unconfirmed = true
	}
}

// StartClose does what CloseWithError does without waiting, for a carrier's
// goroutine that the session depends on. It reports false if the session had
// already ended.
func (s *Session) StartClose(code transport.SessionErrorCode, reason string) bool {
	reason = sessionstate.TruncateReason(reason)
	s.mu.Lock()
	defer s.unlock()
	if s.err != nil {
		return false
	}
	s.startCloseLocked(&transport.SessionError{Code: code, Reason: reason})
	return true
}

// startCloseLocked ends an open session from here, and tells the peer.
func (s *Session) startCloseLocked(err *transport.SessionError) {
	s.closing = capsule.CloseSession{ErrorCode: uint32(err.Code), Message: err.Reason}
	s.endLocked(err)
	s.enterLocked(sessionstate.EventClose)
	s.flushLocked()
}

// flushLocked leaves in the session only what is to be flushed.
func (s *Session) flushLocked() {
	s.flushLeft = 0
	for _, st := range s.streams {
		switch st.send.state {
		case sendFinDue, sendResetDue:
			s.flushLeft++
			continue
		}
		s.discardSendLocked(st)
		s.dropLocked(st)
	}
	s.outgoing.dataBlockedDue = false // what concerns streams is still sent
	s.dropDatagramsLocked()
	if s.cfg.CloseTimeout == 0 {
		s.dropUnsentLocked()
	}
	s.flushedLocked()
	s.wakeLocked()
}

// flushedLocked makes WT_CLOSE_SESSION due if nothing is left to flush.
func (s *Session) flushedLocked() {
	if s.flushing && s.flushLeft == 0 {
		s.flushing = false
		s.boundLocked(s.answerTimeout())
		s.wakeLocked()
	}
}

// dropUnsentLocked gives up what CloseWithError wanted flushed and counts it.
// It does nothing when no session is being flushed.
func (s *Session) dropUnsentLocked() {
	if !s.flushing {
		return
	}
	for _, st := range s.streams {
		if st.send.state == sendFinDue {
			s.cut = true
			s.unsent += uint64(st.send.buf.n)
		}
		s.discardSendLocked(st)
		s.dropLocked(st)
	}
	s.flushLeft = 0
}

// cutRestLocked drops the rest of a capsule that was begun, and counts what it
// has of a finished stream.
func (s *Session) cutRestLocked() {
	o := &s.outgoing
	if st := o.restOf; st != nil && len(o.rest) > 0 {
		switch st.send.state {
		case sendFinDue, sendDataSent:
			s.cut = true
			// The data stands last; the rest may have some of the header too.
			s.unsent += uint64(min(len(o.rest), o.restData))
		}
	}
	o.rest, o.restOf = nil, nil
}

// endLocked ends the session for the application: every call fails with err
// from now on, but reads of streams whose FIN is here.
func (s *Session) endLocked(err *transport.SessionError) {
	if s.err != nil {
		return
	}
	s.err = err
	// Under the lock, so that whoever learns of the end from a method finds the
	// context ended too. The context package runs no foreign code here.
	if s.cancel != nil {
		s.cancel(err)
	}
	s.wakeAllLocked()
	s.stopTimersLocked()
	s.stats.DatagramsDroppedIncoming += uint64(s.received.Len())
	s.chargeLocked(-s.received.Clear() - len(s.reader.datagram))
	s.effectLocked(s.holder.Release(s.overhead))
	s.reader.datagram, s.reader.stream, s.overhead = nil, nil, 0
	s.after.end = &sessionEnd{err: err, stats: s.stats}
	s.dropHeldLocked()
	for _, st := range s.streams {
		if st.recv.state == recvHeld && !s.doubtsEndsLocked() {
			must(st.recv.on(recvEventFin))
		}
		if !st.accepted || st.recv.state != recvDataRecvd && st.recv.state != recvHeld {
			s.discardRecvLocked(st)
		}
	}
}

// wakeAllLocked wakes the calls that wait for the peer, which fail now.
func (s *Session) wakeAllLocked() {
	if s.over != nil {
		close(s.over)
	}
	signal(s.arrived)
	for k := range s.opened {
		signal(s.opened[k].credit)
		signal(s.accepted[k].arrived)
	}
}

// dropStreamsLocked forgets every stream; nothing goes out any more.
func (s *Session) dropStreamsLocked() {
	for _, st := range s.streams {
		s.discardSendLocked(st)
		s.dropLocked(st)
	}
	s.dropDatagramsLocked()
}

// dropDatagramsLocked drops, and counts, the datagrams that nothing will send.
func (s *Session) dropDatagramsLocked() {
	s.stats.DatagramsDroppedOutgoing += uint64(s.outgoing.datagrams.Len())
	s.chargeLocked(-s.outgoing.datagrams.Clear())
}

// failLocked ends the session because the peer broke a rule, or because what was
// done on a wrong supposition of its dialect cannot be undone.
func (s *Session) failLocked(err error) {
	if de, ok := err.(*transport.DialectError); ok {
		s.unconfirmedLocked()
		s.dropUnsentLocked()
		s.endLocked(&transport.SessionError{Err: de})
		s.dropStreamsLocked()
		if s.enterLocked(sessionstate.EventAbort) {
			s.after.add(afterCancel)
		}
		return
	}
	pe := protocolError(err)
	s.unconfirmedLocked()
	s.dropUnsentLocked()
	s.endLocked(&transport.SessionError{Err: pe})
	s.dropStreamsLocked()
	if s.enterLocked(sessionstate.EventAbort) {
		s.after.reset(pe.Violation)
	}
}

// peerClosedLocked ends the session because the peer closed it: with
// WT_CLOSE_SESSION, or by END_STREAM alone, which is the same as code 0. If it
// did so before it knew of an own close, it discards what was on its way.
func (s *Session) peerClosedLocked(e sessionstate.Event, code uint32, reason string) {
	s.unconfirmedLocked()
	s.dropUnsentLocked() // nobody reads it any more
	s.endLocked(&transport.SessionError{Code: transport.SessionErrorCode(code), Reason: reason, Remote: true})
	s.flushing = false
	s.dropStreamsLocked()
	s.enterLocked(e)
}

// End says that the peer ended its direction of the stream (END_STREAM).
func (s *Session) End() {
	s.mu.Lock()
	defer s.unlock()
	if s.reader.ended {
		return
	}
	s.reader.ended = true
	if s.life.Flowing() {
		if s.reader.decoder.Partial() {
			// RFC 9297 section 3.3: the message ended inside a capsule.
			s.failLocked(violation(transport.ViolationMalformed, "END_STREAM inside a capsule"))
			return
		}
		s.peerClosedLocked(sessionstate.EventPeerEnd, 0, "")
		return
	}
	s.enterLocked(sessionstate.EventPeerEnd)
}

// Lost says that the stream below was reset, by the peer or with its
// connection. The carrier is not called for it.
func (s *Session) Lost(err error) {
	s.mu.Lock()
	defer s.unlock()
	if !s.answersLocked(err) {
		s.unconfirmedLocked()
	}
	s.dropUnsentLocked()
	s.endLocked(&transport.SessionError{Remote: true, Err: err})
	s.dropStreamsLocked()
	s.enterLocked(sessionstate.EventAbort)
}

// answersLocked reports whether the loss of the stream is a peer's answer to the
// own close: fails-components resets the stream with the code of the close,
// and some say NO_ERROR. Any other reset, and one that comes before the close has
// gone out, may be from a peer that has read nothing of what was sent last.
func (s *Session) answersLocked(err error) bool {
	reset, ok := errors.AsType[*transport.ResetError](err)
	return ok && !reset.Connection && s.life == sessionstate.CloseSent &&
		(reset.Code == uint64(s.closing.ErrorCode) || reset.Code == 0)
}

// Abort ends the session for a local reason that is not the application's,
// such as a connection that is being closed or a budget that is exceeded, and
// resets the stream: with Carrier.Reset if err is a *transport.ProtocolError,
// otherwise with Carrier.Cancel.
func (s *Session) Abort(err error) {
	s.mu.Lock()
	defer s.unlock()
	s.unconfirmedLocked()
	s.dropUnsentLocked()
	s.endLocked(&transport.SessionError{Err: err})
	s.dropStreamsLocked()
	if s.enterLocked(sessionstate.EventAbort) {
		if pe, ok := err.(*transport.ProtocolError); ok {
			s.after.reset(pe.Violation)
		} else {
			s.after.add(afterCancel)
		}
	}
}

// Context implements transport.Session.
func (s *Session) Context() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil {
		s.ctx, s.cancel = context.WithCancelCause(context.Background())
		if s.err != nil {
			s.cancel(s.err)
		}
	}
	return s.ctx
}

// Done is closed once both directions of the stream below are over for the
// session: nothing comes from Fill, and Data is ignored.
func (s *Session) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed.Done()
}
