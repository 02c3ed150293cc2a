package peers

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"

	"github.com/towpath-go/towpath/e2e/clients"
	"github.com/towpath-go/towpath/transport"
)

// The rows of browsers whose SETTINGS, transport parameters and header fields
// were recorded. Here quic-go sends them; what a session then does is written
// out below, so that both ends cannot be wrong together.
var (
	replayedChromium = &clients.Row{Name: "Chromium 156 replayed", Table: replayed, Peer: "Chromium 156, its SETTINGS and header fields", End: "client", Transport: "HTTP/3", Module: "as recorded"}
	replayedFirefox  = &clients.Row{Name: "Firefox 153 replayed", Table: replayed, Peer: "Firefox ESR 153, its SETTINGS and header fields", End: "client", Transport: "HTTP/3", Module: "as recorded"}
)

// recordedClient is what a browser sends.
type recordedClient struct {
	settings     map[uint64]uint64 // besides 0x33 = 1
	maxFieldSize int               // setting 0x6
	fields       http.Header
	protocols    bool // it has a way to offer application protocols
}

var (
	chromium156 = recordedClient{
		settings:     map[uint64]uint64{0x2b603742: 1, 0x1: 65536, 0x7: 100, 0xffd277: 1, 0x1f*0x51 + 0x21: 7},
		maxFieldSize: 16384,
		fields:       http.Header{"Sec-Webtransport-Http3-Draft02": {"1"}},
		protocols:    true,
	}
	firefox153 = recordedClient{
		settings: map[uint64]uint64{0x2b603742: 1, 0x8: 1, 0x1: 65536, 0x7: 20, 0xffd277: 1},
		fields: http.Header{
			"Sec-Webtransport-Http3-Draft02": {"1"}, "Accept": {"*/*"}, "Accept-Language": {"en-US,en;q=0.5"}, "Accept-Encoding": {"gzip, deflate, br, zstd"},
			"Sec-Fetch-Dest": {"webtransport"}, "Sec-Fetch-Mode": {"no-cors"}, "Sec-Fetch-Site": {"same-origin"}, "Priority": {"u=4"},
			"Pragma": {"no-cache"}, "Cache-Control": {"no-cache"},
		},
	}
)

func TestReplayedBrowsers(t *testing.T) {
	t.Run("Chromium", func(t *testing.T) {
		clients.Measure(t, replayedChromium, &replayedLink{clients.NewTowpathServer(t, nil, nil, transport.HTTP3), chromium156}, clients.Exceptions{
			clients.Subprotocol: {Partly: "offered as the draft has it; how this browser offers protocols was not recorded"},
		})
	})
	t.Run("Firefox", func(t *testing.T) {
		clients.Measure(t, replayedFirefox, &replayedLink{clients.NewTowpathServer(t, nil, nil, transport.HTTP3), firefox153}, clients.Exceptions{
			clients.Subprotocol: {Lacks: "its WebTransport has no protocols", Show: func(t *testing.T, l clients.Link) {
				client, server := l.Session(t)
				if c, s := client.Protocol(), server.Protocol(); c != "" || s != "" {
					t.Errorf("without an offer the client has the protocol %q, the server %q", c, s)
				}
			}},
		})
	})
}

// A replayedLink has a recorded client and our server. As a page's sessions do,
// each has a connection of its own.
type replayedLink struct {
	server *clients.TowpathServer
	client recordedClient
}

func (l *replayedLink) Session(t *testing.T, offer ...string) (client, server clients.End) {
	t.Helper()
	ctx := clients.Limited(t)
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	clients.Must(t, err)
	tr := &quic.Transport{Conn: pc}
	t.Cleanup(func() {
		tr.Close()
		pc.Close()
	})
	// Neither browser has reset_stream_at.
	qc, err := tr.Dial(ctx, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(l.server.Addr)),
		l.server.Cert.ClientConfig("127.0.0.1", "h3"), &quic.Config{EnableDatagrams: true})
	clients.Must(t, err)
	h3 := &http3.Transport{EnableDatagrams: true, AdditionalSettings: l.client.settings, MaxResponseHeaderBytes: l.client.maxFieldSize, DisableCompression: true}
	e := &replayedEnd{qc: qc, raw: h3.NewRawClientConn(qc), ended: make(chan sessionEnd, 1), bidi: make(chan *quic.Stream, 100), uni: make(chan *quic.ReceiveStream, 100)}
	go e.acceptUni()  // both end with the connection
	go e.acceptBidi() //
	select {
	case <-e.raw.ReceivedSettings():
	case <-ctx.Done():
		t.Fatal("no SETTINGS")
	}
	if s := e.raw.Settings(); !s.EnableExtendedConnect || !s.EnableDatagrams || s.Other[0x2b603742] != 1 {
		t.Fatalf("these SETTINGS do not do for the browser: %+v", s)
	}
	str, err := e.raw.OpenRequestStream(ctx)
	clients.Must(t, err)
	u, err := url.Parse(l.server.URL("/"))
	clients.Must(t, err)
	header := l.client.fields.Clone()
	header.Set("Origin", "https://"+l.server.Addr)
	if l.client.protocols && len(offer) > 0 {
		header.Set("Wt-Available-Protocols", `"first", "second"`)
	}
	clients.Must(t, str.SendRequestHeader(&http.Request{Method: http.MethodConnect, Proto: "webtransport", URL: u, Host: u.Host, Header: header}))
	rsp, err := str.ReadResponse()
	clients.Must(t, err)
	if rsp.StatusCode != 200 || rsp.Header.Get("Sec-Webtransport-Http3-Draft") != "draft02" {
		t.Fatalf("answered %d, %v", rsp.StatusCode, rsp.Header)
	}
	if p := rsp.Header.Get("Wt-Protocol"); p != "" {
		if _, err := fmt.Sscanf(p, "%q", &e.chosen); err != nil {
			t.Fatalf("WT-Protocol: %s", p)
		}
	}
	if id := str.StreamID(); id != sessionID {
		t.Fatalf("the session has the ID %d", id)
	}
	e.str = str
	go e.readConnect() // ends with the connection
	server = l.server.Accept(t, ctx)
	t.Cleanup(func() { qc.CloseWithError(0x100, "") }) // before the server waits for an answer to its close
	return e, server
}

// sessionID is that of a connection's first request.
const sessionID = 0

// A replayedEnd is a client's end of the only session of a connection.
type replayedEnd struct {
	qc     *quic.Conn
	raw    *http3.RawClientConn
	str    *http3.RequestStream
	ended  chan sessionEnd // 1 slot
	chosen string
	bidi   chan *quic.Stream
	uni    chan *quic.ReceiveStream
}

// acceptUni takes WebTransport's streams, of type 0x54, and leaves the others to
// http3.
func (e *replayedEnd) acceptUni() {
	for {
		str, err := e.qc.AcceptUniStream(context.Background())
		if err != nil {
			return
		}
		go func() { // ends when the stream has begun, or with http3's use of it
			var first [1]byte
			if _, err := str.Peek(first[:]); err == nil && first[0] < 4 {
				e.raw.HandleUnidirectionalStream(str)
				return
			}
			if e.begins(str, 0x54) {
				e.uni <- str
			}
		}()
	}
}

func (e *replayedEnd) acceptBidi() {
	for {
		str, err := e.qc.AcceptStream(context.Background())
		if err != nil {
			return
		}
		go func() { // ends when the stream has begun
			if e.begins(str, 0x41) {
				e.bidi <- str
			}
		}()
	}
}

// begins reads what a stream of the session begins with.
func (e *replayedEnd) begins(str io.Reader, want uint64) bool {
	r := quicvarint.NewReader(str)
	typ, err := quicvarint.Read(r)
	if err != nil {
		return false
	}
	id, err := quicvarint.Read(r)
	return err == nil && typ == want && id == sessionID
}

func (e *replayedEnd) Open(ctx context.Context, uni bool) (clients.Stream, error) {
	if uni {
		str, err := e.qc.OpenUniStreamSync(ctx)
		if err != nil {
			return nil, err
		}
		_, err = str.Write(quicvarint.Append(quicvarint.Append(nil, 0x54), sessionID))
		return replayedStream{send: str}, err
	}
	str, err := e.qc.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	_, err = str.Write(quicvarint.Append(quicvarint.Append(nil, 0x41), sessionID))
	return replayedStream{send: str, recv: str}, err
}

func (e *replayedEnd) Accept(ctx context.Context, uni bool) (clients.Stream, error) {
	select {
	case str := <-e.when(uni):
		return replayedStream{recv: str}, nil
	case str := <-e.unless(uni):
		return replayedStream{send: str, recv: str}, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (e *replayedEnd) when(uni bool) <-chan *quic.ReceiveStream {
	if uni {
		return e.uni
	}
	return nil
}

func (e *replayedEnd) unless(uni bool) <-chan *quic.Stream {
	if uni {
		return nil
	}
	return e.bidi
}

func (e *replayedEnd) SendDatagram(_ context.Context, p []byte) error { return e.str.SendDatagram(p) }

func (e *replayedEnd) ReceiveDatagram(ctx context.Context) ([]byte, error) {
	return e.str.ReceiveDatagram(ctx)
}

func (e *replayedEnd) Protocol() string { return e.chosen }

// close sends CLOSE_WEBTRANSPORT_SESSION and the end of the stream, and waits
// for the other end's.
func (e *replayedEnd) Close(ctx context.Context, code uint32, reason string) error {
	b := quicvarint.Append(quicvarint.Append(nil, 0x2843), uint64(4+len(reason)))
	b = append(b, byte(code>>24), byte(code>>16), byte(code>>8), byte(code))
	if _, err := e.str.Write(append(b, reason...)); err != nil {
		return err
	}
	if err := e.str.Close(); err != nil {
		return err
	}
	select {
	case end := <-e.ended:
		if end.err != io.EOF {
			return fmt.Errorf("the close was answered with %d %q, %w", end.code, end.reason, end.err)
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (e *replayedEnd) Closed(ctx context.Context) (code uint32, reason string, err error) {
	select {
	case end := <-e.ended:
		return end.code, end.reason, end.err
	case <-ctx.Done():
		return 0, "", context.Cause(ctx)
	}
}

// A sessionEnd is what the CONNECT stream ended with.
type sessionEnd struct {
	code   uint32
	reason string
	err    error // io.EOF for an end without a capsule
}

// readConnect reads the CONNECT stream to its end, and answers with its own. It
// ends with the connection at the latest.
func (e *replayedEnd) readConnect() {
	code, reason, err := readClose(e.str)
	e.str.Close()
	e.ended <- sessionEnd{code, reason, err}
}

// readClose reads capsules up to WT_CLOSE_SESSION and the end right behind it.
func readClose(str io.Reader) (code uint32, reason string, err error) {
	r := quicvarint.NewReader(str)
	for {
		typ, err := quicvarint.Read(r)
		if err != nil {
			return 0, "", err
		}
		size, err := quicvarint.Read(r)
		if err != nil {
			return 0, "", err
		}
		if size > 2000 {
			return 0, "", fmt.Errorf("capsule %#x of %d bytes", typ, size)
		}
		p := make([]byte, size)
		if _, err := io.ReadFull(str, p); err != nil {
			return 0, "", err
		}
		if typ != 0x2843 || size < 4 {
			continue
		}
		if rest, err := io.ReadAll(str); err != nil || len(rest) > 0 {
			return 0, "", fmt.Errorf("%d bytes behind the close, %w", len(rest), err)
		}
		return binary.BigEndian.Uint32(p), string(p[4:]), nil
	}
}

type replayedStream struct {
	send interface {
		io.WriteCloser
		CancelWrite(quic.StreamErrorCode)
	}
	recv interface {
		io.Reader
		CancelRead(quic.StreamErrorCode)
	}
}

func (s replayedStream) Write(_ context.Context, p []byte) error {
	_, err := s.send.Write(p)
	return err
}

func (s replayedStream) Finish(context.Context) error { return s.send.Close() }

func (s replayedStream) Reset(_ context.Context, code uint32) error {
	s.send.CancelWrite(httpCode(code))
	return nil
}

func (s replayedStream) Stop(_ context.Context, code uint32) error {
	s.recv.CancelRead(httpCode(code))
	return nil
}

func (s replayedStream) WasStopped(ctx context.Context) (uint32, error) {
	for ctx.Err() == nil {
		if err := s.Write(ctx, make([]byte, 1<<10)); err != nil {
			return ownCode(err)
		}
	}
	return 0, context.Cause(ctx)
}

func (s replayedStream) WasReset(ctx context.Context) (uint32, error) {
	_, err := s.ReadAll(ctx)
	return ownCode(err)
}

func (s replayedStream) Read(_ context.Context, n int) ([]byte, error) {
	p := make([]byte, n)
	_, err := io.ReadFull(s.recv, p)
	return p, err
}

func (s replayedStream) ReadAll(context.Context) ([]byte, error) { return io.ReadAll(s.recv) }

// firstCode is the HTTP/3 code that stands for the application's 0.
const firstCode = 0x52e4a40fa8db

// httpCode skips the reserved points, every 31st.
func httpCode(code uint32) quic.StreamErrorCode {
	return quic.StreamErrorCode(firstCode + uint64(code) + uint64(code)/30)
}

// ownCode is the application's code of an abort by the other end.
func ownCode(err error) (uint32, error) {
	e, ok := err.(*quic.StreamError)
	if !ok || !e.Remote || e.ErrorCode < firstCode {
		return 0, fmt.Errorf("not an abort by the other end: %w", err)
	}
	n := uint64(e.ErrorCode) - firstCode
	return uint32(n - n/31), nil
}
