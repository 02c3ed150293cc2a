package e2e_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"

	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/wswt"
)

// capsuleClient is a WebSocket client of another library, by which the tests
// speak towpath.capsule.v1 by hand as docs/websocket.md has it.
type capsuleClient interface {
	subprotocol() string
	extensions() string
	send(binary bool, message []byte) error
	// receive returns the next binary message, or the status of the Close frame.
	receive() (message []byte, status int, err error)
	close(status int) error
	end()
}

type coderClient struct {
	ctx  context.Context
	conn *coder.Conn
	resp *http.Response
}

func dialCoder(ctx context.Context, url string, conf *tls.Config, subprotocols []string) (capsuleClient, error) {
	conn, resp, err := coder.Dial(ctx, url, &coder.DialOptions{
		HTTPClient:      &http.Client{Transport: &http.Transport{TLSClientConfig: conf}},
		Subprotocols:    subprotocols,
		CompressionMode: coder.CompressionContextTakeover, // is offered
	})
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(1 << 20)
	return &coderClient{ctx, conn, resp}, nil
}

func (c *coderClient) subprotocol() string { return c.conn.Subprotocol() }
func (c *coderClient) extensions() string  { return c.resp.Header.Get("Sec-WebSocket-Extensions") }

func (c *coderClient) send(binary bool, message []byte) error {
	kind := coder.MessageText
	if binary {
		kind = coder.MessageBinary
	}
	w, err := c.conn.Writer(c.ctx, kind) // which writes in fragments
	if err != nil {
		return err
	}
	for _, part := range [][]byte{message[:len(message)/2], message[len(message)/2:]} {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return w.Close()
}

func (c *coderClient) receive() ([]byte, int, error) {
	kind, message, err := c.conn.Read(c.ctx)
	if status := coder.CloseStatus(err); status >= 0 {
		return nil, int(status), nil
	}
	if err == nil && kind != coder.MessageBinary {
		err = errors.New("text message")
	}
	return message, 0, err
}

func (c *coderClient) close(status int) error { return c.conn.Close(coder.StatusCode(status), "") }
func (c *coderClient) end()                   { c.conn.CloseNow() }

type gorillaClient struct {
	conn *gorilla.Conn
	resp *http.Response
}

func dialGorilla(ctx context.Context, url string, conf *tls.Config, subprotocols []string) (capsuleClient, error) {
	d := gorilla.Dialer{TLSClientConfig: conf, Subprotocols: subprotocols, EnableCompression: true}
	conn, resp, err := d.DialContext(ctx, url, nil)
	if err != nil {
		return nil, err
	}
	return &gorillaClient{conn, resp}, nil
}

func (c *gorillaClient) subprotocol() string { return c.conn.Subprotocol() }
func (c *gorillaClient) extensions() string  { return c.resp.Header.Get("Sec-WebSocket-Extensions") }

func (c *gorillaClient) send(binary bool, message []byte) error {
	kind := gorilla.TextMessage
	if binary {
		kind = gorilla.BinaryMessage
	}
	return c.conn.WriteMessage(kind, message)
}

func (c *gorillaClient) receive() ([]byte, int, error) {
	kind, message, err := c.conn.ReadMessage()
	if ce, ok := errors.AsType[*gorilla.CloseError](err); ok {
		return nil, ce.Code, nil
	}
	if err == nil && kind != gorilla.BinaryMessage {
		err = errors.New("text message")
	}
	return message, 0, err
}

func (c *gorillaClient) close(status int) error {
	return c.conn.WriteMessage(gorilla.CloseMessage, gorilla.FormatCloseMessage(status, ""))
}
func (c *gorillaClient) end() { c.conn.Close() }

// wsCapsule is a Type of 4 bytes, a Length of 4, and the value.
func wsCapsule(typ uint32, value ...byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, typ|0x80000000)
	b = binary.BigEndian.AppendUint32(b, uint32(len(value))|0x80000000)
	return append(b, value...)
}

// varint reads an integer of RFC 9000 section 16.
func varint(b []byte) (v uint64, rest []byte, ok bool) {
	if len(b) == 0 || len(b) < 1<<(b[0]>>6) {
		return 0, b, false
	}
	n := 1 << (b[0] >> 6)
	v = uint64(b[0] & 0x3f)
	for _, c := range b[1:n] {
		v = v<<8 | uint64(c)
	}
	return v, b[n:], true
}

// receiveStream collects the data of stream 0 up to its FIN.
func receiveStream(c capsuleClient) ([]byte, error) {
	const typeFin, typeNoFin = 0x190B4D3B, 0x190B4D3C
	var pending, data []byte
	for {
		message, status, err := c.receive()
		if err != nil || status != 0 {
			return data, fmt.Errorf("status %d, %w", status, err)
		}
		pending = append(pending, message...)
		for {
			typ, rest, ok1 := varint(pending)
			length, rest, ok2 := varint(rest)
			if !ok1 || !ok2 || uint64(len(rest)) < length {
				break
			}
			value := rest[:length]
			pending = rest[length:]
			if typ != typeFin && typ != typeNoFin {
				continue
			}
			id, value, ok := varint(value)
			if !ok || id != 0 {
				return data, fmt.Errorf("data on stream %d", id)
			}
			data = append(data, value...)
			if typ == typeFin {
				return data, nil
			}
		}
	}
}

// TestWebSocketCapsules has WebSocket clients that nobody here wrote speak the
// subprotocol to a server.
func TestWebSocketCapsules(t *testing.T) {
	for name, dial := range map[string]func(context.Context, string, *tls.Config, []string) (capsuleClient, error){
		"coder": dialCoder, "gorilla": dialGorilla,
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cert := testcert.New(t)
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			srv := wswt.NewServer(nil)
			sessions := make(chan transport.Session, 2)
			hs := &http.Server{TLSConfig: cert.ServerConfig("http/1.1"), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s, err := srv.Upgrade(w, r, &transport.UpgradeOptions{Protocols: []string{"echo"}})
				if err != nil {
					return // Upgrade has answered, and dial reports it
				}
				sessions <- s
				if x, err := s.AcceptStream(ctx); err == nil {
					io.Copy(x, x)
					x.Close()
				}
			})}
			served := make(chan error, 1)
			go func() { served <- hs.ServeTLS(ln, "", "") }()
			defer func() {
				srv.Close()
				hs.Close()
				<-served
			}()
			url := "wss://" + ln.Addr().String() + "/"
			open := func() (capsuleClient, transport.Session) {
				c, err := dial(ctx, url, cert.ClientConfig("example.com"), []string{"towpath.capsule.v1.ZWNobw", "towpath.capsule.v1"})
				if err != nil {
					t.Fatal(err)
				}
				if c.subprotocol() != "towpath.capsule.v1.ZWNobw" || c.extensions() != "" {
					t.Errorf("subprotocol %q, extensions %q", c.subprotocol(), c.extensions())
				}
				return c, <-sessions
			}

			c, s := open()
			defer c.end()
			if p := s.Info().ApplicationProtocol; p != "echo" {
				t.Errorf("application protocol %q", p)
			}
			data := bytes.Repeat([]byte("towpath "), 60_000/8)
			b := wsCapsule(0x190B4D3B, append([]byte{0}, data...)...)
			for _, message := range [][]byte{b[:3], b[3:50_000], nil, b[50_000:]} {
				if err := c.send(true, message); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := receiveStream(c); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%d bytes of %d came back, %v", len(got), len(data), err)
			}
			if err := c.send(true, []byte("\x68\x43\x07\x00\x00\x00\x07bye")); err != nil {
				t.Fatal(err)
			}
			if err := c.close(1000); err != nil {
				t.Errorf("close: %v", err)
			}
			<-s.Context().Done()
			if se, ok := errors.AsType[*transport.SessionError](context.Cause(s.Context())); !ok || se.Code != 7 || se.Reason != "bye" || !se.Remote {
				t.Errorf("the session ended with %v", se)
			}

			c, s = open()
			defer c.end()
			if err := c.send(false, []byte("text")); err != nil {
				t.Fatal(err)
			}
			for {
				_, status, err := c.receive()
				if err != nil {
					t.Fatal(err)
				}
				if status != 0 {
					if status != 1003 {
						t.Errorf("status %d for a text message", status)
					}
					break
				}
			}
			<-s.Context().Done()
			if pe, ok := errors.AsType[*transport.ProtocolError](context.Cause(s.Context())); !ok || pe.Violation != transport.ViolationMalformed {
				t.Errorf("the session ended with %v", context.Cause(s.Context()))
			}
		})
	}
}
