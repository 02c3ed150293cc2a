package wswt

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"github.com/towpath-go/towpath/internal/sessionstate"
)

const (
	// smallBuffer is what a connection holds to read from when nothing comes.
	smallBuffer = 512
	// bigBuffer is what it takes from the pool while a long frame comes in.
	bigBuffer = 16 << 10
	// maxControl is the longest payload of a control frame: RFC 6455 section 5.5.
	maxControl = ws.MaxControlFramePayloadSize
)

// Frames that bring next to nothing forward: control frames, empty ones, and
// short pieces of a message. A peer has so many at once and per second; bytes of
// data pay for more.
const (
	floodBurst    = 1000
	floodRate     = 100
	smallFragment = 64 // bytes
)

// A frameHandler takes what a frameReader reads. An error ends the reading. The
// slices are valid during the call only.
type frameHandler interface {
	// message takes bytes of a binary message; last says that they end it.
	message(p []byte, last bool) error
	ping(p []byte) error
	pong(p []byte) error
	// closed takes the payload of a Close frame.
	closed(p []byte) error
}

// A frameReader reads the frames of the peer: RFC 6455 section 5. It holds a
// small buffer of its own and, while the payload of a long frame comes in, one of
// a fixed size from a pool; no length from the peer sizes a buffer.
type frameReader struct {
	src        io.Reader
	state      ws.State // which side this is, and whether a message is under way
	maxMessage int64
	flood      *sessionstate.FloodGuard
	size       int64 // payload of the message under way so far

	early   []byte // read with the handshake; goes first
	buf     [smallBuffer]byte
	r, w    int                        // buf[r:w] is unread
	taken   int                        // bytes taken by Read, for the length of a header
	scratch [ws.MaxHeaderSize - 2]byte // of a header
	control [maxControl]byte
}

func newFrameReader(src io.Reader, early []byte, client bool, maxMessage int64, now time.Time) *frameReader {
	f := &frameReader{
		src:        src,
		early:      early,
		state:      ws.StateServerSide,
		maxMessage: maxMessage,
		flood:      sessionstate.NewFloodGuard(now, floodBurst, floodRate),
	}
	if client {
		f.state = ws.StateClientSide
	}
	return f
}

// fill reads into the small buffer, which is empty.
func (f *frameReader) fill() error {
	if len(f.early) > 0 {
		f.r, f.w = 0, copy(f.buf[:], f.early)
		if f.early = f.early[f.w:]; len(f.early) == 0 {
			f.early = nil
		}
		return nil
	}
	n, err := f.src.Read(f.buf[:])
	f.r, f.w = 0, n
	if n > 0 {
		return nil // an error will come again
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// Read implements io.Reader for the header codec.
func (f *frameReader) Read(p []byte) (int, error) {
	if f.r == f.w {
		if err := f.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, f.buf[f.r:f.w])
	f.r += n
	f.taken += n
	return n, nil
}

// next reads one frame. The error is a *fault if the peer broke a rule, what h
// returned, or the source's; io.EOF only between two frames.
func (f *frameReader) next(h frameHandler) error {
	f.taken = 0
	header, err := ws.ReadHeaderBuffer(f, f.scratch[:0])
	switch {
	case err == nil:
	case errors.Is(err, ws.ErrHeaderLengthMSB), errors.Is(err, ws.ErrHeaderLengthUnexpected):
		return faultLength
	case err == io.EOF && f.taken > 0:
		return io.ErrUnexpectedEOF
	default:
		return err
	}
	if err := f.check(header); err != nil {
		return err
	}
	if header.OpCode.IsControl() {
		return f.readControl(header, h)
	}
	return f.readData(header, h)
}

// check judges a frame by its header alone, before any of its payload is read.
func (f *frameReader) check(h ws.Header) error {
	if h.OpCode == ws.OpText {
		return faultText
	}
	if err := ws.CheckHeader(h, f.state); err != nil {
		return malformed(err.Error())
	}
	// Section 5.2: the minimal number of bytes MUST be used for the length.
	if f.taken != ws.HeaderSize(h) {
		return faultLength
	}
	if small(h) {
		if !f.flood.Charge(time.Now()) {
			return faultFlood
		}
	}
	if h.OpCode.IsData() && h.Length > f.maxMessage-f.size {
		return faultTooBig
	}
	return nil
}

// small reports whether a frame brings next to nothing forward.
func small(h ws.Header) bool {
	fragment := !h.Fin || h.OpCode == ws.OpContinuation
	return h.OpCode.IsControl() || h.Length == 0 || fragment && h.Length < smallFragment
}

// readControl reads a control frame, which may come between the frames of a
// message.
func (f *frameReader) readControl(header ws.Header, h frameHandler) error {
	p := f.control[:header.Length]
	if _, err := io.ReadFull(f, p); err != nil {
		return inside(err)
	}
	if header.Masked {
		ws.Cipher(p, header.Mask, 0)
	}
	switch header.OpCode {
	case ws.OpPing:
		return h.ping(p)
	case ws.OpPong:
		return h.pong(p)
	}
	return h.closed(p)
}

// readData passes the payload of a frame on as it comes in.
func (f *frameReader) readData(header ws.Header, h frameHandler) error {
	if header.Fin {
		f.state = f.state.Clear(ws.StateFragmented)
	} else {
		f.state = f.state.Set(ws.StateFragmented)
	}
	f.size += header.Length
	var big *[bigBuffer]byte
	defer func() {
		if big != nil {
			bigBuffers.Put(big)
		}
	}()
	left, offset := header.Length, 0
	for left > 0 {
		var p []byte
		if f.r == f.w && left > smallBuffer && len(f.early) == 0 {
			if big == nil {
				big = bigBuffers.Get().(*[bigBuffer]byte)
			}
			n, err := f.src.Read(big[:min(left, bigBuffer)])
			if n == 0 {
				if err == nil {
					err = io.ErrNoProgress
				}
				return inside(err)
			}
			p = big[:n]
		} else {
			if f.r == f.w {
				if err := f.fill(); err != nil {
					return inside(err)
				}
			}
			n := int(min(left, int64(f.w-f.r)))
			p = f.buf[f.r : f.r+n]
			f.r += n
		}
		if header.Masked {
			ws.Cipher(p, header.Mask, offset)
			offset = (offset + len(p)) & 3
		}
		left -= int64(len(p))
		f.flood.Progress(len(p))
		if err := h.message(p, left == 0 && header.Fin); err != nil {
			return err
		}
	}
	if header.Fin {
		f.size = 0
		if header.Length == 0 {
			return h.message(nil, true)
		}
	}
	return nil
}

// inside is the error of a source that ended within a frame.
func inside(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

var bigBuffers = sync.Pool{New: func() any { return new([bigBuffer]byte) }}
