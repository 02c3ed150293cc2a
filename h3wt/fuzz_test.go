package h3wt

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// A peerProgram is what a fuzzed peer does: operations with bytes of their own.
type peerProgram struct{ rest []byte }

func (p *peerProgram) next() byte {
	if len(p.rest) == 0 {
		return 0
	}
	b := p.rest[0]
	p.rest = p.rest[1:]
	return b
}

func (p *peerProgram) bytes() []byte {
	n := min(int(p.next()), len(p.rest))
	b := p.rest[:n]
	p.rest = p.rest[n:]
	return b
}

const (
	opCapsules = iota // bytes in a DATA frame on the CONNECT stream
	opFrames          // bytes on the CONNECT stream
	opUni             // a unidirectional stream that begins with bytes; then how it goes on
	opBidi            // a bidirectional one
	opDatagram        // bytes
	opWait            // so many milliseconds
	numOps
)

// run carries the program out on a connection with a session's CONNECT stream.
func (p *peerProgram) run(c *rawConn, str *quic.Stream) {
	str.SetWriteDeadline(time.Now().Add(time.Minute))
	for ops := 0; ops < 64 && len(p.rest) > 0; ops++ {
		switch p.next() % numOps {
		case opCapsules:
			str.Write(dataFrame(p.bytes()))
		case opFrames:
			str.Write(p.bytes())
		case opUni:
			if u, err := c.OpenUniStream(); err == nil {
				u.Write(p.bytes())
				switch p.next() % 4 {
				case 0:
					u.Close()
				case 1:
					u.CancelWrite(1)
				case 2:
					u.SetReliableBoundary()
					u.CancelWrite(quic.StreamErrorCode(firstApplicationCode) + quic.StreamErrorCode(p.next()))
				}
			}
		case opBidi:
			if b, err := c.OpenStream(); err == nil {
				b.Write(p.bytes())
				switch p.next() % 4 {
				case 0:
					b.Close()
				case 1:
					b.CancelWrite(1)
				case 2:
					b.CancelRead(quic.StreamErrorCode(firstApplicationCode) + quic.StreamErrorCode(p.next()))
				}
			}
		case opDatagram:
			c.SendDatagram(p.bytes())
		case opWait:
			time.Sleep(time.Duration(p.next()) * time.Millisecond)
		}
	}
	str.Close()
}

// Whatever a peer sends on the CONNECT stream, on new streams and in datagrams,
// the session goes on or ends in an orderly way, at both ends and whatever the
// application does with what arrives; and a server serves others.
func FuzzPeer(f *testing.F) {
	op := func(op byte, b ...byte) []byte { return append([]byte{op, byte(len(b))}, b...) }
	join := func(side byte, parts ...[]byte) (b []byte) {
		b = []byte{side}
		for _, p := range parts {
			b = append(b, p...)
		}
		return b
	}
	numbered := func(c capsule.Capsule) []byte { return op(opCapsules, c.Append(nil)...) }
	uniHeader, bidiHeader := varints(uniStreamType, 0), varints(bidiStreamType, 0)
	for side := range byte(2) {
		f.Add(join(side, op(opUni, append(uniHeader, "hello"...)...), []byte{0}, op(opBidi, append(bidiHeader, "hello"...)...), []byte{0}))
		f.Add(join(side, op(opUni, uniHeader...), []byte{2, 7}, op(opBidi, bidiHeader...), []byte{2, 7}))
		f.Add(join(side, op(opUni, 0x40), []byte{3}, []byte{opWait, 100}, op(opUni, varints(uniStreamType, 1)...), []byte{0}))
		f.Add(join(side, op(opUni, varints(uniStreamType, 400)...), []byte{0}, op(opDatagram, 0, 1, 2, 3), op(opDatagram, 0x40)))
		f.Add(join(side, numbered(capsule.MaxData{MaximumData: 2000}), numbered(capsule.MaxStreams{MaximumStreams: 20}), numbered(capsule.StreamsBlocked{Uni: true, MaximumStreams: 3})))
		f.Add(join(side, numbered(capsule.DrainSession{}), numbered(capsule.DrainSession{}), numbered(capsule.CloseSession{ErrorCode: 7, Message: "bye"})))
		f.Add(join(side, op(opCapsules, varints(0, 3, 1)...), op(opFrames, 0, 0), op(opFrames, 0x21, 2, 0, 0), op(opFrames, 1, 2, 0, 0)))
		f.Add(join(side, op(opCapsules, varints(0x4242, 1<<40)...), op(opCapsules, 1, 2, 3), op(opFrames, 7, 1, 0)))
		f.Add(join(side, numbered(capsule.MaxStreamData{StreamID: 4, MaximumStreamData: 1})))
		f.Add(join(side, op(opBidi, headersFrame(":method", "GET", ":scheme", "https", ":authority", "a", ":path", "/")...), []byte{0}, op(opBidi, 0x41), []byte{1}))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p := &peerProgram{rest: data[:min(len(data), 2<<10)]}
		atClient := p.next()%2 == 1
		synctest.Test(t, func(t *testing.T) {
			defer time.Sleep(time.Minute)
			if atClient {
				srv := rawListen(t, fullQUIC)
				defer srv.stop()
				cc, c := srv.client(nil, pooledServerSettings...)
				defer cc.Close()
				s, str := c.established(cc, nil)
				attend(t, s, func() { p.run(c, str) })
				return
			}
			h, accepted := serveRaw(t, nil, nil)
			defer h.stop()
			c := h.rawDial(fullQUIC, pooledSettings...)
			defer c.close()
			str := c.accepted()
			attend(t, <-accepted, func() { p.run(c, str) })
			other := h.rawDial(fullQUIC, pooledSettings...)
			defer other.close()
			other.accepted()
		})
	})
}

// attend is an application that takes and echoes what arrives, while a peer runs.
func attend(t *testing.T, s transport.Session, peer func()) {
	go acceptAll(s)
	go func() {
		for {
			p, err := s.ReceiveDatagram(context.Background())
			if err != nil {
				return
			}
			s.SendDatagram(p)
		}
	}()
	go func() {
		u, err := s.OpenUniStream(context.Background())
		if err == nil {
			io.WriteString(u, "hello")
			u.Close()
		}
	}()
	peer()
	time.Sleep(10 * time.Second)
	s.Stats()
	s.CloseWithError(1, "over")
	if _, ok := errors.AsType[*transport.SessionError](context.Cause(s.Context())); !ok {
		t.Errorf("the session ended with %v", context.Cause(s.Context()))
	}
}
