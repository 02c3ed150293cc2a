package session

import (
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/sessionstate"
)

// maxControl is the longest capsule that fillControl builds: a type of 4 bytes,
// a Length of 1, three integers.
const maxControl = 4 + 1 + 3*8

// fillControl appends the control capsules that are due. It reports false when
// dst has no room for the next one; that one stays due.
func (f *filler) fillControl() bool {
	s := f.s
	o := &s.outgoing
	var buf [maxControl]byte
	if s.flushing {
		return f.fillStreams(buf[:0]) && f.fillBlocked(buf[:0])
	}
	if o.drain.Due() {
		c := capsule.DrainSession{}
		if !f.control(c.Append(buf[:0])) {
			return false
		}
		o.drain.TakeDue()
		f.sent(c)
	}
	if s.window.Due() && !s.starved && !s.pacing.withheld {
		if f.room() < maxControl && f.n > 0 {
			return false
		}
		if limit, ok := s.updateWindowLocked(f.time()); ok {
			c := capsule.MaxData{MaximumData: limit}
			f.control(c.Append(buf[:0]))
			f.sent(c)
			s.fundedLocked(f.time().Add(s.rtt))
		}
	}
	// Twice, since a stream can be over without a capsule being sent for it, and
	// Fill is not called again for what came due while it had nothing to give.
	if !f.fillMaxStreams(buf[:0]) || !f.fillStreams(buf[:0]) || !f.fillMaxStreams(buf[:0]) || !f.fillBlocked(buf[:0]) {
		return false
	}
	for k := range s.opened {
		l := &s.opened[k]
		if !l.blockedDue {
			continue
		}
		// The peer whose parity is swapped ends the session for a limit that
		// is not that of the kind it takes the type for.
		c := capsule.StreamsBlocked{Uni: (kind(k) == uni) != s.swapped, MaximumStreams: l.blocked}
		if !f.control(c.Append(buf[:0])) {
			return false
		}
		l.blockedDue = false
		f.sent(c)
	}
	return true
}

// fillMaxStreams appends WT_MAX_STREAMS for each kind that it is due for.
func (f *filler) fillMaxStreams(buf []byte) bool {
	s := f.s
	for k := range s.accepted {
		p := &s.accepted[k]
		if !p.announceDue {
			continue
		}
		c := capsule.MaxStreams{Uni: kind(k) == uni, MaximumStreams: p.announce}
		if !f.control(c.Append(buf)) {
			return false
		}
		p.announceDue = false
		f.sent(c)
	}
	return true
}

// fillBlocked appends WT_DATA_BLOCKED if it is due and still true.
func (f *filler) fillBlocked(buf []byte) bool {
	s := f.s
	o := &s.outgoing
	if o.dataBlockedDue && s.credit.Available() == 0 {
		c := capsule.DataBlocked{MaximumData: o.dataBlocked}
		if !f.control(c.Append(buf)) {
			return false
		}
		f.sent(c)
	}
	o.dataBlockedDue = false
	return true
}

// time returns the time of the call of Fill.
func (f *filler) time() time.Time {
	if f.now.IsZero() {
		f.now = time.Now()
	}
	return f.now
}

// pressureLocked asks the budget whether credit may be given. When it is full,
// relieved is called once it no longer is.
func (s *Session) pressureLocked() sessionstate.Pressure {
	p := s.holder.Credit()
	s.starved = p == sessionstate.PressureFull
	return p
}

// fillStreams appends the control capsules of streams.
func (f *filler) fillStreams(buf []byte) bool {
	s := f.s
	o := &s.outgoing
	for o.dirtyHead != nil {
		// Taken off the list first: what is sent may make more due.
		st := o.dirtyHead
		o.clean(st)
		if !f.fillStream(st, buf) {
			s.dirtyLocked(st)
			return false
		}
		s.forgetLocked(st)
	}
	return true
}

// fillStream appends what is due of one stream, as draft-ietf-webtrans-http2
// "Stream States" allows it. It reports false if there was no room for all.
func (f *filler) fillStream(st *stream, buf []byte) bool {
	s := f.s
	h, r := &st.send, &st.recv
	if h.state == sendResetDue {
		if !f.announce(st, buf) {
			return false
		}
		if !h.ended {
			c := capsule.ResetStream{StreamID: st.id, ErrorCode: uint64(h.code), ReliableSize: h.sent}
			if !f.control(c.Append(buf)) {
				return false
			}
			s.dialect.behind(h)
			f.sent(c)
		}
		must(h.on(sendEventResetSent))
		s.outgoing.sched.leave(&st.ent)
		s.sentAllLocked(st)
	}
	switch {
	case !h.wantsFin():
	case h.ended:
		must(h.on(sendEventFinSent))
		s.sentAllLocked(st)
	default:
		if s.dialect.reading.tolerant() && !f.announce(st, buf) || f.n > 0 && f.room() < capsule.MaxStreamHeader {
			return false
		}
		s.sendData(f, st, 0, true)
	}
	// Of a session that is being closed nobody reads any more.
	reads := s.err == nil
	if reads && r.stop == stopDue && r.state == recvOpen {
		if !f.announce(st, buf) {
			return false
		}
		c := capsule.StopSending{StreamID: st.id, ErrorCode: uint64(r.code)}
		if !f.control(c.Append(buf)) {
			return false
		}
		must(r.on(recvEventStopSent))
		f.sent(c)
		// Peers of older drafts need not answer, and fails-components does not:
		// streams waiting for it would use up the limit.
		r.waived = s.dialect.reading == readingLegacy
	}
	if reads && r.growing() && r.win.Due() && !s.starved && s.knownLocked(st) {
		if f.n > 0 && f.room() < maxControl {
			return false
		}
		if limit, ok := r.win.Update(f.time(), s.growthRTTLocked(), s.pressureLocked()); ok {
			c := capsule.MaxStreamData{StreamID: st.id, MaximumStreamData: limit}
			f.control(c.Append(buf))
			f.sent(c)
			if r.state == recvHeld {
				s.unfilledLocked(st, f.time().Add(s.rtt)) // it cannot know before
			}
		}
	}
	if h.hasData() && h.credit.Available() == 0 {
		if !f.announce(st, buf) || f.n > 0 && f.room() < maxControl {
			return false
		}
		if limit, ok := h.credit.TakeBlocked(); ok {
			s.dialect.behind(h)
			c := capsule.StreamDataBlocked{StreamID: st.id, MaximumStreamData: limit}
			f.put(c.Append(buf))
			s.abuse.Sent(maxControl)
			f.sent(c)
			s.blockedLocked(onStream, st, limit)
		}
	}
	return true
}

// announce appends an empty WT_STREAM if the peer does not know the stream: the
// draft promises that a stream is opened by WT_STREAM, and by nothing else
// (H2-129). To peers of older drafts, which need not know that a stream opens
// all below it, those are announced first.
func (f *filler) announce(st *stream, buf []byte) bool {
	s := f.s
	if s.knownLocked(st) {
		return true
	}
	index, k := st.id>>2, kindOf(st.id)
	l := &s.opened[k]
	from := index
	if s.dialect.reading.tolerant() {
		from = l.announced
	}
	for i := from; i <= index; i++ {
		next := s.streams[s.localID(i, k)]
		if next == nil {
			continue // given up when the session was closed
		}
		if !f.control(capsule.AppendStreamHeader(buf, false, s.dialect.reading.codec(), next.id, 0)) {
			return false
		}
		s.dialect.sent(&next.send, false)
		s.announcedLocked(next)
	}
	return true
}
