package h3wt

// A stream whose end had arrived stays readable when its session has ended. An
// application that does not read it any more, and drops it, would leave its
// bytes in the connection's window and its place among QUIC's streams taken for
// as long as the connection lives. So a connection keeps the unread streams of
// ended sessions only while they have room beside the sessions that are open.

// leftLocked returns how many streams of each kind can still be read, and the
// bytes that they hold.
func (s *Session) leftLocked() (streams [2]int64, unread int64) {
	for _, d := range s.streams {
		if d.recv != nil && !d.recv.state.over() {
			streams[kindOf(d.uni())]++
			unread += d.recv.counted - d.recv.read
		}
	}
	return streams, unread
}

// drained forgets an ended session of which nothing is left to be read.
func (c *conn) drained(s *Session) {
	s.mu.Lock()
	taken := s.windowTaken
	s.windowTaken = 0
	s.mu.Unlock()
	c.returnWindow(taken)
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, e := range c.ended {
		if e == s {
			c.ended = append(c.ended[:i:i], c.ended[i+1:]...)
			return
		}
	}
}

// makeRoom gives up what is unread of the sessions that ended first, so that with
// the open ones there are no more than may be open at once, each within its part
// of the connection's window; and so that at least one session's number of
// streams is left of QUIC's.
func (c *conn) makeRoom() {
	session := c.cfg.session
	most := [2]int64{bidi: session.MaxIncomingStreams, uni: session.MaxIncomingUniStreams}
	c.mu.Lock()
	ended := c.ended[:len(c.ended):len(c.ended)] // drained does not change what is here
	room := c.maxSessionsLocked() - c.slots
	c.mu.Unlock()
	var kept [2]int64
	for i := len(ended) - 1; i >= 0; i-- {
		s := ended[i]
		s.mu.Lock()
		streams, _ := s.leftLocked()
		s.mu.Unlock()
		if streams == [2]int64{} {
			c.drained(s)
			continue
		}
		fits := kept == [2]int64{} // the last one, whatever its own limits are
		if kept[bidi]+streams[bidi] <= most[bidi] && kept[uni]+streams[uni] <= most[uni] {
			fits = true
		}
		if room <= 0 || !fits {
			s.giveUp()
			continue
		}
		room--
		kept[bidi] += streams[bidi]
		kept[uni] += streams[uni]
	}
}

// giveUp ends the reading of what is left of an ended session.
func (s *Session) giveUp() {
	s.mu.Lock()
	var left []*recvPart
	for _, d := range s.streams {
		if d.recv != nil {
			left = append(left, d.recv)
		}
	}
	s.mu.Unlock()
	for _, p := range left {
		p.abort(true, func(f func()) { f() })
	}
	s.c.drained(s)
}
