package transport

import "time"

// Trace is a set of functions called at events of a session. Any may be nil.
// They are called without locks held, on the goroutine where the event
// happened, and must not block nor close the session or its connection.
type Trace struct {
	// CapsuleSent and CapsuleReceived are called for each capsule except those
	// that carry stream data or datagrams. Detail is its printed form.
	CapsuleSent     func(detail string)
	CapsuleReceived func(detail string)
	// Blocked is called when sending stops for want of credit: "session",
	// "stream" or "streams", and the limit that was reached.
	Blocked func(what string, limit uint64)
	// DatagramDropped is called for each datagram dropped here; outgoing tells
	// the direction, age how long it had waited.
	DatagramDropped func(outgoing bool, size int, age time.Duration)
	// DialectLearned is called at most once, when a session with DialectAuto
	// learns the peer's dialect: it is DialectDraft15 or DialectLegacy from
	// then on. Evidence tells what the peer did, for logs.
	DialectLearned func(d Dialect, evidence string)
	// Closed is called once, with the error that ended the session.
	Closed func(err *SessionError)
}
