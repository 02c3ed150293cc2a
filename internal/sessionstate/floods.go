package sessionstate

import (
	"time"

	"github.com/towpath-go/towpath/transport"
)

// Floods are the buckets of a transport.Floods: what a peer does that costs work
// and brings nothing. Each method that counts returns the *transport.ProtocolError
// to end the session with, if that was one too many. A bucket is made when the first
// is taken out of it: one that nobody has used is full.
type Floods struct {
	rates                           *transport.Floods // nil: all of them defaults
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
func NewFloods(f transport.Floods) Floods {
	if f == (transport.Floods{}) {
		return Floods{}
	}
	return Floods{rates: &f}
}

// charge takes one out of a bucket, which is made if it is not there.
func (f *Floods) charge(now time.Time, g **FloodGuard, rate func(*transport.Floods) transport.Rate) bool {
	if *g == nil {
		var r transport.Rate
		if f.rates != nil {
			r = rate(f.rates)
		}
		*g = NewRateGuard(now, r, rate(&DefaultFloods))
	}
	return (*g).Charge(now)
}

func glitchRate(f *transport.Floods) transport.Rate  { return f.Glitches }
func resetRate(f *transport.Floods) transport.Rate   { return f.Resets }
func controlRate(f *transport.Floods) transport.Rate { return f.Control }
func tinyRate(f *transport.Floods) transport.Rate    { return f.TinyDatagrams }

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
	if f.charge(now, &f.glitches, glitchRate) {
		return nil
	}
	return tooMany(transport.ViolationGeneric, transport.LimitCapsules, "too many capsules without effect, the last: "+what)
}

// Reset counts a stream that the peer reset, or a request to stop sending.
func (f *Floods) Reset(now time.Time) error {
	if f.charge(now, &f.resets, resetRate) {
		return nil
	}
	return tooMany(transport.ViolationExcess, transport.LimitAborts, "too many streams reset or stopped")
}

// FlowControl counts a flow-control capsule.
func (f *Floods) FlowControl(now time.Time) error {
	if f.charge(now, &f.control, controlRate) {
		return nil
	}
	return tooMany(transport.ViolationGeneric, transport.LimitControl, "too many flow-control capsules")
}

// TinyDatagram counts a datagram of less than [TinyDatagram] bytes.
func (f *Floods) TinyDatagram(now time.Time) error {
	if f.charge(now, &f.tiny, tinyRate) {
		return nil
	}
	return tooMany(transport.ViolationGeneric, transport.LimitTinyDatagrams, "too many tiny datagrams")
}

func tooMany(v transport.Violation, l transport.Limit, reason string) error {
	return &transport.ProtocolError{Violation: v, Reason: reason, Limit: l}
}
