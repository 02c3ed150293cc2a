// Package session is the capsule session engine: one transport.Session over one
// ordered stream of bytes, as draft-ietf-webtrans-http2 defines it. The pinned
// revision stands in the documentation of package capsule.
//
//	application   OpenStream, Read, Write, SendDatagram, CloseWithError ...
//	              │                                          ▲
//	stream.go     sendHalf ─► buffer ─► sched    buffer ◄─ recvHalf
//	              │                                          │
//	session       Fill: control, datagrams, data   Data: capsule.Decoder ─► reader
//	              ▼                                          │
//	carrier       an HTTP/2 stream, or WebSocket messages
//
// It opens no socket, starts no goroutine and knows no carrier. A carrier makes
// a [Session] with [New], gives it what arrives ([Session.Data],
// [Session.End], [Session.Lost], [Session.PeerDraining]) and asks it for what
// is to go out ([Session.Fill]) when it can send, beginning with one call of
// its own accord:
//
//	s := session.New(session.Params{Client: true, Carrier: c, Local: ours, Peer: theirs})
//	for n, end := s.Fill(dst); n > 0 || end; n, end = s.Fill(dst) { send(dst[:n], end) }
//	// and again after each Carrier.Wake, and when there is window again
//
// # Invariants
//
//  1. One mutex guards the session and its streams. It is not held while the
//     carrier, a Trace function or the logger is called: what is due then is
//     noted in after and done by unlock. The budget's lock and a deadline's
//     are leaves; nothing is called while they are held.
//  2. Data, End, Lost and Fill do not block.
//  3. What goes out is chosen by Fill and not before: control capsules, then
//     datagrams, then stream data by priority. So a byte of high priority
//     written now overtakes those of low priority written before.
//  4. Control output is state, not a queue. A peer that takes nothing makes
//     nothing grow: each limit, reset or request is there once.
//  5. A capsule is begun only if dst has room for all of it. Exceptions are a
//     dst shorter than 64 bytes, and a datagram or WT_CLOSE_SESSION that is
//     longer than dst: their rest goes before everything else.
//  6. Credit of the draft's levels 4 and 5 is given back for a byte when the
//     application has read it or it was discarded, and never for anything else.
//  7. Every violation ends the session and calls Carrier.Reset once.
//
// # Memory
//
// A session holds at most the sum of
//
//   - unread data: Config.MaxSessionWindow, or the limit published if that is
//     larger, and up to 32 KiB for each stream that has any;
//   - unsent data: Config.StreamSendBuffer and up to 32 KiB for each stream
//     that has any; the streams are those that the application has open;
//   - datagrams: Config.MaxDatagramSize times the lengths of both queues, and
//     three more, for one that is arriving (its buffer grows up to twice its
//     size) and for one that was begun;
//   - state of under 1 KiB for each open stream that a capsule named or the
//     application accepted or opened: of the peer's at most
//     Config.MaxIncomingStreams and Config.MaxIncomingUniStreams;
//   - one control capsule in and one out, at most 1,036 bytes each.
//
// The first three are charged to the budget, in steps of 4 KiB, except for the
// datagram that was begun. A session that
// has ended holds only what may still be read.
package session
