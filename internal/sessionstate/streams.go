package sessionstate

import (
	"fmt"

	"github.com/towpath-go/towpath/transport"
)

// MaxStreamCount is the largest number of streams of one kind that a limit may
// allow: a further one would have no 62-bit ID.
const MaxStreamCount = 1 << 60

// CheckStreamCount checks the Maximum Streams of a WT_MAX_STREAMS or
// WT_STREAMS_BLOCKED from the peer. More than [MaxStreamCount] is a
// flow-control error on both backends.
func CheckStreamCount(n uint64) error {
	if n > MaxStreamCount {
		// The protocol's bound, not one of this side.
		return &transport.ProtocolError{
			Violation: transport.ViolationFlowControl,
			Reason:    fmt.Sprintf("Maximum Streams %d is more than 2^60", n),
		}
	}
	return nil
}

// LocalLimit counts the streams of one kind that this side opens against the
// peer's cumulative limit. The zero LocalLimit allows none.
type LocalLimit struct{ credit SendCredit }

// NewLocalLimit returns a LocalLimit with the initial limit, which is cut to
// [MaxStreamCount].
func NewLocalLimit(limit uint64) LocalLimit {
	return LocalLimit{NewSendCredit(min(limit, MaxStreamCount))}
}

// Raise takes a Maximum Streams from the peer, as [SendCredit.Raise] does. It
// returns the error of [CheckStreamCount].
func (l *LocalLimit) Raise(limit uint64) (Change, error) {
	if err := CheckStreamCount(limit); err != nil {
		return Unchanged, err
	}
	return l.credit.Raise(limit), nil
}

// Open counts one more stream and returns its index: 0 for the first of its
// kind. Ok is false if the limit is reached.
func (l *LocalLimit) Open() (index uint64, ok bool) {
	if l.credit.Available() == 0 {
		return 0, false
	}
	l.credit.Use(1)
	return l.credit.Used() - 1, true
}

// Opened returns how many streams were opened.
func (l *LocalLimit) Opened() uint64 { return l.credit.Used() }

// Available returns how many more may be opened.
func (l *LocalLimit) Available() uint64 { return l.credit.Available() }

// Limit returns the limit in force.
func (l *LocalLimit) Limit() uint64 { return l.credit.Limit() }

// TakeBlocked is asked when a stream is wanted. If the limit is reached it
// returns the limit, once per limit: what WT_STREAMS_BLOCKED has to carry.
func (l *LocalLimit) TakeBlocked() (limit uint64, ok bool) { return l.credit.TakeBlocked() }

// PeerLimit counts the streams of one kind that the peer opens against the
// cumulative limit announced to it. It bounds how many are open at once: those
// waiting to be accepted, and those opened only because a higher one was, count
// as open.
//
// Invariants: done <= opened <= limit <= MaxStreamCount, none ever falls;
// opened - done <= max(concurrent, initial limit).
type PeerLimit struct {
	limit      uint64 // announced
	opened     uint64
	done       uint64
	concurrent uint64
}

// NewPeerLimit returns a PeerLimit. Limit is what the peer was already allowed
// by settings, concurrent how many streams may be open at once.
func NewPeerLimit(limit, concurrent uint64) PeerLimit {
	return PeerLimit{
		limit:      min(limit, MaxStreamCount),
		concurrent: min(concurrent, MaxStreamCount),
	}
}

// Open is called for the stream with the given index, 0 being the first of its
// kind. It opens that stream and all lower ones that are not open yet, and
// returns them: from is the first, to the one after the last, and from == to if
// the stream was open before. An index that the limit does not allow is a
// flow-control error and opens nothing.
//
// The difference to - from is bounded by the limit, so by Config, but one
// capsule can cause all of it: state for streams that carried nothing yet
// should be made late.
func (l *PeerLimit) Open(index uint64) (from, to uint64, err error) {
	if index >= l.limit {
		return 0, 0, flowControlError("stream with index %d opened with %d allowed", index, l.limit)
	}
	if index < l.opened {
		return l.opened, l.opened, nil
	}
	from, l.opened = l.opened, index+1
	return from, l.opened, nil
}

// Done is called once for each stream opened, when both directions have ended
// and the application has let go of it. More calls than streams are a bug of
// the caller and panic.
func (l *PeerLimit) Done() {
	if l.done == l.opened {
		panic("BUG: sessionstate: more streams done than opened")
	}
	l.done++
}

// Update returns the limit to announce, if one is due, and from then on holds
// the peer to it. It is to be called after Open and after Done.
//
// A limit is due when it gives back a quarter of the streams, or at least
// doubles what the peer has left: the other streams may stay open for ever.
func (l *PeerLimit) Update() (limit uint64, ok bool) {
	next := min(l.done+l.concurrent, MaxStreamCount)
	if next <= l.limit {
		return 0, false
	}
	gain := next - l.limit
	if gain < l.concurrent/4 && gain < l.limit-l.opened {
		return 0, false
	}
	l.limit = next
	return next, true
}

// Limit returns the limit that the peer is held to.
func (l *PeerLimit) Limit() uint64 { return l.limit }

// Opened returns how many streams the peer has opened.
func (l *PeerLimit) Opened() uint64 { return l.opened }

// Live returns how many of them are not done.
func (l *PeerLimit) Live() uint64 { return l.opened - l.done }
