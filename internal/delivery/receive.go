package delivery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"sync"

	"github.com/towpath-go/towpath/transport"
)

// A Got is what the receiving side knows of one stream.
type Got struct {
	Number uint64 // 0 if not even that arrived
	Bytes  int64  // the number included
	Sum    string // SHA-256 of those
	Wrong  int64  // position of the first byte that was not the sender's, or -1
	Clean  bool   // io.EOF ended it
	Err    string // what ended it otherwise
}

// A Receiver reads all unidirectional streams of a session.
type Receiver struct {
	done chan struct{}

	mu  sync.Mutex // guards the following
	got []*Got
}

// Receive reads until the session has ended, and all of its streams have.
func Receive(s transport.Session) *Receiver {
	r := &Receiver{done: make(chan struct{})}
	go func() { // ends with the session
		defer close(r.done)
		var wg sync.WaitGroup
		defer wg.Wait()
		for {
			st, err := s.AcceptUniStream(context.Background())
			if err != nil {
				return
			}
			g := &Got{Wrong: -1}
			r.mu.Lock()
			r.got = append(r.got, g)
			r.mu.Unlock()
			wg.Go(func() { r.read(st, g) })
		}
	}()
	return r
}

func (r *Receiver) read(st transport.ReceiveStream, g *Got) {
	var head []byte
	var body io.Reader
	sum := sha256.New()
	p, want := make([]byte, chunkSize), make([]byte, chunkSize)
	for {
		n, err := st.Read(p)
		sum.Write(p[:n])
		r.mu.Lock()
		at := g.Bytes
		g.Bytes += int64(n)
		g.Sum = hex.EncodeToString(sum.Sum(nil))
		rest := p[:n]
		if body == nil {
			take := min(headSize-len(head), n)
			head, rest = append(head, rest[:take]...), rest[take:]
			at += int64(take)
			if len(head) == headSize {
				g.Number = binary.BigEndian.Uint64(head)
				body = newContent(g.Number)
				io.ReadFull(body, want[:headSize])
			}
		}
		if len(rest) > 0 && g.Wrong < 0 {
			io.ReadFull(body, want[:len(rest)])
			if !bytes.Equal(rest, want[:len(rest)]) {
				for i := range rest {
					if rest[i] != want[i] {
						g.Wrong = at + int64(i)
						break
					}
				}
			}
		}
		if err != nil {
			g.Clean = err == io.EOF
			if !g.Clean {
				g.Err = err.Error()
			}
		}
		r.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Done is closed when the session has ended and all of its streams have.
func (r *Receiver) Done() <-chan struct{} { return r.done }

// Records returns what has arrived until now.
func (r *Receiver) Records() []Got {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Got, len(r.got))
	for i, g := range r.got {
		out[i] = *g
	}
	return out
}
