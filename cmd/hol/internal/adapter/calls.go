package adapter

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// Calls over message channels, for transports whose channels are fixed or dear:
// call n goes over channel n modulo their number, and the chunks of the calls of
// one channel take turns, so that a short call does not wait for a long one.
//
// A caller has for each channel that was used one goroutine that sends and one
// that receives; an answerer likewise, and one for each request that is being
// answered. The channels have to be reliable and ordered.

// A caller makes calls. Its methods may be called by several goroutines at once.
type caller struct {
	lanes  []*callLane
	open   func(ctx context.Context, k int) (Channel, error)
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// newCaller returns a caller that spreads its calls over so many channels. It
// opens channel k, in a goroutine of its own, when the first call needs it; open
// is to give up when its context ends.
func newCaller(channels int, open func(ctx context.Context, k int) (Channel, error)) *caller {
	c := &caller{open: open}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	for range max(channels, 1) {
		c.lanes = append(c.lanes, &callLane{
			slots: make(chan struct{}, maxOpenCalls),
			wake:  make(chan struct{}, 1),
			ended: make(chan struct{}),
			calls: make(map[uint32]*call),
		})
	}
	return c
}

// Call sends a request, which is not kept, and waits for the response. It returns
// ErrTooLarge if one of them is larger than MaxCall. It waits for room too while maxOpenCalls calls of the channel
// have not ended. If ctx ends, the call does, and the channel lives on.
func (c *caller) Call(ctx context.Context, n int, request []byte) ([]byte, error) {
	if len(request) > MaxCall {
		return nil, fmt.Errorf("a request of %d bytes: %w", len(request), ErrTooLarge)
	}
	if c.ctx.Err() != nil {
		return nil, net.ErrClosed
	}
	lane := c.lanes[n%len(c.lanes)]
	lane.once.Do(func() {
		// Ends with the channel or with Close, which waits for it.
		c.wg.Go(func() {
			lane.run(c.ctx, func(ctx context.Context) (Channel, error) { return c.open(ctx, n%len(c.lanes)) })
		})
	})
	return lane.call(ctx, request)
}

// Close closes the channels and waits for the goroutines. Calls that wait end
// with net.ErrClosed. No Call may begin meanwhile.
func (c *caller) Close() error {
	c.cancel()
	c.wg.Wait()
	return nil
}

// A callLane is the calls of one channel.
type callLane struct {
	once  sync.Once
	slots chan struct{} // one for each call that has begun and not ended
	wake  chan struct{} // there is something to send
	ended chan struct{} // closed once err is set

	mu    sync.Mutex // guards the following
	queue chunkQueue
	calls map[uint32]*call
	last  uint32
	parts assembly
	err   error // why no call can succeed any more
}

// A call is one that has begun and not ended.
type call struct {
	request   *outgoing
	sent      bool // the request is handed over
	abandoned bool // nobody waits for the response, which will come
	response  []byte
	err       error
	done      chan struct{} // closed once response or err is set
}

func (l *callLane) call(ctx context.Context, request []byte) ([]byte, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.ended:
		return nil, l.failure()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	number, c, err := l.begin(request)
	if err != nil {
		<-l.slots
		return nil, err
	}
	signal(l.wake)
	select {
	case <-c.done:
		return c.response, c.err
	case <-l.ended:
		// The channel may have ended just after the response.
		select {
		case <-c.done:
			return c.response, c.err
		default:
		}
		return nil, l.failure()
	case <-ctx.Done():
		if l.giveUp(number) {
			<-l.slots
		}
		return nil, ctx.Err()
	}
}

func (l *callLane) begin(request []byte) (uint32, *call, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return 0, nil, l.err
	}
	// Numbers come again after 2^32 calls; one whose call has not ended is left out.
	for l.last++; l.calls[l.last] != nil; l.last++ {
	}
	c := &call{request: &outgoing{number: l.last, rest: request}, done: make(chan struct{})}
	l.calls[l.last] = c
	l.queue.add(c.request)
	return l.last, c, nil
}

// giveUp ends the wait for a call. It reports whether the call has ended with it:
// otherwise its response has come or will come, and gives back the slot.
func (l *callLane) giveUp(number uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.calls[number]
	switch {
	case c == nil:
		return false
	case c.sent:
		c.abandoned = true
		return false
	}
	// Once this returns, the request belongs to the caller again. A request that
	// has begun keeps its turn, in which it is taken back: chunks of a later call
	// cannot come before.
	delete(l.calls, number)
	c.request.rest = nil
	if c.request.begun {
		c.request.abort = true
	} else {
		l.queue.remove(c.request)
	}
	return true
}

func (l *callLane) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// run opens the channel and serves it until it or ctx ends.
func (l *callLane) run(ctx context.Context, open func(context.Context) (Channel, error)) {
	channel, err := open(ctx)
	if err == nil {
		err = serveChunks(ctx, channel, l.wake, l.next, l.receive)
	}
	if ctx.Err() != nil {
		err = net.ErrClosed
	}
	l.mu.Lock()
	l.err = fmt.Errorf("calls: %w", err)
	l.queue = chunkQueue{}
	l.mu.Unlock()
	close(l.ended)
}

func (l *callLane) next(b []byte) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.queue.empty() {
		return nil
	}
	message, number, complete := l.queue.next(b)
	if c := l.calls[number]; complete && c != nil {
		c.sent = true
		c.request = nil
	}
	return message
}

func (l *callLane) receive(ck chunk) error {
	l.mu.Lock()
	c := l.calls[ck.number]
	if c == nil || !c.sent {
		l.mu.Unlock()
		return fmt.Errorf("%w: a response to call %d, which has none due", errCallsViolation, ck.number)
	}
	var response []byte
	var err, refused error
	var complete bool
	if ck.flags&chunkAbort != 0 {
		l.parts.drop(ck.number)
		refused = fmt.Errorf("the response: %w", ErrTooLarge)
		complete = true
	} else {
		response, complete, err = l.parts.add(ck)
	}
	abandoned := c.abandoned
	if complete {
		delete(l.calls, ck.number)
	}
	l.mu.Unlock()
	if err != nil || !complete {
		return err
	}
	<-l.slots // the call's own: it never blocks
	if !abandoned {
		c.response, c.err = response, refused
		close(c.done)
	}
	return nil
}

// serveChunks sends what next appends to its argument, again whenever wake says
// so after it had nothing, and gives to receive what arrives. It returns when one
// of them fails or the channel or ctx ends; the channel is closed and its
// goroutine has ended then.
func serveChunks(ctx context.Context, channel Channel, wake <-chan struct{}, next func(b []byte) []byte, receive func(chunk) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	closed := make(chan struct{})
	context.AfterFunc(ctx, func() { // it ends what waits in Send, too
		_ = channel.Close()
		close(closed)
	})

	var sender sync.WaitGroup
	sender.Go(func() { // ends with ctx, at the latest
		buf := make([]byte, 0, callHeader+callChunk)
		for {
			message := next(buf)
			if message == nil {
				select {
				case <-wake:
					continue
				case <-ctx.Done():
					return
				}
			}
			if err := channel.Send(message); err != nil {
				cancel(err)
				return
			}
		}
	})
	for ctx.Err() == nil {
		message, err := channel.Receive(ctx)
		if err != nil {
			cancel(err)
			break
		}
		ck, err := parseChunk(message)
		if err == nil {
			err = receive(ck)
		}
		if err != nil {
			cancel(err)
		}
	}
	sender.Wait()
	<-closed
	return context.Cause(ctx)
}

// signal wakes who waits on a channel with room for one.
func signal(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
