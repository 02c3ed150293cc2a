package browsers

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/testcert"
)

// Opcodes of RFC 6455 section 5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
)

// hostileTime bounds everything that one case does.
const hostileTime = 20 * time.Second

// pageTime bounds each of a page's waits, for ready and for closed. No case needs
// it to pass.
const pageTime = 15 * time.Second

// A hostileServer plays one script to each session: https://HOST/case/NAME is
// what the page connects to. It shares no line with package wswt, whose rules it
// breaks. Any other path is a file for the page.
type hostileServer struct {
	t    *testing.T
	cert *testcert.Cert
	addr string

	ln       net.Listener
	serving  sync.WaitGroup
	files    map[string]string // a path's prefix, and the directory or file that it stands for
	mu       sync.Mutex        // guards the following
	cases    map[string]hostileCase
	verdicts map[string]chan verdict
	conns    map[net.Conn]struct{}
}

// A verdict is what the server saw of the page at the end of a script.
type verdict struct {
	status int // of the page's Close frame; 0 is none
	reason string
	err    error // the script could not be played
}

func newHostileServer(t *testing.T, files map[string]string) *hostileServer {
	t.Helper()
	h := &hostileServer{
		t: t, cert: testcert.New(t), files: files,
		cases: map[string]hostileCase{}, verdicts: map[string]chan verdict{}, conns: map[net.Conn]struct{}{},
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", h.cert.ServerConfig("http/1.1"))
	if err != nil {
		t.Fatal(err)
	}
	h.ln, h.addr = ln, ln.Addr().String()
	h.serving.Add(1)
	go func() { // ends with the listener
		defer h.serving.Done()
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			h.mu.Lock()
			h.conns[conn] = struct{}{}
			h.mu.Unlock()
			h.serving.Add(1)
			go h.serve(conn) // ends with the connection, which Cleanup closes
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		h.mu.Lock()
		for conn := range h.conns {
			conn.Close()
		}
		h.mu.Unlock()
		h.serving.Wait()
	})
	return h
}

// play makes a case known and returns its URL and where its verdict comes.
func (h *hostileServer) play(c hostileCase) (url string, seen <-chan verdict) {
	h.mu.Lock()
	defer h.mu.Unlock()
	name := fmt.Sprintf("/case/%d", len(h.cases))
	verdicts := make(chan verdict, 1)
	h.cases[name], h.verdicts[name] = c, verdicts
	return "https://" + h.addr + name, verdicts
}

func (h *hostileServer) serve(conn net.Conn) {
	defer h.serving.Done()
	defer func() {
		conn.Close()
		h.mu.Lock()
		delete(h.conns, conn)
		h.mu.Unlock()
	}()
	conn.SetDeadline(time.Now().Add(2 * hostileTime))
	p := &hostilePeer{conn: conn, r: bufio.NewReader(conn), opened: map[uint64]bool{}, finished: map[uint64]bool{}, reset: map[uint64]bool{}, maxStreams: 100, maxData: 64 << 10}
	var err error
	if p.req, err = http.ReadRequest(p.r); err != nil {
		return // a browser's spare connection
	}
	h.mu.Lock()
	c, ok := h.cases[p.req.URL.Path]
	verdicts := h.verdicts[p.req.URL.Path]
	h.mu.Unlock()
	if !ok {
		h.file(conn, p.req)
		return
	}
	v := verdict{err: c.run(p)}
	if v.err == nil && !p.cutOff {
		v.status, v.reason = p.drain()
	}
	select {
	case verdicts <- v:
	default: // a page that dials twice: the first counts
	}
	if p.mute {
		conn.SetDeadline(time.Time{})
		io.Copy(io.Discard, conn)
	}
}

// file answers an ordinary request.
func (h *hostileServer) file(conn net.Conn, req *http.Request) {
	resp := &http.Response{StatusCode: http.StatusNotFound, ProtoMajor: 1, ProtoMinor: 1, Close: true, Request: req, Header: http.Header{}}
	for prefix, target := range h.files {
		rest, ok := strings.CutPrefix(req.URL.Path, prefix)
		if !ok || strings.Contains(rest, "..") {
			continue
		}
		body, err := os.ReadFile(filepath.Join(target, filepath.FromSlash(rest)))
		if err != nil {
			continue
		}
		resp.StatusCode, resp.Body, resp.ContentLength = http.StatusOK, io.NopCloser(bytes.NewReader(body)), int64(len(body))
		kind := "text/html; charset=utf-8"
		if ext := filepath.Ext(req.URL.Path); ext == ".js" || ext == ".mjs" {
			kind = "text/javascript"
		}
		resp.Header.Set("Content-Type", kind)
	}
	resp.Write(conn)
}

// A hostilePeer is one connection of a page to a script.
type hostilePeer struct {
	conn                    net.Conn
	r                       *bufio.Reader
	req                     *http.Request
	rest                    []byte // of the page's capsule stream, not parsed yet
	opened, finished, reset map[uint64]bool
	// maxStreams is how many unidirectional streams the page allows.
	maxStreams uint64
	// maxData is what the page allows on its first stream.
	maxData   uint64
	sentClose bool
	ended     *verdict // by a Close frame that was read while the script ran
	cutOff    bool     // the script ended the connection, or
	mute      bool     // says nothing more on it
	err       error    // the first of a write; the scripts go on without looking
}

// accept answers the opening handshake with a subprotocol of the page's offer,
// or with whatever changes make of that.
func (p *hostilePeer) accept(changes ...func(http.Header)) error {
	if got := p.req.Header.Get("Sec-WebSocket-Protocol"); !strings.Contains(got, "towpath.capsule.v1") {
		return fmt.Errorf("the page offers the subprotocols %q", got)
	}
	sum := sha1.Sum([]byte(p.req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	header := http.Header{
		"Upgrade":                {"websocket"},
		"Connection":             {"Upgrade"},
		"Sec-Websocket-Accept":   {base64.StdEncoding.EncodeToString(sum[:])},
		"Sec-Websocket-Protocol": {"towpath.capsule.v1"},
	}
	for _, change := range changes {
		change(header)
	}
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	header.Write(&b)
	b.WriteString("\r\n")
	p.raw(b.Bytes())
	return p.err
}

func (p *hostilePeer) raw(b []byte) {
	if _, err := p.conn.Write(b); err != nil && p.err == nil {
		p.err = err
	}
}

// frame is a frame as servers send it.
func frame(op byte, fin bool, payload []byte) []byte {
	b := []byte{op, 0}
	if fin {
		b[0] |= 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b[1] = byte(n)
	case n < 1<<16:
		b[1] = 126
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b[1] = 127
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return append(b, payload...)
}

// send sends each piece as a message of its own.
func (p *hostilePeer) send(pieces ...[]byte) {
	var b []byte
	for _, piece := range pieces {
		b = append(b, frame(opBinary, true, piece)...)
	}
	p.raw(b)
}

// closeFrame sends a Close frame; status 0 is none.
func (p *hostilePeer) closeFrame(status int, reason string) {
	var payload []byte
	if status != 0 {
		payload = append(binary.BigEndian.AppendUint16(nil, uint16(status)), reason...)
	}
	p.sentClose = true
	p.raw(frame(opClose, true, payload))
}

// cut ends the TCP connection without a word of TLS or WebSocket.
func (p *hostilePeer) cut() {
	p.cutOff = true
	if tc, ok := p.conn.(*tls.Conn); ok {
		if raw, ok := tc.NetConn().(*net.TCPConn); ok {
			raw.SetLinger(0)
			raw.Close()
		}
	}
}

// next reads a frame of the page.
func (p *hostilePeer) next() (op byte, payload []byte, err error) {
	var head [14]byte
	if _, err = io.ReadFull(p.r, head[:2]); err != nil {
		return 0, nil, err
	}
	op = head[0] & 0x0f
	if head[0]&0x70 != 0 || head[1]&0x80 == 0 {
		return op, nil, fmt.Errorf("a frame of the page begins with %x", head[:2])
	}
	n := uint64(head[1] & 0x7f)
	switch n {
	case 126:
		_, err = io.ReadFull(p.r, head[:2])
		n = uint64(binary.BigEndian.Uint16(head[:2]))
	case 127:
		_, err = io.ReadFull(p.r, head[:8])
		n = binary.BigEndian.Uint64(head[:8])
	}
	if err != nil {
		return op, nil, err
	}
	if n > 4<<20 {
		return op, nil, fmt.Errorf("a frame of %d bytes of the page", n)
	}
	var key [4]byte
	if _, err = io.ReadFull(p.r, key[:]); err != nil {
		return op, nil, err
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(p.r, payload)
	for i := range payload {
		payload[i] ^= key[i%4]
	}
	return op, payload, err
}

// advance reads one frame and what it says.
func (p *hostilePeer) advance() error {
	op, payload, err := p.next()
	if err != nil {
		return err
	}
	switch op {
	case opClose:
		p.ended = &verdict{}
		if len(payload) >= 2 {
			p.ended.status, p.ended.reason = int(binary.BigEndian.Uint16(payload)), string(payload[2:])
		}
		return errClosed
	case opBinary, opContinuation:
		p.rest = append(p.rest, payload...)
		for {
			typ, n := capsule.ParseVarint(p.rest)
			if n == 0 {
				return nil
			}
			length, m := capsule.ParseVarint(p.rest[n:])
			if m == 0 || uint64(len(p.rest)-n-m) < length {
				return nil
			}
			value := p.rest[n+m:][:length]
			p.rest = p.rest[n+m+int(length):]
			v, n := capsule.ParseVarint(value)
			if n == 0 {
				continue
			}
			switch capsule.Type(typ) {
			case capsule.TypeStream, capsule.TypeStreamFin:
				p.opened[v] = true
				p.finished[v] = capsule.Type(typ) == capsule.TypeStreamFin
			case capsule.TypeResetStream:
				p.reset[v] = true
			case capsule.TypeMaxStreamsUni:
				p.maxStreams = v
			case capsule.TypeMaxStreamData:
				if limit, m := capsule.ParseVarint(value[n:]); v == 0 && m > 0 {
					p.maxData = limit
				}
			}
		}
	}
	return nil
}

var errClosed = errors.New("the page closed the WebSocket")

// wait reads until the page has opened its first stream of each kind.
func (p *hostilePeer) wait() error {
	for !p.opened[0] || !p.opened[2] {
		if err := p.advance(); err != nil {
			return fmt.Errorf("before the page opened its streams: %w", err)
		}
	}
	return nil
}

// drain reads to the page's Close frame, and answers it if the script has sent
// none. The connection ends then.
func (p *hostilePeer) drain() (status int, reason string) {
	for p.ended == nil {
		if err := p.advance(); err != nil && p.ended == nil {
			return 0, ""
		}
	}
	if !p.sentClose {
		p.closeFrame(p.ended.status, "")
	}
	return p.ended.status, p.ended.reason
}

// quiet reads until nothing has come for a while: a page that reads nothing
// raises no limit after that.
func (p *hostilePeer) quiet() {
	for {
		p.conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if _, err := p.r.Peek(1); err != nil {
			break
		}
		p.conn.SetReadDeadline(time.Now().Add(hostileTime))
		if p.advance() != nil {
			break
		}
	}
	p.conn.SetReadDeadline(time.Now().Add(hostileTime))
}

// awaitStreams reads until the page allows n unidirectional streams.
func (p *hostilePeer) awaitStreams(n uint64) {
	for p.maxStreams < n {
		if err := p.advance(); err != nil {
			return
		}
	}
}

// silent says nothing more: the connection stays until the test's end.
func (p *hostilePeer) silent() { p.cutOff, p.mute = true, true }
