package measure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/towpath-go/towpath/e2e/bench/internal/peer"
)

// What Verify sends: bytes each way on a stream, so many that windows have to be
// opened again, in writes of all the sizes that are measured; and how many
// messages and datagrams.
const (
	verifyBytes   = 9<<19 + 777
	verifyStreams = 2
	verifyItems   = 40
)

// Verify has a peer carry bytes that are checked by their position, in both
// directions and on several streams, messages and datagrams. Nothing is timed.
func Verify(ctx context.Context, p *peer.Peer) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("nothing more came within %v", patience))
	defer cancel()
	failed := make(chan error, 1)
	var uni, datagrams atomic.Int64
	_, whole := p.Lacks[peer.HalfClose]
	h := peer.Handler{Stream: func(s peer.Stream) {
		err := readPattern(s, !whole)
		if err == nil {
			err = writePattern(s)
		}
		if err != nil {
			fail(failed, fmt.Errorf("server: %w", err))
		}
	}}
	b := make([]byte, 2*smallSize)
	if _, lacks := p.Lacks[peer.Uni]; !lacks {
		h.Uni = func(r io.Reader) {
			if n, err := readAll(r, b); err != nil || n != smallSize || !matches(b[:n], 1) {
				fail(failed, fmt.Errorf("server: a message of %d bytes is not right: %v", n, err))
			}
			uni.Add(1)
		}
	}
	if _, lacks := p.Lacks[peer.Datagrams]; !lacks {
		h.Datagram = func(b []byte) {
			if len(b) != smallSize || !matches(b, 2) {
				fail(failed, fmt.Errorf("server: a datagram of %d bytes is not right", len(b)))
			}
			datagrams.Add(1)
		}
	}
	q, err := begin(ctx, p, h, failed)
	if err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	err = verifyStreamsOf(ctx, q)
	if err == nil && h.Uni != nil {
		err = verifyUni(ctx, q, &uni)
	}
	if err == nil && h.Datagram != nil {
		err = verifyDatagrams(ctx, q, &datagrams)
	}
	if err = q.end(ctx, err); err != nil {
		return fmt.Errorf("check of the data of %s: %w", p.Name, err)
	}
	return nil
}

func verifyStreamsOf(ctx context.Context, q *pair) error {
	n := verifyStreams
	if _, lacks := q.p.Lacks[peer.Streams]; lacks {
		n = 1
	}
	_, whole := q.p.Lacks[peer.HalfClose]
	one := func() error {
		s, err := q.conn.Open(ctx)
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		if err := writePattern(s); err != nil {
			return err
		}
		if !whole {
			if err := s.CloseWrite(); err != nil {
				return fmt.Errorf("end: %w", err)
			}
		}
		if err := readPattern(s, true); err != nil {
			return err
		}
		_ = s.Close()
		return nil
	}
	errs := make(chan error, n)
	for range n {
		go func() { // what it returns is waited for
			err := one()
			if err != nil {
				q.closeConn() // the others may wait for this one
			}
			errs <- err
		}()
	}
	var err error
	for range n {
		err = errors.Join(err, <-errs)
	}
	return err
}

// writePattern writes verifyBytes bytes in writes of different sizes.
func writePattern(w io.Writer) error {
	sizes := []int{1, smallSize, 1 << 10, 64 << 10, 17<<10 + 3}
	p := make([]byte, peer.MaxWrite)
	for i, offset := 0, 0; offset < verifyBytes; i++ {
		b := p[:min(sizes[i%len(sizes)], verifyBytes-offset)]
		fill(b, offset)
		n, err := w.Write(b)
		if err != nil {
			return fmt.Errorf("write at %d: %w", offset, err)
		}
		offset += n
	}
	return nil
}

// readPattern reads what writePattern wrote, and the end if that is to follow.
func readPattern(r io.Reader, end bool) error {
	p := make([]byte, readSize)
	for offset := 0; end || offset < verifyBytes; {
		n, err := r.Read(p)
		if !matches(p[:n], offset) {
			return fmt.Errorf("wrong bytes between %d and %d", offset, offset+n)
		}
		offset += n
		switch {
		case offset > verifyBytes || err == io.EOF && offset < verifyBytes:
			return fmt.Errorf("%d bytes were received, and %d sent", offset, verifyBytes)
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("read at %d: %w", offset, err)
		}
	}
	return nil
}

func verifyUni(ctx context.Context, q *pair, arrived *atomic.Int64) error {
	b := make([]byte, smallSize)
	fill(b, 1)
	for range verifyItems {
		s, err := q.conn.OpenUni(ctx)
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		if _, err := s.Write(b); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		if err := s.Close(); err != nil {
			return fmt.Errorf("end: %w", err)
		}
	}
	return until(ctx, q.failed, func() bool { return arrived.Load() == verifyItems }, "messages")
}

// verifyDatagrams sends one after the other, so that no queue is full; on loopback
// all arrive.
func verifyDatagrams(ctx context.Context, q *pair, arrived *atomic.Int64) error {
	b := make([]byte, smallSize)
	fill(b, 2)
	for i := range int64(verifyItems) {
		if err := q.conn.SendDatagram(b); err != nil {
			return fmt.Errorf("send a datagram: %w", err)
		}
		if err := until(ctx, q.failed, func() bool { return arrived.Load() == i+1 }, "datagrams"); err != nil {
			return err
		}
	}
	return nil
}
