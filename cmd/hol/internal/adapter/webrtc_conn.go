package adapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"

	"github.com/pion/ice/v4"
	"github.com/pion/sctp"
	"github.com/pion/webrtc/v4"
)

// webrtcKind says what the timed channels of a connection are.
type webrtcKind int

const (
	webrtcReliable webrtcKind = iota // ordered, and retransmitted until they arrive
	webrtcOnce                       // unordered, and never retransmitted
)

const (
	// webrtcMaxChannels bounds the channels that wait to be accepted, of each
	// kind; more are closed at once.
	webrtcMaxChannels = 1024
	// webrtcOpening bounds the channels that were announced here and not yet
	// acknowledged: to what pion takes, which drops announcements beyond. What
	// follows one that was dropped then occupies the peer, which reads one
	// announcement after the other, and has no room for what is sent again: no
	// channel would open any more.
	webrtcOpening = 16
	// webrtcReady is the stream of the channel that says that there is an
	// association. Both ends know of it, so that it takes no packet. It is out
	// of the way of those that are announced, which count up from 0.
	webrtcReady = 65_000
)

// The subprotocols by which the channels are announced that are not timed ones.
const (
	webrtcBulk  = "bulk"
	webrtcCalls = "calls"
)

// webrtcEndpoint is one host's UDP socket, and the demultiplexer over it that
// ICE takes in place of sockets of its own, which it would open on every
// interface it finds.
type webrtcEndpoint struct {
	socket *webrtcSocket
	mux    *ice.UDPMuxDefault
	log    pionLog
}

// webrtcSocket tells when it is not being read.
type webrtcSocket struct {
	*net.UDPConn
	reading chan struct{} // of 1: held while a packet is waited for
}

// ReadFromAddrPort is what the demultiplexer's one goroutine reads with.
func (s *webrtcSocket) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	s.reading <- struct{}{}
	defer func() { <-s.reading }()
	return s.ReadFromUDPAddrPort(b)
}

func (s *webrtcSocket) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return s.WriteToUDPAddrPort(b, to)
}

func newWebRTCEndpoint(host Host, port uint16, log *slog.Logger) (*webrtcEndpoint, error) {
	conn, err := host.ListenUDP(port)
	if err != nil {
		return nil, fmt.Errorf("webrtc: %w", err)
	}
	e := &webrtcEndpoint{
		socket: &webrtcSocket{UDPConn: conn, reading: make(chan struct{}, 1)},
		log:    pionLog{logTo(log)},
	}
	e.mux = ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: e.socket, Logger: e.log.NewLogger("mux")})
	return e, nil
}

// Close closes the socket and waits until the demultiplexer's read has returned.
// Where that was about to look at a packet, it ends without another read.
func (e *webrtcEndpoint) Close() error {
	err := e.mux.Close()
	e.socket.reading <- struct{}{}
	<-e.socket.reading
	return err
}

// webrtcConn is one end of the peer connection.
type webrtcConn struct {
	peer     *webrtc.PeerConnection
	endpoint *webrtcEndpoint
	// ownsEndpoint is the client's: the server's outlives its connection.
	ownsEndpoint bool
	kind         webrtcKind
	handle       func(request []byte) (response []byte)
	log          *slog.Logger
	caller       *caller

	ready    chan struct{} // closed when channels can be opened
	failed   chan struct{} // closed when the peer connection failed or was closed
	opening  chan struct{} // of webrtcOpening: channels that are not acknowledged
	channels chan *webrtcChannel
	bulks    chan *webrtcChannel
	pumps    sync.WaitGroup // the channels' receiving goroutines
	once     sync.Once      // Close
	err      error          // of Close

	mu sync.Mutex // guards the following
	// over says that failed is closed.
	over bool
	// opened counts the channels that were opened here, for their labels.
	opened int
	// dropped counts the messages that were not sent because those before them
	// still waited.
	dropped uint64
	// answerers are those of the channels that the peer calls over.
	answerers []*answerer
}

func newWebRTCConn(endpoint *webrtcEndpoint, kind webrtcKind, env Env) (*webrtcConn, error) {
	var engine webrtc.SettingEngine
	engine.LoggerFactory = endpoint.log
	engine.SetICEUDPMux(endpoint.mux)
	engine.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	engine.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	engine.SetIncludeLoopbackCandidate(env.Client.Addr().IsLoopback() && env.Server.Addr().IsLoopback())
	engine.SetSCTPMaxMessageSize(MaxMessage)
	engine.DetachDataChannels()
	// Without media there are no codecs to offer.
	api := webrtc.NewAPI(webrtc.WithSettingEngine(engine), webrtc.WithMediaEngine(&webrtc.MediaEngine{}))
	peer, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, fmt.Errorf("webrtc: %w", err)
	}
	c := &webrtcConn{
		peer: peer, endpoint: endpoint, kind: kind, handle: env.Handle, log: logTo(env.Log),
		ready: make(chan struct{}), failed: make(chan struct{}),
		opening:  make(chan struct{}, webrtcOpening),
		channels: make(chan *webrtcChannel, webrtcMaxChannels),
		bulks:    make(chan *webrtcChannel, webrtcMaxChannels),
	}
	c.caller = newCaller(env.Channels, func(ctx context.Context, _ int) (Channel, error) { return c.openReliable(ctx, webrtcCalls) })
	peer.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateFailed || state == webrtc.PeerConnectionStateClosed {
			c.fail()
		}
	})
	peer.OnDataChannel(c.announced)
	if err := c.awaitAssociation(); err != nil {
		peer.Close()
		return nil, err
	}
	return c, nil
}

// awaitAssociation makes the channel that opens with the association. An offer
// needs to speak of a channel as well.
func (c *webrtcConn) awaitAssociation() error {
	id, negotiated := uint16(webrtcReady), true
	ready, err := c.peer.CreateDataChannel("", &webrtc.DataChannelInit{ID: &id, Negotiated: &negotiated})
	if err != nil {
		return fmt.Errorf("webrtc: %w", err)
	}
	ready.OnOpen(func() {
		if _, err := ready.Detach(); err != nil {
			c.log.Error("webrtc: detach", "error", err)
			return
		}
		close(c.ready)
	})
	return nil
}

// describe makes and installs the local description, and returns it once it
// holds every candidate.
func (c *webrtcConn) describe(ctx context.Context, create func(*webrtc.PeerConnection) (webrtc.SessionDescription, error)) (string, error) {
	description, err := create(c.peer)
	if err != nil {
		return "", fmt.Errorf("webrtc: %w", err)
	}
	gathered := webrtc.GatheringCompletePromise(c.peer)
	if err := c.peer.SetLocalDescription(description); err != nil {
		return "", fmt.Errorf("webrtc: %w", err)
	}
	select {
	case <-gathered:
		return c.peer.LocalDescription().SDP, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// wait returns when channels can be opened.
func (c *webrtcConn) wait(ctx context.Context) error {
	select {
	case <-c.ready:
		return nil
	case <-c.failed:
		return errors.New("webrtc: the peer connection failed")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// announced takes a channel that the peer opened. It is called for one channel
// after the other, before the channel can be used.
func (c *webrtcConn) announced(data *webrtc.DataChannel) {
	queue := c.channels
	ch := newWebRTCChannel(c, data)
	switch data.Protocol() {
	case webrtcBulk:
		queue = c.bulks
	case webrtcCalls:
		data.OnOpen(func() { c.answer(ch) })
		return
	}
	select {
	case queue <- ch:
		data.OnOpen(ch.open)
	default:
		c.log.Warn("webrtc: too many channels wait to be accepted", "label", data.Label())
		data.Close()
	}
}

func (c *webrtcConn) OpenChannel(ctx context.Context) (Channel, error) {
	var init webrtc.DataChannelInit
	if c.kind == webrtcOnce {
		ordered, retransmits := false, uint16(0)
		init.Ordered, init.MaxRetransmits = &ordered, &retransmits
	}
	return c.openChannel(ctx, &init)
}

func (c *webrtcConn) OpenBulk(ctx context.Context) (Channel, error) {
	return c.openReliable(ctx, webrtcBulk)
}

func (c *webrtcConn) openReliable(ctx context.Context, protocol string) (Channel, error) {
	return c.openChannel(ctx, &webrtc.DataChannelInit{Protocol: &protocol})
}

// openChannel announces a channel; it can be sent on at once (RFC 8832,
// section 6). It waits while webrtcOpening others are not acknowledged.
func (c *webrtcConn) openChannel(ctx context.Context, init *webrtc.DataChannelInit) (Channel, error) {
	select {
	case c.opening <- struct{}{}:
	case <-c.failed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	acknowledged := sync.OnceFunc(func() { <-c.opening })
	c.mu.Lock()
	label := fmt.Sprint(c.opened)
	c.opened++
	c.mu.Unlock()
	data, err := c.peer.CreateDataChannel(label, init)
	if err != nil {
		acknowledged()
		return nil, fmt.Errorf("webrtc: %w", err)
	}
	ch := newWebRTCChannel(c, data)
	ch.acknowledged = acknowledged
	if err := ch.attach(); err != nil {
		acknowledged()
		return nil, err
	}
	return ch, nil
}

func (c *webrtcConn) AcceptChannel(ctx context.Context) (Channel, error) {
	return c.accept(ctx, c.channels)
}

func (c *webrtcConn) AcceptBulk(ctx context.Context) (Channel, error) {
	return c.accept(ctx, c.bulks)
}

func (c *webrtcConn) accept(ctx context.Context, queue chan *webrtcChannel) (Channel, error) {
	var ch *webrtcChannel
	select {
	case ch = <-queue:
	case <-c.failed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	select {
	case <-ch.opened:
		return ch, nil
	case <-c.failed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Call spreads the calls over as many channels as the workload has, which are
// announced by the first call of each.
func (c *webrtcConn) Call(ctx context.Context, n int, request []byte) ([]byte, error) {
	if c.kind == webrtcOnce {
		return nil, errNoResponse
	}
	return c.caller.Call(ctx, n, request)
}

// answer answers the calls of a channel that the peer opened for them. One over
// the bound is closed, and its calls fail.
func (c *webrtcConn) answer(ch *webrtcChannel) {
	if ch.open(); !isClosed(ch.opened) {
		return
	}
	c.mu.Lock()
	refused := c.over || c.handle == nil || len(c.answerers) == webrtcMaxChannels
	if !refused {
		c.answerers = append(c.answerers, answerCalls(ch, c.handle, c.log))
	}
	c.mu.Unlock()
	if refused {
		c.log.Warn("webrtc: a channel of calls is refused", "label", ch.data.Label())
		ch.Close()
	}
}

func (c *webrtcConn) fail() {
	c.mu.Lock()
	over := c.over
	c.over = true
	c.mu.Unlock()
	if !over {
		close(c.failed)
	}
}

// startPump runs a channel's receiving goroutine. It ends with the association,
// which Close ends, and Close waits for it.
func (c *webrtcConn) startPump(receive func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return false
	}
	c.pumps.Go(receive)
	return true
}

func (c *webrtcConn) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropped++
}

// Drops counts the messages that were not sent because those before them still
// waited.
func (c *webrtcConn) Drops() Drops {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Drops{Outgoing: c.dropped}
}

// webrtcOver says that an error is of closing a channel whose association has been
// aborted, so that it is closed. It may be among pion's errors of closing a
// connection while the peer's channels are being opened, and of closing a channel
// that has not noticed yet.
func webrtcOver(err error) bool { return errors.Is(err, sctp.ErrResetPacketInStateNotExist) }

// Close aborts the association, and waits for pion's goroutines and those of the
// channels. What was sent and has not arrived is lost.
func (c *webrtcConn) Close() error {
	c.once.Do(func() {
		c.fail()
		c.caller.Close() // it never fails
		if err := c.peer.GracefulClose(); err != nil && !webrtcOver(err) {
			c.err = fmt.Errorf("webrtc: %w", err)
		}
		c.pumps.Wait()
		c.mu.Lock()
		answerers := c.answerers
		c.mu.Unlock()
		for _, a := range answerers {
			a.Close() // it never fails
		}
		if c.ownsEndpoint {
			c.err = errors.Join(c.err, c.endpoint.Close())
		}
	})
	return c.err
}
