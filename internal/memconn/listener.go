package memconn

import (
	"context"
	"net"
	"sync"
	"syscall"
	"time"
)

// backlog is how many connections wait for Accept before Dial waits.
const backlog = 128

// A Listener accepts the connections that its Dial makes.
type Listener struct {
	opts    Options
	pending chan *Conn

	closed chan struct{}
	once   sync.Once
}

var _ net.Listener = (*Listener)(nil)

// Listen returns a listener whose connections have the given options.
func Listen(opts *Options) *Listener {
	return &Listener{
		opts:    opts.withDefaults(),
		pending: make(chan *Conn, backlog),
		closed:  make(chan struct{}),
	}
}

// Dial connects to the listener. It returns before Accept is called, as TCP
// does, and waits for ctx only if many connections wait for Accept already.
// With a latency it returns after one round trip. After Close it fails with
// ECONNREFUSED.
func (l *Listener) Dial(ctx context.Context) (*Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, l.opError("dial", err)
	}
	select {
	case <-l.closed: // looked at alone first: select picks at random
		return nil, l.opError("dial", syscall.ECONNREFUSED)
	default:
	}
	if err := l.handshake(ctx); err != nil {
		return nil, l.opError("dial", err)
	}
	client, server := Pipe(&l.opts)
	select {
	case l.pending <- server:
		return client, nil
	case <-l.closed:
		return nil, l.opError("dial", syscall.ECONNREFUSED)
	case <-ctx.Done():
		return nil, l.opError("dial", ctx.Err())
	}
}

// DialContext is Dial with the signature of net.Dialer.DialContext; network
// and address are ignored.
func (l *Listener) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := l.Dial(ctx)
	if err != nil {
		return nil, err // not a *Conn nil in an interface
	}
	return c, nil
}

// Accept waits for the next connection. After Close it returns an error that
// matches net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, l.opError("accept", net.ErrClosed)
	default:
	}
	select {
	case c := <-l.pending:
		return c, nil
	case <-l.closed:
		return nil, l.opError("accept", net.ErrClosed)
	}
}

// Close ends Accept and Dial, and cuts connections that nobody accepted.
func (l *Listener) Close() error {
	err := error(l.opError("close", net.ErrClosed))
	l.once.Do(func() {
		close(l.closed)
		err = nil
	})
	for {
		select {
		case c := <-l.pending:
			c.Cut(nil)
		default:
			return err
		}
	}
}

// Addr returns the address that accepted connections report as theirs.
func (l *Listener) Addr() net.Addr { return l.opts.ServerAddr }

func (l *Listener) opError(op string, err error) *net.OpError {
	return &net.OpError{Op: op, Net: l.Addr().Network(), Addr: l.Addr(), Err: err}
}

// handshake waits one round trip, as TCP's does.
func (l *Listener) handshake(ctx context.Context) error {
	if l.opts.Latency <= 0 {
		return nil
	}
	t := time.NewTimer(2 * l.opts.Latency)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
