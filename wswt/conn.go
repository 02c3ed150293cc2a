package wswt

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"github.com/towpath-go/towpath/internal/cork"
	"github.com/towpath-go/towpath/internal/quota"
	"github.com/towpath-go/towpath/internal/session"
	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// sendState says what may still be sent.
//
//	open --engine's end, peer's Close, a fault, an abort--> closing --Close written--> closed
//	open, closing --connection lost--> closed
type sendState uint8

const (
	// sendOpen: frames of every kind go out.
	sendOpen sendState = iota
	// sendClosing: a Close frame is due, and nothing else goes out any more.
	sendClosing
	// sendClosed: the Close frame was written, or nothing can be written.
	sendClosed
)

// recvState says what is made of what the peer sends.
//
//	open --peer's Close--> closed
//	open --frame that breaks a rule--> broken
type recvState uint8

const (
	// recvOpen: frames are read.
	recvOpen recvState = iota
	// recvClosed: the peer's Close frame was received.
	recvClosed
	// recvBroken: what comes cannot be read as frames any more.
	recvBroken
)

// A mapping says how messages carry the bytes of a session. Its methods are each
// called by one goroutine.
type mapping interface {
	// received takes bytes of a message; last says that they end it. An error
	// is a *fault.
	received(p []byte, last bool) error
	// within reports whether the bytes so far end inside a message that only
	// its end makes whole.
	within() bool
	// fill writes what goes out next into dst, as session.Session.Fill does: the
	// payload of a message, or whole frames if framed says so.
	fill(dst []byte) (n int, end bool)
	framed() bool
	// farewell is the reason of the Close frame that ends a session in order.
	farewell() string
}

// capsuleStream is the mapping of [Subprotocol]: a message is any piece of the
// stream of capsules.
type capsuleStream struct{ s *session.Session }

func (m capsuleStream) received(p []byte, _ bool) error { m.s.Data(p); return nil }

func (capsuleStream) within() bool { return false }

func (m capsuleStream) fill(dst []byte) (int, bool) { return m.s.Fill(dst) }

func (capsuleStream) framed() bool { return false }

func (capsuleStream) farewell() string { return "" }

// params are what a connection whose opening handshake is done is made of.
type params struct {
	nc      net.Conn
	early   []byte // bytes received behind the handshake
	client  bool
	cfg     *Config
	session *transport.Config
	kdraft  bool // the subprotocol is one of fails-components'
	info    transport.Info
	budget  *sessionstate.Budget // of all sessions of a server, or nil
	place   *quota.Hold          // in the quotas of a server, or nil
	onEnd   func(*conn)          // called when everything of the connection has ended; may be nil
}

// conn is one WebSocket connection and its session's Carrier. Two goroutines
// live as long as the connection: one reads, one writes.
type conn struct {
	nc      net.Conn
	room    roomConn // nc, if it can say how much to write; else nil
	client  bool
	cfg     *Config
	sess    *session.Session
	mapping mapping
	tls     *tls.ConnectionState
	closing time.Duration // bounds each step of the closing handshake
	place   *quota.Hold
	onEnd   func(*conn)
	holder  *sessionstate.Holder // of what is held beside the session
	frames  *frameReader         // of the reader
	turn    int                  // of the reader: bytes it has read since it let others run
	writer  frameWriter          // of the writer

	wake     chan struct{} // 1 slot: the writer may have something to do
	readDone chan struct{} // closed by the reader at its end
	done     chan struct{} // closed when the connection and both goroutines have ended

	mu       sync.Mutex // guards the following
	send     sendState
	status   ws.StatusCode // of the Close frame that is due, or answers the peer's
	reason   string
	aborted  ws.StatusCode // of the Close frame if the session ends for a local reason
	recv     recvState
	writeErr error     // of a write that failed
	bound    time.Time // from then on nothing is read or written; zero: not closing
	overdue  bool      // bound has passed, and the peer had not ended the connection
	late     int       // bytes that came behind a Close frame that the peer is to blame for
	pongDue  bool
	pongSize uint8
	pong     [maxControl]byte // of the newest ping
	ping     pingState
}

// start makes a session of a connection and starts its goroutines.
func start(p params) *conn {
	c := newConn(p)
	c.opened(true)
	c.run()
	return c
}

// newConn makes a session of a connection, which begins with run.
func newConn(p params) *conn {
	cfg := p.session
	if cfg == nil {
		cfg = p.cfg.Session
	}
	if tc, ok := p.nc.(*tls.Conn); ok {
		p.nc = cork.NewTLSConn(tc)
	}
	now := time.Now()
	room, _ := p.nc.(roomConn)
	c := &conn{
		nc:       p.nc,
		room:     room,
		client:   p.client,
		cfg:      p.cfg,
		tls:      p.info.TLS,
		closing:  cfg.WithDefaults().CloseTimeout,
		place:    p.place,
		onEnd:    p.onEnd,
		writer:   frameWriter{client: p.client},
		aborted:  ws.StatusInternalServerError,
		wake:     make(chan struct{}, 1),
		readDone: make(chan struct{}),
		done:     make(chan struct{}),
	}
	if c.closing == 0 {
		c.closing = transport.DefaultCloseTimeout
	}
	c.ping.heard = now
	sp := session.Params{Client: p.client, Config: cfg, Carrier: carrier{c}, Dialect: transport.DialectDraft15}
	sp.Local, sp.Peer = p.cfg.limits(p.client)
	maxMessageSize := p.cfg.maxMessageSize()
	if p.kdraft {
		sp.Dialect, sp.Parity = transport.DialectLegacy, session.ParitySwapped
		sp.Local, sp.Peer = p.cfg.kdraftLimits(p.client)
		maxMessageSize = kdraftMaxMessage(p.cfg, cfg)
	}
	c.frames = newFrameReader(receiver{c}, p.early, p.client, maxMessageSize, now)
	p.info.Protocol = transport.WebSocket
	p.info.LocalAddr, p.info.RemoteAddr = p.nc.LocalAddr(), p.nc.RemoteAddr()
	sp.Info = p.info
	sp.Budget = newBudget(orNone(p.cfg.MaxConnectionMemory, DefaultMaxConnectionMemory), p.budget)
	c.sess = session.New(sp)
	c.holder = sp.Budget.Register(func() {
		c.sess.Abort(&transport.ProtocolError{
			Violation: transport.ViolationExcess, Limit: transport.LimitMemory, Reason: "memory budget used up",
		})
	}, nil)
	c.mapping = capsuleStream{c.sess}
	if p.kdraft {
		c.mapping = newKDraftMapping(c, sp)
	}
	return c
}

// run starts the connection's goroutines. From here it may end at any time, and
// call onEnd.
func (c *conn) run() {
	c.hold(headerMemory(c.sess.Info().Header)) // Info keeps it
	c.signal()                                 // Fill is to be called once of our own accord
	go c.readLoop()                            // ends with the connection; writeLoop waits for it
	go c.writeLoop()                           // ends when both directions have ended, bounded by conn.bound; done tells
}

// hold charges the memory of the session with n more bytes, or fewer.
func (c *conn) hold(n int) {
	if n > 0 {
		c.holder.Hold(n).Run()
		return
	}
	c.holder.Release(-n).Run()
}

// signal has the writer look for what is to be done.
func (c *conn) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// startClose makes a Close frame due, unless one is or was. The first one counts.
func (c *conn) startClose(status ws.StatusCode, reason string) {
	bound := time.Now().Add(c.closing)
	c.mu.Lock()
	due := c.send == sendOpen
	if due {
		c.send, c.status, c.reason = sendClosing, status, reason
		c.bound = bound
	}
	c.mu.Unlock()
	if due {
		_ = c.nc.SetDeadline(bound) // an error means that it has ended
		c.signal()
	}
}

// abandon ends the connection without a further byte.
func (c *conn) abandon() {
	c.mu.Lock()
	c.send = sendClosed
	c.bound = past
	c.mu.Unlock()
	_ = c.nc.SetDeadline(past) // an error means that it has ended
	c.signal()
}

// past is a deadline that has passed: every call that waits returns at once.
var past = time.Unix(1, 0)

// shut ends the session because its server is being closed.
func (c *conn) shut() {
	c.mu.Lock()
	c.aborted = ws.StatusGoingAway
	c.mu.Unlock()
	c.sess.Abort(errServerDown)
}

// fail ends the session because the peer broke a rule below it.
func (c *conn) fail(f *fault) {
	c.mu.Lock()
	c.recv = recvBroken
	c.mu.Unlock()
	c.startClose(f.status, f.reason)
	c.sess.Abort(f.protocolError())
}

// lost ends the session because the connection has ended.
func (c *conn) lost(err error) { c.sess.Lost(err) }

// carrier is the connection as its session sees it.
type carrier struct{ c *conn }

// Wake implements session.Carrier.
func (c carrier) Wake() { c.c.signal() }

// Reset implements session.Carrier: the peer broke a rule, or ran into a limit,
// which the session's end tells by now.
func (c carrier) Reset(v transport.Violation) {
	limit, _ := transport.ReachedLimit(context.Cause(c.c.sess.Context()))
	c.c.startClose(violationStatus(v, limit), v.String())
}

// Cancel implements session.Carrier. A Close frame that was sent, and is not
// answered, is not waited for any longer.
func (c carrier) Cancel() {
	c.c.mu.Lock()
	state, status := c.c.send, c.c.aborted
	c.c.mu.Unlock()
	switch state {
	case sendOpen:
		c.c.startClose(status, "")
	case sendClosed:
		c.c.abandon()
	}
}

// RTT implements session.Carrier.
func (c carrier) RTT() (time.Duration, bool) {
	c.c.mu.Lock()
	defer c.c.mu.Unlock()
	return c.c.ping.rtt, c.c.ping.rtt > 0
}

// ExportKeyingMaterial implements session.Carrier.
func (c carrier) ExportKeyingMaterial(label string, context []byte, length int) ([]byte, error) {
	if c.c.tls == nil {
		return nil, errNoExporter
	}
	return c.c.tls.ExportKeyingMaterial(label, context, length)
}
