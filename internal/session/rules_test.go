package session

import (
	"fmt"
	"math"
	"testing"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// A rules watches the capsules that two sessions send to one another and fails
// the test for what the draft forbids a sender: an independent and plain
// reading of "Flow Control" and "Stream States".
type rules struct {
	testing.TB
	sides           [2]*sender
	legacy, swapped bool
}

// A sender is what one side has sent, which the other has received at once.
type sender struct {
	r       *rules
	client  bool
	other   *sender
	decoder capsule.Decoder

	maxData                  uint64 // granted to the other side
	maxStreams               [2]uint64
	initial                  InitialLimits
	opened                   [2]uint64 // own streams
	data                     uint64
	streams                  map[uint64]*sentStream
	current                  *sentStream
	currentFin               bool
	blockedData              map[uint64]bool
	blockedStreams           [2]map[uint64]bool
	capsules, streamCapsules int
	drained, closed          bool
	begun                    bool // the capsule that comes next was begun in an earlier call
	page                     *page
}

type sentStream struct {
	id            uint64
	bytes         uint64
	fin, reset    bool
	stop          bool
	maxStreamData uint64 // granted to the other side
	blocked       map[uint64]bool
}

func newRules(t testing.TB, limits [2]InitialLimits, speak tongue) *rules {
	r := &rules{TB: t, legacy: speak.dialect != transport.DialectDraft15, swapped: speak.parity == ParitySwapped}
	for i := range r.sides {
		l := limits[i]
		r.sides[i] = &sender{
			r: r, client: i == 0, initial: l,
			maxData: l.MaxData, maxStreams: [2]uint64{l.MaxStreamsBidi, l.MaxStreamsUni},
			streams: map[uint64]*sentStream{}, blockedData: map[uint64]bool{},
			blockedStreams: [2]map[uint64]bool{{}, {}},
		}
	}
	r.sides[0].other, r.sides[1].other = r.sides[1], r.sides[0]
	for _, s := range r.sides {
		s.decoder.Dialect = readingOf(speak.dialect).codec()
	}
	return r
}

// sent takes bytes that a side has sent.
func (r *rules) sent(side int, p []byte) {
	r.Helper()
	s := r.sides[side]
	if s.closed {
		r.Fatal("H2-174: bytes behind WT_CLOSE_SESSION")
	}
	s.begun = s.decoder.Partial()
	if err := s.decoder.Feed(p, s); err != nil {
		r.Fatal(err)
	}
}

func (s *sender) mine(id uint64) bool { return id&1 == 0 == (s.client != s.r.swapped) }

// exists reports whether a stream is open for this side to name.
func (s *sender) exists(id uint64) bool {
	owner := s
	if !s.mine(id) {
		owner = s.other
	}
	return id>>2 < owner.opened[kindOf(id)]
}

func (s *sender) stream(id uint64) *sentStream {
	st := s.streams[id]
	if st == nil {
		limit := s.initial.MaxStreamDataUni
		switch {
		case kindOf(id) == uni:
		case s.mine(id):
			limit = s.initial.MaxStreamDataBidiLocal
		default:
			limit = s.initial.MaxStreamDataBidiRemote
		}
		st = &sentStream{id: id, maxStreamData: limit, blocked: map[uint64]bool{}}
		s.streams[id] = st
	}
	return st
}

// sends fails if the sending part of a stream cannot carry a capsule.
func (s *sender) sends(id uint64, what string) *sentStream {
	st := s.stream(id)
	if kindOf(id) == uni && !s.mine(id) {
		s.r.Fatalf("H2-116: %s on stream %d, which the other side sends", what, id)
	}
	if st.fin || st.reset {
		s.r.Fatalf("H2-115: %s on stream %d after its end", what, id)
	}
	return st
}

// receives fails if the receiving part of a stream cannot be asked for anything.
func (s *sender) receives(id uint64, what string) *sentStream {
	if kindOf(id) == uni && s.mine(id) {
		s.r.Fatalf("H2-125: %s on stream %d, which this side sends", what, id)
	}
	if !s.exists(id) {
		s.r.Fatalf("H2-129: %s on stream %d, which is not open", what, id)
	}
	if there := s.other.stream(id); (there.fin || there.reset) && !s.begun {
		s.r.Fatalf("H2-123: %s on stream %d, which the other side has ended", what, id)
	}
	return s.stream(id)
}

func (s *sender) Stream(id uint64, fin bool, size uint64) error {
	s.capsules++
	s.streamCapsules++
	opens, before := !s.exists(id), s.opened[kindOf(id)]
	if opens {
		k := kindOf(id)
		if !s.mine(id) {
			s.r.Fatalf("H2-116: WT_STREAM on stream %d, which the other side has not opened", id)
		}
		if id>>2 >= s.other.maxStreams[k] {
			s.r.Fatalf("H2-140: stream %d opened, %d allowed", id, s.other.maxStreams[k])
		}
		s.opened[k] = id>>2 + 1
	}
	st := s.sends(id, "WT_STREAM")
	if size == 0 && !fin && !opens {
		s.r.Fatalf("H2-113: an empty WT_STREAM on stream %d, which neither opens nor ends it", id)
	}
	st.bytes += size
	s.data += size
	if s.data > s.other.maxData {
		s.r.Fatalf("H2-140: %d bytes in the session, %d allowed", s.data, s.other.maxData)
	}
	if limit := s.other.stream(id).maxStreamData; st.bytes > limit {
		s.r.Fatalf("H2-140: %d bytes on stream %d, %d allowed", st.bytes, id, limit)
	}
	if s.r.legacy {
		switch {
		case opens && (size > 0 || fin || id>>2 != before):
			s.r.Fatalf("stream %d of %d opened by %d bytes, FIN %t", id, before, size, fin)
		case fin && size > 0:
			s.r.Fatalf("FIN of stream %d with %d bytes", id, size)
		case capsule.StreamHeaderLen(id, size)+int(size) > maxLegacyCapsule:
			s.r.Fatalf("a capsule with %d bytes", size)
		}
	}
	if capsule.StreamHeaderLen(id, size)+int(size) > maxStreamCapsule {
		s.r.Fatalf("a capsule with %d bytes", size)
	}
	s.current, s.currentFin = st, fin
	return nil
}

func (s *sender) StreamData(p []byte, last bool) error {
	if last {
		s.current.fin = s.currentFin
		s.begun = false
	}
	return nil
}

func (s *sender) Datagram(size uint64) (bool, error) {
	s.capsules++
	return s.page.datagram(size), nil
}

func (s *sender) DatagramData(p []byte, last bool) error {
	s.page.datagramData(p, last)
	return nil
}

func (s *sender) Skipped(t capsule.Type, n uint64) error {
	return fmt.Errorf("H2-097: a capsule of type %v was sent", t)
}

// once fails for the second report of a limit, and for one of another limit.
func (s *sender) once(seen map[uint64]bool, limit, now uint64, what string) {
	if seen[limit] {
		s.r.Fatalf("H2-149: %s %d for the second time", what, limit)
	}
	seen[limit] = true
	if limit > now {
		s.r.Fatalf("H2-149: %s %d, the limit is %d", what, limit, now)
	}
}

func (s *sender) rises(last *uint64, limit uint64, what string) {
	if limit <= *last {
		s.r.Fatalf("H2-145: %s %d after %d", what, limit, *last)
	}
	*last = limit
}

func (s *sender) Control(c capsule.Capsule) error {
	s.capsules++
	defer func() { s.begun = false }()
	switch c := c.(type) {
	case capsule.ResetStream:
		st := s.sends(c.StreamID, "WT_RESET_STREAM")
		if !s.exists(c.StreamID) {
			s.r.Fatalf("H2-129: %v on a stream that is not open", c)
		}
		if c.ReliableSize != st.bytes || c.ErrorCode > math.MaxUint32 {
			s.r.Fatalf("H2-117 H2-119: %v after %d bytes", c, st.bytes)
		}
		st.reset = true
	case capsule.StopSending:
		st := s.receives(c.StreamID, "WT_STOP_SENDING")
		if st.stop || c.ErrorCode > math.MaxUint32 {
			s.r.Fatalf("H2-119 H2-123: %v", c)
		}
		st.stop = true
	case capsule.MaxData:
		s.rises(&s.maxData, c.MaximumData, "WT_MAX_DATA")
	case capsule.MaxStreamData:
		st := s.receives(c.StreamID, "WT_MAX_STREAM_DATA")
		if st.stop {
			s.r.Fatalf("H2-147: %v after WT_STOP_SENDING", c)
		}
		s.rises(&st.maxStreamData, c.MaximumStreamData, "WT_MAX_STREAM_DATA")
	case capsule.MaxStreams:
		k := bidi
		if c.Uni {
			k = uni
		}
		if c.MaximumStreams > capsule.MaxStreamCount {
			s.r.Fatalf("H2-146: %v", c)
		}
		s.rises(&s.maxStreams[k], c.MaximumStreams, "WT_MAX_STREAMS")
	case capsule.DataBlocked:
		s.once(s.blockedData, c.MaximumData, s.other.maxData, "WT_DATA_BLOCKED")
	case capsule.StreamDataBlocked:
		st := s.sends(c.StreamID, "WT_STREAM_DATA_BLOCKED")
		if !s.exists(c.StreamID) {
			s.r.Fatalf("H2-129: %v on a stream that is not open", c)
		}
		s.once(st.blocked, c.MaximumStreamData, s.other.stream(c.StreamID).maxStreamData, "WT_STREAM_DATA_BLOCKED")
	case capsule.StreamsBlocked:
		k := bidi
		if c.Uni != s.r.swapped {
			k = uni
		}
		s.once(s.blockedStreams[k], c.MaximumStreams, s.other.maxStreams[k], "WT_STREAMS_BLOCKED")
	case capsule.DrainSession:
		if s.drained {
			s.r.Fatal("H2-173: a second WT_DRAIN_SESSION")
		}
		s.drained = true
	case capsule.CloseSession:
		if len(c.Message) > capsule.MaxCloseMessage {
			s.r.Fatalf("H2-176: %v", c)
		}
		s.closed = true
	}
	return nil
}
