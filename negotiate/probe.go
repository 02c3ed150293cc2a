package negotiate

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/h3wt"
	"github.com/towpath-go/towpath/internal/handshake"
	"github.com/towpath-go/towpath/wswt"
)

// A ProbeResult says what one way to a server offers.
type ProbeResult struct {
	// Attempt says how far the way went; its times count from its own start.
	Attempt Attempt
	// RTT is the connection's round-trip time, negative if it is not known.
	RTT time.Duration
	// Draft names the revisions of the draft that the server's settings announce;
	// on WebSocket, the subprotocol.
	Draft string
	// Settings are the server's that matter to WebTransport.
	Settings []Setting
}

// A Setting is one item of a server's SETTINGS, or of its transport parameters.
type Setting struct {
	Name  string
	Value uint64
}

// Open reports whether the way leads to a WebTransport server.
func (p *ProbeResult) Open() bool { return p.Attempt.Err == nil && p.Attempt.Ready >= 0 }

// Probe opens each way to a server up to its settings, side by side, and closes
// it again. A WebSocket has no settings: there Probe asks for a session, and
// closes it at once with code 0. Nothing changes in what the Dialer remembers.
// Ways that the Dialer may not use are left out. The error is about the call
// itself; what failed on a way is in its result.
func (d *Dialer) Probe(ctx context.Context, rawURL string) ([]ProbeResult, error) {
	d.init()
	server, err := handshake.ParseURL(rawURL)
	if err != nil {
		return nil, fmt.Errorf("towpath: %w", err)
	}
	if t := d.timeout(); t > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t)
		defer cancel()
	}
	j := &job{d: d, url: rawURL, server: server, opts: d.options(nil), report: &Report{}, apart: true}
	if err := j.chooseWays(); err != nil {
		return nil, err
	}
	if j.proxy == nil {
		if err := j.resolve(ctx); err != nil {
			return nil, err
		}
	}
	var ways []way
	if j.h3 {
		ways = append(ways, j.quicWays(0)...)
	}
	ways = append(ways, j.tcpWays(0)...)
	results := make([]ProbeResult, len(ways))
	var wg sync.WaitGroup
	for i, w := range ways {
		wg.Go(func() { results[i] = w.probe(ctx) })
	}
	wg.Wait()
	return results, nil
}

func (w way) probe(ctx context.Context) ProbeResult {
	p := ProbeResult{Attempt: w.attempt, RTT: -1}
	a := &p.Attempt
	var mu sync.Mutex // guards what the signs say
	var heard bool
	var blocked error
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	began := time.Now()
	a.Started = 0
	l, err := w.open(ctx, signs{
		heard: func() { mu.Lock(); defer mu.Unlock(); heard = true },
		blocked: func(err error) {
			mu.Lock()
			blocked = err
			mu.Unlock()
			cancel(err)
		},
	})
	a.Ended = time.Since(began)
	ws, isWS := l.(*wsLeg)
	if isWS {
		err = ws.probe(ctx, &p, began)
	}
	mu.Lock()
	defer mu.Unlock()
	a.Heard = heard
	if err != nil {
		a.Outcome, a.Err = Failed, err
		if blocked != nil {
			a.Err = blocked
		}
		return p
	}
	a.Outcome = Ready
	if isWS {
		return p
	}
	a.Ready = a.Ended
	c := l.(*connLeg)
	defer c.discard()
	if rtt, ok := c.conn.RTT(); ok {
		p.RTT = rtt
	}
	switch conn := c.conn.(type) {
	case *h3wt.ClientConn:
		p.Draft, p.Settings = describeH3(conn.PeerSettings())
	case *h2wt.ClientConn:
		p.Draft, p.Settings = describeH2(conn.PeerSettings())
	}
	return p
}

// probe asks for a session and closes it: only the answer shows whether
// WebSockets pass, and whether the server knows ours.
func (l *wsLeg) probe(ctx context.Context, p *ProbeResult, began time.Time) error {
	defer l.discard()
	a := &p.Attempt
	a.Ready = a.Ended
	a.Requested = a.Ended
	s, err := l.request(ctx)
	a.Ended = time.Since(began)
	if err != nil {
		return err
	}
	p.RTT = a.Ended - a.Requested
	p.Draft = wswt.Subprotocol
	a.Note = l.note()
	return s.CloseWithError(0, "")
}

// describeH3 names what an HTTP/3 server announces.
func describeH3(s h3wt.PeerSettings) (draft string, settings []Setting) {
	if d := s.Draft(); d != 0 {
		draft = "draft-ietf-webtrans-http3, " + d.String()
	}
	flag := func(b bool) uint64 {
		if b {
			return 1
		}
		return 0
	}
	return draft, []Setting{
		{"WT_ENABLED", s.Enabled},
		{"WT_MAX_SESSIONS", s.MaxSessions},
		{"WEBTRANSPORT_MAX_SESSIONS (draft 07)", s.Draft07},
		{"ENABLE_WEBTRANSPORT (draft 02)", s.Draft02},
		{"WT_INITIAL_MAX_DATA", s.InitialMaxData},
		{"WT_INITIAL_MAX_STREAMS_UNI", s.InitialMaxStreamsUni},
		{"WT_INITIAL_MAX_STREAMS_BIDI", s.InitialMaxStreamsBidi},
		{"ENABLE_CONNECT_PROTOCOL", flag(s.ExtendedConnect)},
		{"H3_DATAGRAM", flag(s.Datagrams)},
		{"max_datagram_frame_size", flag(s.QUICDatagrams)},
		{"reset_stream_at", flag(s.ResetStreamAt)},
	}
}

// describeH2 names what an HTTP/2 server announces.
func describeH2(s h2wt.PeerSettings) (draft string, settings []Setting) {
	switch {
	case s.Enabled == 1 && s.HasBidiRemote:
		draft = "draft-ietf-webtrans-http2-14 and later"
	case s.Enabled == 1:
		draft = "draft-ietf-webtrans-http2-13"
	default:
		draft = "draft-ietf-webtrans-http2, before -13"
	}
	connect := uint64(0)
	if s.ConnectProtocol {
		connect = 1
	}
	return draft, []Setting{
		{"WT_ENABLED", uint64(s.Enabled)},
		{"WT_INITIAL_MAX_DATA", uint64(s.InitialMaxData)},
		{"WT_INITIAL_MAX_STREAM_DATA_UNI", uint64(s.InitialMaxStreamDataUni)},
		{"WT_INITIAL_MAX_STREAM_DATA_BIDI_LOCAL", uint64(s.InitialMaxStreamDataBidiLocal)},
		{"WT_INITIAL_MAX_STREAM_DATA_BIDI_REMOTE", uint64(s.InitialMaxStreamDataBidiRemote)},
		{"WT_INITIAL_MAX_STREAMS_UNI", uint64(s.InitialMaxStreamsUni)},
		{"WT_INITIAL_MAX_STREAMS_BIDI", uint64(s.InitialMaxStreamsBidi)},
		{"ENABLE_CONNECT_PROTOCOL", connect},
		{"MAX_CONCURRENT_STREAMS", uint64(s.MaxConcurrentStreams)},
	}
}
