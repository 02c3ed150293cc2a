package peers

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/quic-go/quic-go/quicvarint"

	"github.com/towpath-go/towpath/transport"
)

// A handSession is a WebTransport client that is nothing but an HTTP client
// with extended CONNECT: it writes capsules into the request's body and reads
// them from the response's. It shares no code with Towpath.
type handSession struct {
	dialect  handDialect
	out      *io.PipeWriter // a Write is whole capsules
	selected string         // the application protocol
	credits  sync.Mutex     // keeps WT_MAX_DATA in order

	mu      sync.Mutex // guards the following
	changed *sync.Cond // something below changed
	streams map[uint64]*handStream
	next    [2]uint64        // how many streams were opened, bidirectional and unidirectional
	limit   [2]uint64        // how many may be
	queue   [2][]*handStream // opened by the server, not accepted yet
	packets [][]byte         // datagrams received
	credit  uint64           // WT_MAX_DATA of the server
	sent    uint64           // stream data that counts against it
	taken   uint64           // stream data that was read, which moves the own window
	ending  *handEnding
}

// A handDialect is a range of revisions of draft-ietf-webtrans-http2.
type handDialect struct {
	more, fin    uint64 // the two types of WT_STREAM
	reliableSize bool   // WT_RESET_STREAM has Reliable Size
}

var (
	// Drafts up to 14 were understood to have the types this way round; those up
	// to 08 had no Reliable Size.
	handLegacy  = handDialect{more: 0x190b4d3b, fin: 0x190b4d3c}
	handDraft15 = handDialect{more: 0x190b4d3c, fin: 0x190b4d3b, reliableSize: true}
)

// Capsule types that all revisions have.
const (
	handDatagram      = 0x00
	handClose         = 0x2843
	handReset         = 0x190b4d39
	handStop          = 0x190b4d3a
	handMaxData       = 0x190b4d3d
	handMaxStreamData = 0x190b4d3e
	handMaxStreams    = 0x190b4d3f // and the next one for unidirectional streams
)

// The windows that the client gives, and those that the server gives in its
// SETTINGS, which an HTTP client does not show: the documented defaults.
const (
	handWindow        = 64 << 10
	handSessionWindow = 128 << 10
	serverWindow      = transport.DefaultInitialStreamWindow
	serverSession     = transport.DefaultInitialSessionWindow
	serverLimit       = transport.DefaultMaxIncomingStreams
)

// A handEnding is how a session ended: by the server's WT_CLOSE_SESSION unless
// err is set.
type handEnding struct {
	code   uint32
	reason string
	err    error
}

// dialByHand asks for a session through rt. A dialect is a choice of the
// client's: nothing in the request tells it.
func dialByHand(ctx context.Context, rt http.RoundTripper, url string, offer []string, d handDialect) (*handSession, error) {
	in, out := io.Pipe()
	// The request lives as long as the session.
	r, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodConnect, url, in)
	if err != nil {
		return nil, err
	}
	r.Header[":protocol"] = []string{"webtransport"}
	r.Header.Set("WebTransport-Init", fmt.Sprintf("u=%d, bl=%[1]d, br=%[1]d", handWindow))
	if len(offer) > 0 {
		r.Header.Set("WT-Available-Protocols", `"`+strings.Join(offer, `", "`)+`"`)
	}
	rsp, err := rt.RoundTrip(r)
	if err != nil {
		out.Close()
		return nil, err
	}
	if rsp.StatusCode != http.StatusOK {
		rsp.Body.Close()
		out.Close()
		return nil, errors.New(rsp.Status)
	}
	s := &handSession{
		dialect: d, out: out, selected: strings.Trim(rsp.Header.Get("WT-Protocol"), `"`),
		streams: map[uint64]*handStream{}, limit: [2]uint64{serverLimit, serverLimit}, credit: serverSession,
	}
	s.changed = sync.NewCond(&s.mu)
	go s.readLoop(rsp.Body) // ends with the response
	return s, s.write(handCapsule(handMaxData, handSessionWindow), handCapsule(handMaxStreams, 1000), handCapsule(handMaxStreams+1, 1000))
}

// handCapsule is a capsule whose value is integers.
func handCapsule(typ uint64, fields ...uint64) []byte {
	var value []byte
	for _, f := range fields {
		value = quicvarint.Append(value, f)
	}
	return handBytes(typ, value)
}

// handBytes is a capsule whose value is bytes.
func handBytes(typ uint64, value ...[]byte) []byte {
	n := 0
	for _, v := range value {
		n += len(v)
	}
	b := quicvarint.Append(quicvarint.Append(nil, typ), uint64(n))
	for _, v := range value {
		b = append(b, v...)
	}
	return b
}

func (s *handSession) write(capsules ...[]byte) error {
	var all []byte
	for _, c := range capsules {
		all = append(all, c...)
	}
	_, err := s.out.Write(all)
	return err
}

// readLoop takes capsules in until the response ends, and ends the request.
func (s *handSession) readLoop(body io.ReadCloser) {
	err := s.takeAll(bufio.NewReader(body))
	s.mu.Lock()
	s.endLocked(&handEnding{err: fmt.Errorf("the response ended: %w", err)})
	s.mu.Unlock()
	s.out.Close()
	body.Close()
}

// endLocked ends the session unless it has ended.
func (s *handSession) endLocked(e *handEnding) {
	if s.ending == nil {
		s.ending = e
	}
	s.changed.Broadcast()
}

func (s *handSession) takeAll(r *bufio.Reader) error {
	for {
		typ, err := quicvarint.Read(r)
		if err != nil {
			return err
		}
		n, err := quicvarint.Read(r)
		if err != nil {
			return err
		}
		if n > 1<<20 {
			return fmt.Errorf("capsule %#x of %d bytes", typ, n)
		}
		value := make([]byte, n)
		if _, err := io.ReadFull(r, value); err != nil {
			return err
		}
		if err := s.take(typ, value); err != nil {
			return fmt.Errorf("capsule %#x: %w", typ, err)
		}
	}
}

// take takes in one capsule. Those that the scenarios do not need are skipped.
func (s *handSession) take(typ uint64, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.changed.Broadcast()
	switch typ {
	case s.dialect.more, s.dialect.fin:
		id, n, err := quicvarint.Parse(value)
		if err != nil {
			return err
		}
		st := s.streamLocked(id)
		if st.finished || st.aborted != nil {
			return fmt.Errorf("data of stream %d after its end", id)
		}
		st.finished = typ == s.dialect.fin
		if st.unwanted {
			if s.takenLocked(len(value) - n) {
				go s.giveCredit() // ends with the session; reading goes on meanwhile
			}
			return nil
		}
		st.received = append(st.received, value[n:]...)
	case handDatagram:
		s.packets = append(s.packets, value)
	case handClose:
		if len(value) < 4 {
			return io.ErrUnexpectedEOF
		}
		s.endLocked(&handEnding{code: binary.BigEndian.Uint32(value), reason: string(value[4:])})
	case handReset, handStop, handMaxData, handMaxStreamData, handMaxStreams, handMaxStreams + 1:
		return s.takeControl(typ, value)
	}
	return nil
}

// takenLocked counts stream data that is out of the way, and reports whether
// credit is due: for every half of the window.
func (s *handSession) takenLocked(n int) bool {
	before := s.taken
	s.taken += uint64(n)
	return s.taken/(handSessionWindow/2) != before/(handSessionWindow/2)
}

// giveCredit sends WT_MAX_DATA, which must never go down.
func (s *handSession) giveCredit() error {
	s.credits.Lock()
	defer s.credits.Unlock()
	s.mu.Lock()
	limit := s.taken + handSessionWindow
	s.mu.Unlock()
	return s.write(handCapsule(handMaxData, limit))
}

// takeControl takes in a capsule of integers, of which at most two count.
func (s *handSession) takeControl(typ uint64, value []byte) error {
	var v [2]uint64
	for i := 0; i < len(v) && len(value) > 0; i++ {
		f, n, err := quicvarint.Parse(value)
		if err != nil {
			return err
		}
		v[i], value = f, value[n:]
	}
	switch typ {
	case handReset:
		s.streamLocked(v[0]).aborted = &handAbort{uint32(v[1])}
	case handStop:
		s.streamLocked(v[0]).stopped = &handAbort{uint32(v[1])}
	case handMaxData:
		s.credit = max(s.credit, v[0])
	case handMaxStreamData:
		st := s.streamLocked(v[0])
		st.max = max(st.max, v[1])
	case handMaxStreams, handMaxStreams + 1:
		kind := typ - handMaxStreams
		s.limit[kind] = max(s.limit[kind], v[0])
	}
	return nil
}

// streamLocked returns a stream, which the server opens if it is new.
func (s *handSession) streamLocked(id uint64) *handStream {
	st := s.streams[id]
	if st == nil {
		st = &handStream{s: s, id: id, max: serverWindow}
		s.streams[id] = st
		s.queue[id>>1&1] = append(s.queue[id>>1&1], st)
	}
	return st
}

// waitLocked waits until ready, or says why that will not be.
func (s *handSession) waitLocked(ctx context.Context, ready func() bool) error {
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.changed.Broadcast()
	})
	defer stop()
	for !ready() {
		if s.ending != nil {
			return fmt.Errorf("the session has ended: %+v", *s.ending)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.changed.Wait()
	}
	return nil
}
