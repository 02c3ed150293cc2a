package h3wt

import (
	"context"
	"errors"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// tooLarge is a datagram that no path takes. quic-go refuses it with the size
// that it would take now, which is the only way to learn that size.
var tooLarge [1 << 16]byte

// maxDatagramSize is the largest payload that can be sent now.
func (s *Session) maxDatagramSize() int {
	err := s.c.qc.SendDatagram(tooLarge[:])
	e, ok := errors.AsType[*quic.DatagramTooLargeError](err)
	if !ok {
		return 0
	}
	return max(int(e.MaxDatagramPayloadSize)-capsule.VarintLen(uint64(s.id/4)), 0)
}

// SendDatagram queues a datagram.
func (s *Session) SendDatagram(p []byte) error {
	s.mu.Lock()
	most, full, err := s.datagramMost, s.outgoing.Full(), s.err
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if len(p) > most {
		// The path may take more by now. That it takes less is found out later.
		most = s.maxDatagramSize()
		s.mu.Lock()
		s.datagramMost, err = most, s.err
		s.mu.Unlock()
		switch {
		case err != nil:
			return err
		case len(p) > most:
			return &transport.DatagramTooLargeError{Max: most}
		}
	}
	if full {
		s.awaitRoom()
	}
	payload := append([]byte(nil), p...)
	effect := s.holder.Hold(len(payload))
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		effect.Run() // may end another session than this one
		return s.err
	}
	var room [1]sessionstate.Drop
	drops := s.outgoing.Push(time.Now(), payload, room[:0])
	s.mu.Unlock()
	effect.Run()
	s.dropped(true, drops)
	s.c.sendDatagrams(s)
	return nil
}

// roomWait is how long SendDatagram waits at most for a full queue.
const roomWait = time.Millisecond

// awaitRoom waits until half of a full queue was taken. Whoever sends as fast as it
// can would otherwise keep a processor from those that take from the queue, only to
// have nearly all dropped. A path that does not take half of it in time is slower
// than its sender, who then does not wait again before it has.
func (s *Session) awaitRoom() {
	s.mu.Lock()
	if !s.outgoing.Full() || s.room.slow || s.err != nil {
		s.mu.Unlock()
		return
	}
	if s.room.made == nil {
		s.room.made = make(chan struct{})
	}
	made := s.room.made
	s.mu.Unlock()
	t := time.NewTimer(roomWait)
	defer t.Stop()
	select {
	case <-made:
	case <-s.ctx.Done():
	case <-t.C:
		s.mu.Lock()
		s.room.slow = s.room.made == made // not closed meanwhile
		s.mu.Unlock()
	}
}

// datagramRoom is what awaitRoom waits for.
type datagramRoom struct {
	made chan struct{} // closed when half of the queue is empty; nil: nobody waits
	slow bool          // it took too long last time
}

// makeRoomLocked wakes those who wait for room, once there is enough.
func (s *Session) makeRoomLocked() {
	if s.outgoing.Len() > s.cfg.OutgoingDatagramQueue/2 {
		return
	}
	s.room.slow = false
	if s.room.made != nil {
		close(s.room.made)
		s.room.made = nil
	}
}

// sendDatagrams makes sure that the connection's datagram goroutine runs and
// knows that s has datagrams. It runs only while there are any: quic-go's
// SendDatagram waits when its own queue is full, and has no form that does not.
// It ends when all queues are empty, or with the connection.
func (c *conn) sendDatagrams(s *Session) {
	c.mu.Lock()
	if !s.inSenders {
		s.inSenders = true
		c.senders = append(c.senders, s)
	}
	start := !c.sending
	c.sending = true
	c.mu.Unlock()
	if start {
		go c.runDatagrams()
	}
}

// runDatagrams sends one datagram of each session in turn.
func (c *conn) runDatagrams() {
	var frame []byte
	for {
		c.mu.Lock()
		if len(c.senders) == 0 {
			c.sending = false
			c.senders = nil
			c.mu.Unlock()
			return
		}
		s := c.senders[0]
		c.senders[0] = nil
		c.senders = c.senders[1:]
		s.inSenders = false
		c.mu.Unlock()

		payload, more := s.nextDatagram()
		if more {
			c.sendDatagrams(s)
		}
		if payload == nil {
			continue
		}
		frame = capsule.AppendVarint(frame[:0], uint64(s.id/4))
		frame = append(frame, payload...)
		err := c.qc.SendDatagram(frame)
		s.mu.Lock()
		if err == nil {
			s.stats.DatagramsSent++
			s.trafficLocked()
		} else {
			// The path's MTU shrank meanwhile, or the connection is over.
			s.stats.DatagramsDroppedOutgoing++
			s.datagramMost = 0
		}
		s.mu.Unlock()
		if _, ok := errors.AsType[*quic.DatagramTooLargeError](err); ok {
			s.droppedDatagram(true, len(payload), 0, droppedSize)
		}
	}
}

// nextDatagram takes the datagram to send next, nil if there is none.
func (s *Session) nextDatagram() (payload []byte, more bool) {
	s.mu.Lock()
	payload, ok, drops := s.outgoing.Pop(time.Now(), nil)
	more = s.outgoing.Len() > 0
	s.makeRoomLocked()
	s.mu.Unlock()
	s.dropped(true, drops)
	if !ok {
		return nil, more
	}
	s.holder.Release(len(payload)).Run()
	if payload == nil {
		payload = []byte{}
	}
	return payload, more
}

// receiveDatagrams moves the datagrams that http3 has for the session into its
// own queue, at once, since http3 keeps 32 and then drops the newest.
func (s *Session) receiveDatagrams() {
	for {
		p, err := s.str.ReceiveDatagram(s.ctx)
		if err != nil {
			return
		}
		s.queueIncoming(p)
	}
}

// queueIncoming takes a QUIC datagram. Those of a few bytes are not counted by
// Floods.TinyDatagrams: quic-go keeps 128 and http3 32, and what is more is dropped
// before it gets here.
func (s *Session) queueIncoming(p []byte) {
	s.mu.Lock()
	s.trafficLocked()
	allowed := s.datagramRate.Charge(time.Now())
	s.mu.Unlock()
	if !allowed {
		s.throttled(len(p))
		return
	}
	s.pushIncoming(p)
}

func (s *Session) pushIncoming(p []byte) {
	effect := s.holder.Hold(len(p))
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		effect.Run()
		return
	}
	s.stats.DatagramsReceived++
	s.floods.Received(len(p))
	drops := s.incoming.Push(time.Now(), p, nil)
	if s.incoming.Len() > 0 {
		signal(s.datagramReady)
	}
	s.mu.Unlock()
	effect.Run()
	s.dropped(false, drops)
}

// ReceiveDatagram waits for the next datagram.
func (s *Session) ReceiveDatagram(ctx context.Context) ([]byte, error) {
	for {
		s.mu.Lock()
		if s.err != nil {
			s.mu.Unlock()
			return nil, s.err
		}
		p, ok, drops := s.incoming.Pop(time.Now(), nil)
		if ok && s.incoming.Len() > 0 {
			signal(s.datagramReady)
		}
		ready := waiting(&s.datagramReady, 1)
		s.mu.Unlock()
		s.dropped(false, drops)
		if ok {
			s.holder.Release(len(p)).Run()
			return p, nil
		}
		select {
		case <-ready:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-s.ctx.Done():
		}
	}
}

// dropped counts datagrams that a queue dropped, and says so.
func (s *Session) dropped(outgoing bool, drops []sessionstate.Drop) {
	if len(drops) == 0 {
		return
	}
	size := 0
	s.mu.Lock()
	for _, d := range drops {
		size += d.Size
		switch {
		case outgoing && d.Expired:
			s.stats.DatagramsExpiredOutgoing++
		case outgoing:
			s.stats.DatagramsDroppedOutgoing++
		case d.Expired:
			s.stats.DatagramsExpiredIncoming++
		default:
			s.stats.DatagramsDroppedIncoming++
		}
	}
	s.mu.Unlock()
	s.holder.Release(size).Run()
	for _, d := range drops {
		why := droppedFull
		if d.Expired {
			why = droppedOld
		}
		s.droppedDatagram(outgoing, d.Size, d.Age, why)
	}
}

// dropTooLarge counts a DATAGRAM capsule that is over the limit.
func (s *Session) dropTooLarge(size uint64) {
	s.mu.Lock()
	s.stats.DatagramsReceived++
	s.stats.DatagramsDroppedIncoming++
	s.mu.Unlock()
	s.droppedDatagram(false, int(min(size, 1<<30)), 0, droppedSize)
}
