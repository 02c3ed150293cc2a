package h2wt

import (
	"context"
	"crypto/tls"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/block"
	"github.com/towpath-go/towpath/internal/gate"
	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/internal/session"
	"github.com/towpath-go/towpath/transport"
)

// tunnelState says what becomes of a CONNECT stream's bytes.
//
//	held --attach--> replaying --all replayed--> live --both sides ended, reset--> over
//	held --refuse--> refused
//	held, replaying --reset--> over
type tunnelState uint8

const (
	// tunnelHeld: nothing is decided. "A server MUST NOT act on any capsule
	// before it has accepted"; bytes are held, bounded by the stream's initial
	// window because no credit is returned for them.
	tunnelHeld tunnelState = iota
	// tunnelReplaying: a session is there, and the bytes held are being given
	// to it by the goroutine that accepted. New ones wait behind them.
	tunnelReplaying
	// tunnelLive: the read goroutine gives bytes to the session.
	tunnelLive
	// tunnelRefused: there will be no session; bytes are dropped.
	tunnelRefused
	// tunnelOver: the stream has ended.
	tunnelOver
)

// tunnel joins the CONNECT stream of one session to the session: it is the
// stream's Receiver and Source, and the session's Carrier.
type tunnel struct {
	tc       *tls.Conn
	onEnd    func(err error)        // called when the stream has ended abruptly
	onClosed func()                 // called once when the stream of a session has ended
	answered func(h *h2conn.Header) // called for every response, on a client

	mu       sync.Mutex // guards the following
	st       *h2conn.Stream
	state    tunnelState
	recvEnd  bool // END_STREAM was received
	sendEnd  bool // END_STREAM was sent
	held     []byte
	ended    gate.Event    // tunnelOver; while no session is attached
	progress chan struct{} // has a token when something was received; nil unless collect waits
	account  *account      // counts what is held on a server; nil once nothing can be
	sess     *session.Session
	err      error // why the stream ended, in tunnelOver
}

func newTunnel(tc *tls.Conn) *tunnel { return &tunnel{tc: tc} }

// done returns a channel that is closed if the stream ends before a session is
// attached.
func (t *tunnel) done() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ended.Done()
}

// settle closes the account: nothing is held from now on.
func (t *tunnel) settle() {
	t.mu.Lock()
	a := t.account
	t.account = nil
	t.mu.Unlock()
	a.close()
}

func (t *tunnel) stream() *h2conn.Stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.st
}

// session returns the session that was attached, or nil.
func (t *tunnel) session() *session.Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sess
}

// cause returns why the stream ended, as the connection says it.
func (t *tunnel) cause() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// settled tells whether settle was called.
func (t *tunnel) settled() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.account == nil
}

// attach gives the stream to a session: first what was held, in order, then
// what comes. It returns false if the stream has ended before.
func (t *tunnel) attach(s *session.Session) bool {
	t.mu.Lock()
	if t.state != tunnelHeld {
		t.mu.Unlock()
		return false
	}
	t.state, t.sess = tunnelReplaying, s
	st := t.st
	t.mu.Unlock()
	st.SetSource(t)
	for {
		t.mu.Lock()
		held, end := t.held, t.recvEnd
		t.held = nil
		if len(held) == 0 && t.state == tunnelReplaying {
			t.state = tunnelLive
			t.ended = gate.Event{} // nobody waits for it any more
		}
		over := t.state == tunnelOver
		t.mu.Unlock()
		if over {
			// The reset came in between; the session was told.
			return true
		}
		if len(held) > 0 {
			s.Data(held)
			st.Consume(len(held))
			continue
		}
		if end {
			s.End()
			t.checkClosed()
		}
		break
	}
	t.settle()
	st.ReleaseCredit()
	return true
}

// refuse says that there will be no session. It does nothing if there is one.
func (t *tunnel) refuse() {
	t.mu.Lock()
	if t.state != tunnelHeld {
		t.mu.Unlock()
		return
	}
	t.state = tunnelRefused
	n, st := len(t.held), t.st
	t.held = nil
	t.mu.Unlock()
	t.settle()
	if n > 0 {
		st.Consume(n)
	}
	st.ReleaseCredit()
}

// Headers implements h2conn.Receiver, on a client.
func (t *tunnel) Headers(h *h2conn.Header) {
	if h.EndStream {
		t.mu.Lock()
		t.recvEnd = true
		t.mu.Unlock()
	}
	t.answered(h)
}

// opened gives a client's tunnel its stream.
func (t *tunnel) opened(st *h2conn.Stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.st = st
}

// collect waits for the content of a response that accepts nothing: until it is
// complete, there are limit bytes of it, it takes too long, or ctx ends. What
// there is by then is returned.
func (t *tunnel) collect(ctx context.Context, limit int, wait time.Duration) []byte {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		t.mu.Lock()
		if t.progress == nil {
			t.progress = make(chan struct{}, 1)
		}
		progress, ended := t.progress, t.ended.Done()
		body, complete := t.held, t.recvEnd || t.state == tunnelOver
		t.mu.Unlock()
		if complete || len(body) >= limit {
			return body[:min(len(body), limit)]
		}
		select {
		case <-progress:
		case <-ended:
		case <-timer.C:
			return body
		case <-ctx.Done():
			return body
		}
	}
}

// receivedLocked wakes collect.
func (t *tunnel) receivedLocked() {
	select {
	case t.progress <- struct{}{}:
	default:
	}
}

// Data implements h2conn.Receiver.
func (t *tunnel) Data(p []byte) int {
	t.mu.Lock()
	switch t.state {
	case tunnelHeld, tunnelReplaying:
		t.held = append(t.held, p...)
		t.receivedLocked()
		a := t.account
		t.mu.Unlock()
		// Nothing is released before all is: this may come behind that.
		a.hold(len(p)).Run()
		return 0
	case tunnelLive:
		s := t.sess
		t.mu.Unlock()
		s.Data(p)
		return len(p)
	}
	t.mu.Unlock()
	return len(p)
}

// DataBlock implements h2conn.BlockReceiver.
func (t *tunnel) DataBlock(b *block.Block, p []byte) (consumed int, kept bool) {
	t.mu.Lock()
	s := t.sess
	live := t.state == tunnelLive
	t.mu.Unlock()
	if !live {
		return t.Data(p), false
	}
	return len(p), s.DataBlock(b, p)
}

// End implements h2conn.Receiver.
func (t *tunnel) End() {
	t.mu.Lock()
	t.recvEnd = true
	var s *session.Session
	if t.state == tunnelLive {
		s = t.sess
	}
	t.receivedLocked()
	t.mu.Unlock()
	if s != nil {
		s.End()
	}
	t.checkClosed()
}

// Trailers implements h2conn.Receiver. The content of a CONNECT stream is
// capsules and nothing else: a frame that is not DATA on it is malformed (RFC
// 9113 section 8.5).
func (t *tunnel) Trailers(*h2conn.Header) {
	t.mu.Lock()
	ignore := t.state == tunnelRefused || t.state == tunnelOver
	st := t.st
	t.mu.Unlock()
	if ignore {
		return
	}
	st.Fault(http2.ErrCodeProtocol)
	t.over(&transport.ProtocolError{Violation: transport.ViolationMalformed, Reason: "trailers on a CONNECT stream"})
}

// PriorityUpdate implements h2conn.PriorityReceiver.
func (t *tunnel) PriorityUpdate(value string) { setPriority(t.stream(), []string{value}) }

// Reset implements h2conn.Receiver.
func (t *tunnel) Reset(_ http2.ErrCode, _ bool, err error) { t.over(err) }

// over ends the tunnel because its stream has ended abruptly.
func (t *tunnel) over(err error) {
	t.mu.Lock()
	if t.state == tunnelOver {
		t.mu.Unlock()
		return
	}
	t.state, t.err = tunnelOver, err
	s := t.sess
	if s != nil || t.answered == nil {
		t.held = nil // on a client, collect may want it
	}
	t.ended.Happen()
	t.mu.Unlock()
	t.settle()
	if s != nil {
		s.Lost(lostError(err))
	}
	t.onEnd(err)
	if s != nil {
		t.onClosed()
	}
}

// checkClosed ends the tunnel of a session once both sides have ended.
func (t *tunnel) checkClosed() {
	t.mu.Lock()
	if t.sess == nil || t.state != tunnelLive || !t.recvEnd || !t.sendEnd {
		t.mu.Unlock()
		return
	}
	t.state = tunnelOver
	t.ended.Happen()
	t.mu.Unlock()
	t.onClosed()
}

// Fill implements h2conn.Source.
func (t *tunnel) Fill(dst []byte) (n int, end bool) {
	t.mu.Lock()
	s := t.sess
	t.mu.Unlock()
	n, end = s.Fill(dst)
	if end {
		t.mu.Lock()
		t.sendEnd = true
		t.mu.Unlock()
		t.checkClosed()
	}
	return n, end
}

// carrier is the tunnel as its session sees it.
type carrier struct{ *tunnel }

// Wake implements session.Carrier.
func (c carrier) Wake() { c.stream().Wake() }

// Reset implements session.Carrier: the peer broke a rule.
func (c carrier) Reset(v transport.Violation) {
	c.stream().Fault(violationCode(v))
	c.stopped()
}

// Cancel implements session.Carrier.
func (c carrier) Cancel() {
	c.stream().Reset(http2.ErrCodeCancel)
	c.stopped()
}

// stopped ends the tunnel because the session has reset the stream. A session
// may do that before it was attached, which then fails.
func (c carrier) stopped() {
	t := c.tunnel
	t.mu.Lock()
	if t.state == tunnelOver {
		t.mu.Unlock()
		return
	}
	t.state, t.held, t.err = tunnelOver, nil, errSessionReset
	attached := t.sess != nil
	t.ended.Happen()
	t.mu.Unlock()
	if attached {
		t.onClosed()
	}
}

// RTT implements session.Carrier.
func (c carrier) RTT() (time.Duration, bool) { return c.stream().Conn().RTT() }

// ExportKeyingMaterial implements session.Carrier.
func (c carrier) ExportKeyingMaterial(label string, context []byte, length int) ([]byte, error) {
	cs := c.tc.ConnectionState()
	return cs.ExportKeyingMaterial(label, context, length)
}
