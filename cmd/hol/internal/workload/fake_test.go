package workload

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// A fake is a transport in memory whose only time is the bubble's: every message
// takes delay, and what fate adds.
type fake struct {
	traits adapter.Traits
	delay  time.Duration
	dialed time.Duration // that Dial takes
	// fate says what becomes of a message that begins with header h, nil for
	// nothing special.
	fate func(h header, d lab.Direction) fate
	// window is how many messages of a channel may be under way, per direction; 0
	// for any number. Send waits for room.
	window int
	// think is how long a call takes at the server.
	think time.Duration
	// callFate is how much longer a call takes on its way there.
	callFate func(h header) time.Duration
	// answer changes a response. callSizes is told the sizes of each call's halves,
	// and calling of its begin and its end.
	answer    func(m []byte) []byte
	callSizes func(request, response int)
	calling   func(change int64)
	// dialErr and serverErr break it: errors of Dial and of the server's
	// OpenChannel.
	dialErr, serverErr error
	// stuck is waited for by every Close.
	stuck chan struct{}
	// closed counts what was closed.
	mu     sync.Mutex
	closes map[string]int
	calls  []int // n of every call
	drops  adapter.Drops
}

var errBroken = errors.New("broken")

// A fate is what becomes of one message besides the delay.
type fate struct {
	extra  time.Duration
	lost   bool
	copies int
	change func(m []byte) []byte
	err    error // of Send
}

func (f *fake) adapter() adapter.Adapter {
	return adapter.Adapter{Name: "fake", Title: "Fake", Traits: f.traits, Listen: func(ctx context.Context, env adapter.Env) (adapter.Server, error) {
		s := &fakeServer{fake: f, env: env}
		s.client, s.server = newFakeConn(s), newFakeConn(s)
		s.client.peer, s.server.peer = s.server, s.client
		s.client.sends, s.server.sends = lab.Up, lab.Down
		return s, nil
	}}
}

func (f *fake) count(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closes == nil {
		f.closes = make(map[string]int)
	}
	f.closes[what]++
}

type fakeServer struct {
	*fake
	env            adapter.Env
	client, server *fakeConn
}

func (s *fakeServer) Dial(ctx context.Context) (adapter.Conn, error) {
	if s.dialErr != nil {
		return nil, s.dialErr
	}
	select {
	case <-time.After(s.dialed):
		return s.client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *fakeServer) Accept(ctx context.Context) (adapter.Conn, error) { return s.server, nil }

func (s *fakeServer) Close() error {
	s.count("server")
	return nil
}

// A fakeConn is one end.
type fakeConn struct {
	*fakeServer
	peer     *fakeConn
	sends    lab.Direction
	incoming chan *fakeChannel
	bulks    chan *fakeChannel
	done     chan struct{}
	once     sync.Once
	opened   func(*fakeChannel) // is told of every channel of this end's
}

func newFakeConn(s *fakeServer) *fakeConn {
	return &fakeConn{
		fakeServer: s, done: make(chan struct{}),
		incoming: make(chan *fakeChannel, 1000), bulks: make(chan *fakeChannel, 1),
	}
}

func (c *fakeConn) open(to func(*fakeConn) chan *fakeChannel) *fakeChannel {
	near, far := newFakeChannel(c), newFakeChannel(c.peer)
	near.peer, far.peer = far, near
	near.announce = sync.OnceFunc(func() { to(c.peer) <- far })
	far.announce = func() {}
	if c.opened != nil {
		c.opened(near)
	}
	return near
}

func (c *fakeConn) OpenChannel(context.Context) (adapter.Channel, error) {
	if c.sends == lab.Down && c.serverErr != nil {
		return nil, c.serverErr
	}
	return c.open(func(c *fakeConn) chan *fakeChannel { return c.incoming }), nil
}

func (c *fakeConn) OpenBulk(context.Context) (adapter.Channel, error) {
	return c.open(func(c *fakeConn) chan *fakeChannel { return c.bulks }), nil
}

func (c *fakeConn) AcceptChannel(ctx context.Context) (adapter.Channel, error) {
	return c.accept(ctx, c.incoming)
}

func (c *fakeConn) AcceptBulk(ctx context.Context) (adapter.Channel, error) {
	return c.accept(ctx, c.bulks)
}

func (c *fakeConn) accept(ctx context.Context, from chan *fakeChannel) (adapter.Channel, error) {
	select {
	case ch := <-from:
		return ch, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.done:
		return nil, net.ErrClosed
	}
}

func (c *fakeConn) Call(ctx context.Context, n int, request []byte) ([]byte, error) {
	c.mu.Lock()
	c.calls = append(c.calls, n)
	c.mu.Unlock()
	h, err := parse(request)
	if err != nil {
		return nil, err
	}
	if c.calling != nil {
		c.calling(1)
		defer c.calling(-1)
	}
	wait := func(d time.Duration) error {
		if d == 0 {
			return nil
		}
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-c.done:
			return net.ErrClosed
		}
	}
	way := c.delay
	if c.callFate != nil {
		way += c.callFate(h)
	}
	if err := wait(way); err != nil {
		return nil, err
	}
	response := c.env.Handle(request)
	if c.callSizes != nil {
		c.mu.Lock()
		c.callSizes(len(request), len(response))
		c.mu.Unlock()
	}
	if c.answer != nil {
		response = c.answer(response)
	}
	if response == nil {
		return nil, errors.New("no response")
	}
	return response, wait(c.think + c.delay)
}

func (c *fakeConn) Drops() adapter.Drops { return c.drops }

func (c *fakeConn) Close() error {
	c.count("conn")
	c.once.Do(func() { close(c.done) })
	if c.stuck != nil {
		<-c.stuck
	}
	return nil
}

// A fakeChannel is one end of a channel; its queue holds what arrives there.
type fakeChannel struct {
	conn     *fakeConn
	peer     *fakeChannel
	announce func()
	room     chan struct{} // what this end has under way; nil for any number

	mu     sync.Mutex // guards the following
	queue  [][]byte
	newest time.Time // arrival of the last message, which others do not overtake
	under  []func()
	wake   chan struct{}
	eof    bool
}

func newFakeChannel(c *fakeConn) *fakeChannel {
	ch := &fakeChannel{conn: c, wake: make(chan struct{}, 1)}
	if c.window > 0 {
		ch.room = make(chan struct{}, c.window)
	}
	return ch
}

func (ch *fakeChannel) Send(message []byte) error {
	h, err := parse(message)
	if err != nil {
		return err
	}
	var f fate
	if ch.conn.fate != nil {
		f = ch.conn.fate(h, ch.conn.sends)
	}
	if f.err != nil {
		return f.err
	}
	if ch.room != nil {
		select {
		case ch.room <- struct{}{}:
		case <-ch.conn.done:
			return net.ErrClosed
		}
	}
	leave := func() {
		if ch.room != nil {
			<-ch.room
		}
	}
	at := time.Now().Add(ch.conn.delay + f.extra)
	if f.lost {
		time.AfterFunc(time.Until(at), leave)
		return nil
	}
	message = append([]byte(nil), message...)
	if f.change != nil {
		message = f.change(message)
	}
	deliver := func() {
		leave()
		for range 1 + f.copies {
			ch.peer.deliver(message)
		}
		ch.announce()
	}
	if ch.conn.traits.Ordered {
		ch.mu.Lock()
		if at.Before(ch.newest) {
			at = ch.newest
		}
		ch.newest = at
		ch.under = append(ch.under, deliver)
		ch.mu.Unlock()
		deliver = ch.next // timers of one time have no order
	}
	time.AfterFunc(time.Until(at), deliver)
	return nil
}

// next delivers the oldest message that is under way.
func (ch *fakeChannel) next() {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	deliver := ch.under[0]
	ch.under = ch.under[1:]
	deliver() // under the lock: other timers are not to overtake it
}

func (ch *fakeChannel) deliver(message []byte) {
	ch.mu.Lock()
	if message == nil {
		ch.eof = true
	} else {
		ch.queue = append(ch.queue, message)
	}
	ch.mu.Unlock()
	select {
	case ch.wake <- struct{}{}:
	default:
	}
}

func (ch *fakeChannel) Receive(ctx context.Context) ([]byte, error) {
	for {
		ch.mu.Lock()
		if len(ch.queue) > 0 {
			m := ch.queue[0]
			ch.queue = ch.queue[1:]
			ch.mu.Unlock()
			return m, nil
		}
		eof := ch.eof
		ch.mu.Unlock()
		if eof {
			return nil, io.EOF
		}
		select {
		case <-ch.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ch.conn.done:
			return nil, net.ErrClosed
		}
	}
}

func (ch *fakeChannel) Close() error {
	ch.peer.deliver(nil)
	return nil
}
