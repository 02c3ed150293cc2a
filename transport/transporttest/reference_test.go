package transporttest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/towpath-go/towpath/transport"
)

// The reference is the contract of package transport in its simplest form: two
// sessions in one memory, under one lock, where everything arrives at once. It
// proves the suite: it passes, and with a fault built in it must not.

// A refPair is what both sessions share.
type refPair struct {
	mu     sync.Mutex // guards everything of the pair
	cond   sync.Cond
	faults map[string]bool
}

func (p *refPair) fault(name string) bool { return p.faults[name] }

// lock locks the pair; the function it returns moves what can be moved, wakes
// all waiters and unlocks.
func (p *refPair) lock() func() {
	p.mu.Lock()
	return func() {
		p.cond.Broadcast()
		p.mu.Unlock()
	}
}

type refSession struct {
	pair   *refPair
	peer   *refSession
	client bool
	config transport.Config

	ctx    context.Context
	cancel context.CancelCauseFunc
	end    *transport.SessionError
	closes bool // CloseWithError was called

	opened, ended [2]int64 // streams opened here; streams of the peer that are over; by kind
	accept        [2][]*refStream
	out           []*refHalf // halves that send from here, in order of opening
	turn          int        // counts portions, for taking turns
	sent, read    int64      // of the session's credit: bytes sent; bytes that the peer read or discarded
	groups        map[*transport.SendGroup]int

	datagrams []refDatagram
	reused    []byte
	rates     refRates
	draining  chan struct{}
	drained   bool
	stats     transport.Stats
}

type refDatagram struct {
	bytes []byte
	at    time.Time
}

// refMakePair returns a MakePair of sessions with faults.
func refMakePair(faults ...string) MakePair {
	return func(t testing.TB, client, server *transport.Config) (transport.Session, transport.Session, func()) {
		p := &refPair{faults: map[string]bool{}}
		p.cond.L = &p.mu
		for _, f := range faults {
			p.faults[f] = true
		}
		c, s := newRefSession(p, client), newRefSession(p, server)
		c.peer, s.peer, c.client = s, c, true
		c.startRates()
		s.startRates()
		return c, s, func() {
			c.CloseWithError(0, "")
			s.CloseWithError(0, "")
			if p.fault("leak") {
				go func() { <-make(chan int) }()
			}
		}
	}
}

func newRefSession(p *refPair, config *transport.Config) *refSession {
	s := &refSession{pair: p, config: config.WithDefaults(), draining: make(chan struct{}), groups: map[*transport.SendGroup]int{}}
	s.stats.RTT = -1
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s
}

// wait waits until done returns true, the session ends or ctx does.
func (s *refSession) wait(ctx context.Context, limit error, done func() bool) error {
	stop := context.AfterFunc(ctx, func() {
		defer s.pair.lock()()
	})
	defer stop()
	for {
		switch {
		case s.end != nil:
			return s.end
		case done():
			return nil
		case ctx.Err() != nil:
			if s.pair.fault("context ends session") {
				s.finish(&transport.SessionError{Err: ctx.Err()})
			}
			if limit != nil {
				return limit
			}
			return context.Cause(ctx)
		}
		s.pair.cond.Wait()
	}
}

func kindOf(uni bool) int {
	if uni {
		return 1
	}
	return 0
}

func (s *refSession) limit(kind int) int64 {
	n := s.peer.config.MaxIncomingStreams
	if kind == 1 {
		n = s.peer.config.MaxIncomingUniStreams
	}
	if s.pair.fault("no stream credit") {
		return n
	}
	return n + s.peer.ended[kind]
}

func (s *refSession) openKind(ctx context.Context, uni bool) (*refStream, error) {
	defer s.pair.lock()()
	kind := kindOf(uni)
	var limit error
	if ctx.Err() != nil {
		limit = transport.ErrStreamLimit
		if s.pair.fault("context instead of limit") {
			limit = nil
		}
	}
	if n := s.limit(kind); s.end == nil && s.opened[kind] >= n && s.rates.stalledAt[kind] != n+1 {
		s.rates.stalledAt[kind] = n + 1
		s.stalled()
	}
	err := s.wait(ctx, limit, func() bool {
		return s.opened[kind] < s.limit(kind) || s.pair.fault("no stream limit")
	})
	if err != nil {
		return nil, err
	}
	s.traffic()
	id := transport.StreamID(uint64(s.opened[kind])<<2 | uint64(kind)<<1)
	if s.pair.fault("ids leave gaps") {
		id *= 2
	}
	if !s.client {
		id |= 1
	}
	s.opened[kind]++
	s.stats.StreamsOpened++
	here := &refStream{session: s, id: id, opener: true}
	there := &refStream{session: s.peer, id: id}
	here.send = newRefHalf(s, here, there)
	there.recv = here.send
	if !uni {
		there.send = newRefHalf(s.peer, there, here)
		here.recv = there.send
	}
	if s.pair.fault("announces on open") {
		here.send.announce()
	}
	return here, nil
}

func (s *refSession) acceptKind(ctx context.Context, kind int) (*refStream, error) {
	defer s.pair.lock()()
	if s.pair.fault("done context fails") && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err := s.wait(ctx, nil, func() bool { return len(s.accept[kind]) > 0 }); err != nil {
		return nil, err
	}
	st := s.accept[kind][0]
	s.accept[kind] = s.accept[kind][1:]
	return st, nil
}

func (s *refSession) OpenStream(ctx context.Context) (transport.Stream, error) {
	st, err := s.openKind(ctx, false)
	if err != nil {
		return nil, err
	}
	return st, nil
}

func (s *refSession) OpenUniStream(ctx context.Context) (transport.SendStream, error) {
	st, err := s.openKind(ctx, true)
	if err != nil {
		return nil, err
	}
	return st, nil
}

func (s *refSession) AcceptStream(ctx context.Context) (transport.Stream, error) {
	st, err := s.acceptKind(ctx, 0)
	if err != nil {
		return nil, err
	}
	return st, nil
}

func (s *refSession) AcceptUniStream(ctx context.Context) (transport.ReceiveStream, error) {
	st, err := s.acceptKind(ctx, 1)
	if err != nil {
		return nil, err
	}
	return st, nil
}

func (s *refSession) SendDatagram(p []byte) error {
	unlock := s.pair.lock()
	if s.pair.fault("datagrams wake nobody") {
		unlock = s.pair.mu.Unlock
	}
	defer unlock()
	if s.end != nil {
		return s.end
	}
	if len(p) > s.config.MaxDatagramSize && !s.pair.fault("large datagrams") {
		return &transport.DatagramTooLargeError{Max: s.config.MaxDatagramSize}
	}
	if s.config.OutgoingDatagramQueue == 0 && !s.pair.fault("datagrams without queue") {
		s.stats.DatagramsDroppedOutgoing++
		return nil
	}
	if !s.pair.fault("datagrams not counted") {
		s.stats.DatagramsSent++
	}
	r := s.peer
	if len(p) == 0 && s.pair.fault("empty datagrams lost") || r.config.InitialSessionWindow == 0 && s.pair.fault("datagrams need credit") {
		return nil
	}
	r.stats.DatagramsReceived++
	if !s.pair.fault("datagrams are no traffic") {
		s.traffic()
	}
	if !r.takesDatagram(len(p)) {
		return nil
	}
	if len(p) > r.config.MaxDatagramSize && !s.pair.fault("large datagrams received") || r.config.IncomingDatagramQueue == 0 {
		r.stats.DatagramsDroppedIncoming++
		return nil
	}
	if !s.pair.fault("datagram aliases") {
		p = append([]byte{}, p...)
	}
	if len(r.datagrams) == r.config.IncomingDatagramQueue {
		r.stats.DatagramsDroppedIncoming++
		if (r.config.DatagramDrop == transport.DropNewest) != s.pair.fault("wrong drop") {
			return nil
		}
		r.datagrams = r.datagrams[1:]
	}
	r.datagrams = append(r.datagrams, refDatagram{p, time.Now()})
	return nil
}

func (s *refSession) ReceiveDatagram(ctx context.Context) ([]byte, error) {
	defer s.pair.lock()()
	err := s.wait(ctx, nil, func() bool {
		age := s.config.IncomingMaxAge
		if age > 0 && s.pair.fault("age ignores its length") {
			age = 1
		}
		for len(s.datagrams) > 0 && age > 0 && time.Since(s.datagrams[0].at) > age && !s.pair.fault("no age") {
			s.datagrams = s.datagrams[1:]
			s.stats.DatagramsExpiredIncoming++
		}
		return len(s.datagrams) > 0
	})
	if err != nil {
		return nil, err
	}
	d := s.datagrams[0]
	s.datagrams = s.datagrams[1:]
	if s.pair.fault("datagram buffer reused") {
		s.reused = append(s.reused[:0], d.bytes...)
		return s.reused, nil
	}
	return d.bytes, nil
}

func (s *refSession) Drain() error {
	defer s.pair.lock()()
	if s.end != nil {
		return s.end
	}
	if !s.drained {
		s.drained = true
		close(s.peer.draining)
		if s.pair.fault("drain ends") {
			s.finish(&transport.SessionError{})
			s.peer.finish(&transport.SessionError{Remote: true})
		}
	}
	return nil
}

func (s *refSession) Draining() <-chan struct{} { return s.draining }

func (s *refSession) CloseWithError(code transport.SessionErrorCode, reason string) error {
	defer s.pair.lock()()
	if s.closes || s.end != nil {
		return nil
	}
	s.closes = true
	unsent := func() (n uint64) {
		for _, h := range s.out {
			if h.closed && h.dead == nil {
				n += uint64(len(h.waiting))
			}
		}
		return n
	}
	if !s.pair.fault("no flush") {
		ctx, cancel := context.WithTimeout(context.Background(), s.config.CloseTimeout)
		defer cancel()
		s.wait(ctx, nil, func() bool { return unsent() == 0 })
	}
	n := unsent()
	if s.end != nil {
		return nil
	}
	if s.pair.fault("no truncation") == false && len(reason) > 1024 {
		reason = reason[:1024]
		for !utf8.ValidString(reason) && !s.pair.fault("truncation cuts runes") {
			reason = reason[:len(reason)-1]
		}
	}
	reason = strings.ToValidUTF8(reason, "\ufffd")
	if s.pair.fault("code lost") {
		code = 0
	}
	s.finish(&transport.SessionError{Code: code, Reason: reason})
	s.peer.finish(&transport.SessionError{Code: code, Reason: reason, Remote: !s.pair.fault("not remote")})
	if n > 0 && !s.pair.fault("unsent not told") {
		return &transport.UnsentError{Bytes: n}
	}
	return nil
}

// finish ends the session here.
func (s *refSession) finish(err *transport.SessionError) {
	if s.end != nil {
		return
	}
	s.end = err
	s.cancel(err)
	s.stopRates()
	if s.config.Trace != nil && s.config.Trace.Closed != nil {
		s.config.Trace.Closed(err)
		if s.pair.fault("closed traced twice") {
			s.config.Trace.Closed(err)
		}
	}
}

func (s *refSession) Context() context.Context { return s.ctx }

func (s *refSession) Info() transport.Info {
	s.pair.mu.Lock()
	defer s.pair.mu.Unlock()
	here, there := &net.TCPAddr{Port: 1}, &net.TCPAddr{Port: 2}
	if !s.client {
		here, there = there, here
	}
	return transport.Info{
		Protocol: transport.HTTP2, Unreliable: s.pair.fault("unreliable over TCP"),
		LocalAddr: here, RemoteAddr: there, MaxDatagramSize: s.config.MaxDatagramSize,
	}
}

func (s *refSession) Stats() transport.Stats {
	s.pair.mu.Lock()
	defer s.pair.mu.Unlock()
	return s.stats
}

func (s *refSession) ExportKeyingMaterial(label string, ctx []byte, length int) ([]byte, error) {
	s.pair.mu.Lock()
	defer s.pair.mu.Unlock()
	if s.end != nil {
		return nil, s.end
	}
	if length = max(length, -1); s.pair.fault("exporter takes anything") {
		length = max(length, 0)
	} else if label == "" || len(label) > 255 || len(ctx) > 255 || length < 0 {
		return nil, errors.New("argument")
	}
	mac := hmac.New(sha256.New, []byte(label))
	if !s.pair.fault("exporter ignores context") {
		mac.Write(ctx)
	}
	if s.pair.fault("exporter differs") && s.client {
		mac.Write([]byte("client"))
	}
	p := mac.Sum(nil)
	for len(p) < length {
		mac.Write(p)
		p = mac.Sum(p)
	}
	return p[:length], nil
}
