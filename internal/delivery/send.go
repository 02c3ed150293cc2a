package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/towpath-go/towpath/transport"
)

// headSize is the length of a stream's number, which comes first.
const headSize = 8

// chunkSize is how much is written and read at a time.
const chunkSize = 4 << 10

// A Sent is what the sending side knows of one stream.
type Sent struct {
	Number   uint64
	Accepted int64  // bytes that Write accepted, the number included
	Sum      string // SHA-256 of those
	Closed   bool   // Close was called
	Told     string // what Write or Close said that was not success
}

// An End is what the sending side was told of the end of its session.
type End struct {
	// Told is empty if the session ended as this side wished and nothing was
	// said of losses.
	Told string
}

// A Sender writes streams of one session. Its methods may be called from any
// goroutine.
type Sender struct {
	s transport.Session

	mu   sync.Mutex // guards the following
	next uint64
	sent []*Sent
	end  End
}

// NewSender returns a Sender of a session's streams.
func NewSender(s transport.Session) *Sender { return &Sender{s: s} }

// Stream opens a unidirectional stream, writes bytes to it, and closes it. It
// returns what the first call that failed said.
func (d *Sender) Stream(ctx context.Context, bytes int64) error {
	return d.stream(ctx, bytes, true)
}

// Unfinished is Stream without the end: the data is written, and Close is not
// called.
func (d *Sender) Unfinished(ctx context.Context, bytes int64) error {
	return d.stream(ctx, bytes, false)
}

func (d *Sender) stream(ctx context.Context, bytes int64, finish bool) error {
	st, err := d.s.OpenUniStream(ctx)
	if err != nil {
		return err // nothing was accepted
	}
	d.mu.Lock()
	d.next++
	r := &Sent{Number: d.next}
	d.sent = append(d.sent, r)
	d.mu.Unlock()

	// While the stream is written its record shows what it would lose.
	body, sum := newContent(r.Number), sha256.New()
	chunk := make([]byte, chunkSize)
	for left := bytes + headSize; left > 0 && err == nil; {
		p := chunk[:min(left, chunkSize)]
		io.ReadFull(body, p)
		var n int
		n, err = st.Write(p)
		sum.Write(p[:n])
		left -= int64(n)
		d.note(r, int64(n), sum, false, err)
	}
	if err == nil && finish {
		err = st.Close()
		d.note(r, 0, sum, true, err)
	}
	return err
}

func (d *Sender) note(r *Sent, n int64, sum hash.Hash, closed bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r.Accepted += n
	r.Sum = hex.EncodeToString(sum.Sum(nil))
	r.Closed = r.Closed || closed
	if err != nil && r.Told == "" {
		r.Told = err.Error()
	}
}

// Close ends the session with code 0 and notes what that said. A session that
// had already ended tells its cause instead.
func (d *Sender) Close() error {
	if cause := context.Cause(d.s.Context()); cause != nil {
		d.ended(cause)
		return cause
	}
	err := d.s.CloseWithError(0, "")
	d.ended(err)
	d.ended(context.Cause(d.s.Context()))
	return err
}

// Await waits for the end of the session, notes it, and returns its cause.
func (d *Sender) Await(ctx context.Context) error {
	select {
	case <-d.s.Context().Done():
	case <-ctx.Done():
		return ctx.Err()
	}
	cause := context.Cause(d.s.Context())
	d.ended(cause)
	return cause
}

// ended notes what this side was told. That it closed the session itself tells
// it nothing.
func (d *Sender) ended(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if end, ok := errors.AsType[*transport.SessionError](err); ok && !end.Remote && end.Err == nil {
		return
	}
	if err != nil && d.end.Told == "" {
		d.end.Told = err.Error()
	}
}

// Records returns what is known now.
func (d *Sender) Records() ([]Sent, End) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]Sent, len(d.sent))
	for i, r := range d.sent {
		out[i] = *r
	}
	return slices.Clip(out), d.end
}

// newContent returns the bytes of a stream: its number, and then what follows
// from the number.
func newContent(number uint64) io.Reader {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], number)
	head := binary.BigEndian.AppendUint64(nil, number)
	return io.MultiReader(&sliceReader{head}, rand.NewChaCha8(seed))
}

type sliceReader struct{ b []byte }

func (r *sliceReader) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.b)
	r.b = r.b[n:]
	return n, nil
}
