package wswt

import (
	"context"
	"encoding/binary"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/hostile"
	"github.com/towpath-go/towpath/internal/memconn"
	"github.com/towpath-go/towpath/transport"
)

// attackWire is the connection of an attack: its buffers are part of what is
// measured.
var attackWire = &memconn.Options{Buffer: 16 << 10}

// frameBytes bounds what a connection holds for frames, whatever they are: 512
// bytes and 16 KiB to read from, 17 KiB to write with, and the two buffers of
// attackWire, of which an append can make twice as much.
const frameBytes = 512 + bigBuffer + leadSize + maxMessage + tailSize + 4*(16<<10)

// A flood is a peer that sends one piece again and again.
type flood struct {
	id, name string
	kdraft   bool                    // by fails-components' subprotocol, which has a server alone
	first    func(p *rawPeer) []byte // sent once before; may be nil
	piece    func(p *rawPeer) []byte // one frame, or several
	frames   int                     // in piece
	reads    bool                    // the peer reads what is sent to it
	cfg      *Config                 // nil: the zero Config
	unbound  *Config                 // with the limit switched off; nil: cfg
	fixed    bool                    // the limit cannot be switched off, so that there is no cost of more
	bytes    int64                   // bound beside frameBytes
	status   ws.StatusCode
	limit    transport.Limit
	reaction string
}

// floodPieces is how many pieces a flood has at most. Every limit is below.
const floodPieces = 200_000

// run carries the flood out against both sides.
func (f flood) run(t *testing.T) {
	for _, client := range []bool{false, true} {
		side := "to a server"
		if client {
			side = "to a client"
		}
		if client && f.kdraft {
			continue
		}
		t.Run(f.id+" "+f.name+" "+side, func(t *testing.T) { f.against(t, client, side) })
	}
}

func (f flood) against(t *testing.T, client bool, side string) {
	var m *hostile.Meter
	var cause error
	synctest.Test(t, func(*testing.T) {
		p := connectChanged(t, client, f.cfg, attackWire, func(p *rawPeer) { p.kdraft = f.kdraft })
		defer p.nc.Close() // also after a failure
		if f.first != nil {
			p.raw(f.first(p))
		}
		piece := f.piece(p)
		synctest.Wait()
		m = hostile.Start(t, hostile.Attack{
			Name: f.name + " " + side, Victim: "ws", Bytes: frameBytes + f.bytes, Goroutines: 1, // the script's
			Reaction: f.reaction, Limit: f.limit,
		})
		over := make(chan struct{})
		if f.reads {
			go func() { // ends with the connection
				defer close(over)
				p.wantClose(f.status)
				_, _ = io.Copy(io.Discard, p.nc) // it ends in one way or another
			}()
		} else {
			close(over)
		}
		sent := 0
		for ; sent < floodPieces; sent++ {
			if _, err := p.nc.Write(piece); err != nil {
				break
			}
			if n := sent * f.frames; n == floodBurst/2 || n == 20*floodBurst {
				synctest.Wait()
				m.Sample()
			}
			if p.s.Context().Err() != nil {
				break
			}
		}
		synctest.Wait()
		m.Sample()
		cause = context.Cause(p.s.Context())
		if cause == nil {
			t.Errorf("the session goes on after %d pieces", sent)
			p.srv.Close()
		}
		p.nc.CloseWrite()
		<-p.c.done
		p.nc.Close()
		<-over
		p.wantGone()
	})
	if !f.fixed {
		m.Cost(f.frames*2000, func(frames int) { f.spend(t, client, frames) })
	}
	m.End(cause)
}

// spend has a connection without the limit take so many frames.
func (f flood) spend(t *testing.T, client bool, frames int) {
	cfg := f.unbound
	if cfg == nil {
		cfg = f.cfg
	}
	p := connectChanged(t, client, cfg, attackWire, func(p *rawPeer) {
		p.kdraft = f.kdraft
		p.change = func(c *conn) {
			if f.limit == transport.LimitFrames {
				c.frames.flood = nil
			}
		}
	})
	if f.first != nil {
		p.raw(f.first(p))
	}
	piece := f.piece(p)
	read := make(chan struct{})
	go func() { // ends with the connection
		defer close(read)
		_, _ = io.Copy(io.Discard, p.nc)
	}()
	for range frames / f.frames {
		if _, err := p.nc.Write(piece); err != nil {
			t.Fatalf("the session ended with %v", context.Cause(p.s.Context()))
		}
	}
	p.nc.Close()
	<-p.c.done
	<-read
}

// again is n copies of a frame.
func again(n int, frame func(p *rawPeer) []byte) func(p *rawPeer) []byte {
	return func(p *rawPeer) []byte { return slices.Repeat(frame(p), n) }
}

// endless is the start of a message that is one PADDING capsule and does not end.
func endless(p *rawPeer) []byte {
	return p.encode(ws.OpBinary, false, capsule.AppendVarint(capsule.AppendVarint(nil, uint64(capsule.TypePadding)), 1<<40))
}

func TestHostileFrames(t *testing.T) {
	const told = "Close 1008 and the end of the session"
	frames := func(op ws.OpCode, fin bool, payload []byte) func(p *rawPeer) []byte {
		return again(10, func(p *rawPeer) []byte { return p.encode(op, fin, payload) })
	}
	full := make([]byte, maxControl)
	for _, f := range []flood{
		{id: "DS-11", name: "a message in fragments of 1 byte without end", first: endless,
			piece: frames(ws.OpContinuation, false, []byte{0}), reads: true},
		{id: "DS-11", name: "a message in empty fragments without end", first: endless,
			piece: frames(ws.OpContinuation, false, nil), reads: true},
		{id: "DS-11", name: "a message in empty fragments without end, and nothing is read", first: endless,
			piece: frames(ws.OpContinuation, false, nil)},
		{id: "DS-11", name: "empty messages", piece: frames(ws.OpBinary, true, nil), reads: true},
		{id: "DS-05", name: "pings", piece: frames(ws.OpPing, true, full), reads: true},
		{id: "DS-05", name: "pings, and the pongs are not read", piece: frames(ws.OpPing, true, full)},
		{id: "DS-05", name: "pings between the fragments of a message", first: endless, piece: frames(ws.OpPing, true, full), reads: true},
		{id: "DS-05", name: "pongs", piece: frames(ws.OpPong, true, full), reads: true},
		{id: "DS-05", name: "pongs to no ping, and nothing is read", piece: frames(ws.OpPong, true, full)},
	} {
		f.frames, f.status, f.limit, f.reaction = 10, 1008, transport.LimitFrames, told
		f.run(t)
	}
}

// A message may come in fragments that are long enough to be none of a flood: its
// size is what ends it.
func TestHostileLongMessage(t *testing.T) {
	// Nothing of the message is held: its PADDING is skipped as it comes.
	f := flood{
		id: "DS-11", name: "a message in long fragments without end", first: endless,
		piece: func(p *rawPeer) []byte { return p.encode(ws.OpContinuation, false, make([]byte, 4096)) },
		reads: true, frames: 1, status: 1009, limit: transport.LimitMessageSize,
		unbound:  &Config{MaxMessageSize: 1 << 40},
		reaction: "Close 1009 and the end of the session",
	}
	f.run(t)
}

// TestHostileLengths has a peer declare what it never sends, or breaks a rule, and
// then send on whatever the Close frame says, until no more is received.
func TestHostileLengths(t *testing.T) {
	long := func(n uint64) func(p *rawPeer) []byte {
		return func(p *rawPeer) []byte { return p.longLength(n, 8)[:14] }
	}
	for _, tt := range []struct {
		name  string
		frame func(p *rawPeer) []byte
		limit transport.Limit
		told  string
		close ws.StatusCode
	}{
		{"a frame that declares 2^62 bytes", long(1 << 62), transport.LimitMessageSize, "Close 1009 before any of it is read", 1009},
		{"a frame that declares 2^63 bytes", long(1 << 63), "", "Close 1002 before any of it is read", 1002},
		{"a message one byte longer than the limit", func(p *rawPeer) []byte {
			return p.encode(ws.OpBinary, true, make([]byte, DefaultMaxMessageSize+1))[:14]
		}, transport.LimitMessageSize, "Close 1009 before any of it is read", 1009},
		{"a ping that declares 65,535 bytes", func(p *rawPeer) []byte {
			b := binary.BigEndian.AppendUint16([]byte{0x80 | byte(ws.OpPing), 126}, 65535)
			if p.client {
				b[1] |= 0x80
				b = append(b, 1, 2, 3, 4)
			}
			return b
		}, "", "Close 1002 before any of it is read", 1002},
		{"frames with the wrong masking", func(p *rawPeer) []byte {
			return p.encode(ws.OpBinary, true, []byte("x"), func(h *ws.Header) { h.Masked = !h.Masked })
		}, "", "Close 1002 at the first", 1002},
	} {
		for _, client := range []bool{false, true} {
			side := "to a server"
			if client {
				side = "to a client"
			}
			t.Run("DS-17 "+tt.name+" "+side, func(t *testing.T) {
				var m *hostile.Meter
				var cause error
				synctest.Test(t, func(*testing.T) {
					p := connect(t, client, nil, attackWire)
					defer p.nc.Close()
					frame := tt.frame(p)
					rest := make([]byte, 64<<10)
					synctest.Wait()
					m = hostile.Start(t, hostile.Attack{
						Name: tt.name + " " + side, Victim: "ws", Bytes: frameBytes, Goroutines: 1, // the script's
						Reaction: tt.told, Limit: tt.limit,
					})
					over := make(chan struct{})
					go func() { // ends with the connection
						defer close(over)
						p.wantClose(tt.close)
						_, _ = io.Copy(io.Discard, p.nc)
					}()
					p.raw(frame)
					synctest.Wait()
					began := time.Now()
					for n := 0; n < maxLate; n += len(rest) {
						if _, err := p.nc.Write(rest); err != nil {
							t.Fatalf("after %d KiB: %v", n>>10, err)
						}
						if n == maxLate/2 {
							m.Sample()
						}
					}
					synctest.Wait()
					m.Sample()
					cause = context.Cause(p.s.Context())
					if cause == nil {
						t.Error("the session goes on")
					}
					select {
					case <-p.c.done:
						t.Errorf("the connection ended within %d bytes behind the Close frame", maxLate)
					default:
					}
					p.raw(rest[:1]) // the byte too many
					<-p.c.done
					if d := time.Since(began); d != 0 {
						t.Errorf("the connection ended after %v", d)
					}
					if _, err := p.nc.Write(rest); err == nil {
						t.Error("it takes still more")
					}
					p.nc.Close()
					<-over
					p.wantGone()
				})
				m.End(cause)
			})
		}
	}
}
