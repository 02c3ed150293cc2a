package measure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/towpath-go/towpath/e2e/bench/internal/peer"
)

// bulk has one side write for a while, on one stream or several, and the other
// read.
type bulk struct {
	size    int // of a write
	streams int
	down    bool
	count   bool // the value is thousands of writes a second, not MB
}

// A transfer is what both ends of a bulk share.
type transfer struct {
	bulk
	p      *peer.Peer
	failed chan error

	warm, stop     atomic.Bool     // the senders are to pause, to end
	begin          chan struct{}   // closed: the senders go on after the pause
	givenUp        <-chan struct{} // closed: nobody is to go on
	giveUp         func()
	sent, received atomic.Int64
	sending        sync.WaitGroup // until the pause
	ends           sync.WaitGroup // until every receiver saw the end
}

func (b bulk) run(ctx context.Context, p *peer.Peer, o Options) (Result, error) {
	given, giveUp := context.WithCancel(ctx)
	defer giveUp()
	t := &transfer{bulk: b, p: p, failed: make(chan error, 1), begin: make(chan struct{}), givenUp: given.Done(), giveUp: giveUp}
	q, err := begin(ctx, p, peer.Handler{Stream: t.serve}, t.failed)
	if err != nil {
		return Result{}, err
	}
	r, err := t.measure(ctx, q, o)
	return r, q.end(ctx, err)
}

// serve is the server's end of a stream.
func (t *transfer) serve(s peer.Stream) {
	role := t.receive
	if t.down {
		role = t.send
	}
	if err := role(s, peer.Pong); err != nil {
		fail(t.failed, fmt.Errorf("server: %w", err))
	}
}

func (t *transfer) measure(ctx context.Context, q *pair, o Options) (Result, error) {
	streams := make([]peer.Stream, t.streams)
	t.sending.Add(t.streams)
	t.ends.Add(t.streams)
	for i := range streams {
		s, err := q.conn.Open(ctx)
		if err != nil {
			return Result{}, fmt.Errorf("open: %w", err)
		}
		if err := peer.Ping(s); err != nil {
			return Result{}, err
		}
		streams[i] = s
	}
	warm := time.AfterFunc(o.Warmup, func() { t.warm.Store(true) })
	defer warm.Stop()
	var clients sync.WaitGroup
	for _, s := range streams {
		clients.Go(func() { // ends with the stream
			if err := t.client(s); err != nil {
				fail(t.failed, fmt.Errorf("client: %w", err))
			}
			_ = s.Close()
		})
	}
	defer clients.Wait()
	abandon := func(err error) (Result, error) { // who waits is to end
		q.closeConn()
		t.giveUp()
		return Result{}, err
	}
	if err := t.paused(ctx); err != nil {
		return abandon(err)
	}
	before, u := t.sent.Load(), start()
	end := time.AfterFunc(o.Duration, func() { t.stop.Store(true) })
	defer end.Stop()
	close(t.begin)
	if err := wait(ctx, t.failed, &t.ends); err != nil {
		return abandon(err)
	}
	bytes := t.received.Load() - before
	elapsed, r := u.since(bytes / int64(t.size))
	if sent := t.sent.Load(); sent != t.received.Load() {
		return Result{}, fmt.Errorf("%d bytes were sent, and %d received", sent, t.received.Load())
	}
	writes := float64(bytes) / float64(t.size)
	if t.count {
		r.Value = writes / 1e3 / elapsed.Seconds()
		return r, nil
	}
	r.CPU *= writes / (float64(bytes) / 1e9) / 1e6
	r.Value = float64(bytes) / 1e6 / elapsed.Seconds()
	return r, nil
}

// paused waits until the senders pause and everything that they sent is received.
func (t *transfer) paused(ctx context.Context) error {
	if err := wait(ctx, t.failed, &t.sending); err != nil {
		return err
	}
	return until(ctx, t.failed, func() bool { return t.received.Load() == t.sent.Load() }, "bytes that were sent")
}

// client is the client's end of a stream.
func (t *transfer) client(s peer.Stream) error {
	if t.down {
		return t.receive(s, func(s peer.Stream) error {
			if _, ok := t.p.Lacks[peer.HalfClose]; ok {
				return nil
			}
			return s.CloseWrite()
		})
	}
	if err := t.send(s, func(peer.Stream) error { return nil }); err != nil {
		return err
	}
	if err := t.p.EndWrite(s); err != nil {
		return fmt.Errorf("end: %w", err)
	}
	if _, ok := t.p.Lacks[peer.HalfClose]; ok {
		return nil
	}
	// Until the server has ended its direction, Close would abort the stream.
	_, err := readAll(s, make([]byte, 1))
	return err
}

// send writes until the pause, and after it until the end. What comes first is
// done before.
func (t *transfer) send(s peer.Stream, first func(peer.Stream) error) error {
	p := make([]byte, t.size)
	fill(p, 0)
	write := func(until *atomic.Bool) error {
		sent := int64(0)
		for !until.Load() {
			n, err := s.Write(p)
			sent += int64(n)
			if err != nil {
				t.sent.Add(sent)
				return fmt.Errorf("write: %w", err)
			}
		}
		t.sent.Add(sent)
		return nil
	}
	err := first(s)
	if err == nil {
		err = write(&t.warm)
	}
	t.sending.Done()
	if err != nil {
		return err
	}
	select {
	case <-t.begin:
	case <-t.givenUp:
		return errors.New("given up")
	}
	return write(&t.stop)
}

// receive reads until the end. What comes first is done before.
func (t *transfer) receive(s peer.Stream, first func(peer.Stream) error) error {
	defer t.ends.Done()
	if err := first(s); err != nil {
		return err
	}
	p := make([]byte, readSize)
	for {
		n, err := s.Read(p)
		t.received.Add(int64(n))
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
	}
}

// readSize is how much a receiver offers to read at once, in bytes.
const readSize = 64 << 10

// wait waits for a group, for as long as nothing goes wrong.
func wait(ctx context.Context, failed <-chan error, wg *sync.WaitGroup) error {
	done := make(chan struct{})
	go func() { // ends when the group does, if need be by the connection's end
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case err := <-failed:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// until waits for something that nothing tells of.
func until(ctx context.Context, failed <-chan error, done func() bool, what string) error {
	for !done() {
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, context.Cause(ctx))
		case <-time.After(100 * time.Microsecond):
		}
	}
	return nil
}
