package h3wt

import (
	"time"

	"github.com/quic-go/quic-go"
)

// quic-go keeps what a small Write gives it, so that several make one packet and
// the end of a stream goes with its last bytes. It does so only for bytes that no
// limiter has to be asked about. So a small Write takes the session's credit before
// it gives them to TryWriteAll, which is all or nothing, and after which the
// stream's final size has these bytes in it, sent or not: what a reset leaves unsent
// counts for both ends alike.

const (
	// keepMost is how much of a stream quic-go is given to keep: what fills a
	// packet. More it copies again with every addition.
	keepMost = 1400
	// keepLarge is the same for additions of at least largeWrite bytes, which are
	// worth that: several fill packets better, and it has something to send while
	// the next Write comes.
	keepLarge  = 3 * keepMost
	largeWrite = 512
	// keepFull is what leaves no room in a packet that quic-go would still fill.
	keepFull = keepMost - 128
)

// keepableLocked reports whether n bytes more may be given to quic-go to be kept.
func (p *sendPart) keepableLocked(n int) bool {
	most := keepMost
	if n >= largeWrite {
		most = keepLarge
	}
	return p.buffered+n <= most
}

// keep gives b to quic-go to be kept. Full says that it is too long, or comes too
// soon; otherwise, and without kept, there is no credit of the session or of QUIC.
func (p *sendPart) keep(b []byte) (kept, full bool) {
	s := p.d.s
	n := uint64(len(b))
	s.mu.Lock()
	switch {
	case !p.keepableLocked(len(b)):
		s.mu.Unlock()
		return false, true
	case p.state.over() || s.flowControl && s.sendCredit.Available() < n:
		s.mu.Unlock()
		return false, false
	}
	// Before quic-go has them: a reset that comes meanwhile has to know.
	p.buffered += len(b)
	s.sendLocked(n)
	s.mu.Unlock()
	if err := p.q.TryWriteAll(b); err == nil {
		return true, false
	}
	// An error other than for want of credit the Write that follows has too.
	s.mu.Lock()
	p.buffered -= len(b)
	s.stats.BytesSent -= n
	if s.flowControl {
		if s.sendCredit.Available() == 0 {
			s.raiseLocked(&s.creditRaised) // others may wait since
		}
		s.sendCredit.Return(n)
	}
	s.mu.Unlock()
	return false, false
}

// grant is quic-go's question, while it builds a packet, how many of most bytes of
// the Write that waits may be sent. Those bytes count as sent then. What was kept
// is in a packet.
func (p *sendPart) grant(most int) int {
	s := p.d.s
	s.mu.Lock()
	defer s.mu.Unlock()
	n := max(most, 0)
	if p.early {
		switch rest := p.rest - n; {
		case rest == 0 && p.buffered > keepFull:
			// It would be the first of a packet, alone.
			n = 0
		case rest > 0 && rest < keepLarge:
			// Fewer than quic-go could take have the Write return.
			n = max(n-1, 0)
		}
	}
	p.buffered = 0
	if s.flowControl {
		n = int(min(uint64(n), s.sendCredit.Available()))
	}
	p.rest -= n
	s.sendLocked(uint64(n))
	return n
}

// metered reports whether quic-go is asked about what it sends: under the session's
// flow control, and for IdleTimeout, since a Write that takes long is traffic all
// the time.
func (s *Session) metered() bool { return s.flowControl || s.cfg.IdleTimeout > 0 }

// sendLocked counts n bytes of stream data, for which there is credit, as sent.
func (s *Session) sendLocked(n uint64) {
	if n == 0 {
		return
	}
	s.stats.BytesSent += n
	s.trafficLocked()
	if s.flowControl {
		s.sendCredit.Use(n)
		s.floods.Sent(int(n)) // a peer that reads has to return credit
	}
}

// keepsLocked reports whether a reset may find bytes that quic-go keeps, on a
// stream with a header that the reset has to deliver. The final size of such a
// RESET_STREAM_AT has those bytes in it. If the peer's STOP_SENDING comes next,
// quic-go sends RESET_STREAM with a final size that has not, and the peer ends the
// connection (RFC 9000 section 4.5).
func (p *sendPart) keepsLocked() bool { return p.opened && p.buffered > 0 }

// cancelBehind resets the stream so that no byte that quic-go keeps is dropped: once
// those are sent, for which it waits if asked to, or else so that the peer gets
// all of the stream before the reset. A Write that waits was told to return. It
// ends when they are sent, or after reordering.
func (p *sendPart) cancelBehind(code quic.StreamErrorCode, wait bool) {
	s := p.d.s
	s.mu.Lock()
	p.takeTurnLocked()
	s.mu.Unlock()
	if wait {
		// Nothing of the stream waits for QUIC's credit, so what holds it up would
		// hold the reset up too.
		p.q.SetPriority(0, true)
		p.q.SetWriteDeadline(time.Now().Add(s.reordering()))
		var one [1]byte
		p.q.WriteWithLimit(one[:], p.noneLeft) // of which none is sent
	}
	s.mu.Lock()
	keeps := p.keepsLocked()
	s.mu.Unlock()
	if keeps {
		p.q.SetReliableBoundary()
	}
	p.q.CancelWrite(code)
	s.mu.Lock()
	p.endTurnLocked()
	s.mu.Unlock()
}

// noneLeft is quic-go's question for more, when nothing more is to be sent.
func (p *sendPart) noneLeft(int) int {
	p.d.s.mu.Lock()
	p.buffered = 0
	p.d.s.mu.Unlock()
	return 0
}
