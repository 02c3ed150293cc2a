package h3wt

import "time"

func (p *sendPart) SetWriteDeadline(t time.Time) error {
	s := p.d.s
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return s.err
	}
	p.deadline = t
	p.moved++
	if p.expires != nil {
		close(p.expires)
		p.expires = nil
	}
	begun := p.begun && !p.state.over()
	s.mu.Unlock()
	if begun {
		p.applyDeadline()
	}
	return nil
}

// applyDeadline gives the deadline to quic-go: a past one to end the Write that
// a Close or CancelWrite interrupts. When another call moved it meanwhile, whose call to
// quic-go may have come first, it does so again.
func (p *sendPart) applyDeadline() {
	s := p.d.s
	for {
		s.mu.Lock()
		moved, t := p.moved, p.deadline
		if p.state != sendOpen {
			t = past
		}
		s.mu.Unlock()
		p.q.SetWriteDeadline(t)
		s.mu.Lock()
		done := moved == p.moved
		s.mu.Unlock()
		if done {
			return
		}
	}
}
