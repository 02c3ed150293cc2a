package attack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
)

var quicAttacks = []Attack{
	{Name: "h3-initials", What: "QUIC handshakes begun and dropped", Way: ledger.H3, Loops: 4, run: initials},
	{Name: "h3-handshakes", What: "whole QUIC handshakes", Way: ledger.H3, Loops: 4, run: quicHandshakes},
	{Name: "h3-garbage", What: "UDP packets that are not QUIC, and look like it", Way: ledger.H3, run: garbage},
	{Name: "h3-datagrams", What: "datagrams of 100 bytes, which are echoed", Way: ledger.H3, run: h3Datagrams},
	{Name: "h3-streams", What: "streams opened and reset in a session", Way: ledger.H3, run: h3Streams},
	{Name: "h3-requests-reset", What: "requests opened and reset at once", Way: ledger.H3, run: h3Requests},
	{Name: "h3-sessions", What: "sessions opened and reset on one connection", Way: ledger.H3, run: h3Sessions},
	{Name: "h3-capsules", What: "PADDING capsules on a session's CONNECT stream", Way: ledger.H3, run: h3Capsules},
	{Name: "h3-homeless", What: "streams of sessions that there are not", Way: ledger.H3, run: h3Homeless},
}

// an h3 is a client of HTTP/3 that sends what it likes.
type h3 struct {
	t   *Target
	ctx context.Context
	qc  *quic.Conn
	pc  *net.UDPConn
}

func (t *Target) udp() (*net.UDPConn, *net.UDPAddr, error) {
	addr, err := net.ResolveUDPAddr("udp", t.Address)
	if err != nil {
		return nil, nil, err
	}
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: source})
	return pc, addr, err
}

var quicConfig = &quic.Config{EnableDatagrams: true, EnableStreamResetPartialDelivery: true, MaxIncomingStreams: 1000, MaxIncomingUniStreams: 1000,
	HandshakeIdleTimeout: 2 * time.Second}

// dialH3 connects and sends SETTINGS.
func dialH3(ctx context.Context, t *Target) (*h3, error) {
	pc, addr, err := t.udp()
	if err != nil {
		return nil, err
	}
	conf := t.tls.Clone()
	conf.NextProtos = []string{"h3"}
	qc, err := quic.Dial(ctx, pc, addr, conf, quicConfig)
	if err != nil {
		pc.Close()
		return nil, err
	}
	t.connections.Add(1)
	c := &h3{t: t, ctx: ctx, qc: qc, pc: pc}
	go c.drain() // ends with the connection
	s, err := qc.OpenUniStream()
	if err == nil {
		b := []byte{0} // the control stream
		var v []byte
		for _, setting := range [][2]uint64{{0x08, 1}, {0x33, 1}, {0x2c7cf000, 1}, {0x2b61, 1 << 20}, {0x2b64, 100}, {0x2b65, 100}} {
			v = capsule.AppendVarint(capsule.AppendVarint(v, setting[0]), setting[1])
		}
		_, err = s.Write(appendCapsule(b, 0x04, v)) // a frame is laid out as a capsule is
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// drain reads what comes.
func (c *h3) drain() {
	go func() { // ends with the connection
		for {
			if _, err := c.qc.ReceiveDatagram(context.Background()); err != nil {
				return
			}
		}
	}()
	for {
		s, err := c.qc.AcceptUniStream(context.Background())
		if err != nil {
			return
		}
		go io.Copy(io.Discard, s) // ends with the connection
	}
}

// close ends the connection.
func (c *h3) close() {
	if c.ctx.Err() == nil && c.qc.Context().Err() != nil {
		c.t.cut.Add(1)
	}
	c.qc.CloseWithError(0x100, "")
	c.pc.Close()
}

// request is a HEADERS frame with the fields as literals (RFC 9204).
func request(fields ...string) []byte {
	b := []byte{0, 0} // no dynamic table
	for i := 0; i < len(fields); i += 2 {
		name, value := fields[i], fields[i+1]
		b = prefixed(b, 0x20, 3, len(name))
		b = append(b, name...)
		b = prefixed(b, 0, 7, len(value))
		b = append(b, value...)
	}
	return appendCapsule(nil, 0x01, b)
}

// prefixed appends an integer with a prefix of so many bits (RFC 7541 section
// 5.1).
func prefixed(b []byte, first byte, bits, n int) []byte {
	most := 1<<bits - 1
	if n < most {
		return append(b, first|byte(n))
	}
	b = append(b, first|byte(most))
	for n -= most; n >= 128; n /= 128 {
		b = append(b, byte(n%128)|128)
	}
	return append(b, byte(n))
}

func (c *h3) connect() []byte {
	return request(":method", "CONNECT", ":protocol", "webtransport-h3", ":scheme", "https", ":authority", c.t.Address, ":path", "/echo")
}

// session opens one, and returns its stream when it was answered.
func (c *h3) session() (*quic.Stream, error) {
	s, err := c.qc.OpenStreamSync(c.ctx)
	if err != nil {
		return nil, err
	}
	if _, err := s.Write(c.connect()); err != nil {
		return nil, err
	}
	c.t.sent(1, 0)
	var b [512]byte
	n, err := s.Read(b[:])
	if err == nil && (n < 5 || !bytes.Contains(b[:n], []byte{0xd9})) { // :status 200 in the static table
		err = fmt.Errorf("answered %x", b[:n])
	}
	if err != nil {
		return nil, err
	}
	go io.Copy(io.Discard, s) // ends with the stream
	return s, nil
}

// inSession3 has f do something in a session, over and over.
func inSession3(ctx context.Context, t *Target, f func(c *h3, s *quic.Stream) error) error {
	c, err := dialH3(ctx, t)
	if err != nil {
		return err
	}
	defer c.close()
	s, err := c.session()
	for err == nil {
		if err = ctx.Err(); err == nil {
			err = f(c, s)
		}
	}
	return err
}

func h3Datagrams(ctx context.Context, t *Target) error {
	var p []byte
	return inSession3(ctx, t, func(c *h3, s *quic.Stream) error {
		if p == nil {
			p = append(capsule.AppendVarint(nil, uint64(s.StreamID())/4), make([]byte, 100)...)
		}
		t.sent(1, len(p))
		return c.qc.SendDatagram(p)
	})
}

func h3Streams(ctx context.Context, t *Target) error {
	return inSession3(ctx, t, func(c *h3, s *quic.Stream) error {
		u, err := c.qc.OpenUniStreamSync(ctx)
		if err != nil {
			return err
		}
		b := capsule.AppendVarint(capsule.AppendVarint(nil, 0x54), uint64(s.StreamID()))
		u.Write(append(b, 'x'))
		u.CancelWrite(0x52e4a40fa8db) // WT_APPLICATION_ERROR 0
		t.sent(1, len(b)+1)
		return nil
	})
}

func h3Capsules(ctx context.Context, t *Target) error {
	// In DATA frames, as all capsules on the CONNECT stream.
	p := appendCapsule(nil, 0, capsules(batch, func(b []byte, _ int) []byte { return appendCapsule(b, uint64(capsule.TypePadding), nil) }))
	return inSession3(ctx, t, func(c *h3, s *quic.Stream) error {
		_, err := s.Write(p)
		t.sent(batch, len(p))
		return err
	})
}

// withH3 has f do something on a connection, over and over.
func withH3(ctx context.Context, t *Target, f func(c *h3) error) error {
	c, err := dialH3(ctx, t)
	if err != nil {
		return err
	}
	defer c.close()
	for err == nil {
		if err = ctx.Err(); err == nil {
			err = f(c)
		}
	}
	return err
}

func h3Requests(ctx context.Context, t *Target) error {
	p := request(":method", "GET", ":scheme", "https", ":authority", t.Address, ":path", "/")
	return withH3(ctx, t, func(c *h3) error { return c.openAndReset(p) })
}

func h3Sessions(ctx context.Context, t *Target) error {
	return withH3(ctx, t, func(c *h3) error { return c.openAndReset(c.connect()) })
}

func (c *h3) openAndReset(p []byte) error {
	s, err := c.qc.OpenStreamSync(c.ctx)
	if err != nil {
		return err
	}
	s.Write(p)
	s.CancelWrite(0x10c) // H3_REQUEST_CANCELLED
	s.CancelRead(0x10c)
	c.t.sent(1, len(p))
	return nil
}

func h3Homeless(ctx context.Context, t *Target) error {
	b := capsule.AppendVarint(capsule.AppendVarint(nil, 0x54), 400)
	return withH3(ctx, t, func(c *h3) error {
		u, err := c.qc.OpenUniStreamSync(ctx)
		if err != nil {
			return err
		}
		_, err = u.Write(append(b, 'x'))
		t.sent(1, len(b)+1)
		return err
	})
}

// initials begins handshakes from new ports and does not go on with them.
func initials(ctx context.Context, t *Target) error {
	conf := t.tls.Clone()
	conf.NextProtos = []string{"h3"}
	for ctx.Err() == nil {
		pc, addr, err := t.udp()
		if err != nil {
			return err
		}
		tr := &quic.Transport{Conn: pc}
		brief, cancel := context.WithTimeout(ctx, 2*time.Millisecond)
		qc, err := tr.Dial(brief, addr, conf, quicConfig)
		cancel()
		if err == nil {
			qc.CloseWithError(0x100, "")
		}
		t.connections.Add(1)
		t.sent(1, 1200)
		tr.Close()
		pc.Close()
	}
	return ctx.Err()
}

func quicHandshakes(ctx context.Context, t *Target) error {
	for ctx.Err() == nil {
		brief, cancel := context.WithTimeout(ctx, 2*time.Second)
		c, err := dialH3(brief, t)
		cancel()
		if err != nil {
			t.cut.Add(1)
			wait(ctx)
			continue
		}
		t.sent(1, 1200)
		c.close()
	}
	return ctx.Err()
}

// garbage sends packets with the first byte of a short and of a long header.
func garbage(ctx context.Context, t *Target) error {
	pc, addr, err := t.udp()
	if err != nil {
		return err
	}
	defer pc.Close()
	t.connections.Add(1)
	p := make([]byte, 1200)
	for i := 0; ctx.Err() == nil; i++ {
		p[0] = 0x40
		if i%2 == 0 {
			p[0] = 0xc0
		}
		p[1+i%19] = byte(i)
		if _, err := pc.WriteToUDP(p, addr); err != nil && !errors.Is(err, net.ErrClosed) {
			wait(ctx) // the queue is full
			continue
		}
		t.sent(1, len(p))
	}
	return ctx.Err()
}
