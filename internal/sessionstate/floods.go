package sessionstate

import (
	"time"

	"github.com/towpath-go/towpath/transport"
)

// Floods are the buckets of a transport.Floods: what a peer does that costs work
// and brings nothing. Each method that counts returns the *transport.ProtocolError
// to end the session with, if that was one too many.
type Floods struct {
	glitches, resets, control, tiny *FloodGuard
}

// DefaultFloods are what the zero fields of a transport.Floods mean.
var DefaultFloods = transport.Floods{
	Glitches:      transport.Rate{PerSecond: 100, Burst: 1000},
	Resets:        transport.Rate{PerSecond: 100, Burst: 1000},
	Control:       transport.Rate{PerSecond: 1000, Burst: 10_000},
	TinyDatagrams: transport.Rate{PerSecond: 50_000, Burst: 100_000},
}

// TinyDatagram is the size below which a datagram counts as tiny.
const TinyDatagram = 16

// NewFloods returns full buckets.
func NewFloods(now time.Time, f transport.Floods) Floods {
	return Floods{
		glitches: NewRateGuard(now, f.Glitches, DefaultFloods.Glitches),
		resets:   NewRateGuard(now, f.Resets, DefaultFloods.Resets),
		control:  NewRateGuard(now, f.Control, DefaultFloods.Control),
		tiny:     NewRateGuard(now, f.TinyDatagrams, DefaultFloods.TinyDatagrams),
	}
}

// Sent returns what a capsule of n bytes, sent to the peer, entitles it to.
func (f *Floods) Sent(n int) {
	f.control.Progress(2*DefaultFloodCredit + n/512*DefaultFloodCredit)
}

// Received returns what n useful bytes of the peer entitle it to.
func (f *Floods) Received(n int) { f.glitches.Progress(n) }

// EndedCleanly returns what a stream of the peer that ended by FIN entitles it to.
func (f *Floods) EndedCleanly() { f.resets.Progress(DefaultFloodCredit) }

// Glitch counts a capsule without effect. What names it.
func (f *Floods) Glitch(now time.Time, what string) error {
	if f.glitches.Charge(now) {
		return nil
	}
	return tooMany(transport.ViolationGeneric, transport.LimitCapsules, "too many capsules without effect, the last: "+what)
}

// Reset counts a stream that the peer reset, or a request to stop sending.
func (f *Floods) Reset(now time.Time) error {
	if f.resets.Charge(now) {
		return nil
	}
	return tooMany(transport.ViolationExcess, transport.LimitAborts, "too many streams reset or stopped")
}

// FlowControl counts a flow-control capsule.
func (f *Floods) FlowControl(now time.Time) error {
	if f.control.Charge(now) {
		return nil
	}
	return tooMany(transport.ViolationGeneric, transport.LimitControl, "too many flow-control capsules")
}

// TinyDatagram counts a datagram of less than [TinyDatagram] bytes.
func (f *Floods) TinyDatagram(now time.Time) error {
	if f.tiny.Charge(now) {
		return nil
	}
	return tooMany(transport.ViolationGeneric, transport.LimitTinyDatagrams, "too many tiny datagrams")
}

func tooMany(v transport.Violation, l transport.Limit, reason string) error {
	return &transport.ProtocolError{Violation: v, Reason: reason, Limit: l}
}
