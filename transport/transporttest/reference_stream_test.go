package transporttest

import (
	"io"
	"net"
	"os"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// A refHalf is one direction of a stream, seen from both ends.
type refHalf struct {
	sender   *refSession
	at, to   *refStream // the sender's and the receiver's end
	priority transport.Priority
	lastTurn int

	announced bool
	waiting   []byte // accepted, not sent
	sent      int64
	arrived   []byte // sent, not read
	read      int64  // read or discarded by the receiver
	closed    bool   // Close was called
	fin       bool   // the end has arrived
	eof       bool   // the end was read
	dead      *transport.StreamErrorCode
	sendErr   error // what Write returns once the half is aborted
	recvErr   error // what Read returns

	writeBy, readBy refDeadline
}

func newRefHalf(s *refSession, at, to *refStream) *refHalf {
	h := &refHalf{sender: s, at: at, to: to}
	s.out = append(s.out, h)
	return h
}

func (h *refHalf) receiver() *refSession  { return h.sender.peer }
func (h *refHalf) fault(name string) bool { return h.sender.pair.fault(name) }
func (h *refHalf) window() int64          { return h.receiver().config.InitialStreamWindow }

// announce makes the receiver learn of the stream.
func (h *refHalf) announce() {
	if h.announced || !h.at.opener {
		return
	}
	h.announced = true
	h.sender.traffic()
	r := h.receiver()
	r.accept[kindOf(h.at.recv == nil)] = append(r.accept[kindOf(h.at.recv == nil)], h.to)
	r.stats.StreamsAccepted++
}

// pump sends what credit allows, portion by portion, by priority.
func (s *refSession) pump() {
	for {
		var next *refHalf
		for _, h := range s.out {
			if h.room() > 0 && (next == nil || s.before(h, next)) {
				next = h
			}
		}
		if next == nil {
			return
		}
		n := min(next.room(), portion)
		s.turn++
		next.lastTurn = s.turn
		s.groups[next.priority.Group] += int(n)
		s.sent += n
		next.sent += n
		next.arrived = append(next.arrived, next.waiting[:n]...)
		next.waiting = next.waiting[n:]
		s.stats.BytesSent += uint64(n)
		s.peer.stats.BytesReceived += uint64(n)
		s.traffic()
		next.settle()
	}
}

// before says whether a goes before b: the group that had less, then the higher
// order, then the one whose last turn is longer ago.
func (s *refSession) before(a, b *refHalf) bool {
	if a.fault("no priority") {
		return false
	}
	if ga, gb := s.groups[a.priority.Group], s.groups[b.priority.Group]; ga != gb && a.priority.Group != b.priority.Group && !a.fault("no groups") {
		return ga < gb
	}
	if a.priority.Order != b.priority.Order {
		return a.priority.Order > b.priority.Order != a.fault("lowest first")
	}
	return a.lastTurn < b.lastTurn && !a.fault("no turns")
}

func (h *refHalf) room() int64 {
	stream := h.window() - (h.sent - h.read)
	session := h.receiver().config.InitialSessionWindow - (h.sender.sent - h.receiver().given(h.sender.read))
	if h.fault("no stream window") {
		stream = 1 << 40
	}
	if h.fault("no session window") {
		session = 1 << 40
	}
	return max(0, min(int64(len(h.waiting)), stream, session))
}

// consume returns credit for n bytes.
func (h *refHalf) consume(n int64) {
	h.read += n
	h.sender.read += n
}

// settle ends the half if everything was sent, and counts the stream as over.
func (h *refHalf) settle() {
	if h.closed && len(h.waiting) == 0 && h.dead == nil {
		h.fin = true
	}
	to := h.to
	if to.opener {
		to = h.at
	}
	done := func(h *refHalf) bool {
		return h == nil || h.dead != nil || h.fin && (h.eof || h.recvErr != nil) ||
			h.fin && h.at == to // the opener's reading of the end is its own affair
	}
	if done(to.recv) && done(to.send) && !to.over && !h.fault("streams never over") {
		to.over = true
		to.session.ended[kindOf(to.send == nil)]++
	}
}

// abort resets the half: the sender's and the receiver's errors differ.
func (h *refHalf) abort(code transport.StreamErrorCode, bySender bool) {
	h.announce()
	h.waiting = nil
	h.dead = &code
	e := func(remote bool) error {
		return &transport.StreamError{StreamID: h.at.id, Code: code, Remote: remote != h.fault("who is wrong")}
	}
	if h.sendErr == nil {
		h.sendErr = e(!bySender)
	}
	if h.recvErr == nil {
		h.recvErr = e(bySender)
		if bySender && h.fault("reset is EOF") {
			h.recvErr = io.EOF
		}
	}
	if !h.fault("discarded without credit") {
		h.consume(int64(len(h.arrived)))
	}
	if !h.fault("reset keeps data") {
		h.arrived = nil
	}
	h.settle()
}

// A refStream is one end of a stream; send or recv is nil if it has no such
// direction.
type refStream struct {
	session    *refSession
	id         transport.StreamID
	opener     bool
	over       bool
	send, recv *refHalf
}

func (st *refStream) lock() func() {
	unlock := st.session.pair.lock()
	return func() {
		st.session.pump()
		st.session.peer.pump()
		unlock()
	}
}

func (st *refStream) StreamID() transport.StreamID { return st.id }

func (st *refStream) Write(p []byte) (n int, err error) {
	defer st.lock()()
	h, s := st.send, st.session
	if len(p) == 0 && s.pair.fault("empty writes fail") {
		return 0, net.ErrClosed
	}
	for {
		room := int64(s.config.StreamSendBuffer) - int64(len(h.waiting))
		if st.session.pair.fault("no send buffer bound") {
			room = 1 << 40
		}
		switch {
		case s.end != nil:
			return n, s.end
		case h.sendErr != nil:
			if st.session.pair.fault("new error each time") {
				e := *h.sendErr.(*transport.StreamError)
				return n, &e
			}
			return n, h.sendErr
		case h.closed:
			if st.session.pair.fault("write after close") {
				return len(p), nil
			}
			return n, net.ErrClosed
		case h.writeBy.passed():
			return n, os.ErrDeadlineExceeded
		case n == len(p):
			return n, nil
		case room > 0:
			m := min(int(room), len(p)-n)
			h.announce()
			if s.sent-s.read+int64(m+len(h.waiting)) > s.peer.config.InitialSessionWindow {
				s.stalled()
			}
			h.waiting = append(h.waiting, p[n:n+m]...)
			n += m
			s.pump()
			s.pair.cond.Broadcast()
			continue
		}
		s.pair.cond.Wait()
	}
}

func (st *refStream) Close() error {
	defer st.lock()()
	h := st.send
	switch {
	case st.session.end != nil && !h.closed:
		return st.session.end
	case h.sendErr != nil || h.closed:
		return nil
	}
	h.closed = true
	if !h.fault("empty streams lost") {
		h.announce()
	}
	h.settle()
	return nil
}

func (st *refStream) CancelWrite(code transport.StreamErrorCode) {
	defer st.lock()()
	if h := st.send; st.session.end == nil && h.sendErr == nil && !h.fin {
		if h.fault("codes cut to 8 bits") {
			code &= 0xff
		}
		h.abort(code, true)
	}
}

func (st *refStream) CancelRead(code transport.StreamErrorCode) {
	defer st.lock()()
	h := st.recv
	if st.session.end != nil || h.recvErr != nil || h.eof && !h.fault("CancelRead after the end") {
		return
	}
	if h.fin {
		h.recvErr = &transport.StreamError{StreamID: st.id, Code: code}
		h.consume(int64(len(h.arrived)))
		h.arrived = nil
		h.settle()
		if h.fault("CancelRead aborts both") {
			st.send.abort(code, true)
		}
		return
	}
	if st.session.pair.fault("stop not sent") {
		h.recvErr = &transport.StreamError{StreamID: st.id, Code: code}
		return
	}
	h.abort(code, false)
	if st.session.pair.fault("abort ends session") {
		st.session.finish(&transport.SessionError{Err: net.ErrClosed})
	}
}

func (st *refStream) Read(p []byte) (int, error) {
	defer st.lock()()
	h, s := st.recv, st.session
	for {
		switch {
		case s.end != nil && !(h.fin && h.recvErr == nil) && !s.pair.fault("end is EOF"):
			return 0, s.end
		case s.end != nil && s.pair.fault("end is EOF"):
			return 0, io.EOF
		case s.end != nil && s.pair.fault("end discards finished"):
			return 0, s.end
		case h.recvErr != nil:
			if len(h.arrived) > 0 {
				n := copy(p, h.arrived)
				h.arrived = h.arrived[n:]
				return n, nil
			}
			return 0, h.recvErr
		case h.readBy.passed() && s.end == nil:
			if s.pair.fault("deadline ends session") {
				s.finish(&transport.SessionError{Err: os.ErrDeadlineExceeded})
			}
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case len(h.arrived) > 0:
			n := copy(p, h.arrived)
			h.arrived = h.arrived[n:]
			if s.pair.fault("corrupts") && h.read > 1000 || s.pair.fault("corrupts all") {
				p[0]++
			}
			h.consume(int64(n))
			if !s.pair.fault("reading not counted") {
				s.stats.BytesRead += uint64(n)
			}
			return n, nil
		case h.fin:
			h.eof = true
			h.settle()
			return 0, io.EOF
		}
		s.pair.cond.Wait()
	}
}

func (st *refStream) SetReadDeadline(t time.Time) error {
	defer st.lock()()
	if !st.session.pair.fault("read deadline fixed") || st.recv.readBy.at.IsZero() {
		st.recv.readBy.set(t, st.session.pair)
	}
	if st.session.pair.fault("deadlines are one") && st.send != nil {
		st.send.writeBy.set(t, st.session.pair)
	}
	return nil
}

func (st *refStream) SetWriteDeadline(t time.Time) error {
	defer st.lock()()
	if !st.session.pair.fault("no write deadline") {
		st.send.writeBy.set(t, st.session.pair)
	}
	return nil
}

func (st *refStream) SetDeadline(t time.Time) error {
	st.SetReadDeadline(t)
	return st.SetWriteDeadline(t)
}

func (st *refStream) SetPriority(p transport.Priority) {
	defer st.lock()()
	if !st.session.pair.fault("priority fixed") || st.send.priority == (transport.Priority{}) {
		st.send.priority = p
	}
}

type refDeadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *refDeadline) set(t time.Time, p *refPair) {
	if d.timer != nil {
		d.timer.Stop()
	}
	d.at = t
	if !t.IsZero() {
		d.timer = time.AfterFunc(time.Until(t), func() { defer p.lock()() })
	}
}

func (d *refDeadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }
