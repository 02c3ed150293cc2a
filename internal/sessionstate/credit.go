package sessionstate

import (
	"fmt"

	"github.com/towpath-go/towpath/transport"
)

// MaxOffset is the largest limit and the largest count of bytes: what a 62-bit
// integer of RFC 9000 section 16 can carry.
const MaxOffset = 1<<62 - 1

// A Change says how a limit that the peer announced stands to the one before.
type Change int8

const (
	Lowered   Change = iota - 1 // an error on both backends
	Unchanged                   // an error on HTTP/3 only
	Raised
)

// SendCredit counts sent bytes against an absolute limit that the peer raises:
// a session's WT_MAX_DATA or a stream's WT_MAX_STREAM_DATA. The zero SendCredit
// allows nothing.
//
// Invariant: used <= limit <= MaxOffset; limit never falls, and used only by Return.
type SendCredit struct {
	limit    uint64
	used     uint64
	blocked  uint64 // the limit at which TakeBlocked last said so
	reported bool   // blocked is valid
}

// NewSendCredit returns a SendCredit with the initial limit, which is cut to
// [MaxOffset].
func NewSendCredit(limit uint64) SendCredit {
	return SendCredit{limit: min(limit, MaxOffset)}
}

// Raise takes a limit from the peer. One that is lower than before is not
// taken; whether it and an equal one are errors is the backend's to say.
func (c *SendCredit) Raise(limit uint64) Change {
	limit = min(limit, MaxOffset)
	switch {
	case limit < c.limit:
		return Lowered
	case limit == c.limit:
		return Unchanged
	}
	c.limit = limit
	return Raised
}

// Available returns how many more bytes may be sent.
func (c *SendCredit) Available() uint64 { return c.limit - c.used }

// Limit returns the limit in force.
func (c *SendCredit) Limit() uint64 { return c.limit }

// Used returns how many bytes were sent.
func (c *SendCredit) Used() uint64 { return c.used }

// Use counts n bytes as sent. More than Available is a bug of the caller and
// panics.
func (c *SendCredit) Use(n uint64) {
	if n > c.Available() {
		panic(fmt.Sprintf("BUG: sessionstate: %d bytes sent with credit for %d", n, c.Available()))
	}
	c.used += n
}

// Return takes back n bytes that Use counted and that were not sent after all. More
// than were counted is a bug of the caller and panics.
func (c *SendCredit) Return(n uint64) {
	if n > c.used {
		panic(fmt.Sprintf("BUG: sessionstate: %d bytes returned of %d sent", n, c.used))
	}
	c.used -= n
}

// TakeBlocked is asked when something is to be sent. If no credit is left it
// returns the limit that stands in the way, once per limit: what a blocked
// capsule has to carry.
func (c *SendCredit) TakeBlocked() (limit uint64, ok bool) {
	if c.Available() > 0 || c.reported && c.blocked == c.limit {
		return 0, false
	}
	c.blocked, c.reported = c.limit, true
	return c.limit, true
}

// flowControlError is a limit of this side that the peer went beyond.
func flowControlError(format string, args ...any) error {
	return &transport.ProtocolError{
		Violation: transport.ViolationFlowControl,
		Reason:    fmt.Sprintf(format, args...),
		Limit:     transport.LimitFlowControl,
	}
}
