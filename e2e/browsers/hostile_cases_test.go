package browsers

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"

	"github.com/towpath-go/towpath/capsule"
)

// A hostileCase is one thing that a server does to a page, and what the page has
// to make of it. The streams that the page has opened before are 0 and 2; it has
// sent one byte on each.
type hostileCase struct {
	name string
	run  func(p *hostilePeer) error
	// page is what the page does: "hold" accepts streams and reads none, "read"
	// reads all, "close" closes the session as soon as it can.
	page string
	// inBrowsers selects the case for the runs in browsers, which are dear.
	inBrowsers bool

	// The session is closed with this code and reason, or failed.
	failed bool
	code   uint32
	reason string
	// statuses are those of which the page has to send one; none is that the
	// browser decides, whose own rule of RFC 6455 was broken.
	statuses []int
	// notReady: ready is rejected too.
	notReady bool
	// stream is the code that a call on stream 0 fails with, if the rule says
	// that it is the stream's failure.
	stream     *uint32
	streamCall string
	// incoming is how many streams the page must have accepted.
	incoming int
	// bearable cases are for pages alone, which are stricter than package wswt.
	bearable bool
}

// script is a case after an ordinary opening.
func script(name string, play func(p *hostilePeer)) hostileCase {
	return hostileCase{name: name, page: "hold", run: func(p *hostilePeer) error {
		if err := p.accept(); err != nil {
			return err
		}
		if err := p.wait(); err != nil {
			return err
		}
		play(p)
		return nil
	}}
}

// fails is a script that ends the session with a Close frame of this status.
func fails(status int, name string, play func(p *hostilePeer)) hostileCase {
	c := script(name, play)
	c.failed, c.statuses = true, []int{status}
	return c
}

// says is a script of bytes of the capsule stream.
func says(status int, name string, pieces ...[]byte) hostileCase {
	return fails(status, name, func(p *hostilePeer) { p.send(pieces...) })
}

// survives is a script that the session lives through, which a WT_CLOSE_SESSION
// at its end proves.
func survives(name string, play func(p *hostilePeer)) hostileCase {
	c := script(name, func(p *hostilePeer) {
		play(p)
		p.send(closeSession(77, "alive"))
		p.closeFrame(1000, "")
	})
	c.code, c.reason = 77, "alive"
	return c
}

// opening is a case whose opening handshake is played by the script.
func opening(name string, play func(p *hostilePeer) error) hostileCase {
	return hostileCase{name: name, page: "hold", run: play, failed: true, notReady: true}
}

func (c hostileCase) with(change func(*hostileCase)) hostileCase {
	change(&c)
	return c
}

// too selects a case for the browsers.
func too(c *hostileCase) { c.inBrowsers = true }

// stopped: the page was asked to stop before, with code 5.
func stopped(c *hostileCase) { c.stream, c.streamCall = new(uint32(5)), "write bidi" }

// bearable: package wswt skips such a capsule however long it is.
func bearable(c *hostileCase) { c.bearable = true }

// Capsules, right and wrong.
func rawCapsule(typ capsule.Type, value ...byte) []byte {
	b := capsule.AppendVarint(nil, uint64(typ))
	return append(capsule.AppendVarint(b, uint64(len(value))), value...)
}

// declared is the head of a capsule that says it is n bytes long.
func declared(typ capsule.Type, n uint64, value ...byte) []byte {
	return append(capsule.AppendVarint(capsule.AppendVarint(nil, uint64(typ)), n), value...)
}

func streamData(id uint64, fin bool, data string) []byte {
	return append(capsule.AppendStreamHeader(nil, fin, capsule.Draft15, id, uint64(len(data))), data...)
}

func closeSession(code uint32, reason string) []byte {
	return append(declared(capsule.TypeCloseSession, uint64(4+len(reason))),
		append(binary.BigEndian.AppendUint32(nil, code), reason...)...)
}

func integers(typ capsule.Type, values ...uint64) []byte {
	var b []byte
	for _, v := range values {
		b = capsule.AppendVarint(b, v)
	}
	return rawCapsule(typ, b...)
}

func reset(id, code, size uint64) []byte { return integers(capsule.TypeResetStream, id, code, size) }
func stop(id, code uint64) []byte        { return integers(capsule.TypeStopSending, id, code) }

var (
	windowOfStream = strings.Repeat("w", 64<<10)
	giant          = uint64(1) << 60
)

// hostileCases is what a server can do to a page over a WebSocket.
func hostileCases() []hostileCase {
	return append(append(append(append(malformed(), wrongState()...), overLimits()...), floods()...), append(endings(), openings()...)...)
}

func malformed() []hostileCase {
	closing := capsule.TypeCloseSession
	cases := []hostileCase{
		fails(4003, "a text message", func(p *hostilePeer) { p.raw(frame(opText, true, []byte("hello"))) }).with(too),
		fails(4003, "an empty text message", func(p *hostilePeer) { p.raw(frame(opText, true, nil)) }),
		fails(4003, "a text message after half a capsule", func(p *hostilePeer) {
			p.send(streamData(1, false, "abc")[:5])
			p.raw(frame(opText, true, []byte("c")))
		}),
		says(4002, "WT_STREAM without an ID", rawCapsule(capsule.TypeStream)),
		says(4002, "WT_STREAM that ends inside its ID", rawCapsule(capsule.TypeStream, 0x80, 0)),
		says(4002, "WT_RESET_STREAM without Reliable Size", integers(capsule.TypeResetStream, 0, 5)),
		says(4002, "WT_RESET_STREAM of four fields", integers(capsule.TypeResetStream, 0, 5, 0, 0)),
		says(4002, "WT_RESET_STREAM with a code of 33 bits", reset(0, 1<<32, 0)).with(too),
		says(4002, "WT_STOP_SENDING with a code of 33 bits", stop(0, 1<<32)),
		says(4002, "WT_STOP_SENDING without a code", integers(capsule.TypeStopSending, 0)),
		says(4002, "WT_DRAIN_SESSION with a value", rawCapsule(capsule.TypeDrainSession, 0)),
		says(4002, "WT_CLOSE_SESSION of three bytes", rawCapsule(closing, 0, 0, 0)),
		says(4002, "a close reason of 1,025 bytes", closeSession(1, strings.Repeat("r", 1025))).with(too),
		says(4002, "a close reason that is not UTF-8", closeSession(1, "\xff\xfe")).with(too),
		says(4002, "a close reason cut inside a character", closeSession(1, "ab\xc3")),
		says(4002, "WT_CLOSE_SESSION of 2^60 bytes", declared(closing, giant, 0, 0)),
		says(4002, "WT_MAX_STREAMS above 2^60", integers(capsule.TypeMaxStreamsBidi, giant+1)),
		says(4002, "WT_MAX_STREAMS above 2^60, unidirectional", integers(capsule.TypeMaxStreamsUni, giant+1)),
		says(4002, "WT_STREAMS_BLOCKED above 2^60", integers(capsule.TypeStreamsBlockedBidi, giant+1)),
		fails(1000, "half a capsule, then Close", func(p *hostilePeer) {
			p.send(streamData(1, false, "abc")[:6])
			p.closeFrame(1000, "")
		}).with(too).with(func(c *hostileCase) { c.statuses = nil }),
		fails(0, "half a capsule, then the end of the connection", func(p *hostilePeer) {
			p.send(streamData(1, false, "abc")[:6])
			p.cut()
		}),
		says(4002, "each byte a message, and malformed at the end", bytes.Split(rawCapsule(capsule.TypeMaxData, 0xc0, 0, 0), nil)...),
	}
	for _, typ := range []capsule.Type{
		capsule.TypeMaxData, capsule.TypeMaxStreamData, capsule.TypeMaxStreamsBidi, capsule.TypeMaxStreamsUni,
		capsule.TypeDataBlocked, capsule.TypeStreamDataBlocked, capsule.TypeStreamsBlockedBidi, capsule.TypeStreamsBlockedUni,
	} {
		fields := []uint64{1 << 40}
		if typ == capsule.TypeMaxStreamData || typ == capsule.TypeStreamDataBlocked {
			fields = []uint64{0, 1 << 40}
		}
		cases = append(cases,
			says(4002, fmt.Sprintf("%v %#x that is empty", typ, uint64(typ)), rawCapsule(typ)),
			says(4002, fmt.Sprintf("%v %#x with a field too many", typ, uint64(typ)), integers(typ, append(fields, 0)...)),
			says(4002, fmt.Sprintf("%v %#x of 2^60 bytes", typ, uint64(typ)), declared(typ, giant, 0)),
			says(4002, fmt.Sprintf("%v %#x cut inside its integer", typ, uint64(typ)), rawCapsule(typ, 0xc0, 0, 0)),
		)
	}
	// What a browser does not hand to the page.
	for _, c := range []struct {
		name string
		raw  []byte
	}{
		{"a masked frame", []byte{0x82, 0x81, 0, 0, 0, 0, 0}},
		{"reserved bits", []byte{0xf2, 1, 0}},
		{"an unknown opcode", []byte{0x83, 0}},
		{"a ping in pieces", []byte{opPing, 1, 'x'}},
		{"a ping of 126 bytes", frame(opPing, true, make([]byte, 126))},
		{"a continuation of nothing", frame(opContinuation, true, []byte("x"))},
		{"a message inside a message", append(frame(opBinary, false, []byte("x")), frame(opBinary, true, []byte("x"))...)},
		{"a Close frame of one byte", frame(opClose, true, []byte{3})},
		{"a Close frame whose reason is not UTF-8", frame(opClose, true, []byte{3, 0xe8, 0xff})},
		{"a frame of 2^63 bytes", []byte{0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}},
	} {
		c := fails(0, c.name, func(p *hostilePeer) { p.raw(c.raw) })
		c.statuses = nil
		cases = append(cases, c)
	}
	return cases
}

func wrongState() []hostileCase {
	return []hostileCase{
		says(4002, "data on a stream that the page has not opened", streamData(400, false, "x")).with(too),
		says(4002, "data on the page's unidirectional stream", streamData(2, false, "x")),
		says(4002, "FIN on the page's unidirectional stream", streamData(2, true, "")),
		says(4002, "WT_RESET_STREAM of the page's unidirectional stream", reset(2, 5, 0)),
		says(4002, "WT_RESET_STREAM of a stream that the page has not opened", reset(400, 5, 0)),
		says(4002, "WT_STREAM_DATA_BLOCKED of the page's unidirectional stream", integers(capsule.TypeStreamDataBlocked, 2, 9)),
		says(4002, "WT_STOP_SENDING of the server's own unidirectional stream", streamData(3, false, ""), stop(3, 5)),
		says(4002, "WT_STOP_SENDING of a stream that the page has not opened", stop(400, 5)),
		says(4002, "WT_STOP_SENDING twice", stop(0, 5), stop(0, 5)).with(too).with(stopped),
		says(4002, "WT_MAX_STREAM_DATA after WT_STOP_SENDING", stop(0, 5), integers(capsule.TypeMaxStreamData, 0, 1<<20)).with(stopped),
		says(4002, "WT_MAX_STREAM_DATA of the server's own unidirectional stream", streamData(3, false, ""), integers(capsule.TypeMaxStreamData, 3, 1<<20)),
		says(4002, "WT_MAX_STREAM_DATA of a stream that the page has not opened", integers(capsule.TypeMaxStreamData, 400, 1<<20)),
		says(4002, "data after FIN", streamData(0, true, "a"), streamData(0, false, "b")).with(too),
		says(4002, "data after FIN on a stream of the server", streamData(3, true, "a"), streamData(3, false, "b")),
		says(4002, "FIN twice", streamData(1, true, ""), streamData(1, true, "")),
		says(4002, "WT_RESET_STREAM after FIN", streamData(1, true, "a"), reset(1, 5, 1)),
		says(4002, "WT_RESET_STREAM twice", streamData(1, false, "a"), reset(1, 5, 1), reset(1, 5, 1)).with(too),
		says(4002, "data after WT_RESET_STREAM", streamData(1, false, "a"), reset(1, 5, 1), streamData(1, false, "b")),
		says(4002, "WT_STREAM_DATA_BLOCKED after FIN", streamData(1, true, "a"), integers(capsule.TypeStreamDataBlocked, 1, 1)),
		says(4002, "Reliable Size one too large", streamData(1, false, "abc"), reset(1, 5, 4)).with(too),
		says(4002, "Reliable Size one too small", streamData(1, false, "abc"), reset(1, 5, 2)),
		// What is just no violation.
		survives("WT_STOP_SENDING and WT_MAX_STREAM_DATA of a stream that has ended", func(p *hostilePeer) {
			for !p.finished[0] && p.advance() == nil {
			}
			p.send(streamData(0, true, "a"), integers(capsule.TypeMaxStreamData, 0, 1<<20), integers(capsule.TypeMaxStreamData, 0, 1<<19), stop(0, 5))
		}).with(func(c *hostileCase) { c.page = "finish" }),
		survives("WT_STOP_SENDING", func(p *hostilePeer) {
			p.send(stop(0, 5))
			for !p.reset[0] && p.advance() == nil {
			}
		}).with(stopped).with(too),
		survives("WT_RESET_STREAM with the right size", func(p *hostilePeer) {
			p.send(streamData(0, false, "abc"), reset(0, 4294967295, 3))
		}).with(func(c *hostileCase) { c.page = "read"; c.stream, c.streamCall = new(uint32(4294967295)), "read bidi" }).with(too),
	}
}

func overLimits() []hostileCase {
	// fill sends n windows on as many streams of one kind.
	fill := func(first uint64, n int) (pieces [][]byte) {
		for i := range uint64(n) {
			pieces = append(pieces, streamData(first+4*i, false, windowOfStream))
		}
		return pieces
	}
	return []hostileCase{
		fails(4002, "one byte more than the page allows on its stream", func(p *hostilePeer) {
			p.quiet()
			for data := strings.Repeat("w", 16<<10); p.maxData > 0; {
				n := min(p.maxData, uint64(len(data)))
				p.send(streamData(0, false, data[:n]))
				p.maxData -= n
			}
			p.send(streamData(0, false, "x"))
		}).with(too),
		says(4002, "65,537 bytes on a bidirectional stream of the server", streamData(1, false, windowOfStream+"x")),
		says(4002, "65,537 bytes on a unidirectional stream", streamData(3, true, windowOfStream+"x")),
		says(4002, "the head of a capsule of 2^60 bytes on a stream", declared(capsule.TypeStream, giant, 1)),
		says(4002, "1,048,577 bytes in the session", append(fill(3, 16), streamData(3+4*16, false, "x"))...).with(too),
		says(4002, "bidirectional stream 101", streamData(1+4*100, false, "")).with(too),
		says(4002, "unidirectional stream 101", streamData(3+4*100, false, "")),
		says(4002, "stream 101 by its reset", reset(3+4*100, 5, 0)),
		says(4002, "stream 2^60", streamData(1<<62-1, false, "")),
		says(4002, "WT_MAX_DATA lowered", integers(capsule.TypeMaxData, 1<<20-1)).with(too),
		says(4002, "WT_MAX_DATA raised and lowered", integers(capsule.TypeMaxData, 1<<21), integers(capsule.TypeMaxData, 1<<21-1)),
		says(4002, "WT_MAX_STREAM_DATA lowered", integers(capsule.TypeMaxStreamData, 0, 64<<10-1)),
		says(4002, "WT_MAX_STREAMS lowered", integers(capsule.TypeMaxStreamsBidi, 99)),
		says(4002, "WT_MAX_STREAMS lowered, unidirectional", integers(capsule.TypeMaxStreamsUni, 99)),
		survives("as much data as the limits allow", func(p *hostilePeer) { p.send(fill(1, 16)...) }).
			with(func(c *hostileCase) { c.incoming = 16 }),
		survives("as many streams as the limits allow", func(p *hostilePeer) {
			p.send(streamData(1+4*99, false, ""), streamData(3+4*99, false, ""))
		}).with(func(c *hostileCase) { c.incoming = 200 }).with(too),
		survives("limits that are said again", func(p *hostilePeer) {
			p.send(integers(capsule.TypeMaxData, 1<<20), integers(capsule.TypeMaxStreamData, 0, 64<<10),
				integers(capsule.TypeMaxStreamsBidi, 100), integers(capsule.TypeMaxStreamsUni, 100))
		}),
		survives("limits as high as they can be", func(p *hostilePeer) {
			p.send(integers(capsule.TypeMaxData, 1<<62-1), integers(capsule.TypeMaxStreamData, 0, 1<<62-1),
				integers(capsule.TypeMaxStreamsBidi, giant), integers(capsule.TypeMaxStreamsUni, giant))
		}).with(too),
	}
}

func floods() []hostileCase {
	// flood repeats capsules, so many in a message.
	flood := func(b []byte, inMessage, messages int) func(p *hostilePeer) {
		return func(p *hostilePeer) {
			message := frame(opBinary, true, bytes.Repeat(b, inMessage))
			for range messages {
				p.raw(message)
			}
		}
	}
	endless := func(typ capsule.Type) func(p *hostilePeer) {
		return func(p *hostilePeer) {
			p.send(declared(typ, giant))
			for range 32 << 4 {
				p.send(make([]byte, 64<<10))
			}
		}
	}
	data := strings.Repeat("d", 1000)
	return []hostileCase{
		// Streams are opened and reset for as long as the page allows more.
		fails(4008, "resets", func(p *hostilePeer) {
			for i := range uint64(2000) {
				if i >= 100 {
					// The credit comes back; its amount is guessed too low on purpose.
					p.awaitStreams(i + 1)
				}
				if p.err != nil || p.ended != nil {
					return
				}
				p.send(streamData(3+4*i, false, ""), reset(3+4*i, 5, 0))
			}
		}).with(func(c *hostileCase) { c.page = "read" }),
		fails(4008, "empty WT_STREAM capsules", flood(streamData(0, false, ""), 100, 12)).with(too),
		fails(4008, "empty messages", flood(nil, 1, 1200)).with(too),
		survives("datagrams", func(p *hostilePeer) { flood(declared(capsule.TypeDatagram, 1000, []byte(data)...), 10, 2000)(p) }).with(too),
		survives("pings", func(p *hostilePeer) {
			for range 500 {
				p.raw(frame(opPing, true, []byte("ping")))
			}
		}),
		survives("an unknown capsule of 8 MiB", func(p *hostilePeer) {
			p.send(declared(0x1234567, 8<<20))
			for range 8 << 4 {
				p.send(make([]byte, 64<<10))
			}
		}).with(too),
		fails(4008, "an unknown capsule of 2^60 bytes that never ends", endless(0x1234567)).with(too).with(bearable),
		fails(4008, "PADDING of 2^60 bytes that never ends", endless(capsule.TypePadding)).with(bearable),
		says(4008, "WT_DATA_BLOCKED again and again", bytes.Repeat(integers(capsule.TypeDataBlocked, 9), 1200)),
		says(4008, "WT_STREAM_DATA_BLOCKED again and again", bytes.Repeat(integers(capsule.TypeStreamDataBlocked, 0, 9), 1200)),
		says(4008, "WT_STREAMS_BLOCKED again and again", bytes.Repeat(integers(capsule.TypeStreamsBlockedUni, 9), 1200)),
		says(4008, "WT_MAX_DATA again and again", bytes.Repeat(integers(capsule.TypeMaxData, 1<<20), 1200)),
		says(4008, "unknown capsules", bytes.Repeat(rawCapsule(0x1234567), 1200)).with(too),
		fails(4008, "limits raised by one", func(p *hostilePeer) {
			var b []byte
			for i := range uint64(12_000) {
				b = append(b, integers(capsule.TypeMaxData, 1<<20+i)...)
			}
			p.send(b)
		}),
		fails(4008, "tiny datagrams", flood(rawCapsule(capsule.TypeDatagram, 'd'), 20_000, 40)),
		says(4009, "a message of more than 1 MiB", declared(0x1234567, 1<<20, make([]byte, 1<<20)...)).with(too),
		fails(4008, "a datagram of 2^60 bytes that never ends", endless(capsule.TypeDatagram)).with(bearable),
		survives("a datagram of 65,536 bytes", func(p *hostilePeer) {
			p.send(declared(capsule.TypeDatagram, 1<<16, make([]byte, 1<<16)...))
		}).with(too),
		survives("WT_DRAIN_SESSION five times", func(p *hostilePeer) {
			for range 5 {
				p.send(rawCapsule(capsule.TypeDrainSession))
			}
		}),
		says(4008, "WT_DRAIN_SESSION again and again", bytes.Repeat(rawCapsule(capsule.TypeDrainSession), 1200)),
	}
}

func endings() []hostileCase {
	closes := func(status int, name string, failed bool) hostileCase {
		c := script(name, func(p *hostilePeer) { p.closeFrame(status, "") })
		c.failed = failed
		return c
	}
	return []hostileCase{
		closes(1000, "Close 1000", false).with(too),
		closes(1001, "Close 1001", false),
		closes(0, "Close without a status", false).with(too),
		closes(1002, "Close 1002", true),
		closes(1008, "Close 1008", true),
		closes(1011, "Close 1011", true).with(too),
		closes(3000, "Close 3000", true),
		closes(4000, "Close 4000", true).with(too),
		fails(0, "the connection is cut", func(p *hostilePeer) { p.cut() }).with(too),
		script("WT_CLOSE_SESSION, then the connection is cut", func(p *hostilePeer) {
			p.send(closeSession(9, "bye"))
			// The page answers with its Close frame; a cut before it would take
			// with it what the page has not read yet.
			for p.advance() == nil {
			}
			p.cut()
		}).with(func(c *hostileCase) { c.code, c.reason = 9, "bye" }).with(too),
		script("WT_CLOSE_SESSION, then Close 4000", func(p *hostilePeer) {
			p.send(closeSession(9, "bye"))
			p.closeFrame(4000, "")
		}).with(func(c *hostileCase) { c.code, c.reason = 9, "bye" }),
		script("WT_CLOSE_SESSION, then more", func(p *hostilePeer) {
			p.send(closeSession(9, "bye"), streamData(1, false, "x"), closeSession(10, "again"), rawCapsule(capsule.TypeMaxData))
		}).with(func(c *hostileCase) { c.code, c.reason = 9, "bye" }),
		script("WT_CLOSE_SESSION with the longest reason", func(p *hostilePeer) {
			p.send(closeSession(4294967295, strings.Repeat("é", 512)))
		}).with(func(c *hostileCase) { c.code, c.reason = 4294967295, strings.Repeat("é", 512) }),
		opening("a server that is silent after a page's close", func(p *hostilePeer) error {
			if err := p.accept(); err != nil {
				return err
			}
			for p.ended == nil && p.advance() == nil {
			}
			p.silent()
			return nil
		}).with(func(c *hostileCase) {
			c.page, c.code, c.reason, c.failed, c.notReady = "close", 5, "from the page", false, false
		}).with(too),
	}
}

func openings() []hostileCase {
	answer := func(line string) func(p *hostilePeer) error {
		return func(p *hostilePeer) error {
			p.raw([]byte("HTTP/1.1 " + line + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
			p.conn.Close()
			p.cutOff = true
			return nil
		}
	}
	shake := func(change func(http.Header)) func(p *hostilePeer) error {
		return func(p *hostilePeer) error { return p.accept(change) }
	}
	set := func(name string, values ...string) func(p *hostilePeer) error {
		return shake(func(h http.Header) { h[http.CanonicalHeaderKey(name)] = values })
	}
	return []hostileCase{
		opening("no subprotocol selected", shake(func(h http.Header) { h.Del("Sec-WebSocket-Protocol") })).with(too),
		opening("a subprotocol that was not offered", set("Sec-WebSocket-Protocol", "chat")).with(too),
		opening("an application protocol that was not offered", set("Sec-WebSocket-Protocol", "towpath.capsule.v1.Y2hhdA")),
		opening("two subprotocols", set("Sec-WebSocket-Protocol", "towpath.capsule.v1, chat")),
		opening("an extension that was not offered", set("Sec-WebSocket-Extensions", "x-towpath-unknown")),
		opening("a wrong Sec-WebSocket-Accept", set("Sec-WebSocket-Accept", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=")),
		opening("200", answer("200 OK")).with(too),
		opening("301", answer("301 Moved Permanently\r\nLocation: /elsewhere")),
		opening("403", answer("403 Forbidden")).with(too),
		opening("500", answer("500 Internal Server Error")),
		opening("no HTTP", func(p *hostilePeer) error {
			p.raw([]byte("220 mail.example.com ESMTP\r\n\r\n"))
			p.conn.Close()
			p.cutOff = true
			return nil
		}),
		opening("the connection is cut before the answer", func(p *hostilePeer) error {
			p.cut()
			return nil
		}).with(too),
		opening("the connection is cut inside the answer", func(p *hostilePeer) error {
			p.raw([]byte("HTTP/1.1 101 Switching"))
			p.cut()
			return nil
		}),
		opening("a server that never answers, and a page that closes", func(p *hostilePeer) error {
			p.silent()
			return nil
		}).with(func(c *hostileCase) { c.page = "close now" }).with(too),
	}
}
