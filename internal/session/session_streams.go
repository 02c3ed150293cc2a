package session

import (
	"context"
	"time"

	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// localStreams are the streams of one kind that this side opens.
type localStreams struct {
	limit sessionstate.LocalLimit
	// announced is how many of them the peer knows: its highest opened index
	// plus one. A capsule for a higher one opens all below it too.
	announced uint64
	// blocked is the limit that WT_STREAMS_BLOCKED has to carry, if due.
	blocked    uint64
	blockedDue bool
	credit     chan struct{} // 1 slot: Open may be tried again; nil until one waits
}

// peerStreams are the streams of one kind that the peer opens. Those below
// limit.Opened() exist for the peer; state for one is made when a capsule
// names it or the application accepts it, so that a capsule for the highest
// allowed one costs no more than any other (DS-16).
type peerStreams struct {
	limit sessionstate.PeerLimit
	// next is the index that the application accepts next. Streams from there
	// on wait to be accepted.
	next uint64
	// announce is the Maximum Streams to be sent, if due.
	announce    uint64
	announceDue bool
	blocked     uint64        // the limit of the last WT_STREAMS_BLOCKED, plus one
	arrived     chan struct{} // 1 slot: Accept may be tried again; nil until one waits
}

// waitOn returns the channel to wait on, which is made for the first who waits.
// Whoever is woken and leaves something for others wakes the next.
func waitOn(c *chan struct{}) <-chan struct{} {
	if *c == nil {
		*c = make(chan struct{}, 1)
	}
	return *c
}

// signal fills a channel with one slot, if there is one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// OpenStream implements transport.Session.
func (s *Session) OpenStream(ctx context.Context) (transport.Stream, error) {
	st, err := s.open(ctx, bidi)
	if err != nil {
		return nil, err
	}
	return bidiStream{st}, nil
}

// OpenUniStream implements transport.Session.
func (s *Session) OpenUniStream(ctx context.Context) (transport.SendStream, error) {
	st, err := s.open(ctx, uni)
	if err != nil {
		return nil, err
	}
	return sendStream{st}, nil
}

func (s *Session) open(ctx context.Context, k kind) (*stream, error) {
	ended := ctx.Err() != nil
	for {
		st, wait, err := s.tryOpen(k)
		if st != nil || err != nil {
			return st, err
		}
		if ended {
			return nil, transport.ErrStreamLimit
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// tryOpen opens a stream if the peer's limit allows one now. Wait says otherwise
// when to try again.
func (s *Session) tryOpen(k kind) (_ *stream, wait <-chan struct{}, _ error) {
	s.mu.Lock()
	defer s.unlock()
	l := &s.opened[k]
	if s.err != nil {
		signal(l.credit) // for another caller that waits
		return nil, nil, s.err
	}
	index, ok := l.limit.Open()
	if !ok {
		if limit, ok := l.limit.TakeBlocked(); ok {
			l.blocked, l.blockedDue = limit, true
			s.blockedLocked(onStreams, nil, limit)
			s.wakeLocked()
		}
		return nil, waitOn(&l.credit), nil
	}
	if l.limit.Available() > 0 {
		signal(l.credit) // for another caller that waits
	}
	s.opensFirstLocked()
	s.trafficLocked(time.Time{})
	st := s.newStreamLocked(s.localID(index, k))
	st.accepted = true
	s.stats.StreamsOpened++
	return st, nil, nil
}

// AcceptStream implements transport.Session.
func (s *Session) AcceptStream(ctx context.Context) (transport.Stream, error) {
	st, err := s.accept(ctx, bidi)
	if err != nil {
		return nil, err
	}
	return bidiStream{st}, nil
}

// AcceptUniStream implements transport.Session.
func (s *Session) AcceptUniStream(ctx context.Context) (transport.ReceiveStream, error) {
	st, err := s.accept(ctx, uni)
	if err != nil {
		return nil, err
	}
	return recvStream{st}, nil
}

func (s *Session) accept(ctx context.Context, k kind) (*stream, error) {
	for {
		st, wait, err := s.tryAccept(k)
		if st != nil || err != nil {
			return st, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// tryAccept hands out the next stream of the peer, in the order of IDs. If there is
// none, wait says when to try again.
func (s *Session) tryAccept(k kind) (_ *stream, wait <-chan struct{}, _ error) {
	s.mu.Lock()
	defer s.unlock()
	p := &s.accepted[k]
	if s.err != nil {
		signal(p.arrived) // for another caller that waits
		return nil, nil, s.err
	}
	if p.next == p.limit.Opened() {
		return nil, waitOn(&p.arrived), nil
	}
	id := s.peerID(p.next, k)
	p.next++
	if p.next < p.limit.Opened() {
		signal(p.arrived) // for another caller that waits
	}
	st := s.streams[id]
	if st == nil {
		// Opened by a capsule for a higher one, and silent so far.
		st = s.newStreamLocked(id)
	}
	st.accepted = true
	return st, nil, nil
}

// newStreamLocked makes the state of a stream of a session that has not ended.
func (s *Session) newStreamLocked(id uint64) *stream {
	if s.over == nil {
		s.over, s.streams = make(chan struct{}), make(map[uint64]*stream)
	}
	st := &stream{s: s, id: id}
	st.ent.st = st
	st.ent.index = -1
	local, k := s.isLocal(id), kindOf(id)
	if local || k == bidi {
		st.send.state = sendOpen
		st.send.credit = sessionstate.NewSendCredit(s.initialSendLimit(id))
	}
	if !local || k == bidi {
		limit := s.local.uni
		switch {
		case k == bidi && local:
			limit = s.local.bidiLocal
		case k == bidi:
			limit = s.local.bidiRemote
		}
		st.recv.state = recvOpen
		st.recv.win = sessionstate.NewStreamWindow(limit, uint64(s.cfg.InitialStreamWindow), uint64(s.cfg.MaxStreamWindow))
		s.creditLocked(st) // limits published may be below the window
	}
	s.streams[id] = st
	s.noteLocked(event{what: eventOpened, id: id, remote: !local})
	return st
}

// initialSendLimit is what the peer has published for a stream that this side
// may send on.
func (s *Session) initialSendLimit(id uint64) uint64 {
	switch {
	case kindOf(id) == uni:
		return s.peer.MaxStreamDataUni
	case s.isLocal(id):
		return s.peer.MaxStreamDataBidiRemote // remote from the peer's view
	}
	return s.peer.MaxStreamDataBidiLocal
}

// lookup says what a stream that a capsule names is.
type lookup uint8

const (
	// found: the stream is in use.
	found lookup = iota
	// notOpen: the peer named one of ours that we have not opened.
	notOpen
	// forgotten: the stream is over for both sides and has been dropped.
	forgotten
)

// peerNamesLocked finds the stream that a capsule names, opening it and all
// below it if it is the peer's to open.
func (s *Session) peerNamesLocked(id uint64) (*stream, lookup, error) {
	index, k := id>>2, kindOf(id)
	if s.isLocal(id) {
		switch st := s.streams[id]; {
		case st != nil:
			return st, found, nil
		case index < s.opened[k].limit.Opened():
			return nil, forgotten, nil
		}
		return nil, notOpen, nil
	}
	p := &s.accepted[k]
	from, to, err := p.limit.Open(index)
	if err != nil {
		return nil, notOpen, err
	}
	if from != to {
		s.trafficLocked(s.reader.now)
		s.stats.StreamsAccepted += to - from
		s.announceStreamsLocked(k)
		signal(p.arrived)
	}
	if st := s.streams[id]; st != nil {
		return st, found, nil
	}
	if index < p.next {
		return nil, forgotten, nil
	}
	return s.newStreamLocked(id), found, nil
}

// announceStreamsLocked makes WT_MAX_STREAMS due if the limit is to rise. The
// peer is held to the new limit from now on, before it can know of it.
func (s *Session) announceStreamsLocked(k kind) {
	p := &s.accepted[k]
	if limit, ok := p.limit.Update(); ok {
		p.announce, p.announceDue = limit, true
		s.wakeLocked()
	}
}

// forgetLocked drops a stream once both parts are over and the application has
// let go of it, and counts it for the peer's limit.
func (s *Session) forgetLocked(st *stream) {
	if !st.accepted || !st.send.final() || !st.recv.final() || s.streams[st.id] != st {
		return
	}
	if st.send.state == sendDataSent || st.recv.state == recvDataRead {
		s.dialect.stake()
	}
	s.dropLocked(st)
	if st.recv.state == recvOpen {
		s.unanswered++
	}
	if !s.isLocal(st.id) {
		k := kindOf(st.id)
		s.accepted[k].limit.Done()
		s.announceStreamsLocked(k)
	}
}

// dropLocked takes a stream out of all that refers to it: nothing more goes out
// of it, and no call on it waits. The application may still read what it has.
func (s *Session) dropLocked(st *stream) {
	delete(s.streams, st.id)
	s.outgoing.sched.leave(&st.ent)
	s.outgoing.clean(st)
	st.readDeadline.Stop()
	st.writeDeadline.Stop()
}

// discardSendLocked drops what is unsent.
func (s *Session) discardSendLocked(st *stream) {
	s.chargeLocked(-st.send.buf.held)
	st.send.buf.discard()
}

// discardRecvLocked drops what is unread and gives the session's credit for it
// back (H2-153). The stream's own credit is of no use any more.
func (s *Session) discardRecvLocked(st *stream) {
	s.chargeLocked(-st.recv.buf.held)
	n := st.recv.buf.discard()
	st.recv.win.Consume(uint64(n))
	s.consumeLocked(n)
}
