package session

import (
	"math"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

func (r *reader) resetStream(c capsule.ResetStream) error {
	s := r.s
	if c.SizeAbsent && s.dialect.reading == readingPrior {
		// Drafts up to 08 have no Reliable Size.
		if err := s.decideLocked(readingLegacy, c.Type().String()+" had no Reliable Size"); err != nil {
			return err
		}
	}
	st, err := s.recvPartLocked(c, c.StreamID)
	switch {
	case err != nil:
		return err
	case st == nil:
		s.unanswered--
		return nil
	}
	if err := s.learnLocked(st, c.Type().String()); err != nil {
		return err
	}
	if st.recv.stop != stopSent { // else this side asked for it
		if err := s.abuse.Reset(r.now); err != nil {
			return err
		}
	}
	cancelled := st.recv.discards()
	if st.recv.state == recvOpen {
		// draft-ietf-webtrans-http2 "WT_RESET_STREAM Capsule".
		if c.ErrorCode > math.MaxUint32 {
			return violation(transport.ViolationGeneric, "%v: code of more than 32 bits", c)
		}
		if size := st.recv.win.Received(); c.ReliableSize != size && !(s.dialect.reading.tolerant() && (c.SizeAbsent || c.ReliableSize > size)) {
			return stateError("%v after %d bytes", c, st.recv.win.Received())
		}
	}
	if st.recv.on(recvEventReset) != accepted {
		return stateError("%v on a stream that has ended", c)
	}
	if !cancelled {
		st.recv.aborted(st.id, uint32(c.ErrorCode), true)
	}
	s.discardRecvLocked(st)
	if st.readable != nil {
		signal(st.readable)
	}
	s.noteLocked(event{what: eventReset, id: st.id, value: c.ErrorCode})
	s.forgetLocked(st)
	return nil
}

func (r *reader) stopSending(c capsule.StopSending) error {
	s := r.s
	if err := s.abuse.Reset(r.now); err != nil {
		return err
	}
	if c.ErrorCode > math.MaxUint32 {
		return violation(transport.ViolationGeneric, "%v: code of more than 32 bits", c)
	}
	st, err := s.sendPartLocked(c, c.StreamID)
	if st == nil {
		return err
	}
	switch st.send.on(sendEventStopSending) {
	case wrongState:
		return stateError("%v for the second time", c)
	case accepted:
		s.abortSendLocked(st, uint32(c.ErrorCode), true)
	}
	return nil
}
