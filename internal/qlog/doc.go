// Package qlog writes what happens in one session, as JSON text sequences
// (RFC 7464) in the form of draft-ietf-quic-qlog-main-schema "QlogFileSeq".
//
//	session ─► Writer ─► queue (MaxEvents, MaxBytes) ─► goroutine ─► the sink's writer
//
// The methods that report events encode them, put them into the queue and return;
// they may be called from any goroutine, but not with a lock held that the sink
// might need. A Writer has a goroutine only while something is queued: it opens the
// sink, writes, and closes. When the sink is slower than the events, those that
// find the queue full are counted and dropped, and a record says how many. An error
// of the sink ends the writing for good.
//
// Records hold names, numbers, addresses and the reasons that applications give for
// closing: no stream data, no datagram, no header.
package qlog
