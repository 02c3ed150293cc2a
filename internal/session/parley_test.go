package session

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// A parley is a session that has to learn and a peer that keeps to one of the
// readings, driven by a program of bytes, and the model of both: what each side
// said on each stream, and what the other one took it for.
type parley struct {
	*pupil
	truth   capsule.Dialect
	program []byte
	ids     [2]uint64 // streams that the peer opened, by kind
	said    []*speech // by the peer
	heardOf map[uint64]*speech
	app     map[uint64]*hearing
	recv    []*stream // that the application has
	send    []*stream
	killed  bool // the peer saw a capsule behind an end
	seed    byte
}

// A speech is one direction of a stream as the peer sees it.
type speech struct {
	id           uint64
	data         []byte
	ended, reset bool
	begun, stop  bool
}

// A hearing is the application's view of both directions of a stream.
type hearing struct {
	read, written    []byte
	early            bool // an end that the peer had not said was read
	ended, cancelled bool
	aborted          bool // a reset was read
	closed, reset    bool
}

func (w *parley) next() int {
	if len(w.program) == 0 {
		return 0
	}
	b := w.program[0]
	w.program = w.program[1:]
	return int(b)
}

func (w *parley) bytes(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		w.seed = w.seed*5 + 13
		p[i] = w.seed
	}
	return p
}

func (w *parley) alive() bool { return context.Cause(w.s.Context()) == nil }

func (w *parley) view(id uint64) *hearing {
	if w.app[id] == nil {
		w.app[id] = &hearing{}
	}
	return w.app[id]
}

// say has the peer send a WT_STREAM.
func (w *parley) say(sp *speech, n int, fin bool) {
	if sp.ended || sp.reset || !fin && n == 0 && sp.begun {
		return
	}
	p := w.bytes(n)
	sp.data = append(sp.data, p...)
	sp.ended, sp.begun = fin, true
	w.writeCapsule(wtStream{id: sp.id, fin: fin, data: string(p)})
}

func (w *parley) speak(k kind) *speech {
	sp := &speech{id: w.s.peerID(w.ids[k], k)}
	w.ids[k]++
	w.said = append(w.said, sp)
	return sp
}

func (w *parley) saying(id uint64) *speech {
	for _, sp := range w.said {
		if sp.id == id {
			return sp
		}
	}
	return nil
}

// pump has the session send, and the peer judge it. It reports whether anything
// was sent.
func (w *parley) pump() bool {
	if w.fill() == 0 {
		return false
	}
	for _, c := range w.heard {
		switch c := c.(type) {
		case wtStream:
			h := w.hears(c.id)
			h.data = append(h.data, c.data...)
			h.ended = c.fin
		case capsule.ResetStream:
			h := w.hears(c.StreamID)
			h.reset = true
			if c.ReliableSize != uint64(len(h.data)) {
				w.Fatalf("%v after %d bytes", c, len(h.data))
			}
		case capsule.StreamDataBlocked:
			w.hears(c.StreamID)
		}
	}
	w.heard = nil
	return true
}

// hears returns the direction that a capsule of the session belongs to, which
// must not have ended for the peer.
func (w *parley) hears(id uint64) *speech {
	h := w.heardOf[id]
	if h == nil {
		h = &speech{id: id}
		w.heardOf[id] = h
		if w.s.isLocal(id) && kindOf(id) == bidi {
			w.said = append(w.said, &speech{id: id})
		}
	}
	if (h.ended || h.reset) && !w.killed {
		if w.truth == capsule.Legacy || len(w.learned) > 0 {
			w.Fatalf("stream %d goes on behind its end, learned %v", id, w.learned)
		}
		w.killed = true
	}
	return h
}

func (w *parley) read(st *stream, size int) (more bool) {
	v, sp := w.view(st.id), w.saying(st.id)
	p := make([]byte, size)
	over := !w.alive()
	n, _, err := st.tryRead(p)
	v.read = append(v.read, p[:n]...)
	var said []byte
	if sp != nil {
		said = sp.data
	}
	if !bytes.HasPrefix(said, v.read) {
		w.Fatalf("stream %d: read %x of %x", st.id, v.read, said)
	}
	se, aborted := errors.AsType[*transport.StreamError](err)
	switch {
	case err == nil:
	case err == io.EOF:
		if sp == nil || !sp.ended || len(v.read) != len(said) {
			if over && !v.early {
				w.Fatalf("stream %d: an end after the session's, %d bytes of %d read, said %+v", st.id, len(v.read), len(said), sp)
			}
			v.early = true
		}
		v.ended = true
	case aborted && se.Remote:
		if sp == nil || !sp.reset {
			w.Fatalf("stream %d: %v, but it was not reset", st.id, err)
		}
		v.aborted = true
	case aborted && !v.cancelled, !aborted && w.alive():
		w.Fatalf("stream %d: %v", st.id, err)
	}
	return n > 0
}

func (w *parley) accept() bool {
	b, _, _ := w.s.tryAccept(bidi)
	if b != nil {
		w.recv, w.send = append(w.recv, b), append(w.send, b)
	}
	u, _, _ := w.s.tryAccept(uni)
	if u != nil {
		w.recv = append(w.recv, u)
	}
	return b != nil || u != nil
}

func (w *parley) step() {
	op, arg := w.next(), w.next()
	pickSaid := func() *speech {
		if len(w.said) == 0 {
			return w.speak(bidi)
		}
		return w.said[w.next()%len(w.said)]
	}
	pick := func(from []*stream) *stream {
		if len(from) == 0 {
			return nil
		}
		return from[w.next()%len(from)]
	}
	switch op % 20 {
	case 0:
		w.say(w.speak(kind(arg>>3&1)), arg&7, arg&0x80 != 0)
	case 1, 2:
		w.say(pickSaid(), 1+arg&7, false)
	case 3, 4:
		w.say(pickSaid(), arg&3, true)
	case 5:
		sp := pickSaid()
		if sp.ended || sp.reset {
			return
		}
		sp.reset = true
		c := capsule.ResetStream{StreamID: sp.id, ErrorCode: uint64(arg), ReliableSize: uint64(len(sp.data))}
		if w.truth == capsule.Legacy && arg&1 == 1 {
			c.SizeAbsent, c.ReliableSize = true, 0
		}
		w.writeCapsule(c)
	case 6:
		if sp := pickSaid(); !sp.ended && !sp.reset {
			w.writeCapsule(capsule.StreamDataBlocked{StreamID: sp.id, MaximumStreamData: uint64(arg)})
		}
	case 7:
		time.Sleep(time.Duration(arg) * time.Millisecond)
		synctest.Wait()
	case 8:
		w.accept()
	case 9, 10, 11:
		if st := pick(w.recv); st != nil {
			w.read(st, 1+arg&15)
		}
	case 12:
		if st := pick(w.recv); st != nil && arg&3 == 0 {
			st.cancelRead(transport.StreamErrorCode(arg))
			w.view(st.id).cancelled = true
		}
	case 13:
		if st := pick(w.send); st != nil {
			p := w.bytes(arg & 15)
			n, _, _ := st.tryWrite(p)
			v := w.view(st.id)
			v.written = append(v.written, p[:n]...)
		}
	case 14:
		if st := pick(w.send); st != nil {
			w.close(st)
		}
	case 15:
		if st := pick(w.send); st != nil && arg&3 == 0 {
			st.cancelWrite(transport.StreamErrorCode(arg))
			if st.send.state == sendResetDue && !st.send.stopRecvd {
				w.view(st.id).reset = true
			}
		}
	case 16:
		if st, _, _ := w.s.tryOpen(kind(arg & 1)); st != nil {
			w.send = append(w.send, st)
			if kindOf(st.id) == bidi {
				w.recv = append(w.recv, st)
			}
		}
	case 17, 18:
		w.pump()
	case 19:
		for _, h := range w.heardOf {
			if !h.stop && !h.reset && h.id == uint64(arg&15) {
				h.stop = true
				w.writeCapsule(capsule.StopSending{StreamID: h.id, ErrorCode: uint64(arg)})
			}
		}
	}
}

func (w *parley) close(st *stream) {
	open := st.send.state == sendOpen
	if st.close() == nil && open {
		w.view(st.id).closed = true
	}
}

// run executes the program, has both sides end what they began, and compares.
func (w *parley) run() {
	for len(w.program) > 0 && w.alive() && !w.killed {
		w.step()
	}
	if w.killed {
		w.s.Lost(&transport.ResetError{Protocol: transport.HTTP2, Code: 1})
	}
	for i := 0; i < len(w.said) && w.alive(); i++ {
		w.say(w.said[i], 1, true)
	}
	if w.alive() {
		last := w.speak(uni)
		w.say(last, 3, false)
		w.say(last, 3, true)
	}
	for progress := true; progress; {
		progress = false
		time.Sleep(2 * finGrace)
		synctest.Wait()
		for w.accept() {
			progress = true
		}
		for _, st := range w.recv {
			for w.read(st, 100) {
				progress = true
			}
		}
		for _, st := range w.send {
			w.close(st)
		}
		for w.alive() && w.pump() {
			if progress = true; w.killed {
				w.s.Lost(&transport.ResetError{Protocol: transport.HTTP2, Code: 1})
			}
		}
		for _, sp := range w.said { // streams that the session opened
			if w.alive() && !sp.ended && !sp.reset {
				w.say(sp, 1, true)
				progress = true
			}
		}
	}
	want := transport.DialectLegacy
	if w.truth == capsule.Draft15 {
		want = transport.DialectDraft15
	}
	if len(w.learned) > 1 || len(w.learned) == 1 && w.learned[0] != want {
		w.Fatalf("learned %v by %q, want %v", w.learned, w.evidence, want)
	}
	if w.killed {
		return // a peer of draft 15 resets the session
	}
	if cause := context.Cause(w.s.Context()); cause != nil {
		if _, ok := errors.AsType[*transport.DialectError](cause); !ok || w.truth == capsule.Legacy {
			w.Fatalf("the session ended: %v", cause)
		}
		return
	}
	if len(w.learned) == 0 {
		w.Fatal("nothing was learned")
	}
	for _, sp := range w.said {
		v := w.view(sp.id)
		switch {
		case v.early:
			w.Fatalf("stream %d: the application saw an end that was none, and the session goes on", sp.id)
		case v.cancelled:
		case sp.reset && !v.aborted:
			w.Fatalf("stream %d: the reset was not told", sp.id)
		case sp.ended && (!v.ended || !bytes.Equal(v.read, sp.data)):
			w.Fatalf("stream %d: %d of %d bytes read, ended %t", sp.id, len(v.read), len(sp.data), v.ended)
		}
	}
	for _, st := range w.send {
		v, h := w.view(st.id), w.heardOf[st.id]
		switch {
		case h == nil:
			w.Fatalf("stream %d: nothing of it was sent", st.id)
		case h.stop:
		case v.reset:
			if !h.reset || h.ended {
				w.Fatalf("stream %d: reset, the peer heard %+v", st.id, h)
			}
		case v.closed && (!h.ended || h.reset || !bytes.Equal(h.data, v.written)):
			w.Fatalf("stream %d: %d bytes written and closed, the peer heard %+v", st.id, len(v.written), h)
		}
	}
	if unread, memory := w.unread(); unread != 0 || memory != 0 || len(w.s.streams) != 0 {
		w.Fatalf("%d bytes count as unread, %d are held, %d streams are left", unread, memory, len(w.s.streams))
	}
}

func holdParley(t *testing.T, program []byte) {
	how := 0
	if len(program) > 0 {
		how, program = int(program[0]), program[1:]
	}
	truth := capsule.Dialect(how & 1)
	learning(t, truth, func(p *pupil) {
		(&parley{
			pupil: p, truth: truth, program: program,
			heardOf: map[uint64]*speech{}, app: map[uint64]*hearing{},
		}).run()
	}, withConfig(transport.Config{MaxIncomingStreams: 1000, MaxIncomingUniStreams: 1000}), func(p *Params) {
		p.Client = how&2 != 0
		if how&4 != 0 {
			p.Parity = ParitySwapped
		}
	})
}
