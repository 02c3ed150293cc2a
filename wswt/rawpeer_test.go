package wswt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/memconn"
	"github.com/towpath-go/towpath/internal/quota"
	"github.com/towpath-go/towpath/transport"
)

// rawPeer is a scripted WebSocket peer: it speaks frames, legal and not. It lives
// in a bubble with the connection that it talks to.
type rawPeer struct {
	t      testing.TB
	nc     *memconn.Conn // its end
	other  *memconn.Conn // the end of the connection under test
	client bool          // this end is the client: its frames are masked
	srv    *Server
	c      *conn
	s      transport.Session
	pings  [][]byte    // received, not answered
	kdraft bool        // the subprotocol is fails-components'
	change func(*conn) // is called before the connection under test starts; may be nil
}

// frame is one frame as it came.
type frame struct {
	ws.Header
	payload []byte // unmasked
}

// connect makes a connection under test, of a server if client is false, whose
// opening handshake is done, and its scripted peer.
func connect(t testing.TB, client bool, cfg *Config, opts *memconn.Options) *rawPeer {
	t.Helper()
	return connectChanged(t, client, cfg, opts, nil)
}

// connectChanged is connect with what the peer says of the connection under test,
// which prepare sets.
func connectChanged(t testing.TB, client bool, cfg *Config, opts *memconn.Options, prepare func(*rawPeer)) *rawPeer {
	t.Helper()
	a, b := memconn.Pipe(opts)
	p := &rawPeer{t: t, nc: b, other: a, client: !client, srv: NewServer(cfg)}
	if !client {
		p.nc, p.other = a, b
	}
	if prepare != nil {
		prepare(p)
	}
	p.accept()
	return p
}

// connectTo makes one more connection of a server.
func connectTo(t testing.TB, srv *Server) *rawPeer {
	t.Helper()
	place, _, err := srv.reserve("")
	if err != nil {
		t.Fatal(err)
	}
	return startPeer(t, srv, place)
}

// startPeer does the same for a place that was reserved.
func startPeer(t testing.TB, srv *Server, place *quota.Hold) *rawPeer {
	a, b := memconn.Pipe(nil)
	p := &rawPeer{t: t, nc: a, other: b, client: true, srv: srv}
	p.start(place)
	return p
}

func (p *rawPeer) accept() {
	p.t.Helper()
	place, _, err := p.srv.reserve("")
	if err != nil {
		p.t.Fatal(err)
	}
	p.start(place)
}

// start starts the connection under test.
func (p *rawPeer) start(place *quota.Hold) {
	p.c = newConn(params{place: place, kdraft: p.kdraft, nc: p.other, client: !p.client, cfg: p.srv.cfg, budget: p.srv.budget, onEnd: p.srv.remove})
	if p.change != nil {
		p.change(p.c)
	}
	p.srv.add(p.c)
	p.c.opened(true)
	p.c.run()
	p.s = p.c.sess
}

// eachSide runs a test in a bubble against a server and against a client.
func eachSide(t *testing.T, name string, cfg *Config, f func(t *testing.T, p *rawPeer)) {
	t.Helper()
	for _, client := range []bool{false, true} {
		side := " to a server"
		if client {
			side = " to a client"
		}
		t.Run(name+side, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := connect(t, client, cfg, nil)
				defer p.nc.Close() // also after a failure
				f(t, p)
				p.wantGone()
			})
		})
	}
}

// raw writes bytes.
func (p *rawPeer) raw(b []byte) {
	p.t.Helper()
	if _, err := p.nc.Write(b); err != nil {
		p.t.Fatalf("the peer writes: %v", err)
	}
}

// encode returns a frame. Change, if not nil, makes the header illegal.
func (p *rawPeer) encode(op ws.OpCode, fin bool, payload []byte, change ...func(*ws.Header)) []byte {
	p.t.Helper()
	h := ws.Header{Fin: fin, OpCode: op, Length: int64(len(payload)), Masked: p.client}
	if p.client {
		h.Mask = ws.NewMask()
	}
	for _, f := range change {
		f(&h)
	}
	var b bytes.Buffer
	if err := ws.WriteHeader(&b, h); err != nil {
		p.t.Fatal(err)
	}
	payload = bytes.Clone(payload)
	if h.Masked {
		ws.Cipher(payload, h.Mask, 0)
	}
	b.Write(payload)
	return b.Bytes()
}

// write writes a frame.
func (p *rawPeer) write(op ws.OpCode, fin bool, payload []byte, change ...func(*ws.Header)) {
	p.t.Helper()
	p.raw(p.encode(op, fin, payload, change...))
}

// binary writes a message.
func (p *rawPeer) binary(payload []byte) {
	p.t.Helper()
	p.write(ws.OpBinary, true, payload)
}

// close writes a Close frame; status 0 is none.
func (p *rawPeer) close(status ws.StatusCode, reason string) {
	p.t.Helper()
	var payload []byte
	if status != 0 {
		payload = closePayload(status, reason)
	}
	p.write(ws.OpClose, true, payload)
}

// next reads a frame, pings apart. The error is that of the connection.
func (p *rawPeer) next() (frame, error) {
	p.t.Helper()
	for {
		f, err := readFrame(p.nc)
		if err != nil {
			return f, err
		}
		if f.Masked == p.client || !f.Fin || f.Rsv != 0 {
			p.t.Fatalf("frame with %+v", f.Header)
		}
		if f.OpCode != ws.OpPing {
			return f, nil
		}
		p.pings = append(p.pings, f.payload)
	}
}

// readFrame reads one frame.
func readFrame(r io.Reader) (frame, error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return frame{}, err
	}
	f := frame{Header: h, payload: make([]byte, h.Length)}
	if _, err := io.ReadFull(r, f.payload); err != nil {
		return frame{}, err
	}
	if h.Masked {
		ws.Cipher(f.payload, h.Mask, 0)
	}
	return f, nil
}

// want reads a frame, pings apart, and wants its opcode.
func (p *rawPeer) want(op ws.OpCode) frame {
	p.t.Helper()
	f, err := p.next()
	if err != nil || f.OpCode != op {
		p.t.Fatalf("frame %#x of %d bytes, %v; want opcode %#x", f.OpCode, len(f.payload), err, op)
	}
	return f
}

// wantClose reads up to a Close frame and wants its status.
func (p *rawPeer) wantClose(status ws.StatusCode) (reason string) {
	p.t.Helper()
	for {
		f, err := p.next()
		if err != nil {
			p.t.Fatalf("%v before a Close frame", err)
		}
		if f.OpCode != ws.OpClose {
			continue
		}
		if len(f.payload) < 2 || ws.StatusCode(binary.BigEndian.Uint16(f.payload)) != status {
			p.t.Fatalf("Close %q, want status %d", f.payload, status)
		}
		return string(f.payload[2:])
	}
}

// wantEnd reads to the end of the connection, and wants no further frame.
func (p *rawPeer) wantEnd() {
	p.t.Helper()
	f, err := p.next()
	if err != io.EOF && !errors.Is(err, net.ErrClosed) {
		p.t.Fatalf("frame %+v, %v, want the end", f.Header, err)
	}
}

// wantIdle wants that nothing comes but pings.
func (p *rawPeer) wantIdle(why string) {
	p.t.Helper()
	_ = p.nc.SetReadDeadline(time.Now().Add(time.Millisecond))
	f, err := p.next()
	if err == nil {
		p.t.Fatalf("frame %+v %q, want none: %s", f.Header, f.payload, why)
	}
	_ = p.nc.SetReadDeadline(time.Time{})
}

// wantSession wants how the session ended, on every kind of call.
func (p *rawPeer) wantSession() *transport.SessionError {
	p.t.Helper()
	<-p.s.Context().Done()
	_, err := p.s.AcceptStream(context.Background())
	se, ok := errors.AsType[*transport.SessionError](err)
	if !ok {
		p.t.Fatalf("AcceptStream: %v", err)
	}
	if _, err := p.s.OpenStream(context.Background()); err != error(se) {
		p.t.Errorf("OpenStream: %v, AcceptStream: %v", err, se)
	}
	if cause := context.Cause(p.s.Context()); cause != error(se) {
		p.t.Errorf("the context's cause: %v, AcceptStream: %v", cause, se)
	}
	return se
}

// wantViolation wants that the session ended because the peer broke a rule.
func (p *rawPeer) wantViolation(v transport.Violation) {
	p.t.Helper()
	se := p.wantSession()
	pe, ok := errors.AsType[*transport.ProtocolError](se)
	if !ok || pe.Violation != v || se.Remote {
		p.t.Errorf("the session ended with %+v (%v), want %v", se, se, v)
	}
}

// wantReset wants that the session ended with the peer's status.
func (p *rawPeer) wantReset(status ws.StatusCode, reason string) {
	p.t.Helper()
	se := p.wantSession()
	re, ok := errors.AsType[*transport.ResetError](se)
	if !ok || re.Code != uint64(status) || re.Reason != reason || !re.Connection || re.Protocol != transport.WebSocket || !se.Remote {
		p.t.Errorf("the session ended with %+v (%v), want status %d and reason %q", se, se, status, reason)
	}
}

// wantGone wants that nothing is left of the connection under test: neither
// goroutines, which the bubble sees, nor memory, nor its place in the server.
func (p *rawPeer) wantGone() {
	p.t.Helper()
	p.nc.Close()
	<-p.c.done
	if n := p.srv.budget.Held(); n != 0 {
		p.t.Errorf("%d bytes are still counted as held", n)
	}
	if n := p.srv.quota.Open(); n != 0 {
		p.t.Errorf("%d sessions are still counted as open", n)
	}
	p.srv.mu.Lock()
	defer p.srv.mu.Unlock()
	if p.srv.count != 0 || len(p.srv.conns) != 0 {
		p.t.Errorf("the server still counts %d connections", p.srv.count)
	}
}

// peerStream is the peer's first bidirectional stream.
func (p *rawPeer) peerStream() uint64 {
	if p.client {
		return 0
	}
	return 1
}

// streamCapsule is a WT_STREAM capsule.
func streamCapsule(id uint64, fin bool, data string) []byte {
	return append(capsule.AppendStreamHeader(nil, fin, capsule.Draft15, id, uint64(len(data))), data...)
}
