package session

import (
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/block"
	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// maxAfterClose is how much may follow WT_CLOSE_SESSION before END_STREAM. It
// is discarded; more makes the message malformed (H2-183).
const maxAfterClose = 64 << 10

// A reader turns the peer's bytes into events. Its fields are guarded by the
// session's lock, except those of the round-trip time, which belong to the
// caller of Data. Its Handler methods are called under the lock.
type reader struct {
	s       *Session
	block   *block.Block  // what the caller of DataBlock gives; nil if it was kept
	rttAt   time.Duration // when the carrier was asked, since the session began; 0: never
	rtt     time.Duration // what it said, 0 if it did not know
	decoder capsule.Decoder
	now     time.Time // of the call of Data
	ended   bool      // END_STREAM received
	closed  bool      // WT_CLOSE_SESSION received
	end     uint16    // of the bytes in block
	late    int       // bytes received behind WT_CLOSE_SESSION

	// The capsule that is being received.
	stream   *stream // of WT_STREAM
	fin      bool
	data     bool   // it has some
	datagram []byte // the payload so far
	size     uint64 // the payload's size
}

var _ capsule.Handler = (*reader)(nil)

// rttAge is how old the carrier's round-trip time may be before it is asked
// again.
const rttAge = 50 * time.Millisecond

// Data takes the next bytes of the stream below, split in any way. It does not
// block and keeps nothing of p. What comes behind the end of the session is
// discarded. Data and End must not be called at the same time as one another.
func (s *Session) Data(p []byte) { s.DataBlock(nil, p) }

// DataBlock is Data for bytes that are a part of b. If it returns true, b is the
// session's from now on: stream data that fills it is kept where it is.
func (s *Session) DataBlock(b *block.Block, p []byte) (kept bool) {
	if len(p) == 0 {
		return false
	}
	r := &s.reader
	now := time.Now()
	if at := now.Sub(s.began); r.rttAt == 0 || at-r.rttAt >= rttAge {
		r.rttAt = max(at, 1)
		r.rtt = 0
		if rtt, ok := s.carrier.RTT(); ok {
			r.rtt = rtt
		}
	}
	s.mu.Lock()
	defer s.unlock()
	switch {
	case r.ended:
		// The carrier's mistake, without consequence.
	case s.life.Flowing():
		r.now, s.rtt = now, r.rtt
		if b != nil {
			r.block, r.end = b, uint16(b.Offset(p)+len(p))
		}
		if err := r.decoder.Feed(p, r); err != nil && err != errDecodingOver && s.life.Flowing() {
			s.failLocked(err)
		}
		kept = b != nil && r.block == nil
		r.block = nil
		r.after(r.decoder.Unread())
	case s.life == sessionstate.CloseSent:
		// Only whether the peer closes too is of interest: then what it ends with
		// is no answer. Nor is it if that cannot be told.
		r.now = now
		if r.decoder.Feed(p, r) != nil {
			s.unconfirmedLocked()
		}
		r.after(r.decoder.Unread())
	default:
		r.after(len(p))
	}
	return kept
}

// after counts bytes behind WT_CLOSE_SESSION. Behind our own there is no such
// bound: the peer may not know yet that the session is over, and what it sent
// until then is discarded.
func (r *reader) after(n int) {
	if !r.closed {
		return
	}
	r.late += n
	if r.late > maxAfterClose && r.s.enterLocked(sessionstate.EventAbort) {
		r.s.after.reset(transport.ViolationMalformed)
	}
}

// Stream implements capsule.Handler: the header of WT_STREAM.
func (r *reader) Stream(id uint64, fin bool, size uint64) error {
	s := r.s
	r.stream, r.fin, r.data = nil, fin, size > 0
	if s.err != nil {
		return nil // being closed: only credit is of interest
	}
	s.peerNamesFirstLocked(id)
	opened := s.accepted[kindOf(id)].limit.Opened()
	st, what, err := s.peerNamesLocked(id)
	if err != nil {
		return err
	}
	if what == notOpen {
		return stateError("WT_STREAM on stream %d, which this side has not opened", id)
	}
	if what == forgotten {
		if s.unanswered > 0 {
			return r.straggler(fin, size)
		}
		return s.endedError("WT_STREAM", id)
	}
	if s.dialect.reading == readingPrior {
		if fin, err = r.learnFin(st, fin, size); err != nil {
			return err
		}
		r.fin = fin
	}
	if st.recv.on(recvEventData) != accepted {
		return stateError("WT_STREAM on stream %d, which cannot receive", id)
	}
	first := !st.recv.begun
	st.recv.begun = true
	if size == 0 && !fin && (s.isLocal(id) || id>>2 < opened) && !(first && s.dialect.reading.tolerant()) {
		// draft-ietf-webtrans-http2 "WT_STREAM Capsule": an empty one is to
		// open the stream or to end it. Peers of older drafts begin with one.
		if err := s.abuse.Glitch(r.now, "empty WT_STREAM"); err != nil {
			return err
		}
	}
	if err := st.recv.win.Receive(size); err != nil {
		return err
	}
	if err := s.window.Receive(size); err != nil {
		return err
	}
	if s.window.Due() && !s.pacing.withheld {
		s.wakeLocked() // what is left of the window may be too little to wait for more
	}
	r.stream = st
	return nil
}

// straggler takes a WT_STREAM for a stream that was forgotten, when there are some
// that the peer had not ended: which ones is not kept. Its data is discarded, and
// counts for the session alone. Each of them can end once.
func (r *reader) straggler(fin bool, size uint64) error {
	s := r.s
	if err := s.window.Receive(size); err != nil {
		return err
	}
	s.consumeLocked(int(size)) // fits: it is within the window
	switch {
	case fin:
		s.unanswered--
	case size == 0:
		return s.abuse.Glitch(r.now, "empty WT_STREAM")
	}
	return nil
}

// learnFin takes the evidence that a WT_STREAM is, and returns whether it has FIN
// as it is read from now on.
func (r *reader) learnFin(st *stream, fin bool, size uint64) (bool, error) {
	s := r.s
	err := s.learnLocked(st, "WT_STREAM")
	if err == nil && size == 0 {
		err = s.learnFromEmptyLocked(st, fin)
	}
	return fin != (s.dialect.reading == readingDraft15), err
}

// StreamData implements capsule.Handler.
func (r *reader) StreamData(p []byte, last bool) error {
	s, st := r.s, r.stream
	s.stats.BytesReceived += uint64(len(p))
	s.abuse.Received(len(p))
	if len(p) > 0 {
		s.trafficLocked(r.now)
	}
	switch {
	case s.err != nil || st == nil:
		r.stream = nil
		return nil
	case st.recv.discards():
		s.readLocked(st, len(p))
	case len(p) > 0:
		held := st.recv.buf.held
		r.store(&st.recv.buf, p)
		s.chargeLocked(st.recv.buf.held - held)
	}
	if !last {
		if len(p) > 0 && st.readable != nil {
			signal(st.readable)
		}
		return nil
	}
	r.stream = nil
	if r.fin && s.streams[st.id] != st {
		s.unanswered-- // it was forgotten while the capsule came
		return nil
	}
	if r.fin {
		if s.dialect.reading != readingPrior {
			s.finLocked(st)
			return nil
		}
		s.holdLocked(st, r.now, r.data)
	}
	if st.readable != nil {
		signal(st.readable)
	}
	return nil
}

// store appends stream data to a buffer. A block is kept only with its last bytes:
// what follows is still to be decoded, and the lock may be free meanwhile.
func (r *reader) store(b *buffer, p []byte) {
	if r.block != nil && r.block.Offset(p)+len(p) == int(r.end) && b.keep(r.block, p) {
		r.block = nil
		return
	}
	b.write(p)
}

// Control implements capsule.Handler.
func (r *reader) Control(c capsule.Capsule) error {
	s := r.s
	if s.traced(eventReceived) {
		// The calls are made at once and not kept for later, so that their
		// number is not bounded by the size of a packet.
		s.eventLocked(event{what: eventReceived, capsule: c})
		s.unlock()
		s.mu.Lock()
		if !s.life.Flowing() && s.life != sessionstate.CloseSent {
			return errDecodingOver
		}
	}
	if s.err != nil {
		return r.whileClosing(c)
	}
	switch c := c.(type) {
	case capsule.ResetStream:
		return r.resetStream(c)
	case capsule.StopSending:
		return r.stopSending(c)
	case capsule.CloseSession:
		return r.closeSession(c)
	case capsule.DrainSession:
		if !s.drainLocked() {
			return s.abuse.Glitch(r.now, "repeated WT_DRAIN_SESSION")
		}
		return nil
	}
	if err := s.abuse.FlowControl(r.now); err != nil {
		return err
	}
	switch c := c.(type) {
	case capsule.MaxData:
		return r.raised(c, s.credit.Raise(c.MaximumData), s.credit.Limit(), s.peer.MaxData)
	case capsule.MaxStreamData:
		return r.maxStreamData(c)
	case capsule.MaxStreams:
		return r.maxStreams(c)
	case capsule.DataBlocked:
		return r.repeated(c, &r.s.blockedData, c.MaximumData)
	case capsule.StreamDataBlocked:
		return r.streamDataBlocked(c)
	case capsule.StreamsBlocked:
		if err := sessionstate.CheckStreamCount(c.MaximumStreams); err != nil {
			return err
		}
		k := bidi
		if c.Uni != s.swapped {
			k = uni
		}
		return r.repeated(c, &s.accepted[k].blocked, c.MaximumStreams)
	}
	return nil
}

// whileClosing takes what concerns the streams that are being flushed, and the
// peer's own close. State for other streams is gone, so that nothing else can
// be judged.
func (r *reader) whileClosing(c capsule.Capsule) error {
	s := r.s
	switch c := c.(type) {
	case capsule.CloseSession:
		return r.closeSession(c)
	case capsule.MaxData:
		if s.life == sessionstate.Closing {
			return r.raised(c, s.credit.Raise(c.MaximumData), s.credit.Limit(), s.peer.MaxData)
		}
	case capsule.MaxStreamData:
		if s.streams[c.StreamID] != nil {
			return r.maxStreamData(c)
		}
	case capsule.StopSending:
		if s.streams[c.StreamID] != nil {
			return r.stopSending(c)
		}
	}
	return nil
}

// sendPartLocked returns the stream whose sending part c is about. Without an
// error there is none if c crossed the stream's end.
func (s *Session) sendPartLocked(c capsule.Capsule, id uint64) (*stream, error) {
	s.peerNamesFirstLocked(id)
	if kindOf(id) == uni && !s.isLocal(id) {
		return nil, stateError("%v on a stream that this side only receives", c)
	}
	st, what, err := s.peerNamesLocked(id)
	switch {
	case err != nil:
		return nil, err
	case what == notOpen:
		return nil, stateError("%v on a stream that was not opened", c)
	case what == forgotten:
		return nil, nil
	}
	return st, nil
}

// recvPartLocked returns the stream whose receiving part c is about. Without an
// error there is none if c may be about one that the peer had not ended when it
// was forgotten.
func (s *Session) recvPartLocked(c capsule.Capsule, id uint64) (*stream, error) {
	s.peerNamesFirstLocked(id)
	if kindOf(id) == uni && s.isLocal(id) {
		return nil, stateError("%v on a stream that this side only sends", c)
	}
	st, what, err := s.peerNamesLocked(id)
	switch {
	case err != nil:
		return nil, err
	case what == notOpen:
		return nil, stateError("%v on a stream that was not opened", c)
	case what == forgotten && s.unanswered > 0:
		return nil, nil
	case what == forgotten:
		return nil, s.endedError(c.Type().String(), id)
	}
	return st, nil
}

func (r *reader) closeSession(c capsule.CloseSession) error {
	if !sessionstate.ValidReason(c.Message) {
		return violation(transport.ViolationGeneric, "message of WT_CLOSE_SESSION is not UTF-8")
	}
	r.closed = true
	r.s.peerClosedLocked(sessionstate.EventPeerClose, c.ErrorCode, c.Message)
	return errDecodingOver
}

// Skipped implements capsule.Handler: PADDING and unknown capsules.
func (r *reader) Skipped(t capsule.Type, n uint64) error {
	if n > 0 || r.s.life == sessionstate.CloseSent {
		// A long one costs no more than a short one, and nobody is ended for what
		// it said before it knew of the end; CloseTimeout bounds that.
		return nil
	}
	return r.s.abuse.Glitch(r.now, t.String())
}
