package h3wt

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// An http3Conn is what http3 does on a connection: everything that is no stream
// of WebTransport goes there.
type http3Conn interface {
	HandleUnidirectionalStream(*quic.ReceiveStream)
}

// conn is one QUIC connection with its sessions, the part that client and
// server have in common.
//
// Its mutex guards the tables of sessions and waiting streams. It is a leaf: no
// other lock is taken while it is held, and quic-go is not called.
type conn struct {
	qc     *quic.Conn
	cfg    *Config // settled; on a server that of all connections
	server bool
	h3     http3Conn
	limits initialLimits // what SETTINGS announced
	budget *sessionstate.Budget

	// handleBidi takes the bidirectional streams that are not WebTransport's.
	// It runs on a goroutine of its own.
	handleBidi func(*quic.Stream)

	// pool is the part of the connection's window that no session has been
	// given. It changes inside quic-go's flow control, where a lock of ours must
	// not be waited for, hence an atomic.
	pool atomic.Int64

	tlsOnce sync.Once
	tls     tls.ConnectionState // see tlsState

	loops sync.WaitGroup // what ends with the connection: accept loops, header readers

	mu sync.Mutex // guards the following
	// peer and rules are set once the peer's SETTINGS have come and are
	// acceptable. Rules are those of the draft in use.
	peer  PeerSettings
	rules *draftRules
	// sessions are those whose CONNECT stream is still open in a direction.
	sessions map[quic.StreamID]*Session
	// ended are those that are over and have streams left to be read, in the
	// order of their end. The slice is replaced, never changed in place.
	ended []*Session
	// awaited are the session IDs that may still become sessions, with the
	// streams that wait for them: the bidirectional streams whose request is
	// being read or handled, and IDs that only streams have named so far.
	awaited map[quic.StreamID]*awaited
	waiting int           // streams in awaited
	sweep   *time.Timer   // set while streams wait for an unknown CONNECT
	next    quic.StreamID // lowest client-initiated bidirectional ID not seen
	slots   int           // open sessions, and CONNECT requests being decided
	busy    int           // requests being read, and handlers that run
	// requests are the ordinary ones among them whose handler runs.
	requests int
	closing  bool  // no new sessions and requests; close when empty
	cause    error // why the connection was closed here, if somebody said so
	// broken says that cause is a rule that the peer broke, or a limit.
	broken bool
	// resets counts streams that the peer opened for nothing.
	resets *sessionstate.FloodGuard
	// senders are the sessions with datagrams to send, in turn.
	senders []*Session
	sending bool // the goroutine of sendDatagrams runs
}

// start sets c up. The accept loops are started by serveStreams.
func (c *conn) start(qc *quic.Conn, cfg *Config, server bool, budget *sessionstate.Budget) {
	c.qc, c.cfg, c.server = qc, cfg, server
	c.limits = cfg.limits()
	c.resets = sessionstate.NewRateGuard(time.Now(), cfg.Session.Floods.Resets, transport.Rate{PerSecond: 100, Burst: 1000})
	c.sessions = make(map[quic.StreamID]*Session)
	c.awaited = make(map[quic.StreamID]*awaited)
	c.budget = sessionstate.NewBudget(cfg.MaxConnectionMemory, budget)
	c.pool.Add(cfg.connectionWindow() - windowReserve - int64(cfg.MaxSessions)*int64(c.limits.maxData))
}

// serveStreams starts the two accept loops. They end with the connection, and
// c.loops waits for them.
func (c *conn) serveStreams() {
	c.loops.Add(2)
	go c.accept(c.nextBidi)
	go c.accept(c.nextUni)
}

func (c *conn) nextBidi(ctx context.Context) (*incoming, error) {
	str, err := c.qc.AcceptStream(ctx)
	if err != nil {
		return nil, err
	}
	return &incoming{bidi: str}, nil
}

func (c *conn) nextUni(ctx context.Context) (*incoming, error) {
	str, err := c.qc.AcceptUniStream(ctx)
	if err != nil {
		return nil, err
	}
	return &incoming{uni: str}, nil
}

// accept waits for a stream, and passes it on with all others that are there.
// Then another goroutine waits: one that has only waited has the smallest of
// stacks, and the stack of one that has worked never becomes as small again.
func (c *conn) accept(next func(context.Context) (*incoming, error)) {
	defer c.loops.Done()
	for wait := context.Background(); ; wait = canceled {
		in, err := next(wait)
		if errors.Is(err, context.Canceled) && c.qc.Context().Err() == nil {
			c.loops.Add(1)
			go c.accept(next)
			return
		}
		if err != nil {
			return
		}
		if c.dispatch(in, true) {
			continue
		}
		// Ends when the header is here, or after EarlyTimeout.
		c.loops.Go(func() { c.dispatch(in, false) })
	}
}

// closeConn ends the connection because the peer broke a rule or reached a limit.
func (c *conn) closeConn(code http3.ErrCode, cause *transport.ProtocolError) {
	c.mu.Lock()
	if c.cause == nil {
		c.cause, c.broken = cause, true
	}
	c.mu.Unlock()
	// The text for the peer says nothing about our inside.
	c.qc.CloseWithError(quic.ApplicationErrorCode(code), "")
}

// violation is a rule of the connection that the peer broke.
func violation(reason string) *transport.ProtocolError {
	return &transport.ProtocolError{Violation: transport.ViolationGeneric, Reason: reason}
}

// settle stores the peer's settings once they have passed the checks.
func (c *conn) settle(p PeerSettings, r *draftRules) {
	c.mu.Lock()
	first := c.rules == nil
	c.peer, c.rules = p, r
	c.mu.Unlock()
	if first {
		c.log("settings received", "", nil, slog.String("draft", r.draft.String()), slog.Bool("flow_control", r.flowControlled(p)))
	}
}

func (c *conn) peerSettings() PeerSettings {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peer
}

// draftInUse returns the rules of the draft in use.
func (c *conn) draftInUse() *draftRules {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rules
}

// maxSessionsLocked is how many sessions the connection may have at once.
func (c *conn) maxSessionsLocked() int {
	return c.rules.maxSessions(c.peer, c.cfg.MaxSessions, c.server)
}

// takeSlot reserves the place of a session. If it fails because there are too many,
// it says so.
func (c *conn) takeSlot() (limit transport.Limit, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing || c.rules == nil {
		return "", false
	}
	if c.slots >= c.maxSessionsLocked() {
		return transport.LimitSessionsPerConnection, false
	}
	c.slots++
	return "", true
}

// freeSlot gives it back: when the request was refused, or the session has ended.
// Its CONNECT stream may still wait for the peer's end, for CloseTimeout; a peer
// that asks for the next session may do so as soon as it knows of the end.
func (c *conn) freeSlot() {
	c.mu.Lock()
	c.slots--
	empty := c.emptyLocked()
	c.mu.Unlock()
	if empty {
		c.closeEmpty()
	}
}

// enter counts a request from its header to the return of its handler. It fails
// once the connection is being wound down; and while handlers that outlive their
// streams and sessions are too many: a peer could have any number of them by
// resetting requests and closing sessions.
func (c *conn) enter() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return errWindingDown
	}
	if c.busy >= c.cfg.MaxRequests+2*c.cfg.MaxSessions {
		return errTooBusy
	}
	c.busy++
	return nil
}

var (
	errWindingDown = errors.New("h3wt: the connection is being wound down")
	errTooBusy     = &transport.LimitError{Limit: transport.LimitRequests, Reason: "too many requests run"}
)

// takeRequest counts an ordinary request while its handler runs.
func (c *conn) takeRequest() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.requests >= c.cfg.MaxRequests {
		return false
	}
	c.requests++
	return true
}

func (c *conn) freeRequest() {
	c.mu.Lock()
	c.requests--
	c.mu.Unlock()
}

func (c *conn) leave() {
	c.mu.Lock()
	c.busy--
	empty := c.emptyLocked()
	c.mu.Unlock()
	if empty {
		c.closeEmpty()
	}
}

// emptyLocked reports whether a connection that is being wound down has nothing
// left on it.
func (c *conn) emptyLocked() bool {
	return c.closing && c.slots == 0 && c.busy == 0 && len(c.sessions) == 0
}

// closeEmpty closes a connection on which the last request or session has ended.
// What was sent last may still be on its way, and QUIC's close would take it
// back, so the peer gets a moment; it may close first.
func (c *conn) closeEmpty() {
	time.AfterFunc(lastWords, func() {
		c.mu.Lock()
		empty := c.emptyLocked()
		c.mu.Unlock()
		if empty {
			c.closeWithCause(http3.ErrCodeNoError, nil)
		}
	})
}

// lastWords is how long a connection outlives what was on it.
const lastWords = time.Second

// windDown refuses new sessions and requests, asks the sessions to drain, and
// closes the connection when nothing is left on it.
func (c *conn) windDown() {
	c.mu.Lock()
	c.closing = true
	empty := c.emptyLocked()
	sessions := c.sessionsLocked()
	c.mu.Unlock()
	for _, s := range sessions {
		s.Drain() // an error says that the session is over anyway
	}
	if empty {
		c.closeWithCause(http3.ErrCodeNoError, nil)
	}
}

func (c *conn) sessionsLocked() []*Session {
	list := make([]*Session, 0, len(c.sessions))
	for _, s := range c.sessions {
		list = append(list, s)
	}
	return list
}

// rtt is the smoothed round-trip time of the connection.
func (c *conn) rtt() (time.Duration, bool) {
	st := c.qc.ConnectionStats()
	return st.SmoothedRTT, st.LatestRTT > 0
}

// tlsState is the state of TLS when the first session began, which all share.
func (c *conn) tlsState() *tls.ConnectionState {
	c.tlsOnce.Do(func() { c.tls = c.qc.ConnectionState().TLS })
	return &c.tls
}

// takeWindow reserves n bytes of the connection's window for a session.
func (c *conn) takeWindow(n int64) bool {
	for {
		free := c.pool.Load()
		if free < n {
			return false
		}
		if c.pool.CompareAndSwap(free, free-n) {
			return true
		}
	}
}

func (c *conn) returnWindow(n int64) { c.pool.Add(n) }

// remove forgets a session whose CONNECT stream is over in both directions.
func (c *conn) remove(s *Session) {
	// What is unread keeps its part of the connection's window, beyond the part
	// that every session has, which makeRoom sees to.
	s.mu.Lock()
	streams, unread := s.leftLocked()
	taken := s.windowTaken - min(s.windowTaken, max(unread-int64(c.limits.maxData), 0))
	s.windowTaken -= taken
	s.mu.Unlock()
	c.returnWindow(taken)
	c.mu.Lock()
	delete(c.sessions, s.id)
	if streams != [2]int64{} {
		c.ended = append(c.ended[:len(c.ended):len(c.ended)], s)
	}
	empty := c.emptyLocked()
	c.mu.Unlock()
	c.makeRoom()
	if empty {
		c.closeEmpty()
	}
}

// closeWithCause closes the connection; its sessions end with cause.
func (c *conn) closeWithCause(code http3.ErrCode, cause error) {
	c.mu.Lock()
	if c.cause == nil {
		c.cause = cause
	}
	c.mu.Unlock()
	c.qc.CloseWithError(quic.ApplicationErrorCode(code), "")
}

// lostError is the error of a session whose connection ended with err.
func (c *conn) lostError(err error) *transport.SessionError {
	c.mu.Lock()
	cause, broken := c.cause, c.broken
	c.mu.Unlock()
	if cause != nil && resetError(err) == nil {
		return &transport.SessionError{Remote: !broken, Err: cause}
	}
	return lostError(err)
}
