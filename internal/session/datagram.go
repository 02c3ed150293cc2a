package session

import (
	"context"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// SendDatagram implements transport.Session.
func (s *Session) SendDatagram(p []byte) error {
	now := time.Now()
	s.mu.Lock()
	defer s.unlock()
	if s.err != nil {
		return s.err
	}
	if most := s.info.MaxDatagramSize; len(p) > most || most == 0 {
		return &transport.DatagramTooLargeError{Max: s.info.MaxDatagramSize}
	}
	if s.outgoing.datagrams == nil {
		s.outgoing.datagrams = sessionstate.NewDatagramQueue(s.cfg.OutgoingDatagramQueue, s.cfg.DatagramDrop, s.cfg.OutgoingMaxAge)
	}
	q := s.outgoing.datagrams
	before := q.Bytes()
	var room [2]sessionstate.Drop
	drops := q.Push(now, append(make([]byte, 0, len(p)), p...), room[:0])
	s.chargeLocked(q.Bytes() - before)
	s.droppedLocked(eventDroppedOutgoing, drops)
	if q.Len() > 0 {
		s.wakeLocked()
	}
	return nil
}

// droppedLocked counts and reports what a datagram queue dropped.
func (s *Session) droppedLocked(where eventKind, drops []sessionstate.Drop) {
	for _, d := range drops {
		switch {
		case where == eventDroppedOutgoing && d.Expired:
			s.stats.DatagramsExpiredOutgoing++
		case where == eventDroppedOutgoing:
			s.stats.DatagramsDroppedOutgoing++
		case d.Expired:
			s.stats.DatagramsExpiredIncoming++
		default:
			s.stats.DatagramsDroppedIncoming++
		}
		why := droppedFull
		if d.Expired {
			why = droppedOld
		}
		s.noteLocked(event{what: where, text: why, value: uint64(d.Size), age: d.Age})
	}
}

// ReceiveDatagram implements transport.Session.
func (s *Session) ReceiveDatagram(ctx context.Context) ([]byte, error) {
	for {
		p, wait, err := s.tryReceiveDatagram()
		if p != nil || err != nil {
			return p, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (s *Session) tryReceiveDatagram() (_ []byte, wait <-chan struct{}, _ error) {
	now := time.Now()
	s.mu.Lock()
	defer s.unlock()
	if s.err != nil {
		signal(s.arrived) // for another caller that waits
		return nil, nil, s.err
	}
	before := s.received.Bytes()
	var room [2]sessionstate.Drop
	p, ok, drops := s.received.Pop(now, room[:0])
	s.chargeLocked(s.received.Bytes() - before)
	s.droppedLocked(eventDroppedIncoming, drops)
	if !ok {
		return nil, waitOn(&s.arrived), nil
	}
	if s.received.Len() > 0 {
		signal(s.arrived) // for another caller that waits
	}
	return p, nil, nil
}

// Datagram implements capsule.Handler: the header of a DATAGRAM capsule.
func (r *reader) Datagram(size uint64) (accept bool, err error) {
	s := r.s
	if s.err != nil {
		return false, nil
	}
	s.stats.DatagramsReceived++
	s.trafficLocked(r.now)
	if size < sessionstate.TinyDatagram {
		if err := s.abuse.TinyDatagram(r.now); err != nil {
			return false, err
		}
	}
	if size > uint64(s.cfg.MaxDatagramSize) {
		// RFC 9297 section 3.5: too large is dropped, unseen.
		s.stats.DatagramsDroppedIncoming++
		s.noteLocked(event{what: eventDroppedIncoming, text: droppedSize, value: min(size, 1<<30)})
		return false, nil
	}
	if !s.datagramRate.Charge(r.now) {
		s.stats.DatagramsThrottled++
		s.noteLocked(event{what: eventDroppedIncoming, text: droppedRate, value: size})
		return false, nil
	}
	r.size = size
	return true, nil
}

// DatagramData implements capsule.Handler. The payload's buffer grows with what
// has come, not with what the header promised.
func (r *reader) DatagramData(p []byte, last bool) error {
	s := r.s
	if s.err != nil {
		r.datagram = nil
		return nil
	}
	before := len(r.datagram)
	if r.datagram == nil {
		r.datagram = make([]byte, 0, max(len(p), 1)) // not nil even when empty
	}
	r.datagram = append(r.datagram, p...)
	s.abuse.Received(len(p))
	s.chargeLocked(len(r.datagram) - before)
	if !last {
		return nil
	}
	payload := r.datagram
	r.datagram = nil
	s.chargeLocked(-len(payload))
	if s.received == nil {
		s.received = sessionstate.NewDatagramQueue(s.cfg.IncomingDatagramQueue, s.cfg.DatagramDrop, s.cfg.IncomingMaxAge)
	}
	queued := s.received.Bytes()
	var room [2]sessionstate.Drop
	drops := s.received.Push(r.now, payload, room[:0])
	s.chargeLocked(s.received.Bytes() - queued)
	s.droppedLocked(eventDroppedIncoming, drops)
	if s.received.Len() > 0 {
		signal(s.arrived)
	}
	return nil
}

// fillDatagrams appends queued datagrams. It reports false when dst is used up.
//
// A datagram that fits dst goes out whole. One that does not is begun only at
// dst's start: then the free window is shorter than the datagram, and waiting
// would not make it longer.
func (f *filler) fillDatagrams() bool {
	s := f.s
	q := s.outgoing.datagrams
	for q.Len() > 0 {
		if f.now.IsZero() {
			f.now = time.Now()
		}
		before := q.Bytes()
		var room [2]sessionstate.Drop
		p, ok, drops := q.Peek(f.now, room[:0])
		s.chargeLocked(q.Bytes() - before)
		s.droppedLocked(eventDroppedOutgoing, drops)
		if !ok {
			return true
		}
		var header [capsule.MaxDatagramHeader]byte
		h := capsule.AppendDatagramHeader(header[:0], uint64(len(p)))
		if len(h)+len(p) > f.room() && f.n > 0 {
			return false
		}
		_, _, _ = q.Pop(f.now, room[:0]) // Peek has dropped what is too old
		s.chargeLocked(-len(p))
		s.stats.DatagramsSent++
		s.trafficLocked(f.now)
		s.abuse.Sent(len(h) + len(p))
		f.put(h)
		f.putTail(p)
		if f.room() == 0 {
			return false
		}
	}
	return true
}
