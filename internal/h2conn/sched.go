package h2conn

const (
	urgencies      = 8 // RFC 9218, section 4.1
	defaultUrgency = 3
	// quantum is what a stream may send before the next of its urgency has its
	// turn.
	quantum = 16 << 10
)

// link is a stream's place in the scheduler, guarded by Conn.mu.
type link struct {
	prev, next *Stream
	queue      *streamQueue // nil: not queued
	deficit    int          // bytes left of this turn
}

// streamQueue is a list of streams that may have bytes to send.
type streamQueue struct{ head, tail *Stream }

func (q *streamQueue) push(s *Stream) {
	s.link.queue, s.link.prev, s.link.next = q, q.tail, nil
	if q.tail != nil {
		q.tail.link.next = s
	} else {
		q.head = s
	}
	q.tail = s
}

func (q *streamQueue) remove(s *Stream) {
	l := &s.link
	if l.prev != nil {
		l.prev.link.next = l.next
	} else {
		q.head = l.next
	}
	if l.next != nil {
		l.next.link.prev = l.prev
	} else {
		q.tail = l.prev
	}
	l.queue, l.prev, l.next = nil, nil, nil
}

// A scheduler picks the stream that sends next: strictly by urgency, and by
// deficit round-robin among equals, so that each gets the same bytes whatever the
// size of its frames.
type scheduler struct{ queues [urgencies]streamQueue }

// add queues s unless it is queued.
func (d *scheduler) add(s *Stream) {
	if s.link.queue == nil {
		s.link.deficit = quantum
		d.queues[s.urgency].push(s)
	}
}

// remove takes s out.
func (d *scheduler) remove(s *Stream) {
	if q := s.link.queue; q != nil {
		q.remove(s)
	}
}

// front returns the stream whose turn it is, or nil.
func (d *scheduler) front() *Stream {
	for i := range d.queues {
		if s := d.queues[i].head; s != nil {
			return s
		}
	}
	return nil
}

// sent counts n bytes for s and ends its turn once the quantum is used up.
func (d *scheduler) sent(s *Stream, n int) {
	s.link.deficit -= n
	if q := s.link.queue; q != nil && s.link.deficit <= 0 {
		q.remove(s)
		s.link.deficit += quantum
		q.push(s)
	}
}

// move changes the urgency of s.
func (d *scheduler) move(s *Stream, urgency uint8) {
	queued := s.link.queue != nil
	d.remove(s)
	s.urgency = urgency
	if queued {
		d.add(s)
	}
}
