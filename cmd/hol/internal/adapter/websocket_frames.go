package adapter

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// A frameStream is the stream of an extended CONNECT, which carries the frames
// of a WebSocket as a TCP connection would.
type frameStream interface {
	// Read is called by one goroutine, Write and CloseWrite by one at a time.
	io.Reader
	io.Writer
	// CloseWrite ends the stream in this direction.
	CloseWrite() error
	// Finished is called once nothing else is, but for Abort. Without clean the
	// stream must not look as if it had ended in order.
	Finished(clean bool)
	// Abort ends the calls of all others. It may be called at any time and more
	// than once.
	Abort()
}

// A framed is a WebSocket over a stream, framed by gobwas/ws (RFC 6455 section
// 5), without extensions.
type framed struct {
	stream frameStream
	state  ws.State // which side this is
	limit  int      // of a message that is received
	br     *bufio.Reader
	header [ws.MaxHeaderSize]byte // the reader's

	// turn is the turn to write: control frames of the reader must not come into
	// the middle of a frame. It is a channel, not a mutex, because it is held
	// while the stream has no room.
	turn   chan struct{}
	frame  bytes.Buffer // of who has the turn
	closed bool         // after a Close frame nothing is sent (section 5.5.1); of who has the turn

	aborted atomic.Bool
}

func newFramed(stream frameStream, client bool, limit int) *framed {
	f := &framed{
		stream: stream,
		state:  ws.StateServerSide,
		limit:  limit,
		br:     bufio.NewReader(stream),
		turn:   make(chan struct{}, 1),
	}
	if client {
		f.state = ws.StateClientSide
	}
	return f
}

func (f *framed) write(message []byte) error { return f.send(ws.OpBinary, message) }

func (f *framed) close() {
	// Without a peer that takes it, abort ends the wait.
	_ = f.sendClose(ws.StatusNormalClosure)
}

func (f *framed) finish(clean bool) {
	if !clean {
		f.abort()
	}
	f.turn <- struct{}{}
	if !f.closed {
		f.closed = true
		_ = f.stream.CloseWrite()
	}
	<-f.turn
	f.stream.Finished(clean)
}

func (f *framed) abort() {
	f.aborted.Store(true)
	f.stream.Abort()
}

// send writes one frame in one Write.
func (f *framed) send(op ws.OpCode, payload []byte) error {
	f.turn <- struct{}{}
	defer func() { <-f.turn }()
	if f.closed || f.aborted.Load() {
		return net.ErrClosed
	}
	if op == ws.OpClose {
		// The stream ends with it, whatever becomes of the frame.
		f.closed = true
		defer f.stream.CloseWrite()
	}
	h := ws.Header{Fin: true, OpCode: op, Length: int64(len(payload))}
	if f.state.ClientSide() {
		// RFC 8441 section 5 keeps masking although no proxy could be confused.
		h.Masked = true
		_, _ = rand.Read(h.Mask[:]) // never fails
	}
	f.frame.Reset()
	if err := ws.WriteHeader(&f.frame, h); err != nil {
		return err
	}
	start := f.frame.Len()
	f.frame.Write(payload)
	if h.Masked {
		ws.Cipher(f.frame.Bytes()[start:], h.Mask, 0)
	}
	_, err := f.stream.Write(f.frame.Bytes())
	return err
}

func (f *framed) sendClose(code ws.StatusCode) error {
	var payload []byte
	if !code.Empty() {
		payload = ws.NewCloseFrameBody(code, "")
	}
	return f.send(ws.OpClose, payload)
}

// A closeError is why this end fails the WebSocket, and what the peer is told.
type closeError struct {
	code ws.StatusCode
	err  error
}

func (e *closeError) Error() string { return fmt.Sprintf("WebSocket: %v (%d)", e.err, e.code) }
func (e *closeError) Unwrap() error { return e.err }

var errMessageSize = errors.New("a message beyond the limit")

// read returns the next message. A peer that violates the protocol is told so,
// and the WebSocket fails (section 7.1.7).
func (f *framed) read(buf []byte) ([]byte, error) {
	message, err := f.message(buf)
	if failure, ok := errors.AsType[*closeError](err); ok {
		// The peer may not take it: what waits to be written goes before, and
		// abort ends the wait.
		_ = f.sendClose(failure.code)
	}
	return message, err
}

func (f *framed) message(buf []byte) ([]byte, error) {
	for state := f.state; ; {
		h, err := ws.ReadHeaderBuffer(f.br, f.header[:])
		if errors.Is(err, ws.ErrHeaderLengthMSB) {
			return nil, &closeError{ws.StatusProtocolError, err}
		}
		if err != nil {
			return nil, unexpected(err)
		}
		if err := ws.CheckHeader(h, state); err != nil {
			return nil, &closeError{ws.StatusProtocolError, err}
		}
		if h.OpCode.IsControl() { // also between the frames of a message
			if err := f.control(h); err != nil {
				return nil, err
			}
			continue
		}
		if h.OpCode == ws.OpText {
			return nil, &closeError{ws.StatusUnsupportedData, errors.New("a text message")}
		}
		if h.Length > int64(f.limit-len(buf)) {
			return nil, &closeError{ws.StatusMessageTooBig, errMessageSize}
		}
		if buf, err = f.payload(h, buf); err != nil {
			return nil, err
		}
		if h.Fin {
			return buf, nil
		}
		state = state.Set(ws.StateFragmented)
	}
}

// payload appends a frame's payload, whose length was checked.
func (f *framed) payload(h ws.Header, buf []byte) ([]byte, error) {
	start, end := len(buf), len(buf)+int(h.Length)
	if end > cap(buf) {
		buf = append(make([]byte, 0, end), buf...)
	}
	buf = buf[:end]
	if _, err := io.ReadFull(f.br, buf[start:]); err != nil {
		return nil, unexpected(err)
	}
	if h.Masked {
		ws.Cipher(buf[start:], h.Mask, 0)
	}
	return buf, nil
}

// control answers a control frame. It returns io.EOF for an orderly Close.
func (f *framed) control(h ws.Header) error {
	payload, err := f.payload(h, make([]byte, 0, ws.MaxControlFramePayloadSize))
	if err != nil {
		return err
	}
	switch h.OpCode {
	case ws.OpPing:
		// A peer that does not read what it asked for waits, too: nothing is queued.
		if err := f.send(ws.OpPong, payload); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
	case ws.OpClose:
		if len(payload) == 0 {
			_ = f.sendClose(0)
			return io.EOF
		}
		code, reason := ws.ParseCloseFrameData(payload)
		if len(payload) == 1 || ws.CheckCloseFrameData(code, reason) != nil || !utf8.ValidString(reason) {
			return &closeError{ws.StatusProtocolError, errors.New("an invalid Close frame")}
		}
		_ = f.sendClose(code)
		if code != ws.StatusNormalClosure && code != ws.StatusGoingAway {
			return fmt.Errorf("the peer closed the WebSocket: %d %q", code, reason)
		}
		return io.EOF
	}
	return nil
}

// unexpected tells the end of a stream without a Close from an orderly one.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
