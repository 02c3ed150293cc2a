package session

// A Parity says what bit 0 of a stream ID means. In draft-ietf-webtrans-http2
// "Stream IDs" it is 0 for the streams that the client opens; one deployed
// implementation, in both its client and its server, has it the other way.
// Nothing else of an ID differs. The same implementation has the two types of
// WT_STREAMS_BLOCKED the other way round, so they go with it.
type Parity uint8

const (
	// ParityDraft is the draft's: the client opens 0, 4, 8 and 2, 6, 10, the
	// server 1, 5, 9 and 3, 7, 11.
	ParityDraft Parity = iota
	// ParityLearn takes the parity from the first stream that either side
	// opens. If that is the peer's, its ID tells: of a client an even one is
	// the draft's, an odd one swapped. If it is this side's own, it has the
	// draft's parity, for nothing has been seen then, and the peer is held to
	// that. So it is of use to a server whose client opens the first stream; a
	// carrier that learns the parity from the handshake says ParitySwapped.
	ParityLearn
	// ParitySwapped is the other way: the client opens 1, 5, 9 and 3, 7, 11,
	// the server 0, 4, 8 and 2, 6, 10.
	ParitySwapped
	// ParityLearnSwapped is ParityLearn, but if this side opens the first
	// stream, the parity is swapped: the peer is probably, not certainly, one
	// that has it so.
	ParityLearnSwapped
)

// swapped reports whether the parity is the other way until more is known.
func (p Parity) swapped() bool { return p == ParitySwapped || p == ParityLearnSwapped }

// learns reports whether the first stream decides.
func (p Parity) learns() bool { return p == ParityLearn || p == ParityLearnSwapped }

// The streams of each side are told apart by isLocal, localID and peerID alone.
// They may be asked once the parity is known: nobody has opened a stream before.

// isLocal reports whether this side opens the stream.
func (s *Session) isLocal(id uint64) bool { return id&1 == s.localBit() }

// localID returns the ID of a stream that this side opens, peerID that of one
// that the peer opens. Index counts the streams of a kind.
func (s *Session) localID(index uint64, k kind) uint64 { return streamID(index, k, s.localBit()) }
func (s *Session) peerID(index uint64, k kind) uint64  { return streamID(index, k, 1-s.localBit()) }

// streamID builds an ID: draft-ietf-webtrans-http2 "Stream IDs". Bit 1 says that
// the stream is unidirectional.
func streamID(index uint64, k kind, bit uint64) uint64 { return index<<2 | uint64(k)<<1 | bit }

// localBit is bit 0 of the streams that this side opens.
func (s *Session) localBit() uint64 {
	if s.client == s.swapped {
		return 1
	}
	return 0
}

// opensFirstLocked settles the parity before this side opens a stream.
func (s *Session) opensFirstLocked() { s.parityDue = false }

// peerNamesFirstLocked settles the parity by an ID of the peer's. While it is
// open this side has no stream, so whatever the peer names is the peer's own.
func (s *Session) peerNamesFirstLocked(id uint64) {
	if s.parityDue {
		s.parityDue = false
		s.swapped = s.client == (id&1 == 0) // a server's is even, or a client's odd
	}
}
