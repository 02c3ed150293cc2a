package h3wt

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/towpath-go/towpath/transport"
)

// ClientConn is a QUIC connection to a server that offers WebTransport. It can
// carry several sessions if the server has session flow control. Its methods may
// be called from any goroutine.
type ClientConn struct {
	conn
	raw  *http3.RawClientConn
	done chan struct{} // closed when all goroutines of the connection have ended
	told chan struct{} // closed when open is set and was told of, or will not be
	open bool          // it was ready for sessions
}

// NewClientConn makes a ClientConn of a QUIC connection, which may still be
// handshaking, and from then on owns it. It returns once the server's SETTINGS
// show that it offers WebTransport. Otherwise it closes the connection and
// returns an error that matches transport.ErrNotWebTransport, or the
// connection's error, or the cause of ctx.
//
// The connection's quic.Config must be one of [Config.QUIC]. Where it is the only
// one on its socket, its quic.Transport is best one of [ClientTransport].
func NewClientConn(ctx context.Context, qc *quic.Conn, cfg *Config) (*ClientConn, error) {
	c := &ClientConn{done: make(chan struct{}), told: make(chan struct{})}
	settled := cfg.settle()
	c.conn.start(qc, &settled, false, nil)
	c.handleBidi = func(str *quic.Stream) { c.raw.HandleBidirectionalStream(str) }
	tr := &http3.Transport{
		EnableDatagrams:        true,
		AdditionalSettings:     c.cfg.settings(),
		MaxResponseHeaderBytes: c.cfg.MaxHeaderBytes,
		DisableCompression:     true,
	}
	c.raw = tr.NewRawClientConn(qc)
	c.h3 = c.raw
	c.serveStreams()
	context.AfterFunc(qc.Context(), func() {
		defer close(c.done)
		c.stopSweep()
		c.loops.Wait()
		<-c.told
		if c.open {
			c.tellEnded()
		}
	})
	if err := c.verify(ctx); err != nil {
		close(c.told)
		c.Close()
		return nil, err
	}
	c.tellOpened()
	c.open = true
	close(c.told)
	return c, nil
}

// verify waits for the handshake and for SETTINGS, and checks them.
func (c *ClientConn) verify(ctx context.Context) error {
	for _, ready := range []<-chan struct{}{c.qc.HandshakeComplete(), c.raw.ReceivedSettings()} {
		select {
		case <-ready:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-c.qc.Context().Done():
			return c.connectionError(context.Cause(c.qc.Context()))
		}
	}
	p := peerSettings(c.raw.Settings(), c.qc.ConnectionState())
	if why := p.invalid(c.cfg.MinDraft, false); why != "" {
		cause := violation(why)
		c.closeConn(http3.ErrCodeSettingsError, cause)
		return fmt.Errorf("%w: %w", transport.ErrNotWebTransport, cause)
	}
	rules, why := p.serverRules(c.cfg.MinDraft)
	if why != "" {
		c.closeConn(codeRequirementsNotMet, violation(why))
		return fmt.Errorf("%w: %s", transport.ErrNotWebTransport, why)
	}
	state := c.qc.ConnectionState()
	if !state.SupportsDatagrams.Local || !state.SupportsStreamResetPartialDelivery.Local {
		return errors.New("h3wt: quic.Config lacks EnableDatagrams or EnableStreamResetPartialDelivery")
	}
	c.settle(p, rules)
	return nil
}

// connectionError is the error of a call whose connection ended with err.
func (c *ClientConn) connectionError(err error) error {
	e := c.lostError(err)
	if e.Err != nil {
		return e.Err
	}
	return e
}

// CanTakeNewSession reports whether Dial may succeed: the connection lives, the
// server has not sent GOAWAY, and no limit on sessions is reached.
func (c *ClientConn) CanTakeNewSession() bool {
	if c.qc.Context().Err() != nil || c.goingAway() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.closing && c.slots < c.maxSessionsLocked()
}

// goingAway looks for the server's GOAWAY; its first sight drains all sessions.
func (c *ClientConn) goingAway() bool {
	if !goingAway(c.raw) {
		return false
	}
	c.mu.Lock()
	sessions := c.sessionsLocked()
	c.mu.Unlock()
	for _, s := range sessions {
		s.peerDrains()
	}
	return true
}

// watchGoAway polls for GOAWAY, at an interval, until s has ended or was told.
func (c *ClientConn) watchGoAway(s *Session) {
	var poll func()
	poll = func() {
		if s.ctx.Err() != nil || c.goingAway() {
			return
		}
		time.AfterFunc(pollGoAway, poll)
	}
	time.AfterFunc(pollGoAway, poll)
}

// Done is closed when the connection has ended, with all its goroutines.
func (c *ClientConn) Done() <-chan struct{} { return c.done }

// Close closes the connection with H3_NO_ERROR. Its sessions end at once; what
// they had not delivered is lost. It returns when the connection's goroutines
// have ended.
func (c *ClientConn) Close() error { return c.CloseWithCause(nil) }

// CloseWithCause closes the connection as Close does, for a reason that was
// found out here. If cause is not nil, the sessions end with it as
// transport.SessionError.Err.
func (c *ClientConn) CloseWithCause(cause error) error {
	c.closeWithCause(http3.ErrCodeNoError, cause)
	<-c.done
	return nil
}

// CloseAfter closes the connection when session s, its last one, has ended and
// what was finished has had time to arrive, at most its Config.CloseTimeout. It
// does not wait.
func (c *ClientConn) CloseAfter(s transport.Session) {
	own, ok := s.(*Session)
	if !ok || own.c != &c.conn {
		return
	}
	// Ends with the session and that time, or with the connection.
	go func() {
		<-own.done
		own.linger()
		c.Close()
	}()
}

// RTT returns the smoothed round-trip time; ok is false before the first sample.
func (c *ClientConn) RTT() (rtt time.Duration, ok bool) { return c.rtt() }

// ConnectionStats returns QUIC's counters. That packets keep being received
// shows that the path works.
func (c *ClientConn) ConnectionStats() quic.ConnectionStats { return c.qc.ConnectionStats() }

// PeerSettings returns what the server announced.
func (c *ClientConn) PeerSettings() PeerSettings { return c.peerSettings() }
