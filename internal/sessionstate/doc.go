// Package sessionstate holds the rules of a WebTransport session that are the
// same on every backend, as values: credit and limits, the closing of a
// session, datagram queues, the budget of bytes held, close reasons and the
// exporter's context.
//
//	internal/session ─┐
//	                  ├─► sessionstate ─► transport (error types, DropPolicy)
//	h3wt             ─┘
//
// Nothing here does I/O, starts a goroutine or reads a clock: time comes in as
// an argument, and what has to be sent comes out as a result. A rule that the
// peer broke comes out as a *transport.ProtocolError; a call that the caller
// should not have made panics with "BUG:".
//
// Except for [Budget], no type has a lock or knows its owner. They belong under
// the session's mutex. A Budget is shared by sessions and has its own.
package sessionstate
