package adapter

import (
	"context"
	"fmt"
	"sync"

	"github.com/towpath-go/towpath/transport"
)

// streamKind is the first byte of a stream and says what it is for.
type streamKind byte

const (
	streamChannel streamKind = 1
	streamBulk    streamKind = 2
	streamCall    streamKind = 3
)

// Codes of streams that are reset.
const (
	codeGone     transport.StreamErrorCode = 0 // nobody wants what comes
	codeRefused  transport.StreamErrorCode = 1 // of no known kind, or no calls here
	codeTooLarge transport.StreamErrorCode = 2 // a call beyond MaxCall
)

// maxAccepted is how many channels of a kind wait to be accepted. More wait in
// streams, which the session bounds.
const maxAccepted = 128

// sessionConn has a stream for each channel and for each call. A stream begins
// with its kind, sent together with the first message.
type sessionConn struct {
	env     Env
	session transport.Session
	server  bool
	end     func() // ends what carries the session, may be nil

	channels, bulks chan Channel // accepted by the loop

	wg   sync.WaitGroup // of the loop and of the goroutines that it starts
	once sync.Once
	err  error // of Close
}

// newSessionConn makes one end of a session. Close calls end, if it is not nil.
func newSessionConn(kind sessionKind, env Env, session transport.Session, server bool, end func()) Conn {
	c := &sessionConn{
		env:      env,
		session:  session,
		server:   server,
		end:      end,
		channels: make(chan Channel, maxAccepted),
		bulks:    make(chan Channel, maxAccepted),
	}
	c.wg.Go(c.accept) // ends with the session; Close waits for it
	if kind.datagrams {
		return newDatagramConn(c)
	}
	return c
}

// accept takes the peer's streams until the session ends.
func (c *sessionConn) accept() {
	for {
		s, err := c.session.AcceptStream(context.Background())
		if err != nil {
			return
		}
		// Ends with the stream's kind, and for a call with the stream.
		c.wg.Go(func() { c.begin(&sessionStream{stream: s, reader: frameReader{r: s}}) })
	}
}

// begin gives a stream that the peer opened to who is to have it.
func (c *sessionConn) begin(s *sessionStream) {
	kind, err := s.reader.readByte()
	if err != nil {
		s.cancel(codeRefused)
		return
	}
	switch k := streamKind(kind); {
	case k == streamChannel:
		c.offer(c.channels, s)
	case k == streamBulk:
		c.offer(c.bulks, s)
	case k == streamCall && c.server && c.env.Handle != nil:
		c.answer(s)
	default:
		s.cancel(codeRefused)
	}
}

func (c *sessionConn) offer(to chan<- Channel, s *sessionStream) {
	s.setPriority(c.env, to == c.bulks)
	select {
	case to <- s:
	case <-c.session.Context().Done():
	}
}

// answer answers a call.
func (c *sessionConn) answer(s *sessionStream) {
	request, err := s.reader.readAll(MaxCall)
	if err != nil {
		s.cancel(codeTooLarge)
		return
	}
	response := c.env.Handle(request)
	if len(response) > MaxCall {
		s.cancel(codeTooLarge)
		return
	}
	if _, err := s.stream.Write(response); err != nil {
		s.cancel(codeGone)
		return
	}
	_ = s.stream.Close() // fails only if the session has ended
}

func (c *sessionConn) OpenChannel(ctx context.Context) (Channel, error) {
	return c.open(ctx, streamChannel)
}

func (c *sessionConn) OpenBulk(ctx context.Context) (Channel, error) { return c.open(ctx, streamBulk) }

func (c *sessionConn) open(ctx context.Context, kind streamKind) (Channel, error) {
	stream, err := c.session.OpenStream(ctx)
	if err != nil {
		return nil, fmt.Errorf("open a stream: %w", err)
	}
	s := &sessionStream{stream: stream, reader: frameReader{r: stream}, out: []byte{byte(kind)}}
	s.setPriority(c.env, kind == streamBulk)
	return s, nil
}

func (c *sessionConn) AcceptChannel(ctx context.Context) (Channel, error) {
	return c.accepted(ctx, c.channels)
}

func (c *sessionConn) AcceptBulk(ctx context.Context) (Channel, error) {
	return c.accepted(ctx, c.bulks)
}

func (c *sessionConn) accepted(ctx context.Context, from <-chan Channel) (Channel, error) {
	select {
	case s := <-from:
		return s, nil
	case <-c.session.Context().Done():
		return nil, context.Cause(c.session.Context())
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Call has a stream of its own: the request and its end one way, the response
// and its end the other.
func (c *sessionConn) Call(ctx context.Context, _ int, request []byte) ([]byte, error) {
	if len(request) > MaxCall {
		return nil, ErrTooLarge
	}
	stream, err := c.session.OpenStream(ctx)
	if err != nil {
		return nil, fmt.Errorf("open a stream: %w", err)
	}
	s := &sessionStream{stream: stream, reader: frameReader{r: stream}}
	stop := context.AfterFunc(ctx, func() { s.cancel(codeGone) })
	response, err := s.exchange(request)
	if !stop() {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		s.cancel(codeGone)
		return nil, fmt.Errorf("call: %w", err)
	}
	return response, nil
}

// Close ends the session, and its connection if this is the client.
func (c *sessionConn) Close() error {
	c.once.Do(func() {
		c.err = c.session.CloseWithError(0, "")
		if c.end != nil {
			c.end()
		}
		c.wg.Wait()
	})
	return c.err
}

// datagramConn has virtual channels over the session's datagrams. Its bulk
// channels are streams.
type datagramConn struct {
	*sessionConn
	virtual *virtual
	logged  sync.Once
}

func newDatagramConn(c *sessionConn) *datagramConn {
	return &datagramConn{sessionConn: c, virtual: newVirtual(&datagramPipe{session: c.session}, c.server, false, MaxDatagram)}
}

func (c *datagramConn) OpenChannel(ctx context.Context) (Channel, error) {
	return c.virtual.OpenChannel(ctx)
}

func (c *datagramConn) AcceptChannel(ctx context.Context) (Channel, error) {
	return c.virtual.AcceptChannel(ctx)
}

// Call is not possible: a response has to arrive.
func (c *datagramConn) Call(context.Context, int, []byte) ([]byte, error) {
	return nil, errNoResponse
}

// Drops are those of the session's queues, and of the channels' here.
func (c *datagramConn) Drops() Drops {
	s := c.session.Stats()
	return Drops{
		Outgoing:        s.DatagramsDroppedOutgoing,
		OutgoingExpired: s.DatagramsExpiredOutgoing,
		Incoming:        s.DatagramsDroppedIncoming + c.virtual.Dropped(),
		IncomingExpired: s.DatagramsExpiredIncoming,
	}
}

func (c *datagramConn) Close() error {
	_ = c.virtual.Close() // has nothing of its own to tell
	err := c.sessionConn.Close()
	c.logged.Do(func() {
		if d := c.Drops(); d != (Drops{}) && c.env.Log != nil {
			c.env.Log.Info("datagrams dropped by queues", "server", c.server, "drops", d)
		}
	})
	return err
}

// datagramPipe is a session's datagrams.
type datagramPipe struct {
	session transport.Session
}

// Send does not wait: where the session's queue is full it drops the oldest, and
// counts it.
func (p *datagramPipe) Send(message []byte) error { return p.session.SendDatagram(message) }

func (p *datagramPipe) Receive(ctx context.Context) ([]byte, error) {
	message, err := p.session.ReceiveDatagram(ctx)
	if err != nil {
		return nil, endOfSession(err)
	}
	return message, nil
}

// Close leaves the session to its owner.
func (p *datagramPipe) Close() error { return nil }
