package adapter

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
)

// Both adapters carry channels as WebRTC data channels of one peer connection:
// DTLS 1.2 over ICE over one UDP socket at each end, SCTP (RFC 8831) inside, and
// each channel a pair of SCTP streams that the Data Channel Establishment
// Protocol (RFC 8832) announces. The client signals as a page does that meets a
// server with WHIP (RFC 9725): it posts an SDP offer that holds all of its
// candidates over HTTPS, and the response is the answer, so that the round trips
// of TCP, TLS and the request are part of what setting up takes, over the same
// link. There is no STUN or TURN server: the two hosts see each other.
//
// What pion does by default stays: DTLS verifies the client's address with a
// cookie, SCTP interleaves messages of different channels (RFC 8260) and shares
// the association evenly among those that wait.
//
// The first message takes nine and a half round trips: three of signalling, one
// and a half until ICE has nominated the pair of addresses at the server, which
// begins DTLS, two and a half of DTLS with the cookie, two of SCTP, and half a
// one of the message. Each further channel takes the half one, unless 16 wait to
// be acknowledged already.
var (
	webrtcOrdered = Adapter{
		Name: "webrtc-ordered", Title: "WebRTC ordered",
		Traits: Traits{
			UDP: true, Signals: true, Connections: 1, Ordered: true, Reliable: true,
			Calls: true, CallsOrdered: true, ServerOpens: true,
			Library: "pion/webrtc", Recovery: "sctp",
		},
		Listen: func(_ context.Context, env Env) (Server, error) {
			return listenWebRTC(env, webrtcReliable)
		},
	}
	// webrtcUnordered sends each message once, and delivers it as it comes
	// (maxRetransmits 0). Its bulk channel is as that of the other.
	//
	// pion counts such a message as given up once it is sent. So every
	// acknowledgement is answered with an I-FORWARD-TSN as long as anything is
	// under way, and that with another acknowledgement: more than two packets
	// for a message. And a lost one is no sign of congestion: the window shrinks
	// only when the retransmission timer, of a second, expires.
	webrtcUnordered = Adapter{
		Name: "webrtc-unordered", Title: "WebRTC unordered",
		Traits: Traits{
			UDP: true, Signals: true, Connections: 1, ServerOpens: true,
			Library: "pion/webrtc", Recovery: "sctp",
		},
		Listen: func(_ context.Context, env Env) (Server, error) {
			return listenWebRTC(env, webrtcOnce)
		},
	}
)

const (
	// webrtcPath is where the server takes offers.
	webrtcPath = "/whip"
	// webrtcMaxSDP bounds an offer and an answer, in bytes. Those of this
	// adapter take about 600.
	webrtcMaxSDP = 16 << 10
	// webrtcSignalling bounds each step of signalling at the server.
	webrtcSignalling = 30 * time.Second
)

var errWebRTCTaken = errors.New("webrtc: the server has its one client already")

// webrtcServer answers one offer.
type webrtcServer struct {
	env      Env
	address  netip.AddrPort // of signalling
	kind     webrtcKind
	endpoint *webrtcEndpoint
	http     *http.Server
	closed   chan struct{} // closed by Close
	served   chan struct{} // closed when Serve has returned
	once     sync.Once     // Close
	err      error         // of Close

	mu sync.Mutex // guards the following
	// taken says that an offer has been taken; there is no second.
	taken bool
	// conn is what the offer led to, and answered is closed when conn is set or
	// it is clear that it never will be.
	conn     *webrtcConn
	answered chan struct{}
}

func listenWebRTC(env Env, kind webrtcKind) (Server, error) {
	listener, err := env.Server.ListenTCP(env.Port)
	if err != nil {
		return nil, fmt.Errorf("webrtc: %w", err)
	}
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		return nil, errors.Join(fmt.Errorf("webrtc: a listener at %v", listener.Addr()), listener.Close())
	}
	endpoint, err := newWebRTCEndpoint(env.Server, env.Port, env.Log)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	s := &webrtcServer{
		env: env, address: address.AddrPort(), kind: kind, endpoint: endpoint,
		closed: make(chan struct{}), served: make(chan struct{}), answered: make(chan struct{}),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+webrtcPath, s.offer)
	s.http = &http.Server{
		Handler: mux, ReadTimeout: webrtcSignalling, WriteTimeout: webrtcSignalling,
		MaxHeaderBytes: webrtcMaxSDP, ErrorLog: standardLog(env.Log),
	}
	// Ends when Close closes the listener; Close waits for it.
	go func() {
		defer close(s.served)
		s.http.Serve(tls.NewListener(listener, env.ServerTLS("http/1.1")))
	}()
	return s, nil
}

// offer answers the client's offer with the server's half of the peer
// connection, whose ICE begins with it.
func (s *webrtcServer) offer(w http.ResponseWriter, r *http.Request) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/sdp" {
		http.Error(w, "an offer is application/sdp", http.StatusUnsupportedMediaType)
		return
	}
	offer, err := io.ReadAll(http.MaxBytesReader(w, r.Body, webrtcMaxSDP))
	if err != nil {
		http.Error(w, "the offer is too long, or has not come whole", http.StatusRequestEntityTooLarge)
		return
	}
	s.mu.Lock()
	taken := s.taken
	s.taken = true
	s.mu.Unlock()
	if taken {
		http.Error(w, "there is a client already", http.StatusConflict)
		return
	}
	conn, answer, err := s.answer(r.Context(), string(offer))
	s.mu.Lock()
	s.conn = conn
	s.mu.Unlock()
	close(s.answered)
	if err != nil {
		logTo(s.env.Log).Warn("webrtc: offer refused", "error", err)
		http.Error(w, "the offer cannot be answered", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/sdp")
	w.Header().Set("Location", webrtcPath+"/1")
	w.WriteHeader(http.StatusCreated)
	io.WriteString(w, answer)
}

func (s *webrtcServer) answer(ctx context.Context, offer string) (*webrtcConn, string, error) {
	conn, err := newWebRTCConn(s.endpoint, s.kind, s.env)
	if err != nil {
		return nil, "", err
	}
	answer, err := conn.describe(ctx, func(peer *webrtc.PeerConnection) (webrtc.SessionDescription, error) {
		if err := peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
			return webrtc.SessionDescription{}, err
		}
		return peer.CreateAnswer(nil)
	})
	if err != nil {
		conn.Close()
		return nil, "", err
	}
	return conn, answer, nil
}

// Dial posts the offer and waits until the SCTP association carries channels.
func (s *webrtcServer) Dial(ctx context.Context) (Conn, error) {
	endpoint, err := newWebRTCEndpoint(s.env.Client, 0, s.env.Log)
	if err != nil {
		return nil, err
	}
	conn, err := newWebRTCConn(endpoint, s.kind, s.env)
	if err != nil {
		endpoint.Close()
		return nil, err
	}
	conn.ownsEndpoint = true
	if err := s.signal(ctx, conn); err != nil {
		conn.Close()
		return nil, err
	}
	if err := conn.wait(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func (s *webrtcServer) signal(ctx context.Context, conn *webrtcConn) error {
	offer, err := conn.describe(ctx, func(peer *webrtc.PeerConnection) (webrtc.SessionDescription, error) {
		return peer.CreateOffer(nil)
	})
	if err != nil {
		return err
	}
	answer, err := postOffer(ctx, s.env, s.address, offer)
	if err != nil {
		return err
	}
	err = conn.peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer})
	if err != nil {
		return fmt.Errorf("webrtc: answer: %w", err)
	}
	return nil
}

// Accept waits for the offer, and then as Dial does.
func (s *webrtcServer) Accept(ctx context.Context) (Conn, error) {
	select {
	case <-s.answered:
	case <-s.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	s.mu.Lock()
	conn := s.conn
	s.mu.Unlock()
	if conn == nil {
		return nil, errors.New("webrtc: the client's offer was refused")
	}
	if err := conn.wait(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func (s *webrtcServer) Close() error {
	s.once.Do(func() {
		close(s.closed)
		s.http.Close()
		<-s.served
		// A handler may still be answering: whoever finds the offer not taken
		// prevents it, and otherwise its end is waited for.
		s.mu.Lock()
		waits := s.taken
		s.taken = true
		s.mu.Unlock()
		if waits {
			<-s.answered
		}
		s.mu.Lock()
		conn := s.conn
		s.mu.Unlock()
		if conn != nil {
			s.err = conn.Close()
		}
		s.err = errors.Join(s.err, s.endpoint.Close())
	})
	return s.err
}
