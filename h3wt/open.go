package h3wt

import (
	"context"
	"errors"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// OpenStream opens a bidirectional stream.
func (s *Session) OpenStream(ctx context.Context) (transport.Stream, error) {
	d, err := s.open(ctx, bidi)
	if err != nil {
		return nil, err
	}
	return d.both, nil
}

// OpenUniStream opens a unidirectional stream.
func (s *Session) OpenUniStream(ctx context.Context) (transport.SendStream, error) {
	d, err := s.open(ctx, uni)
	if err != nil {
		return nil, err
	}
	return d.send, nil
}

// open takes the session's credit first, then QUIC's: a stream needs both
// (draft-ietf-webtrans-http3 "Limiting the Number of Streams Within a Session").
func (s *Session) open(ctx context.Context, kind int) (*dataStream, error) {
	if err := s.takePlace(ctx, kind); err != nil {
		return nil, err
	}
	d, err := s.openQUIC(ctx, kind)
	if err != nil {
		s.returnPlace(kind)
		return nil, err
	}
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		d.send.q.CancelWrite(codeSessionGone)
		if d.recv != nil {
			d.recv.q.CancelRead(codeSessionGone)
		}
		return nil, s.err
	}
	s.streams[d.id] = d
	s.stats.StreamsOpened++
	s.trafficLocked()
	ranked := s.rankedLocked()
	s.mu.Unlock()
	s.streamOpened(d)
	if ranked {
		s.prioritize(d.send, transport.Priority{})
	}
	if d.recv != nil {
		d.recv.watch()
	}
	return d, nil
}

// takePlace takes one of the streams that the peer allows in this session.
func (s *Session) takePlace(ctx context.Context, kind int) error {
	for {
		s.mu.Lock()
		if s.err != nil {
			s.mu.Unlock()
			return s.err
		}
		if !s.flowControl {
			s.mu.Unlock()
			return nil
		}
		if s.returned[kind] > 0 {
			s.returned[kind]--
			s.mu.Unlock()
			return nil
		}
		if _, ok := s.local[kind].Open(); ok {
			s.mu.Unlock()
			return nil
		}
		limit, blocked := s.local[kind].TakeBlocked()
		if blocked {
			s.stats.Stalls++
			s.control.streamsBlocked[kind], s.control.hasStreamsBlocked[kind] = limit, true
		}
		raised := waiting(&s.streamsRaised[kind], 0)
		s.mu.Unlock()
		if blocked {
			s.blockedAt("streams", limit)
			s.flushControl()
		}
		if ctx.Err() != nil {
			return transport.ErrStreamLimit
		}
		select {
		case <-raised:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.ctx.Done():
		}
	}
}

// returnPlace gives a place back that no stream came to use.
func (s *Session) returnPlace(kind int) {
	s.mu.Lock()
	if s.flowControl {
		s.returned[kind]++
		s.raiseLocked(&s.streamsRaised[kind])
	}
	s.mu.Unlock()
}

// raiseLocked wakes those who wait on *ch, which they have from waiting.
func (s *Session) raiseLocked(ch *chan struct{}) {
	if *ch != nil {
		close(*ch)
		*ch = nil
	}
}

// waiting returns *ch, which it makes if there is none. The session is locked.
func waiting(ch *chan struct{}, slots int) <-chan struct{} {
	if *ch == nil {
		*ch = make(chan struct{}, slots)
	}
	return *ch
}

// openQUIC opens a QUIC stream for the session.
func (s *Session) openQUIC(ctx context.Context, kind int) (*dataStream, error) {
	d, err := s.tryOpenQUIC(ctx, false, kind)
	if _, full := errors.AsType[*quic.StreamLimitReachedError](err); !full {
		return d, s.openError(err)
	}
	if ctx.Err() != nil {
		return nil, transport.ErrStreamLimit
	}
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	d, err = s.tryOpenQUIC(wait, true, kind)
	return d, s.openError(err, ctx)
}

// tryOpenQUIC opens a stream at once, or waits for the peer's limit until ctx
// ends.
func (s *Session) tryOpenQUIC(ctx context.Context, wait bool, kind int) (*dataStream, error) {
	qc := s.c.qc
	if kind == uni {
		var q *quic.SendStream
		var err error
		if wait {
			q, err = qc.OpenUniStreamSync(ctx)
		} else {
			q, err = qc.OpenUniStream()
		}
		if err != nil {
			return nil, err
		}
		return newSendStream(s, q), nil
	}
	var q *quic.Stream
	var err error
	if wait {
		q, err = qc.OpenStreamSync(ctx)
	} else {
		q, err = qc.OpenStream()
	}
	if err != nil {
		return nil, err
	}
	return newStream(s, q, 0, false), nil
}

// openError is the contract's error for one of quic-go's when opening; ctx is
// the caller's if the call waited.
func (s *Session) openError(err error, ctx ...context.Context) error {
	if err == nil {
		return nil
	}
	if ended := s.ended(); ended != nil {
		return ended
	}
	for _, ctx := range ctx {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return s.lost(err)
}

// AcceptStream waits for the peer's next bidirectional stream.
func (s *Session) AcceptStream(ctx context.Context) (transport.Stream, error) {
	d, err := s.acceptNext(ctx, bidi)
	if err != nil {
		return nil, err
	}
	return d.both, nil
}

// AcceptUniStream waits for the peer's next unidirectional stream.
func (s *Session) AcceptUniStream(ctx context.Context) (transport.ReceiveStream, error) {
	d, err := s.acceptNext(ctx, uni)
	if err != nil {
		return nil, err
	}
	return d.recv, nil
}

func (s *Session) acceptNext(ctx context.Context, kind int) (*dataStream, error) {
	q := &s.accept[kind]
	for {
		s.mu.Lock()
		if s.err != nil {
			s.mu.Unlock()
			return nil, s.err
		}
		if s.acceptableLocked(kind) {
			d := q.streams[0]
			q.streams[0] = nil
			q.streams = q.streams[1:]
			q.live++
			s.stats.StreamsAccepted++
			if s.acceptableLocked(kind) {
				signal(q.ready)
			}
			s.mu.Unlock()
			return d, nil
		}
		ready := waiting(&q.ready, 1)
		s.mu.Unlock()
		select {
		case <-ready:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-s.ctx.Done():
		}
	}
}

// acceptableLocked reports whether there is a stream to accept. Without flow
// control the peer knows only the connection's limit on streams; the session's
// own holds because no more are handed out.
func (s *Session) acceptableLocked(kind int) bool {
	q := &s.accept[kind]
	return len(q.streams) > 0 && (s.flowControl || q.live < q.most)
}

// addStream takes a stream of the peer whose header named the session.
func (s *Session) addStream(in *incoming) {
	kind := kindOf(in.bidi == nil)
	var d *dataStream
	if in.bidi != nil {
		d = newStream(s, in.bidi, in.header, true)
	} else {
		d = newReceiveStream(s, in.uni, in.header)
	}
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		in.reject(codeSessionGone)
		return
	}
	if s.flowControl {
		if _, _, err := s.peer[kind].Open(s.peer[kind].Opened()); err != nil {
			s.mu.Unlock()
			in.reject(codeSessionGone)
			s.fail(err)
			return
		}
	} else if s.accept[kind].most == 0 {
		s.mu.Unlock()
		in.reject(codeBufferedStreamRejected)
		return
	}
	s.streams[d.id] = d
	s.trafficLocked()
	q := &s.accept[kind]
	q.streams = append(q.streams, d)
	signal(q.ready)
	ranked := s.rankedLocked()
	s.mu.Unlock()
	s.streamOpened(d)
	if d.send != nil && ranked {
		s.prioritize(d.send, transport.Priority{})
	}
	d.recv.watch()
}

// releasableLocked reports whether release has anything to do.
func (s *Session) releasableLocked(d *dataStream) bool {
	return s.ranks.groups != nil || d.overLocked()
}

// release takes a stream out of the session once both its parts are over, and
// gives the peer its place back.
func (s *Session) release(d *dataStream) {
	s.mu.Lock()
	var moves []*sendPart
	if d.send != nil {
		moves = s.unrankLocked(d.send)
	}
	if s.streams[d.id] != d || !d.overLocked() {
		s.mu.Unlock()
		s.applyUrgencies(moves)
		return
	}
	delete(s.streams, d.id)
	kind := kindOf(d.uni())
	if d.peer {
		q := &s.accept[kind]
		q.live--
		if s.acceptableLocked(kind) {
			signal(q.ready)
		}
		if s.flowControl {
			s.peer[kind].Done()
			s.updateStreamsLocked(kind)
		}
	}
	drained := s.life == sessionstate.Closed && len(s.streams) == 0
	s.mu.Unlock()
	s.applyUrgencies(moves)
	if drained {
		s.c.drained(s)
	}
	s.flushControl()
}
