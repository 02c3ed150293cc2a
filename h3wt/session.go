package h3wt

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/qlog"
	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// Session is one WebTransport session on a QUIC connection. It implements
// transport.Session.
//
// Its mutex guards everything that changes; its streams share it. It is never
// held while quic-go, http3 or a function of the application is called, since
// quic-go itself asks for credit under locks of its own.
type Session struct {
	c           *conn
	id          quic.StreamID
	str         connectStream
	cfg         *transport.Config // with defaults, and maybe of other sessions too
	flowControl bool
	limitRule   limitRule
	info        transport.Info // what does not change
	bidiHeader  []byte
	uniHeader   []byte
	trailer     func() http.Header // nil until trailers have come
	holder      *sessionstate.Holder

	qlog   *qlog.Writer // nil means nowhere
	began  time.Time
	ctx    context.Context
	cancel context.CancelCauseFunc
	// lingered is closed once no further stream can become readable.
	lingered chan struct{}
	// endTaken is closed when nothing more is read from the CONNECT stream.
	endTaken chan struct{}
	// done is closed when the CONNECT stream is over in both directions.
	done chan struct{}

	mu    sync.Mutex // guards the following
	life  sessionstate.Lifecycle
	drain sessionstate.Drain
	// draining is closed when the peer asks to wind down. It is made for the first
	// who wants to know, as are the channels for those who wait below.
	draining chan struct{}
	err      *transport.SessionError // set once, when the session ends
	stats    transport.Stats

	streams map[quic.StreamID]*dataStream
	accept  [2]acceptQueue // by kind
	local   [2]sessionstate.LocalLimit
	peer    [2]sessionstate.PeerLimit
	// returned are places taken from local for streams that did not come about.
	returned [2]uint64
	// creditRaised and streamsRaised are closed and taken away when the peer
	// raises a limit, or an unused place comes back.
	creditRaised  chan struct{}
	streamsRaised [2]chan struct{}
	sendCredit    sessionstate.SendCredit
	window        sessionstate.ReceiveWindow
	windowTaken   int64 // of the connection's window, beyond what SETTINGS gave
	restTimer     bool  // giveRest will run
	control       control
	floods        sessionstate.Floods
	// datagramRate is nil if there is no limit.
	datagramRate *sessionstate.FloodGuard
	pacing       pacing
	idling       idling
	// peerBlocked are the limits of the peer's last *_BLOCKED, plus one: of data,
	// and of streams by kind.
	peerBlocked [3]uint64
	// closedAny says that a stream was finished with Close, answered that the
	// peer's half of the CONNECT stream has ended.
	closedAny, answered bool
	ranks               ranks
	finished            []*sendPart    // the last streams that were closed
	finishedNext        int            // the first of them, once there are maxFinished
	rested              []restedStream // those before
	resting             bool           // restFinished will run
	outgoing            *sessionstate.DatagramQueue
	incoming            *sessionstate.DatagramQueue
	datagramReady       chan struct{} // 1 slot; nil before somebody waits
	room                datagramRoom
	// datagramMost is the largest payload that could be sent when that was last
	// looked at.
	datagramMost int

	// The following is guarded by c.mu.
	inSenders bool
}

// The kinds of streams, as indices.
const (
	bidi = iota
	uni
)

func kindOf(u bool) int {
	if u {
		return uni
	}
	return bidi
}

// acceptQueue holds the peer's streams that the application has not accepted.
// The peer's stream limits bound it.
type acceptQueue struct {
	streams []*dataStream
	ready   chan struct{} // 1 slot: there may be one to take; nil before somebody waits
	live    int64         // accepted and not over
	most    int64         // of those, while the session has no flow control
}

// signal wakes one that waits. Where ch is nil nobody has waited yet, and who
// comes to wait looks first.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// sessionParams is what newSession needs.
type sessionParams struct {
	conn     *conn
	id       quic.StreamID
	str      connectStream
	config   *transport.Config // nil is that of the connection
	protocol string
	header   http.Header
	trailer  func() http.Header
	urgency  int8 // of the session, RFC 9218
}

var _ transport.Session = (*Session)(nil)

// newSession makes a session on an accepted CONNECT stream and starts its two
// goroutines: readConnect, which ends with the CONNECT stream, and
// receiveDatagrams, which ends with the session.
func newSession(p sessionParams) *Session {
	c := p.conn
	settings, rules := c.peerSettings(), c.draftInUse()
	cfg := c.cfg.session
	if p.config != nil {
		own := p.config.WithDefaults()
		cfg = &own
	}
	now := time.Now()
	s := &Session{
		c:            c,
		id:           p.id,
		str:          p.str,
		cfg:          cfg,
		flowControl:  rules.flowControlled(settings),
		limitRule:    rules.limits,
		bidiHeader:   capsule.AppendVarint(capsule.AppendVarint(nil, bidiStreamType), uint64(p.id)),
		uniHeader:    capsule.AppendVarint(capsule.AppendVarint(nil, uniStreamType), uint64(p.id)),
		trailer:      p.trailer,
		lingered:     make(chan struct{}),
		endTaken:     make(chan struct{}),
		done:         make(chan struct{}),
		streams:      make(map[quic.StreamID]*dataStream),
		sendCredit:   sessionstate.NewSendCredit(settings.InitialMaxData),
		floods:       sessionstate.NewFloods(cfg.Floods),
		datagramRate: newDatagramRate(now, cfg.IncomingDatagramRate),
		pacing:       pacing{pace: sessionstate.NewPace(now, cfg.IncomingByteRate)},
		began:        now,
		outgoing:     sessionstate.NewDatagramQueue(cfg.OutgoingDatagramQueue, cfg.DatagramDrop, cfg.OutgoingMaxAge),
		incoming:     sessionstate.NewDatagramQueue(cfg.IncomingDatagramQueue, cfg.DatagramDrop, cfg.IncomingMaxAge),
		ranks:        ranks{base: p.urgency},
	}
	s.info = transport.Info{
		Protocol:            transport.HTTP3,
		Unreliable:          true,
		ApplicationProtocol: p.protocol,
		LocalAddr:           c.qc.LocalAddr(),
		RemoteAddr:          c.qc.RemoteAddr(),
		TLS:                 c.tlsState(),
		ID:                  uint64(p.id),
		Header:              p.header,
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	_ = s.ctx.Done() // made here, and not by those who wait on stacks of their own
	most := [2]int64{cfg.MaxIncomingStreams, cfg.MaxIncomingUniStreams}
	announced := [2]uint64{c.limits.maxStreamsBidi, c.limits.maxStreamsUni}
	allowed := [2]uint64{settings.InitialMaxStreamsBidi, settings.InitialMaxStreamsUni}
	for k := range s.accept {
		s.accept[k].most = most[k]
		s.local[k] = sessionstate.NewLocalLimit(allowed[k])
		s.peer[k] = sessionstate.NewPeerLimit(announced[k], uint64(most[k]))
	}
	s.holder = c.budget.Register(func() {
		s.fail(&transport.ProtocolError{Violation: transport.ViolationExcess, Reason: "memory limit reached", Limit: transport.LimitMemory})
	}, s.giveCredit)
	c.makeRoom()
	s.startWindow()
	s.qlog = qlog.New(cfg.Qlog, s.info, c.side())
	return s
}

// run starts the session once everything that waited for it was delivered. Below
// is the QUIC stream of s.str, nil on a client, where http3 keeps it.
func (s *Session) run(below receiver) {
	s.logOpened()
	if m := s.c.cfg.Monitor; m != nil {
		m.SessionOpened(s, s.c.side())
	}
	s.watchIdle()
	s.announceLimits()
	// Ends with the CONNECT stream: its end, a reset, CloseTimeout after the
	// session's end, or the connection's end. Session.done tells it.
	s.readConnect(below)
	// Ends with the session's context.
	go s.receiveDatagrams()
}

// Context ends when the session ends, with the *transport.SessionError as cause.
func (s *Session) Context() context.Context { return s.ctx }

// Info describes the session.
func (s *Session) Info() transport.Info {
	info := s.info
	info.MaxDatagramSize = s.maxDatagramSize()
	return info
}

// Stats returns the counters.
func (s *Session) Stats() transport.Stats {
	rtt, known := s.c.rtt()
	if !known {
		rtt = -1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.RTT = rtt
	return stats
}

// Draining is closed once the peer asked to wind down.
func (s *Session) Draining() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining == nil {
		s.draining = make(chan struct{})
		if s.drain.PeerDraining() {
			close(s.draining)
		}
	}
	return s.draining
}

// Drain asks the peer to wind down.
func (s *Session) Drain() error {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return s.err
	}
	s.drain.Ask()
	s.mu.Unlock()
	s.flushControl()
	return nil
}

// peerDrains tells the application that the peer winds down. It reports whether
// that is news.
func (s *Session) peerDrains() bool {
	s.mu.Lock()
	first := s.drain.PeerDrains()
	if first && s.draining != nil {
		close(s.draining)
	}
	s.mu.Unlock()
	if first {
		s.winding()
	}
	return first
}

// ExportKeyingMaterial derives key material bound to the session
// (draft-ietf-webtrans-http3 "Use of Keying Material Exporters").
func (s *Session) ExportKeyingMaterial(label string, context []byte, length int) ([]byte, error) {
	s.mu.Lock()
	ended := s.err
	s.mu.Unlock()
	if ended != nil {
		return nil, ended
	}
	full, err := sessionstate.ExporterContext(uint64(s.id), label, context, length)
	if err != nil {
		return nil, err
	}
	// On a server's early connection the state at the start had no secrets yet.
	state := s.c.qc.ConnectionState().TLS
	return state.ExportKeyingMaterial(sessionstate.ExporterLabel, full, length)
}

// ended returns the error that ended the session, nil while it is open.
func (s *Session) ended() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		return nil
	}
	return s.err
}
