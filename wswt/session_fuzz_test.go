package wswt

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/memconn"
	"github.com/towpath-go/towpath/transport"
)

// A framer makes what a peer sends of a program of bytes: frames with masks and in
// fragments, control frames between them, rules broken now and then, and bytes that
// are no frames.
type framer struct {
	p       *rawPeer
	program []byte
}

func (f *framer) next() byte {
	if len(f.program) == 0 {
		return 0
	}
	b := f.program[0]
	f.program = f.program[1:]
	return b
}

// take returns the next n bytes, or as many as there are.
func (f *framer) take(n int) []byte {
	n = min(n, len(f.program))
	b := f.program[:n]
	f.program = f.program[n:]
	return b
}

// payload returns a payload: bytes of the program, or a capsule that they choose.
func (f *framer) payload() []byte {
	n := int(f.next())
	if n < 160 {
		return f.take(n)
	}
	id := f.p.peerStream() + uint64(f.next()%8)*2
	switch n % 8 {
	case 0, 1:
		return streamCapsule(id, n&16 != 0, string(f.take(int(f.next()))))
	case 2:
		return streamCapsule(id, n&16 != 0, string(make([]byte, int(f.next())*64)))
	case 3:
		return append(capsule.AppendDatagramHeader(nil, 40), make([]byte, 40)...)
	case 4:
		return padding(8 + int(f.next())*16)
	case 5:
		return capsule.ResetStream{StreamID: id}.Append(nil)
	case 6:
		return capsule.MaxStreamData{StreamID: id ^ 1, MaximumStreamData: uint64(f.next()) << 12}.Append(nil)
	}
	return capsule.StopSending{StreamID: id ^ 1, ErrorCode: 1}.Append(nil)
}

// piece returns what goes out next.
func (f *framer) piece() []byte {
	op := f.next()
	var change []func(*ws.Header)
	if op >= 0xf8 { // a rule is broken
		bits := f.next()
		change = append(change, func(h *ws.Header) {
			h.Rsv = bits & 7
			if bits&8 != 0 {
				h.Masked = !h.Masked
			}
			if bits&16 != 0 {
				h.OpCode = ws.OpCode(bits & 15)
			}
			if bits&32 != 0 {
				h.Length = int64(bits) << 50
			}
		})
	}
	switch op % 8 {
	case 0, 1:
		return f.p.encode(ws.OpBinary, true, f.payload(), change...)
	case 2:
		return f.p.encode(ws.OpBinary, false, f.payload(), change...)
	case 3:
		return f.p.encode(ws.OpContinuation, op&8 != 0, f.payload(), change...)
	case 4:
		return f.p.encode(ws.OpPing, true, f.take(int(f.next()%126)), change...)
	case 5:
		return f.p.encode(ws.OpPong, true, f.take(int(f.next()%126)), change...)
	case 6:
		if op&0x30 == 0 {
			return f.p.encode(ws.OpClose, true, f.take(int(f.next()%126)), change...)
		}
		return f.p.encode(ws.OpContinuation, false, nil, change...)
	}
	return f.take(int(f.next()))
}

// FuzzSession has any bytes, or frames that they choose, reach a whole session of a
// server or a client, by both subprotocols, whose application reads, writes or does
// nothing. It ends in order or for what the peer did, nothing is left of it, and it
// never holds more than it may.
func FuzzSession(f *testing.F) {
	const budget = 128 << 10
	f.Add(uint8(0), []byte("\x00\x03abc"))
	f.Fuzz(func(t *testing.T, flags uint8, program []byte) {
		client, kdraft, plain, reads, writes := flags&1 != 0, flags&2 != 0, flags&4 != 0, flags&8 != 0, flags&16 != 0
		synctest.Test(t, func(t *testing.T) {
			cfg := &Config{MaxConnectionMemory: budget, MaxMessageSize: minMessageSize}
			p := connectChanged(t, client, cfg, &memconn.Options{Buffer: 8 << 10, MaxRead: int(flags>>5) * 100}, func(p *rawPeer) {
				p.kdraft = kdraft && !client
			})
			go func() { _, _ = io.Copy(io.Discard, p.nc) }() // ends with the connection
			if reads {
				go accept(p.s)
			}
			if writes {
				if x, err := p.s.OpenStream(ended()); err == nil {
					go func() { // ends with the session
						_, _ = x.Write(make([]byte, 100_000))
						x.Close()
					}()
				}
				_ = p.s.SendDatagram([]byte("datagram"))
			}
			script := framer{p: p, program: program}
			for len(script.program) > 0 {
				b := script.program
				if plain {
					script.program = nil
				} else {
					b = script.piece()
				}
				p.nc.SetWriteDeadline(time.Now().Add(10 * time.Second))
				if _, err := p.nc.Write(b); err != nil {
					break // it has ended
				}
				if flags&32 != 0 {
					synctest.Wait()
				}
				// What is held is counted once it is there, so that one message may
				// be above the bound until the session ends for it.
				if held := p.srv.budget.Held(); held > budget+minMessageSize {
					t.Fatalf("%d bytes are held", held)
				}
			}
			synctest.Wait()
			held, cause := p.srv.budget.Held(), context.Cause(p.s.Context())
			if cause == nil && held >= budget {
				t.Errorf("the session goes on and holds %d bytes", held)
			}
			p.nc.CloseWrite()
			<-p.c.done
			synctest.Wait() // for calls that the end interrupts
			end, ok := errors.AsType[*transport.SessionError](context.Cause(p.s.Context()))
			if !ok {
				t.Fatalf("ended with %v", context.Cause(p.s.Context()))
			}
			if cause != nil && cause != error(end) {
				t.Errorf("ended with %v, and then with %v", cause, end)
			}
			p.wantGone()
			synctest.Wait()
		})
	})
}

// accept takes the streams and datagrams of a session and reads them.
func accept(s transport.Session) {
	go func() { // ends with the session
		for {
			x, err := s.AcceptStream(context.Background())
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(x, x) // ends with the session
				// What came whole stays readable, and counted, after the end.
				x.CancelRead(0)
				x.Close()
			}()
		}
	}()
	go func() { // ends with the session
		for {
			u, err := s.AcceptUniStream(context.Background())
			if err != nil {
				return
			}
			go io.Copy(io.Discard, u) // ends with the session
		}
	}()
	for {
		if _, err := s.ReceiveDatagram(context.Background()); err != nil {
			return
		}
	}
}
