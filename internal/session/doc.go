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
//     longer than dst: their rest goes before everything else. Some peers of
//     older drafts lose a FIN whose capsule is split over frames.
//  6. Credit of the draft's levels 4 and 5 is given back for a byte when the
//     application has read it or it was discarded, and never for anything else.
//  7. Every violation ends the session and calls Carrier.Reset once.
//
// # Dialects
//
// Draft 15 gave WT_STREAM's two types each other's meaning: 0x190b4d3b has FIN
// since then, and 0x190b4d3c had it before. No setting and no header field tells
// which reading a peer has. Params.Dialect says DialectDraft15, which is that
// draft exactly, DialectLegacy, or DialectAuto: then the older reading is
// supposed, and evidence settles it once, for both directions. It is logged, and
// told to Trace.DialectLearned.
//
// What follows FIN is an error, so what follows was no FIN. T is a type, X a
// stream:
//
//   - T on X, and then another WT_STREAM, WT_STREAM_DATA_BLOCKED or
//     WT_RESET_STREAM on X: T is not FIN.
//   - An empty T as the first WT_STREAM on an X that this side opened: T is FIN,
//     since it neither opens nor carries anything. Not so 0x190b4d3b from peers
//     whose parity is swapped, which begin every answer like that.
//   - WT_RESET_STREAM without Reliable Size, which drafts up to 08 have: legacy.
//   - Nothing else. One capsule alone can mean both, and so can an empty one on
//     a stream that the peer opens, even if a higher one has opened it before.
//
// Whatever contradicts a settled reading is WT_STREAM_STATE_ERROR.
//
// While it is not settled, data is delivered as it comes. What ends a stream in
// the supposed reading is held back for 100 ms (finGrace), or until there is
// evidence; after that the end is told. To a peer whose last byte used up the
// credit of the stream or of the session, more is given first as it is read, and
// the time begins a round trip after that, since without credit its silence means
// nothing. If the end was wrong and the application has
// not read it, it is taken back. The other way round, data of a single
// 0x190b4d3b is given no end until evidence says that it was one, so that a peer
// of draft 15 which waits for an answer to nothing but such streams waits for
// ever. When the session ends first, an end that was only supposed is told if
// the peer closed the session in good order; otherwise the data can be read, and
// the session's error follows it.
//
// What is sent until then is in the older reading. To a peer of draft 15 the
// first 0x190b4d3b on a stream ends it, so if anything followed that, which is
// so on every stream that this side opened and used, that peer resets the
// session for it; nothing can be done about that but to say DialectDraft15. If
// the evidence comes before, a FIN that the peer took for data is sent again,
// and a stream of one capsule stays ended by it.
//
// What cannot be corrected ends the session with a *transport.DialectError, and
// nothing is cut short silently: the application has read a supposed end, or a
// stream was forgotten for one; a capsule was sent behind what ended its stream
// for the peer, or there are bytes or a reset to be sent there. One bit records
// the first three of these, whatever a peer does, and the ends that are held back
// are at most as many as streams are open: one that is held back keeps its place
// in the peer's limit. So nothing has to be kept of streams that are over.
//
// To peers that are not known to speak draft 15, FIN is sent in a capsule of its
// own, WT_STREAM capsules have at most 8 KiB, and each stream opened here is
// announced, in the order of IDs, by an empty WT_STREAM, behind which its credit
// follows at once. From them is tolerated: WT_RESET_STREAM without Reliable Size
// or with one that is too large; the first limits below what their settings
// said; limits that repeat them, one for each stream; limits for streams on
// which this side cannot send, or not any more; an empty WT_STREAM in front of an
// answer. Which side's streams have odd IDs is [Parity].
//
// # Memory
//
// A session holds at most the sum of
//
//   - unread data: Config.MaxSessionWindow, or the limit published if that is
//     larger, three quarters more if long capsules and short ones alternate, for
//     a long one is kept in the block that it came in, and up to 32 KiB for each
//     stream that has any;
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
// datagram that was begun; what the carrier keeps for the session (Charge) is in
// the budget besides. A session that has ended holds only what may still be
// read. Besides, it has at most one timer each for its close, its idle time, the
// credit that a rate withholds and the ends that are held back, and of each only
// while that is needed.
package session
