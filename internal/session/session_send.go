package session

import (
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/sessionstate"
)

const (
	// maxStreamCapsule is the longest WT_STREAM capsule sent, header included,
	// and maxLegacyCapsule that to peers of older drafts, some of which close
	// the session for longer ones.
	maxStreamCapsule = 16 << 10
	maxLegacyCapsule = 8 << 10
	// maxStreamZero is that on stream 0 to a peer whose parity is swapped: it
	// takes a value of up to 64 bytes whole, and of a longer one that does not
	// come in one piece it loses the rest if the stream's ID is 0.
	maxStreamZero = 64
	// minStreamRoom is the room below which a stream's bytes rather wait for
	// the next Fill than go out in a short capsule at dst's end.
	minStreamRoom = 128
	// minStreamCapsule is what a WT_STREAM capsule takes if dst is shorter: it
	// is then the carrier's whole window, and the rest of the capsule follows.
	minStreamCapsule = 64
)

// An outgoing is what is to be sent, as state: every limit, reset or request is
// there once however often it changed, and becomes a capsule only when the
// carrier asks. So a peer that withholds window makes nothing grow (DS-18).
type outgoing struct {
	// rest is the end of a capsule that was longer than dst. It goes first.
	rest []byte
	// restOf is the stream of a WT_STREAM capsule in rest, and restData how
	// much data the capsule has. Not valid if rest is empty.
	restOf   *stream
	restData int

	drain                sessionstate.Drain
	dirtyHead, dirtyTail *stream // streams with control capsules due
	dataBlocked          uint64  // WT_DATA_BLOCKED, if dataBlockedDue
	dataBlockedDue       bool
	datagrams            *sessionstate.DatagramQueue
	sched                sched
}

// dirtyLocked has a stream asked for its control capsules.
func (s *Session) dirtyLocked(st *stream) {
	if !st.dirty {
		o := &s.outgoing
		st.dirty = true
		if o.dirtyTail == nil {
			o.dirtyHead = st
		} else {
			o.dirtyTail.next, st.prev = st, o.dirtyTail
		}
		o.dirtyTail = st
	}
	s.wakeLocked()
}

// clean takes a stream off the list of those with control capsules due.
func (o *outgoing) clean(st *stream) {
	if !st.dirty {
		return
	}
	if st.prev == nil {
		o.dirtyHead = st.next
	} else {
		st.prev.next = st.next
	}
	if st.next == nil {
		o.dirtyTail = st.prev
	} else {
		st.next.prev = st.prev
	}
	st.prev, st.next, st.dirty = nil, nil, false
}

// readyLocked lets a stream take part in the sending, as far as it can.
func (s *Session) readyLocked(st *stream) {
	h := &st.send
	switch {
	case h.wantsData():
		if st.ent.group == nil {
			s.outgoing.sched.join(&st.ent, st.prio)
		}
		s.outgoing.sched.add(&st.ent)
		s.wakeLocked()
	case h.hasData() || h.wantsFin():
		s.dirtyLocked(st) // WT_STREAM_DATA_BLOCKED, or FIN alone
	}
}

// A filler is one call of Fill.
type filler struct {
	s   *Session
	dst []byte
	n   int       // bytes filled
	now time.Time // zero until it is needed
}

func (f *filler) room() int { return len(f.dst) - f.n }

// put appends bytes of a capsule. What dst has no room for goes first next
// time; the caller sees to it that this happens only at dst's start.
func (f *filler) put(p []byte) {
	n := copy(f.dst[f.n:], p)
	f.n += n
	f.s.outgoing.rest = append(f.s.outgoing.rest, p[n:]...)
}

// putTail does the same for a payload whose slice is ours to keep.
func (f *filler) putTail(p []byte) {
	n := copy(f.dst[f.n:], p)
	f.n += n
	switch rest := &f.s.outgoing.rest; {
	case n == len(p):
	case len(*rest) == 0:
		*rest = p[n:]
	default:
		*rest = append(*rest, p[n:]...)
	}
}

// control appends a control capsule. It reports false, having appended nothing,
// if dst has no room left for it.
func (f *filler) control(c []byte) bool {
	if len(c) > f.room() && f.n > 0 {
		return false
	}
	f.put(c)
	f.s.abuse.Sent(len(c))
	return true
}

// Fill writes the next bytes of the session into dst and returns how many they
// are. The bytes are chosen now, not when they were written by the application.
// If end is true, END_STREAM is to follow them, and Fill has nothing more to
// give. (0, false) says that there is nothing now: the carrier is woken when
// there is. After any other answer it is to call again when it can send more.
//
// The carrier calls Fill once to begin with. Dst should be as long as what it
// can send at once: a capsule is not split over two calls unless it is longer
// than dst. An empty dst asks for END_STREAM, which needs no window. Trace
// functions, and Carrier.Wake of this and other sessions, may be called before
// Fill returns, so the caller must hold no lock that they need.
func (s *Session) Fill(dst []byte) (n int, end bool) {
	s.mu.Lock()
	defer s.unlock()
	s.idle = false // nobody has to be woken now
	f := filler{s: s, dst: dst}
	end = f.fill()
	s.idle = f.n == 0 && !end
	return f.n, end
}

func (f *filler) fill() (end bool) {
	s := f.s
	if s.life == sessionstate.Closed || s.life == sessionstate.CloseSent || s.life == sessionstate.Ending {
		return false
	}
	if len(f.dst) > 0 && len(s.outgoing.rest) > 0 {
		rest := s.outgoing.rest
		f.n = copy(f.dst, rest)
		if s.outgoing.rest = rest[f.n:]; len(s.outgoing.rest) == 0 {
			s.outgoing.rest, s.outgoing.restOf = nil, nil
		}
	}
	if len(s.outgoing.rest) > 0 {
		return false
	}
	if s.life.EndDue() {
		s.enterLocked(sessionstate.EventEndSent)
		return true
	}
	if len(f.dst) == 0 {
		return false
	}
	f.stream()
	if s.life != sessionstate.Closing || s.flushing || len(s.outgoing.rest) > 0 {
		return false
	}
	return f.close()
}

// close appends WT_CLOSE_SESSION, once nothing else is to go out. A capsule
// that is longer than dst is given piece by piece, END_STREAM behind the last.
func (f *filler) close() (end bool) {
	s := f.s
	if !s.closePut {
		c := s.closing.Append(make([]byte, 0, 16+len(s.closing.Message)))
		if !f.control(c) {
			return false
		}
		s.closePut = true
		f.sent(s.closing)
		if len(s.outgoing.rest) > 0 {
			return false
		}
	}
	s.enterLocked(sessionstate.EventCloseSent)
	return true
}

// stream appends capsules until dst is full or nothing is due: control first,
// then datagrams, then stream data. Sending data can make control due, but only
// a report of being blocked, which ends the round.
func (f *filler) stream() {
	s := f.s
	for s.life == sessionstate.Open || s.flushing {
		if !f.fillControl() || !f.fillDatagrams() || !f.fillData() {
			return
		}
	}
}

// sent reports a control capsule.
func (f *filler) sent(c capsule.Capsule) {
	f.s.noteLocked(event{what: eventSent, capsule: c})
}

// fillData appends one WT_STREAM capsule of the stream whose turn it is. It
// reports false when there is none, or no room.
func (f *filler) fillData() bool {
	s := f.s
	e := s.outgoing.sched.next()
	if e == nil {
		return false
	}
	if s.credit.Available() == 0 {
		limit, ok := s.credit.TakeBlocked()
		if ok {
			s.outgoing.dataBlocked, s.outgoing.dataBlockedDue = limit, true
			s.blockedLocked(onSession, nil, limit)
		}
		return ok
	}
	st := e.st
	h := &st.send
	longest := maxStreamCapsule
	if s.dialect.reading.tolerant() {
		if !s.knownLocked(st) {
			// Control that waited for it goes next.
			var buf [capsule.MaxStreamHeader]byte
			return f.announce(st, buf[:0])
		}
		longest = maxLegacyCapsule
		if s.swapped && st.id == 0 {
			longest = maxStreamZero
		}
	}
	data := min(uint64(h.buf.n), h.credit.Available(), s.credit.Available())
	room := f.room()
	if f.n > 0 && room < minStreamRoom && capsule.StreamHeaderLen(st.id, data)+int(min(data, uint64(longest))) > room {
		return false
	}
	most := min(max(room, minStreamCapsule), longest)
	header := capsule.StreamHeaderLen(st.id, min(data, uint64(longest)))
	size := int(min(data, uint64(most-header)))
	// Peers of older drafts lose a FIN that comes with data in two frames.
	fin := h.state == sendFinDue && size == h.buf.n && !s.dialect.reading.tolerant()
	s.sendData(f, st, size, fin)
	return true
}

// sendData appends a WT_STREAM capsule with the next size bytes of a stream.
func (s *Session) sendData(f *filler, st *stream, size int, fin bool) {
	h := &st.send
	var buf [minStreamCapsule + capsule.MaxStreamHeader]byte
	header := capsule.AppendStreamHeader(buf[:0], fin, s.dialect.reading.codec(), st.id, uint64(size))
	held := h.buf.held
	if total := len(header) + size; total <= f.room() {
		f.n += copy(f.dst[f.n:], header)
		f.n += h.buf.read(f.dst[f.n : f.n+size])
	} else {
		// Only at the start of a dst shorter than minStreamCapsule.
		c := buf[:total]
		h.buf.read(c[len(header):])
		f.put(c)
		s.outgoing.restOf, s.outgoing.restData = st, size
	}
	s.chargeLocked(h.buf.held - held)
	h.sent += uint64(size)
	h.credit.Use(uint64(size))
	s.credit.Use(uint64(size))
	s.stats.BytesSent += uint64(size)
	s.abuse.Sent(len(header) + size)
	s.dialect.sent(h, fin)
	s.announcedLocked(st)
	if size > 0 {
		s.trafficLocked(f.now)
		s.outgoing.sched.charge(&st.ent, len(header)+size)
		if st.writable != nil {
			signal(st.writable)
		}
	}
	switch {
	case fin:
		must(h.on(sendEventFinSent))
		s.outgoing.sched.leave(&st.ent)
		s.sentAllLocked(st)
	case !h.wantsData():
		s.outgoing.sched.remove(&st.ent)
		s.readyLocked(st)
	}
}

// knownLocked reports whether the peer knows a stream.
func (s *Session) knownLocked(st *stream) bool {
	return !s.isLocal(st.id) || st.id>>2 < s.opened[kindOf(st.id)].announced
}

// announcedLocked notes that the peer knows a stream now, and with it all lower
// ones of its kind.
func (s *Session) announcedLocked(st *stream) {
	if s.knownLocked(st) {
		return
	}
	l := &s.opened[kindOf(st.id)]
	from := l.announced
	l.announced = st.id>>2 + 1
	// What had to wait for the opening.
	for i := from; i < l.announced; i++ {
		if lower := s.streams[s.localID(i, kindOf(st.id))]; lower != nil {
			s.creditLocked(lower)
		}
	}
}

// sentAllLocked follows the last capsule of a sending part.
func (s *Session) sentAllLocked(st *stream) {
	if s.flushing {
		s.dropLocked(st)
		s.flushLeft--
		s.flushedLocked()
		return
	}
	s.forgetLocked(st)
}
