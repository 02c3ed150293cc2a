package h3wt

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/towpath-go/towpath/transport"
)

// Before a client's address is verified anybody can write it into a packet: a
// connection is not counted for it, and handshakes with such clients are bounded
// for all together. Above that bound quic-go answers the first packet with Retry
// (RFC 9000 section 8.1.2), which costs no memory, and the client that comes back
// is verified.

// An unverified bounds the handshakes with clients whose address is not verified:
// those in progress, and those begun per second.
type unverified struct {
	most int // 0: none is taken without verification

	mu       sync.Mutex // guards the following
	progress int
	begun    float64 // a bucket of most, which empties by most a second
	last     time.Time
}

// full reports whether a further client has to be verified first.
func (u *unverified) full(now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.begun = max(0, u.begun-now.Sub(u.last).Seconds()*float64(u.most))
	u.last = now
	return u.progress >= u.most || u.begun+1 > float64(u.most)
}

func (u *unverified) begin() {
	u.mu.Lock()
	u.progress++
	u.begun++
	u.mu.Unlock()
}

func (u *unverified) end() {
	u.mu.Lock()
	u.progress--
	u.mu.Unlock()
}

// An admission is what is known of a connection from its first packet on.
type admission struct {
	server *Server

	mu       sync.Mutex // guards the following
	state    admissionState
	verified bool // its address is
	release  func()
}

// An admissionState is where a connection stands. It only grows.
type admissionState uint8

const (
	handshaking admissionState = iota
	admitted                   // the handshake is done, and Admit agrees
	gone                       // refused, or ended
)

type admissionKey struct{}

// refusals are the last clients that were refused at their first packet. A
// ClientHello has mostly two, and quic-go keeps nothing of the first one when it is
// refused, so that the second would be asked about and counted again.
type refusals struct {
	mu   sync.Mutex // guards the following
	last [32]refusal
	next int
}

type refusal struct {
	remote string
	at     time.Time
	err    error
}

// sameHello is how long a packet of a client that was refused is taken for a part
// of what it sent before.
const sameHello = 100 * time.Millisecond

func (r *refusals) find(remote string, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.last {
		if e := &r.last[i]; e.remote == remote && now.Sub(e.at) < sameHello {
			return e.err
		}
	}
	return nil
}

func (r *refusals) add(remote string, now time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last[r.next] = refusal{remote, now, err}
	r.next = (r.next + 1) % len(r.last)
}

// transport makes the quic.Transport of a socket.
func (s *Server) transport(pc net.PacketConn) *quic.Transport {
	return &quic.Transport{
		Conn: pc,
		VerifySourceAddress: func(remote net.Addr) bool {
			return s.unverified.full(time.Now()) || s.VerifyAddress != nil && s.VerifyAddress(remote)
		},
		ConnContext: s.admitFirst,
	}
}

// admitFirst is called with a connection's first packet. An error has quic-go
// answer it with CONNECTION_REFUSED. Ctx ends with the connection.
func (s *Server) admitFirst(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	a := &admission{server: s, verified: info.AddrVerified}
	if a.verified && s.Admit != nil {
		remote, now := info.RemoteAddr.String(), time.Now()
		if err := s.refusals.find(remote, now); err != nil {
			return nil, err
		}
		release, err := s.admit(info.RemoteAddr)
		if err != nil {
			s.refusals.add(remote, now, err)
			return nil, err
		}
		a.release = release
	} else if !a.verified {
		s.unverified.begin()
	}
	remote := info.RemoteAddr
	context.AfterFunc(ctx, func() { a.end(remote, context.Cause(ctx)) })
	return context.WithValue(ctx, admissionKey{}, a), nil
}

// admit asks the application. The error carries the limit.
func (s *Server) admit(remote net.Addr) (release func(), err error) {
	if s.Admit == nil {
		return nil, nil
	}
	release, limit, ok := s.Admit(remote)
	if ok {
		return release, nil
	}
	s.refused(remote, limit)
	return nil, &transport.ProtocolError{Violation: transport.ViolationExcess, Reason: "connection refused", Limit: limit}
}

// refused tells of a connection that was turned away.
func (s *Server) refused(remote net.Addr, limit transport.Limit) {
	if m := s.cfg.Monitor; m != nil {
		m.ConnectionRefused(transport.HTTP3, limit)
	}
	if l := s.cfg.Logger; l != nil && l.Enabled(context.Background(), slog.LevelDebug) {
		l.LogAttrs(context.Background(), slog.LevelDebug, "connection refused",
			slog.String("remote", remote.String()), slog.String("transport", transport.HTTP3.String()),
			slog.String("limit", string(limit)))
	}
}

// admitConn waits for the end of the handshake, which verifies the client's
// address, and asks for admission if that has not happened yet. Where the
// connection did not get so far, or is refused, it returns the error and has
// closed the connection.
func (s *Server) admitConn(qc *quic.Conn) error {
	a, ok := qc.Context().Value(admissionKey{}).(*admission)
	if !ok { // of a quic.Transport that is not ours
		a = &admission{server: s}
		s.unverified.begin()
		context.AfterFunc(qc.Context(), func() { a.end(qc.RemoteAddr(), context.Cause(qc.Context())) })
	}
	select {
	case <-qc.HandshakeComplete():
	case <-qc.Context().Done():
		return context.Cause(qc.Context())
	}
	a.mu.Lock()
	verified := a.verified
	a.mu.Unlock()
	var release func()
	if !verified {
		var err error
		if release, err = s.admit(qc.RemoteAddr()); err != nil {
			qc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeExcessiveLoad), "")
			return err
		}
	}
	a.mu.Lock()
	late := a.state == gone // then nobody else gives back what was just taken
	if !late {
		a.state = admitted
		if !verified {
			a.verified, a.release = true, release
		}
	}
	a.mu.Unlock()
	if late {
		if release != nil {
			release()
		}
		return context.Cause(qc.Context())
	}
	if !verified {
		s.unverified.end()
	}
	return nil
}

// end gives back what a connection had taken, and tells of a handshake that was
// not completed in time.
func (a *admission) end(remote net.Addr, cause error) {
	a.mu.Lock()
	before, verified, release := a.state, a.verified, a.release
	a.state = gone
	a.mu.Unlock()
	if !verified {
		a.server.unverified.end()
	}
	if release != nil {
		release()
	}
	if before == handshaking && isHandshakeTimeout(cause) {
		a.server.refused(remote, transport.LimitHandshakeTime)
	}
}
