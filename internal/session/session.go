package session

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/gate"
	"github.com/towpath-go/towpath/internal/qlog"
	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// InitialLimits are the six limits that one side publishes before the first
// capsule, by the rules of draft-ietf-webtrans-http2 "Flow Control
// SETTINGS" and "WebTransport-Init": Local and Remote are seen from the side
// that publishes them.
type InitialLimits struct {
	MaxData                 uint64
	MaxStreamDataUni        uint64
	MaxStreamDataBidiLocal  uint64 // streams opened by the side that publishes
	MaxStreamDataBidiRemote uint64 // streams opened by the other side
	MaxStreamsUni           uint64
	MaxStreamsBidi          uint64
}

// A Carrier is the stream of bytes below a session. The session calls it
// without its lock held; no method may block. A method may call back into the
// session, except that RTT and ExportKeyingMaterial must not.
type Carrier interface {
	// Wake says that Fill, which returned nothing, has something to give now.
	Wake()
	// Reset ends the stream abruptly because the peer broke a rule. Nothing of
	// the session goes out after it.
	Reset(v transport.Violation)
	// Cancel ends the stream abruptly for a local reason.
	Cancel()
	// RTT returns the round-trip time of the connection, if it is known.
	RTT() (time.Duration, bool)
	// ExportKeyingMaterial is the exporter of the connection's TLS session.
	ExportKeyingMaterial(label string, context []byte, length int) ([]byte, error)
}

// Params are what a session is made of.
type Params struct {
	// Client tells which side this is. With Parity it decides the stream IDs.
	Client bool
	// Parity says which of them are the client's.
	Parity Parity
	// Config are the application's limits; nil means defaults. It is copied.
	Config *transport.Config
	// Shared, if not nil, is used in place of Config, and not copied: a Config
	// with its defaults that many sessions share and that nobody changes.
	Shared *transport.Config
	// Local are the limits that this side has published, Peer those that the
	// peer has: what the session may send and open at the start.
	Local, Peer InitialLimits
	// Info is what Session.Info returns. A MaxDatagramSize of 0 is filled in
	// from Config.
	Info transport.Info
	// Carrier is the stream below. It must not be nil.
	Carrier Carrier
	// Budget is the account of the connection that the session's memory is
	// charged to; nil means an account of its own with the default size.
	Budget *sessionstate.Budget
	// Dialect says which drafts the session follows. A carrier that has
	// recognised another Towpath endpoint says DialectDraft15 where its Config
	// says DialectAuto.
	Dialect transport.Dialect
}

// A Session is one WebTransport session over one ordered stream of bytes. It
// implements transport.Session towards the application; towards the carrier it
// has Data, End, Lost, Abort and PeerDraining for what arrives and happens, and
// Fill for what goes out.
type Session struct {
	// The following never change.
	cfg     *transport.Config // with defaults
	carrier Carrier
	budget  *sessionstate.Budget
	local   streamLimits // for data that the peer sends
	peer    InitialLimits
	info    transport.Info
	trace   *transport.Trace // not nil
	log     *slog.Logger     // nil means silence
	qlog    *qlog.Writer     // nil means nowhere
	began   time.Time
	client  bool
	debug   bool // log takes levelCapsule

	mu sync.Mutex // guards the following, and what their comments say

	// Small ones stand together, so that they take little room: most sessions are
	// idle for most of the time.
	life      sessionstate.Lifecycle
	flushing  bool // in Closing: streams are being flushed, WT_CLOSE_SESSION waits
	cut       bool // CloseWithError dropped the end of a finished stream
	finished  bool // a stream was finished with Close
	closePut  bool // closing was given to the carrier, or a part of it
	answering bool // our END_STREAM is due or sent as an answer
	idle      bool // Fill returned nothing, so the carrier waits for Wake
	swapped   bool // the client opens odd IDs, the server even ones
	parityDue bool // that is not settled yet
	starved   bool // credit is withheld: the budget is full
	// unconfirmed says that an own close was begun and ended without an answer.
	unconfirmed bool

	reader reader

	err       *transport.SessionError // set once, when the session ends for the application
	ctx       context.Context         // what Context returns; nil until it is called
	cancel    context.CancelCauseFunc // ends ctx
	over      chan struct{}           // closed with err; made with the first stream
	drained   gate.Event              // the peer asked to wind down
	closed    gate.Event              // both directions are over
	arrived   chan struct{}           // 1 slot: ReceiveDatagram may be tried again; nil until one waits
	unsent    uint64                  // bytes of finished streams that CloseWithError dropped
	closing   capsule.CloseSession    // to be sent in Closing
	timer     *time.Timer             // bounds the closing
	bound     uint32                  // counts timers, so that an overtaken one does nothing
	flushLeft int32                   // in flushing: how many streams

	after after // what is to be done once the lock is free

	dialect dialect

	stats    transport.Stats
	rtt      time.Duration      // the carrier's, some time ago; 0 if unknown
	streams  map[uint64]*stream // made with the first
	opened   [2]localStreams    // by kind
	accepted [2]peerStreams     // by kind
	// unanswered are the streams that were forgotten although the peer had not
	// ended them.
	unanswered uint64

	credit      sessionstate.SendCredit    // level 4, to the peer
	window      sessionstate.ReceiveWindow // level 4, from the peer
	blockedData uint64                     // limit of the peer's last WT_DATA_BLOCKED, plus one
	pacing      pacing
	idling      idling

	holder   *sessionstate.Holder
	held     int // bytes of memory held
	charged  int // of these, rounded up, in holder
	overhead int // besides, in holder until the session ends

	outgoing outgoing
	received *sessionstate.DatagramQueue // nil until there is one
	// datagramRate is nil if there is no limit.
	datagramRate *sessionstate.FloodGuard
	abuse        sessionstate.Floods
}

// streamLimits are the limits for a stream's data that one side has published.
type streamLimits struct{ uni, bidiLocal, bidiRemote uint64 }

// noTrace is the trace of a session without one.
var noTrace transport.Trace

var _ transport.Session = (*Session)(nil)

// New returns an open session. The caller gives it the bytes that arrive, and
// asks it for bytes once it has something to carry them with.
func New(p Params) *Session {
	s := &Session{
		began:   time.Now(),
		client:  p.Client,
		cfg:     p.Shared,
		carrier: p.Carrier,
		budget:  p.Budget,
		local:   streamLimits{p.Local.MaxStreamDataUni, p.Local.MaxStreamDataBidiLocal, p.Local.MaxStreamDataBidiRemote},
		peer:    p.Peer,
		info:    p.Info,
		trace:   &noTrace,
		idle:    true,
	}
	if s.cfg == nil {
		cfg := p.Config.WithDefaults()
		s.cfg = &cfg
	}
	s.abuse = sessionstate.NewFloods(s.cfg.Floods)
	s.pacing.pace = sessionstate.NewPace(s.began, s.cfg.IncomingByteRate)
	if s.cfg.IncomingDatagramRate.PerSecond > 0 {
		s.datagramRate = sessionstate.NewRateGuard(s.began, s.cfg.IncomingDatagramRate, transport.Rate{})
	}
	if s.budget == nil {
		s.budget = sessionstate.NewBudget(sessionstate.DefaultConnectionBudget, nil)
	}
	if s.info.MaxDatagramSize == 0 {
		s.info.MaxDatagramSize = s.cfg.MaxDatagramSize
	}
	if s.cfg.Trace != nil {
		trace := *s.cfg.Trace
		s.trace = &trace
	}
	s.log = s.cfg.Logger
	s.debug = s.logs(levelCapsule)
	s.reader.s = s
	s.dialect.reading = readingOf(p.Dialect)
	s.reader.decoder.Dialect = s.dialect.reading.codec()
	s.swapped, s.parityDue = p.Parity.swapped(), p.Parity.learns()
	s.credit = sessionstate.NewSendCredit(p.Peer.MaxData)
	s.window = sessionstate.NewSessionWindow(p.Local.MaxData, uint64(s.cfg.InitialSessionWindow), uint64(s.cfg.MaxSessionWindow))
	for k := range s.opened {
		limit, local, most := p.Peer.MaxStreamsBidi, p.Local.MaxStreamsBidi, s.cfg.MaxIncomingStreams
		if kind(k) == uni {
			limit, local, most = p.Peer.MaxStreamsUni, p.Local.MaxStreamsUni, s.cfg.MaxIncomingUniStreams
		}
		s.opened[k].limit = sessionstate.NewLocalLimit(limit)
		s.accepted[k].limit = sessionstate.NewPeerLimit(local, uint64(most))
	}
	s.holder = s.budget.Register(s.overBudget, s.relieved)

	side := transport.ServerSide
	if s.client {
		side = transport.ClientSide
	}
	s.qlog = qlog.New(s.cfg.Qlog, s.info, side)

	// Limits published before may be lower than what Config allows: then the
	// first capsules raise them.
	s.mu.Lock()
	s.announceStreamsLocked(bidi)
	s.announceStreamsLocked(uni)
	s.after = after{} // Fill has not been asked yet, so nobody is to be woken
	s.watchIdleLocked(s.began)
	s.mu.Unlock()
	if s.logs(levelSession) {
		s.logOpened(p.Dialect)
	}
	return s
}

// overBudget ends the session because it holds the most memory of those that
// share a budget, and that is used up.
func (s *Session) overBudget() {
	s.Abort(&transport.ProtocolError{Violation: transport.ViolationExcess, Reason: "memory budget used up", Limit: transport.LimitMemory})
}

// Info implements transport.Session.
func (s *Session) Info() transport.Info { return s.info }

// Stats implements transport.Session.
func (s *Session) Stats() transport.Stats {
	rtt, ok := s.carrier.RTT()
	if !ok {
		rtt = -1
	}
	s.mu.Lock()
	defer s.unlock()
	stats := s.stats
	stats.RTT = rtt
	return stats
}

// ExportKeyingMaterial implements transport.Session: draft-ietf-webtrans-http2
// "Use of Keying Material Exporters".
func (s *Session) ExportKeyingMaterial(label string, context []byte, length int) ([]byte, error) {
	s.mu.Lock()
	err := s.err
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	c, e := sessionstate.ExporterContext(s.info.ID, label, context, length)
	if e != nil {
		return nil, e
	}
	return s.carrier.ExportKeyingMaterial(sessionstate.ExporterLabel, c, length)
}

// Drain implements transport.Session.
func (s *Session) Drain() error {
	s.mu.Lock()
	defer s.unlock()
	if s.err != nil {
		return s.err
	}
	if s.outgoing.drain.Ask() {
		s.wakeLocked()
	}
	return nil
}

// Draining implements transport.Session.
func (s *Session) Draining() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drained.Done()
}

// PeerDraining says that the peer's connection is going away (GOAWAY).
func (s *Session) PeerDraining() {
	s.mu.Lock()
	defer s.unlock()
	s.drainLocked()
}

// drainLocked notes that the peer wants to wind down. It reports whether that
// is news.
func (s *Session) drainLocked() bool {
	if s.err != nil || !s.outgoing.drain.PeerDrains() {
		return false
	}
	s.drained.Happen()
	s.noteLocked(event{what: eventDraining})
	return true
}

// kind indexes what exists per kind of stream.
type kind uint8

const (
	bidi kind = iota
	uni
)

func kindOf(id uint64) kind { return kind(id >> 1 & 1) }

// String returns "bidi" or "uni".
func (k kind) String() string {
	if k == uni {
		return "uni"
	}
	return "bidi"
}
