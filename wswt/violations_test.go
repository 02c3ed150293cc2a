package wswt

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// rsv sets reserved bits of a header.
func rsv(bits byte) func(*ws.Header) { return func(h *ws.Header) { h.Rsv = bits } }

// violations are what a peer may not do, and the status that it is told.
func violations() []violationCase {
	const m, x = transport.ViolationMalformed, transport.ViolationExcess
	cases := []violationCase{
		{"text", 1003, m, func(p *rawPeer) { p.write(ws.OpText, true, []byte("hello")) }},
		{"empty text", 1003, m, func(p *rawPeer) { p.write(ws.OpText, true, nil) }},
		{"the start of a text message", 1003, m, func(p *rawPeer) { p.write(ws.OpText, false, []byte("hello")) }},
		{"wrong masking", 1002, m, func(p *rawPeer) {
			p.write(ws.OpBinary, true, streamCapsule(0, false, "x"), func(h *ws.Header) { h.Masked = !h.Masked })
		}},
		{"wrong masking of a ping", 1002, m, func(p *rawPeer) {
			p.write(ws.OpPing, true, nil, func(h *ws.Header) { h.Masked = !h.Masked })
		}},
		{"fragmented ping", 1002, m, func(p *rawPeer) { p.write(ws.OpPing, false, []byte("x")) }},
		{"fragmented Close", 1002, m, func(p *rawPeer) { p.write(ws.OpClose, false, closePayload(1000, "")) }},
		{"ping of 126 bytes", 1002, m, func(p *rawPeer) { p.write(ws.OpPing, true, make([]byte, 126)) }},
		{"pong of 126 bytes", 1002, m, func(p *rawPeer) { p.write(ws.OpPong, true, make([]byte, 126)) }},
		{"Close of 126 bytes", 1002, m, func(p *rawPeer) { p.close(1000, strings.Repeat("x", 124)) }},
		{"continuation of nothing", 1002, m, func(p *rawPeer) { p.write(ws.OpContinuation, true, []byte("x")) }},
		{"continuation after the end", 1002, m, func(p *rawPeer) {
			p.write(ws.OpBinary, false, capsule.Padding{Length: 9}.Append(nil))
			p.write(ws.OpContinuation, true, nil)
			p.write(ws.OpContinuation, true, nil)
		}},
		{"a message inside a message", 1002, m, func(p *rawPeer) {
			p.write(ws.OpBinary, false, capsule.Padding{Length: 9}.Append(nil))
			p.binary(nil)
		}},
		{"a length of 5 in 16 bits", 1002, m, func(p *rawPeer) { p.raw(p.longLength(5, 2)) }},
		{"a length of 125 in 16 bits", 1002, m, func(p *rawPeer) { p.raw(p.longLength(125, 2)) }},
		{"a length of 65535 in 64 bits", 1002, m, func(p *rawPeer) { p.raw(p.longLength(65535, 8)) }},
		{"a length of more than 63 bits", 1002, m, func(p *rawPeer) { p.raw(p.longLength(1<<63, 8)) }},
		{"Close of 1 byte", 1002, m, func(p *rawPeer) { p.write(ws.OpClose, true, []byte{3}) }},
		{"Close reason that is not UTF-8", 1007, m, func(p *rawPeer) { p.close(1000, "\xff") }},
		{"Close reason cut inside a character", 1007, m, func(p *rawPeer) { p.close(1000, "\xc3") }},

		{"one byte more than MaxMessageSize", 1009, x, func(p *rawPeer) {
			p.raw(p.encode(ws.OpBinary, true, make([]byte, minMessageSize+1))[:14])
		}},
		{"one byte more than MaxMessageSize in two frames", 1009, x, func(p *rawPeer) {
			p.write(ws.OpBinary, false, padding(minMessageSize))
			p.write(ws.OpContinuation, true, []byte{0})
		}},
		{"a message of 2^62 bytes", 1009, x, func(p *rawPeer) { p.raw(p.longLength(1<<62, 8)) }},
		{"2^62 bytes more of a message", 1009, x, func(p *rawPeer) {
			p.write(ws.OpBinary, false, padding(minMessageSize))
			b := p.longLength(1<<62, 8)
			b[0] = byte(ws.OpContinuation)
			p.raw(b)
		}},
		{"pings", 1008, x, func(p *rawPeer) {
			for range floodBurst + 1 {
				p.write(ws.OpPing, true, []byte("x"))
			}
		}},
		{"pongs", 1008, x, func(p *rawPeer) {
			for range floodBurst + 1 {
				p.write(ws.OpPong, true, nil)
			}
		}},
		{"empty messages", 1008, x, func(p *rawPeer) {
			for range floodBurst + 1 {
				p.binary(nil)
			}
		}},
		{"empty continuations", 1008, x, func(p *rawPeer) {
			p.write(ws.OpBinary, false, nil)
			for range floodBurst {
				p.write(ws.OpContinuation, false, nil)
			}
		}},
		{"a message in single bytes", 1008, x, func(p *rawPeer) {
			rest := padding(minMessageSize)
			p.write(ws.OpBinary, false, rest[:1])
			for i := 1; i < floodBurst+20; i++ { // a few were paid for by the bytes
				p.write(ws.OpContinuation, false, rest[i:i+1])
			}
		}},

		{"half a capsule, then Close", 1002, m, func(p *rawPeer) {
			p.binary(streamCapsule(p.peerStream(), false, "abc")[:7])
			p.close(1000, "")
		}},
		{"half a capsule's type, then Close", 1002, m, func(p *rawPeer) {
			p.binary(streamCapsule(p.peerStream(), false, "abc")[:1])
			p.close(0, "")
		}},
		{"a capsule that is malformed", 1002, m, func(p *rawPeer) {
			p.binary(append(capsule.MaxData{MaximumData: 1}.Append(nil)[:4], 0)) // WT_MAX_DATA of no bytes
		}},
		{"a stream of ours that is not open", 1002, transport.ViolationStreamState, func(p *rawPeer) {
			p.binary(streamCapsule(p.peerStream()^1, false, "x"))
		}},
		{"stream 101", 1002, transport.ViolationFlowControl, func(p *rawPeer) {
			p.binary(streamCapsule(p.peerStream()+4*100, false, "x"))
		}},
		{"65,537 bytes of a stream", 1002, transport.ViolationFlowControl, func(p *rawPeer) {
			b := streamCapsule(p.peerStream(), false, strings.Repeat("x", 64<<10+1))
			p.binary(b[:1000])
		}},
	}
	for _, bits := range []byte{4, 2, 1} {
		cases = append(cases, violationCase{fmt.Sprintf("reserved bits %03b", bits), 1002, m, func(p *rawPeer) {
			p.write(ws.OpBinary, true, []byte("x"), rsv(bits))
		}}, violationCase{fmt.Sprintf("reserved bits %03b of a ping", bits), 1002, m, func(p *rawPeer) {
			p.write(ws.OpPing, true, nil, rsv(bits))
		}})
	}
	for _, op := range []ws.OpCode{3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf} {
		cases = append(cases, violationCase{fmt.Sprintf("opcode %#x", op), 1002, m, func(p *rawPeer) { p.write(op, true, nil) }})
	}
	for _, status := range []ws.StatusCode{1, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535} {
		cases = append(cases, violationCase{fmt.Sprintf("Close with status %d", status), 1002, m, func(p *rawPeer) { p.close(status, "") }})
	}
	return cases
}

type violationCase struct {
	name   string
	status ws.StatusCode
	what   transport.Violation
	send   func(p *rawPeer)
}

// longLength is the header of a binary frame whose length takes more bytes than
// it should, or more than there can be, and the payload if it is short.
func (p *rawPeer) longLength(n uint64, bytes int) []byte {
	b := []byte{0x80 | byte(ws.OpBinary), 126}
	if bytes == 2 {
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	} else {
		b[1] = 127
		b = binary.BigEndian.AppendUint64(b, n)
	}
	if p.client {
		b[1] |= 0x80
		b = append(b, 0, 0, 0, 0)
	}
	return append(b, make([]byte, min(n, 200))...)
}

// padding is one PADDING capsule of n bytes in all.
func padding(n int) []byte {
	b := capsule.Padding{Length: uint64(n)}.Append(nil)
	return append(capsule.Padding{Length: uint64(n - (len(b) - n))}.Append(nil), 0)[:n]
}

func TestViolations(t *testing.T) {
	for _, tt := range violations() {
		eachSide(t, tt.name, &Config{MaxMessageSize: minMessageSize}, func(t *testing.T, p *rawPeer) {
			sent := make(chan struct{})
			go func() { // it may be long
				defer close(sent)
				tt.send(p)
			}()
			reason := p.wantClose(tt.status)
			if len(reason) > 123 || reason == "" {
				t.Errorf("reason %q", reason)
			}
			p.wantViolation(tt.what)
			<-sent
			p.wantEnd()
		})
	}
}

// TestAllowed makes sure that what is just not a violation is none.
func TestAllowed(t *testing.T) {
	for _, tt := range []struct {
		name string
		send func(p *rawPeer)
	}{
		{"a message of MaxMessageSize", func(p *rawPeer) { p.binary(padding(minMessageSize)) }},
		{"a message of MaxMessageSize in two frames", func(p *rawPeer) {
			b := padding(minMessageSize)
			p.write(ws.OpBinary, false, b[:1])
			p.write(ws.OpContinuation, true, b[1:])
		}},
		{"two messages of MaxMessageSize", func(p *rawPeer) {
			p.binary(padding(minMessageSize))
			p.binary(padding(minMessageSize))
		}},
		{"as many pings as the budget has", func(p *rawPeer) {
			for range floodBurst {
				p.write(ws.OpPing, true, nil)
			}
		}},
		{"pings at the rate of the budget", func(p *rawPeer) {
			for range 3 * floodBurst {
				p.write(ws.OpPing, true, nil)
				time.Sleep(time.Second / floodRate)
			}
		}},
		{"empty messages that data pays for", func(p *rawPeer) {
			for range 3 * floodBurst {
				p.binary(nil)
				p.binary(append(capsule.AppendDatagramHeader(nil, 253), make([]byte, 253)...))
			}
		}},
		{"empty frames", func(p *rawPeer) {
			p.binary(nil)
			p.write(ws.OpBinary, false, nil)
			p.write(ws.OpPing, true, nil)
			p.write(ws.OpContinuation, false, nil)
			p.write(ws.OpContinuation, true, nil)
		}},
		{"a pong that answers nothing", func(p *rawPeer) { p.write(ws.OpPong, true, []byte("12345678")) }},
		{"a ping of 125 bytes", func(p *rawPeer) { p.write(ws.OpPing, true, make([]byte, 125)) }},
	} {
		eachSide(t, tt.name, &Config{MaxMessageSize: minMessageSize}, func(t *testing.T, p *rawPeer) {
			go io.Copy(io.Discard, p.nc) // ends with the connection
			tt.send(p)
			p.binary(streamCapsule(p.peerStream(), true, "alive"))
			x, err := p.s.AcceptStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(x); string(got) != "alive" || err != nil {
				t.Errorf("read %q, %v", got, err)
			}
			p.srv.Close()
		})
	}
}

func TestFragments(t *testing.T) {
	const text = "the quick brown fox"
	// conversation is what the peer says in one message.
	conversation := func(p *rawPeer) []byte {
		b := streamCapsule(p.peerStream(), false, text[:9])
		b = append(b, padding(30)...)
		return append(b, streamCapsule(p.peerStream(), true, text[9:])...)
	}
	wantText := func(t *testing.T, p *rawPeer) {
		t.Helper()
		x, err := p.s.AcceptStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(x); string(got) != text || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
	}
	eachSide(t, "each byte a message, dribbled", nil, func(t *testing.T, p *rawPeer) {
		for _, c := range conversation(p) {
			for _, b := range p.encode(ws.OpBinary, true, []byte{c}) {
				p.raw([]byte{b})
				synctest.Wait()
			}
		}
		wantText(t, p)
		p.srv.Close()
	})
	eachSide(t, "each byte a frame, with pings between", nil, func(t *testing.T, p *rawPeer) {
		for i, c := range conversation(p) {
			op := ws.OpContinuation
			if i == 0 {
				op = ws.OpBinary
			}
			p.write(op, false, []byte{c})
			p.write(ws.OpPing, true, []byte{byte(i)})
			if pong := p.wantPong(); len(pong) != 1 || pong[0] != byte(i) {
				t.Fatalf("pong %q to ping %d", pong, i)
			}
		}
		p.write(ws.OpContinuation, true, nil)
		wantText(t, p)
		p.srv.Close()
	})
	for _, client := range []bool{false, true} {
		name := map[bool]string{false: "a server", true: "a client"}[client]
		t.Run("split everywhere, to "+name, func(t *testing.T) {
			n := 1
			for at := 0; at < n; at++ {
				synctest.Test(t, func(t *testing.T) {
					p := connect(t, client, nil, nil)
					all := conversation(p)
					n = len(all) + 1
					p.write(ws.OpBinary, false, all[:at])
					p.write(ws.OpContinuation, true, all[at:])
					wantText(t, p)
					p.srv.Close()
					p.wantGone()
				})
				synctest.Test(t, func(t *testing.T) {
					p := connect(t, client, nil, nil)
					all := conversation(p)
					p.binary(all[:at])
					p.binary(all[at:])
					wantText(t, p)
					p.srv.Close()
					p.wantGone()
				})
			}
		})
	}
	eachSide(t, "a frame split on the wire", nil, func(t *testing.T, p *rawPeer) {
		b := p.encode(ws.OpBinary, true, append(padding(20_000), conversation(p)...))
		for len(b) > 0 {
			n := min(len(b), 997)
			p.raw(b[:n])
			synctest.Wait()
			b = b[n:]
		}
		wantText(t, p)
		p.srv.Close()
	})
}

// wantPong reads up to a pong.
func (p *rawPeer) wantPong() []byte {
	p.t.Helper()
	for {
		f, err := p.next()
		if err != nil {
			p.t.Fatalf("%v before a pong", err)
		}
		if f.OpCode == ws.OpPong {
			return f.payload
		}
	}
}
