package session

import (
	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/sessionstate"
)

// raised judges a limit that the peer announced, and has what waited for it
// tried again. Limit is the one in force now, initial the one from before the
// first capsule.
func (r *reader) raised(c capsule.Capsule, change sessionstate.Change, limit, initial uint64) error {
	switch {
	case change == sessionstate.Lowered && !(r.s.dialect.reading.tolerant() && limit == initial):
		return flowError("%v lowers a limit", c)
	case change != sessionstate.Raised:
		// To peers of older drafts what their settings said is no limit that a
		// first capsule could lower. It is not taken.
		return r.s.abuse.Glitch(r.now, c.Type().String()+" that raises nothing")
	}
	r.s.wakeLocked()
	return nil
}

// repeated judges a report of being blocked, of which there is to be one for
// each limit. It is of no other use: credit does not wait for it (H2-151).
// Last holds the limit of the report before, plus one.
func (r *reader) repeated(c capsule.Capsule, last *uint64, limit uint64) error {
	if *last == limit+1 {
		return r.s.abuse.Glitch(r.now, "repeated "+c.Type().String())
	}
	*last = limit + 1
	return nil
}

func (r *reader) maxStreamData(c capsule.MaxStreamData) error {
	s := r.s
	tolerant := s.dialect.reading.tolerant()
	s.peerNamesFirstLocked(c.StreamID)
	if tolerant && kindOf(c.StreamID) == uni && !s.isLocal(c.StreamID) {
		// fails-components gives every stream a limit, also those that it
		// alone sends on.
		return nil
	}
	st, err := s.sendPartLocked(c, c.StreamID)
	if st == nil {
		return err
	}
	switch st.send.on(sendEventMaxStreamData) {
	case wrongState:
		if tolerant {
			return nil // it gives credit for what it discards, too
		}
		return stateError("%v after WT_STOP_SENDING", c)
	case ignored:
		return nil
	}
	first := !st.send.limited
	st.send.limited = true
	change := st.send.credit.Raise(c.MaximumStreamData)
	if first && change != sessionstate.Raised && tolerant {
		return nil // said of every stream, whatever the settings said
	}
	err = r.raised(c, change, st.send.credit.Limit(), s.initialSendLimit(c.StreamID))
	if err == nil {
		s.readyLocked(st)
	}
	return err
}

func (r *reader) maxStreams(c capsule.MaxStreams) error {
	s := r.s
	k := bidi
	if c.Uni {
		k = uni
	}
	l := &s.opened[k]
	change, err := l.limit.Raise(c.MaximumStreams)
	if err != nil {
		return err
	}
	if change == sessionstate.Raised {
		l.blockedDue = false
		signal(l.credit)
	}
	initial := s.peer.MaxStreamsBidi
	if c.Uni {
		initial = s.peer.MaxStreamsUni
	}
	return r.raised(c, change, l.limit.Limit(), initial)
}

func (r *reader) streamDataBlocked(c capsule.StreamDataBlocked) error {
	st, err := r.s.recvPartLocked(c, c.StreamID)
	if st == nil {
		return err
	}
	if err := r.s.learnLocked(st, c.Type().String()); err != nil {
		return err
	}
	if st.recv.on(recvEventDataBlocked) != accepted {
		return stateError("%v on a stream that has ended", c)
	}
	return r.repeated(c, &st.recv.blocked, c.MaximumStreamData)
}
