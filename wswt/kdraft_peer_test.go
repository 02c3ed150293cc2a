package wswt

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gobwas/ws"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/internal/memconn"
	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
)

// browserOffers is what the browser build offers without application protocols.
const browserOffers = kdraft1 + ", " + kdraft2

// kdraftScript is a session as a test sees it: the server's end is this
// package's, the client's end is scripted, message by message.
type kdraftScript struct {
	t    *testing.T
	s    transport.Session
	resp http.Header // of the handshake
	nc   net.Conn
	in   chan kdraftMessage // messages and Close frames of the server
	end  func()
}

// A kdraftMessage is what the server sent: a message, or a Close frame.
type kdraftMessage struct {
	hex    string
	frames int
	closed bool
	status ws.StatusCode
	reason string
}

func (m kdraftMessage) String() string {
	if m.closed {
		return fmt.Sprintf("Close %d %q", m.status, m.reason)
	}
	return fmt.Sprintf("message %s in %d frames", m.hex, m.frames)
}

// kdraftBubble runs a script over HTTP/1.1 and over HTTP/2, each in a bubble, in
// which nothing may be left when it ends.
func kdraftBubble(t *testing.T, name string, cfg *Config, f func(p *kdraftScript)) {
	for _, way := range []struct {
		name string
		open func(t *testing.T, cfg *Config, offers string) *kdraftScript
	}{
		{"HTTP/1.1", kdraftOverHTTP1},
		{"HTTP/2", kdraftOverHTTP2},
	} {
		t.Run(name+" over "+way.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := way.open(t, cfg, browserOffers)
				defer p.end()
				p.want("the greeting", "990b4d3f 4064", "990b4d40 4064")
				p.want("the session's credit", "990b4d3d 80100000")
				f(p)
			})
		})
	}
}

// kdraftServer serves a Server on memory, by HTTP/1.1 and HTTP/2.
func kdraftServer(t *testing.T, cfg *Config, opts *transport.UpgradeOptions) (ln *memconn.Listener, cert *testcert.Cert, got <-chan accepted, stop func()) {
	cert = testcert.New(t)
	s := NewServer(cfg)
	h, got := upgradeHandler(s, opts)
	checked := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "//echo" {
			t.Errorf("path %q", r.URL.Path)
		}
		h.ServeHTTP(w, r)
	})
	hs := &http.Server{Handler: checked, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: cert.ServerConfig()}
	if err := h2wt.ConfigureServer(hs, nil); err != nil {
		t.Fatal(err)
	}
	ln = memconn.Listen(nil)
	served := make(chan error, 1)
	go func() { served <- hs.Serve(tls.NewListener(ln, hs.TLSConfig)) }() // ends when the server is closed
	return ln, cert, got, func() {
		s.Close()
		hs.Close()
		<-served
		if n := s.budget.Held(); n != 0 {
			t.Errorf("%d bytes are still held", n)
		}
	}
}

func kdraftOverHTTP1(t *testing.T, cfg *Config, offers string) *kdraftScript {
	ln, cert, got, stop := kdraftServer(t, cfg, nil)
	nc := dialKDraft(t, ln, cert)
	resp, br := kdraftHandshake(t, nc, offers)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("status %d", resp.StatusCode)
	}
	return newKDraftScript(t, <-got, resp.Header, nc, br, stop)
}

func dialKDraft(t *testing.T, ln *memconn.Listener, cert *testcert.Cert) net.Conn {
	nc, err := ln.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return tls.Client(nc, cert.ClientConfig("example.com", "http/1.1"))
}

// kdraftHandshake opens a WebSocket as a browser does, and returns the answer
// with a reader of what follows it.
func kdraftHandshake(t *testing.T, nc net.Conn, offers string) (*http.Response, *bufio.Reader) {
	fmt.Fprintf(nc, "GET //echo HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nOrigin: https://example.com\r\n"+
		"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nSec-WebSocket-Protocol: %s\r\n\r\n", offers)
	br := bufio.NewReader(nc)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp, br
}

func kdraftOverHTTP2(t *testing.T, cfg *Config, offers string) *kdraftScript {
	ln, cert, got, stop := kdraftServer(t, cfg, nil)
	nc, err := ln.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := h2wt.NewClientConn(t.Context(), tls.Client(nc, cert.ClientConfig("example.com", "h2")), &h2wt.Config{AcceptWebSocketOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	stream, h, err := c.OpenWebSocket(t.Context(), "https://example.com//echo", http.Header{
		"Origin":                   {"https://example.com"},
		"Sec-WebSocket-Extensions": {"permessage-deflate"},
		"Sec-WebSocket-Protocol":   {offers},
	})
	if err != nil {
		t.Fatal(err)
	}
	return newKDraftScript(t, <-got, h, stream, stream, func() {
		c.Close()
		stop()
	})
}

func newKDraftScript(t *testing.T, a accepted, resp http.Header, nc net.Conn, r io.Reader, stop func()) *kdraftScript {
	if a.err != nil {
		t.Fatal(a.err)
	}
	p := &kdraftScript{t: t, s: a.s, resp: resp, nc: nc, in: make(chan kdraftMessage, 100)}
	read := make(chan struct{})
	go func() { // ends with the connection
		defer close(read)
		defer close(p.in)
		var m kdraftMessage
		for {
			frame, err := readFrame(r)
			if err != nil {
				return
			}
			switch {
			case frame.Header.Rsv != 0 || frame.Header.Masked:
				t.Errorf("frame with header %+v", frame.Header)
			case frame.Header.OpCode == ws.OpPing, frame.Header.OpCode == ws.OpPong:
			case frame.Header.OpCode == ws.OpClose:
				status, reason := ws.ParseCloseFrameData(frame.payload)
				p.in <- kdraftMessage{closed: true, status: status, reason: reason}
			case (frame.Header.OpCode == ws.OpContinuation) != (m.frames > 0):
				t.Errorf("frame %d of a message has opcode %x", m.frames, frame.Header.OpCode)
			default:
				m.hex += hex.EncodeToString(frame.payload)
				m.frames++
				if frame.Header.Fin {
					p.in <- m
					m = kdraftMessage{}
				}
			}
		}
	}()
	p.end = func() {
		nc.Close()
		stop()
		<-read
	}
	return p
}

func spaceless(s string) string { return strings.ReplaceAll(s, " ", "") }

// send sends messages, in hexadecimal, each in one frame.
func (p *kdraftScript) send(messages ...string) {
	p.t.Helper()
	for _, m := range messages {
		p.sendFrame(ws.OpBinary, true, unhex(p.t, m))
	}
}

func (p *kdraftScript) sendFrame(op ws.OpCode, fin bool, payload []byte) {
	p.t.Helper()
	if err := ws.WriteFrame(p.nc, ws.MaskFrame(ws.NewFrame(op, fin, bytes.Clone(payload)))); err != nil {
		p.t.Fatal(err)
	}
}

func (p *kdraftScript) sendClose(status ws.StatusCode) {
	p.t.Helper()
	p.sendFrame(ws.OpClose, true, closePayload(status, ""))
}

// next returns what the server sends next.
func (p *kdraftScript) next(why string) kdraftMessage {
	p.t.Helper()
	synctest.Wait()
	select {
	case m, ok := <-p.in:
		if !ok {
			p.t.Fatalf("%s: the connection ended", why)
		}
		return m
	default:
		p.t.Fatalf("%s: nothing was sent", why)
		return kdraftMessage{}
	}
}

// want wants messages, in hexadecimal.
func (p *kdraftScript) want(why string, messages ...string) {
	p.t.Helper()
	for _, want := range messages {
		if m := p.next(why); m.hex != spaceless(want) || m.frames != 1 {
			p.t.Fatalf("%s: %v, want the message %s", why, m, want)
		}
	}
}

// wantIdle wants nothing more to be sent.
func (p *kdraftScript) wantIdle(why string) {
	p.t.Helper()
	synctest.Wait()
	select {
	case m, ok := <-p.in:
		p.t.Fatalf("%s: %v (%v)", why, m, ok)
	default:
	}
}

// wantClose wants a Close frame.
func (p *kdraftScript) wantClose(why string, status ws.StatusCode, reason string) {
	p.t.Helper()
	if m := p.next(why); !m.closed || m.status != status || m.reason != reason {
		p.t.Fatalf("%s: %v, want Close %d %q", why, m, status, reason)
	}
}

// wantEnded wants the session to have ended, and returns why.
func (p *kdraftScript) wantEnded() *transport.SessionError {
	p.t.Helper()
	synctest.Wait()
	var end *transport.SessionError
	if !errors.As(context.Cause(p.s.Context()), &end) {
		p.t.Fatalf("the session goes on, %v", p.s.Context().Err())
	}
	return end
}

// wantConnectionEnd wants the server to end the connection.
func (p *kdraftScript) wantConnectionEnd() {
	p.t.Helper()
	if m, ok := <-p.in; ok {
		p.t.Fatalf("%v instead of the connection's end", m)
	}
}

// give is the credit that the browser build gives when it is connected.
func (p *kdraftScript) give() { p.send("990b4d3d 80004000", "990b4d3f 4064", "990b4d40 4064") }

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
