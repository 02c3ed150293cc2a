package session

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// A lawless is a peer that keeps to no draft for long: it sends capsules of both
// readings for streams of both sides, in any order and split anywhere, as a program
// of bytes says, while the application does what it may. Most of the time it
// leaves out what would end the session at once. Whatever comes, the accounts
// of the session stay right until it ends, and nothing is held after that.
type lawless struct {
	*tester
	program []byte
	pending []byte           // encoded, and not given to the session
	said    map[uint64]int   // bytes of the peer on each stream
	read    map[uint64]int   // of these, read by the application
	streams []*stream        // that the application has
	given   map[*stream]bool // they are those of the session's map
	over    map[uint64]bool  // streams that the peer has ended in its reading
	truth   capsule.Dialect
	highest uint64    // of the limits for the session
	ends    bool      // by END_STREAM
	limits  [2]uint64 // on live streams of the peer, by kind
}

func (h *lawless) next() int {
	if len(h.program) == 0 {
		return 0
	}
	b := h.program[0]
	h.program = h.program[1:]
	return int(b)
}

// pattern is the byte at an offset of a stream.
func (h *lawless) pattern(id uint64, offset int) byte { return byte(int(id)*31 + offset*7) }

func (h *lawless) alive() bool { return context.Cause(h.s.Context()) == nil }

func (h *lawless) say(c any) { h.pending = append(h.pending, h.encode(c)...) }

// raised returns a limit, which is higher than all before if it is to be.
func (h *lawless) raised(higher bool, by uint64) uint64 {
	if higher {
		h.highest += by
		return h.highest
	}
	return by
}

// fatal reports whether a capsule on a stream, with n bytes of data, is likely to
// end the session.
func (h *lawless) fatal(id uint64, n int, receives bool) bool {
	s := h.s
	s.mu.Lock()
	defer s.mu.Unlock()
	k := kindOf(id)
	local := s.isLocal(id) && !s.parityDue
	switch {
	case k == uni && local == receives, receives && h.over[id]:
		return true
	case local && id>>2 >= s.opened[k].announced, !local && id>>2 >= s.accepted[k].limit.Limit():
		return true
	}
	most := s.window.Limit() - s.window.Received()
	if st := s.streams[id]; st != nil {
		most = min(most, st.recv.win.Limit()-st.recv.win.Received())
	}
	return uint64(n) > most
}

func (h *lawless) capsule() {
	id, arg, how := uint64(h.next()%24), h.next(), h.next()
	what, wary, n := how%12, h.next()%64 != 0, 0
	if what < 5 {
		n = arg & 15
	}
	receives := what < 7 || what == 8
	if wary && (len(h.pending) > 0 || what <= 9 && h.fatal(id, n, receives)) {
		return
	}
	limit := uint64(arg & 31 * 10)
	switch what {
	case 0, 1, 2, 3, 4:
		fin := arg&0xc0 == 0
		h.over[id] = h.over[id] || fin
		b := capsule.AppendStreamHeader(nil, fin, h.truth, id, uint64(n))
		for range n {
			b = append(b, h.pattern(id, h.said[id]))
			h.said[id]++
		}
		h.say(raw(b))
	case 5:
		h.over[id] = true
		h.say(capsule.ResetStream{StreamID: id, ErrorCode: 1, ReliableSize: uint64(h.said[id])})
	case 6:
		if wary && h.truth == capsule.Draft15 {
			return
		}
		h.over[id] = true
		h.say(capsule.ResetStream{StreamID: id, ErrorCode: 2, SizeAbsent: true})
	case 7:
		h.say(capsule.StopSending{StreamID: id, ErrorCode: 3})
	case 8:
		h.say(capsule.StreamDataBlocked{StreamID: id, MaximumStreamData: limit})
	case 9:
		h.say(capsule.MaxStreamData{StreamID: id, MaximumStreamData: 40 + limit})
	case 10:
		h.say(capsule.MaxData{MaximumData: h.raised(wary, limit)})
	case 11:
		h.say(capsule.MaxStreams{Uni: arg&1 == 1, MaximumStreams: h.raised(wary, limit)})
	}
}

func (h *lawless) step() {
	op, arg := h.next(), h.next()
	var st *stream
	if len(h.streams) > 0 {
		st = h.streams[h.next()%len(h.streams)]
	}
	own := func(st *stream, _ <-chan struct{}, _ error) {
		if st != nil && !h.given[st] {
			h.given[st] = true
			h.streams = append(h.streams, st)
		}
	}
	switch op % 16 {
	case 0, 1, 2, 3, 4:
		h.capsule()
	case 5, 6, 7:
		n := min(len(h.pending), 1+arg)
		h.s.Data(h.pending[:n])
		h.pending = h.pending[n:]
	case 8:
		own(h.s.tryAccept(kind(arg & 1)))
	case 9:
		own(h.s.tryOpen(kind(arg & 1)))
	case 10:
		h.fill()
		h.heard = nil
	case 11:
		time.Sleep(time.Duration(arg) * time.Millisecond)
		synctest.Wait()
	}
	if st == nil {
		return
	}
	sends, receives := st.send.state != sendNone, st.recv.state != recvNone
	switch op % 16 {
	case 12:
		if receives {
			h.receive(st, 1+arg&15)
		}
	case 13:
		if receives && arg&1 == 0 {
			st.cancelRead(4)
		}
	case 14:
		if sends {
			st.tryWrite(make([]byte, arg))
		}
	case 15:
		switch {
		case !sends:
		case arg&1 == 0:
			st.close()
		default:
			st.cancelWrite(5)
		}
	}
}

// receive reads, and checks that what is read is what was said, from its start,
// each byte once.
func (h *lawless) receive(st *stream, size int) bool {
	p := make([]byte, size)
	n, _, _ := st.tryRead(p)
	for _, b := range p[:n] {
		if at := h.read[st.id]; at >= h.said[st.id] || b != h.pattern(st.id, at) {
			h.Fatalf("stream %d: the byte at %d is %#x, %d were said", st.id, at, b, h.said[st.id])
		}
		h.read[st.id]++
	}
	return n > 0
}

// check compares the accounts of a session that lives.
func (h *lawless) check() {
	s := h.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	unread, held, full := 0, 0, 0
	for id, st := range s.streams {
		if st.id != id {
			h.Fatalf("stream %d is known as %d", st.id, id)
		}
		unread += st.recv.buf.n
		if st.recv.state == recvHeld {
			held++
			if st.recv.full || st.recv.unfunded {
				full++
			}
		}
	}
	if got := s.window.Unread(); !s.reader.decoder.Partial() && got != uint64(unread) {
		h.Fatalf("%d bytes count as unread, %d are buffered", got, unread)
	}
	d := &s.dialect
	seen := map[*stream]bool{}
	for _, e := range d.held {
		if e.st.recv.state != recvHeld || seen[e.st] || s.streams[e.st.id] != e.st {
			h.Fatalf("stream %d is held, in state %d, twice %t", e.st.id, e.st.recv.state, seen[e.st])
		}
		seen[e.st] = true
	}
	if len(d.held)+full != held || held > 0 && d.reading != readingPrior {
		h.Fatalf("%d graces run and %d wait, %d streams are held, reading %d", len(d.held), full, held, d.reading)
	}
	for k := range s.accepted {
		if got := s.accepted[k].limit.Live(); got > h.limits[k] {
			h.Fatalf("%d %v streams of the peer are alive", got, kind(k))
		}
	}
	if s.unanswered > s.stats.StreamsAccepted+s.stats.StreamsOpened {
		h.Fatalf("%d streams are unanswered", s.unanswered)
	}
}

func (h *lawless) run() {
	for len(h.program) > 0 && h.alive() {
		h.step()
		h.check()
	}
	if h.ends {
		h.s.End()
	}
	h.s.Lost(errors.New("gone"))
	time.Sleep(time.Hour) // for what timers are left
	synctest.Wait()
	for _, st := range h.streams {
		if st.recv.state != recvNone {
			for h.receive(st, 16) {
			}
			st.cancelRead(6)
		}
	}
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if h.s.held != 0 || len(h.s.streams) != 0 || len(h.s.dialect.held) != 0 {
		h.Fatalf("%d bytes and %d streams are held after the end, %d graces run", h.s.held, len(h.s.streams), len(h.s.dialect.held))
	}
}

func sufferHostile(t *testing.T, program []byte) {
	how := 0
	if len(program) > 0 {
		how, program = int(program[0]), program[1:]
	}
	c := transport.Config{
		MaxIncomingStreams: 3, MaxIncomingUniStreams: 2,
		InitialStreamWindow: 15, MaxStreamWindow: 60, InitialSessionWindow: 120, MaxSessionWindow: 240, StreamSendBuffer: 64,
	}
	bubble(t, func(t *tester) {
		h := &lawless{
			highest: 100, ends: how>>6&1 == 1,
			tester: t, program: program,
			said: map[uint64]int{}, read: map[uint64]int{}, given: map[*stream]bool{}, over: map[uint64]bool{},
			truth:  capsule.Dialect(how >> 5 & 1),
			limits: [2]uint64{uint64(c.MaxIncomingStreams), uint64(c.MaxIncomingUniStreams)},
		}
		h.run()
	}, withConfig(c), func(p *Params) {
		p.Client = how&1 != 0
		p.Parity = Parity(how >> 1 & 3)
		p.Dialect = [...]transport.Dialect{transport.DialectAuto, transport.DialectAuto, transport.DialectLegacy, transport.DialectDraft15}[how>>3&3]
		p.Peer = InitialLimits{MaxData: 100, MaxStreamDataUni: 20, MaxStreamDataBidiLocal: 30, MaxStreamDataBidiRemote: 40, MaxStreamsUni: 3, MaxStreamsBidi: 3}
	})
}

// FuzzHostile has a peer that keeps to no draft.
func FuzzHostile(f *testing.F) {
	fuzzPrograms(f, 3, 100, 20, sufferHostile)
}

func TestRandomHostiles(t *testing.T) {
	withPrograms(t, 2000, 50, 2050, func(program []byte) { sufferHostile(t, program) })
}
