package negotiate

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/towpath-go/towpath/internal/memconn"
	"github.com/towpath-go/towpath/internal/testcert"
)

// A middlebox ends the client's TLS with a certificate that the client trusts,
// and opens TLS of its own to the server, as those do that look at the traffic.
// It is as far from the server as from the client.
type middlebox struct {
	w     *world
	front *memconn.Listener
	// alpn is what it offers the client; nil means that it knows nothing of
	// ALPN. It chooses the same towards the server.
	alpn []string
	// alert makes it refuse a client that offers nothing of alpn; without, the
	// choice is empty if HTTP/2 is all there is, as package tls has it.
	alert bool
	// settings are the HTTP/2 settings of the server's that it lets through;
	// nil means all.
	settings []uint16
	// onConnect, if set, answers the client's first HEADERS frame, instead of
	// the server: with bytes, and the end of the connection if there are none.
	onConnect []byte
	// silent makes it say nothing after the TLS handshake.
	silent bool
	// answer, if set, is what it says to every request over HTTP/1.1.
	answer string
	// cert, if set, is its certificate, which the client does not trust.
	cert *testcert.Cert
	// hold says what it keeps to itself until that has ended.
	hold held
	// idle, if set, is how long a connection may be silent before it is closed.
	idle time.Duration
}

// A held is what a middlebox buffers.
type held uint8

const (
	holdNothing  held = iota
	holdRequests      // whole requests: none has an end, so none leaves
	holdUpload        // what follows the client's header
	holdDownload      // what follows the server's header
)

// stand puts a middlebox before the world's TCP.
func (w *world) stand(m middlebox) {
	w.t.Helper()
	m.w = w
	m.front = memconn.Listen(&memconn.Options{Latency: oneWay})
	w.t.Cleanup(func() { m.front.Close() })
	w.mu.Lock()
	w.between = &m
	w.mu.Unlock()
	go func() { // ends with the listener
		for {
			c, err := m.front.Accept()
			if err != nil {
				return
			}
			go m.carry(c) // ends with either connection
		}
	}()
}

// An idleConn is closed when nothing passes for a while.
type idleConn struct {
	net.Conn
	limit time.Duration
	timer *time.Timer
}

func (c *idleConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.timer.Reset(c.limit)
	return n, err
}

func (c *idleConn) Write(p []byte) (int, error) {
	c.timer.Reset(c.limit)
	return c.Conn.Write(p)
}

func (m *middlebox) carry(c net.Conn) {
	defer c.Close()
	if m.idle > 0 {
		timer := time.AfterFunc(m.idle, func() { c.Close() })
		defer timer.Stop()
		c = &idleConn{c, m.idle, timer}
	}
	cert := m.w.cert
	if m.cert != nil {
		cert = m.cert
	}
	conf := cert.ServerConfig()
	conf.NextProtos = m.alpn
	if m.alert {
		conf.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			fits := func(p string) bool { return slices.Contains(m.alpn, p) }
			if slices.ContainsFunc(hello.SupportedProtos, fits) {
				return nil, nil
			}
			other := conf.Clone()
			other.NextProtos = []string{"other"}
			return other, nil
		}
	}
	in := tls.Server(c, conf)
	if in.Handshake() != nil {
		return
	}
	proto := in.ConnectionState().NegotiatedProtocol
	switch {
	case m.silent && proto == "h2":
		io.Copy(io.Discard, in)
		return
	case m.answer != "" && proto != "h2":
		m.answerOnce(in)
		return
	}
	raw, err := m.w.tcp.DialContext(m.w.t.Context(), "tcp", "")
	if err != nil {
		return
	}
	defer raw.Close()
	conf = m.w.cert.ClientConfig("")
	conf.ServerName = "example.com"
	if proto != "" {
		conf.NextProtos = []string{proto}
	}
	out := tls.Client(raw, conf)
	if out.Handshake() != nil {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		if proto == "h2" {
			m.down(in, out)
		} else {
			m.copyBody(in, out, holdDownload)
		}
		in.CloseWrite()
	})
	if proto == "h2" {
		m.up(out, in)
	} else {
		m.copyBody(out, in, holdUpload)
	}
	out.CloseWrite()
	back.Wait()
}

// answerOnce reads the head of a request and answers it.
func (m *middlebox) answerOnce(c net.Conn) {
	if readHead(c) != nil {
		io.WriteString(c, m.answer)
	}
}

// readHead reads up to the empty line after a header; nil if that does not come.
func readHead(c io.Reader) (head []byte) {
	b := make([]byte, 1)
	for !slices.Equal(head[max(len(head)-4, 0):], []byte("\r\n\r\n")) {
		if _, err := c.Read(b); err != nil {
			return nil
		}
		head = append(head, b...)
	}
	return head
}

// copyBody copies a message over HTTP/1.1, its body perhaps when it has ended.
func (m *middlebox) copyBody(dst io.Writer, src io.Reader, direction held) {
	if m.hold != direction {
		io.Copy(dst, src)
		return
	}
	dst.Write(readHead(src))
	body, _ := io.ReadAll(src)
	dst.Write(body)
}

const (
	frameData     = 0
	frameHeaders  = 1
	frameReset    = 3
	frameSettings = 4
)

// frame reads one HTTP/2 frame, its header of 9 bytes included.
func frame(r io.Reader) ([]byte, error) {
	f := make([]byte, 9)
	if _, err := io.ReadFull(r, f); err != nil {
		return nil, err
	}
	n := int(f[0])<<16 | int(f[1])<<8 | int(f[2])
	f = append(f, make([]byte, n)...)
	_, err := io.ReadFull(r, f[9:])
	return f, err
}

// resetFrame resets stream 1.
func resetFrame(code uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{0, 0, 4, frameReset, 0, 0, 0, 0, 1}, code)
}

// keeps buffers a frame of a body that is still to end, and returns the frames to
// pass on now.
func (m *middlebox) keeps(f []byte, direction held, kept *[]byte) []byte {
	const endStream = 1
	switch {
	case m.hold == holdRequests && direction == holdUpload && (f[3] == frameData || f[3] == frameHeaders),
		m.hold == direction && f[3] == frameData:
	default:
		return f
	}
	*kept = append(*kept, f...)
	if f[4]&endStream == 0 {
		return nil
	}
	f, *kept = *kept, nil
	return f
}

// down passes the server's frames on, with the settings that it knows.
func (m *middlebox) down(dst, src net.Conn) {
	var body []byte
	for {
		f, err := frame(src)
		if err != nil {
			return
		}
		if f = m.keeps(f, holdDownload, &body); f == nil {
			continue
		}
		if f[3] == frameSettings && f[4] == 0 && m.settings != nil {
			kept := slices.Clone(f[:9])
			for p := f[9:]; len(p) >= 6; p = p[6:] {
				if slices.Contains(m.settings, binary.BigEndian.Uint16(p)) {
					kept = append(kept, p[:6]...)
				}
			}
			f = kept
			f[2] = byte(len(f) - 9) // few settings
			f[1] = byte((len(f) - 9) >> 8)
		}
		if _, err := dst.Write(f); err != nil {
			return
		}
	}
}

// up passes the client's preface and frames on.
func (m *middlebox) up(dst, src net.Conn) {
	preface := make([]byte, 24)
	if _, err := io.ReadFull(src, preface); err != nil {
		return
	}
	dst.Write(preface)
	var body []byte
	for {
		f, err := frame(src)
		if err != nil {
			return
		}
		if f = m.keeps(f, holdUpload, &body); f == nil {
			continue
		}
		if f[3] == frameHeaders && m.onConnect != nil {
			if len(m.onConnect) == 0 {
				src.Close()
				return
			}
			src.Write(m.onConnect)
			continue
		}
		if _, err := dst.Write(f); err != nil {
			return
		}
	}
}
