package peers

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/e2e/clients"
	"github.com/towpath-go/towpath/transport"
)

// firefoxReplay is the only way in which Firefox uses HTTP/2 for WebTransport:
// its privileged nsIWebTransport. Pages never do.
var firefoxReplay = &clients.Row{
	Name: "firefox privileged h2", Table: replayed, Transport: "HTTP/2",
	Peer: "Firefox ESR 153, its privileged nsIWebTransport; not its pages", End: "client",
	Module: "as recorded of ESR 153.7.0",
}

const (
	noFirefoxEnd    = "Firefox sends no end of a stream, and drops the one it gets with all bytes in the same capsule. Its bytes do arrive."
	noFirefoxCredit = "Firefox's SETTINGS grant the server neither bytes nor streams, and it was not seen to grant them later."
	noFirefoxCode   = "Towpath's server learns Firefox's code; Firefox aborts the stream with the server's, but does not tell it."
)

// TestFirefoxReplay plays the frames that Firefox ESR 153.7.0 was seen to send.
func TestFirefoxReplay(t *testing.T) {
	heard := &dialects{}
	server := clients.NewTowpathServer(t, nil, heard.config(transport.DialectAuto), transport.HTTP2)
	defer heard.want(t, "legacy", "announced", "learnt")
	show := func(f func(t *testing.T, ctx context.Context, p *firefox, s transport.Session)) func(*testing.T) {
		return func(t *testing.T) {
			ctx := clients.Limited(t)
			p := dialFirefox(t, server)
			session := server.Accept(t, ctx).(clients.TowpathEnd).S
			t.Cleanup(func() { p.conn.Close() }) // before the session waits for an answer
			f(t, ctx, p, session)
		}
	}
	clients.Lacks(t, firefoxReplay, clients.Bidi, noFirefoxEnd+" "+noFirefoxCredit, show(func(t *testing.T, ctx context.Context, p *firefox, s transport.Session) {
		p.data(0, "0123456789")
		st, err := s.AcceptStream(ctx)
		clients.Must(t, err)
		wantNoEnd(t, ctx, p, s, st, "0123456789")
		_, err = st.Write([]byte("answer"))
		clients.Must(t, err)
		clients.Must(t, st.Close())
		clients.Must(t, s.SendDatagram([]byte("after the answer")))
		p.wait("datagram", func() bool { return len(p.datagrams) > 0 })
		if len(p.received) > 0 {
			t.Errorf("without credit the server sent the streams %v", p.received)
		}
	}))
	clients.Lacks(t, firefoxReplay, clients.Uni, noFirefoxEnd, show(func(t *testing.T, ctx context.Context, p *firefox, s transport.Session) {
		p.data(2, "0123456789")
		st, err := s.AcceptUniStream(ctx)
		clients.Must(t, err)
		wantNoEnd(t, ctx, p, s, st, "0123456789")
	}))
	clients.Lacks(t, firefoxReplay, clients.ServerStreams, noFirefoxCredit, show(func(t *testing.T, ctx context.Context, p *firefox, s transport.Session) {
		over, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := s.OpenStream(over); !errors.Is(err, transport.ErrStreamLimit) {
			t.Errorf("OpenStream: %v", err)
		}
		if _, err := s.OpenUniStream(over); !errors.Is(err, transport.ErrStreamLimit) {
			t.Errorf("OpenUniStream: %v", err)
		}
	}))
	clients.Cell(t, firefoxReplay, clients.Datagrams, show(func(t *testing.T, ctx context.Context, p *firefox, s transport.Session) {
		p.capsule(0x00, []byte("from the client"))
		got, err := s.ReceiveDatagram(ctx)
		clients.Must(t, err)
		if string(got) != "from the client" {
			t.Errorf("%q arrived", got)
		}
		clients.Must(t, s.SendDatagram([]byte("from the server")))
		p.wait("datagram", func() bool { return slices.Contains(p.datagrams, "from the server") })
	}))
	clients.Lacks(t, firefoxReplay, clients.Mebibyte, noFirefoxCredit, show(func(t *testing.T, ctx context.Context, p *firefox, s transport.Session) {
		p.data(0, "0123456789")
		st, err := s.AcceptStream(ctx)
		clients.Must(t, err)
		clients.Must(t, st.SetWriteDeadline(time.Now().Add(50*time.Millisecond)))
		if n, err := st.Write(clients.Pattern(1 << 20)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write took %d bytes: %v", n, err)
		}
	}))
	clients.Partly(t, firefoxReplay, clients.ResetCode, noFirefoxCode, show(func(t *testing.T, ctx context.Context, p *firefox, s transport.Session) {
		p.data(0, "0123456789")
		st, err := s.AcceptStream(ctx)
		clients.Must(t, err)
		p.capsule(0x190b4d39, varints(0, 42, 10))
		if code, err := (clients.TowpathStream{Recv: st}).WasReset(ctx); code != 42 || err != nil {
			t.Errorf("code %d (%v)", code, err)
		}
		st.CancelWrite(77)
		p.wait("WT_RESET_STREAM", func() bool { return slices.Equal(p.aborted[0x190b4d39], []uint64{0, 77}) })
	}))
	clients.Partly(t, firefoxReplay, clients.StopCode, noFirefoxCode, show(func(t *testing.T, ctx context.Context, p *firefox, s transport.Session) {
		p.data(0, "0123456789")
		st, err := s.AcceptStream(ctx)
		clients.Must(t, err)
		p.capsule(0x190b4d3a, varints(0, 43))
		if code, err := (clients.TowpathStream{Send: st}).WasStopped(ctx); code != 43 || err != nil {
			t.Errorf("code %d (%v)", code, err)
		}
		st.CancelRead(77)
		p.wait("WT_STOP_SENDING", func() bool { return slices.Equal(p.aborted[0x190b4d3a], []uint64{0, 77}) })
	}))
	clients.Cell(t, firefoxReplay, clients.CloseByClient, show(func(t *testing.T, ctx context.Context, p *firefox, s transport.Session) {
		p.capsule(0x2843, append(binary.BigEndian.AppendUint32(nil, 1234), "client bye"...)) // no END_STREAM
		code, reason, err := clients.TowpathEnd{S: s}.Closed(ctx)
		if err != nil || code != 1234 || reason != "client bye" {
			t.Errorf("the server was told %d %q (%v)", code, reason, err)
		}
		p.wait("END_STREAM", func() bool { return p.ended })
	}))
	clients.Lacks(t, firefoxReplay, clients.CloseByServer, "Firefox ends the session, but does not tell code and reason.",
		show(func(t *testing.T, ctx context.Context, p *firefox, s transport.Session) {
			clients.Must(t, s.CloseWithError(4321, "server bye"))
			want := append(binary.BigEndian.AppendUint32(nil, 4321), "server bye"...)
			p.wait("the close that it then drops", func() bool { return p.ended && bytes.Equal(p.closing, want) })
		}))
	clients.Lacks(t, firefoxReplay, clients.Subprotocol, "Firefox offers none.", show(func(t *testing.T, ctx context.Context, p *firefox, s transport.Session) {
		if got := s.Info().ApplicationProtocol; got != "" {
			t.Errorf("the server chose %q", got)
		}
		if got := p.response.Get("Wt-Protocol"); got != "" {
			t.Errorf("the response has %q", got)
		}
	}))
	clients.Lacks(t, firefoxReplay, clients.SeveralSessions, "Firefox takes SETTINGS_WT_ENABLED, which is 1, for the number of sessions.",
		show(func(t *testing.T, ctx context.Context, p *firefox, s transport.Session) {
			if v := p.settings[0x2b60]; v != 1 {
				t.Errorf("0x2b60 is %d", v)
			}
		}))
}

// wantNoEnd reads what came on a stream, and sees that no end follows: a
// datagram sent later has come.
func wantNoEnd(t *testing.T, ctx context.Context, p *firefox, s transport.Session, st transport.ReceiveStream, want string) {
	t.Helper()
	got, err := clients.TowpathStream{Recv: st}.Read(ctx, len(want))
	clients.Must(t, err)
	if string(got) != want {
		t.Errorf("%q arrived", got)
	}
	// Here the recorded sendFin() put nothing on the wire.
	p.capsule(0x00, []byte("later"))
	_, err = s.ReceiveDatagram(ctx)
	clients.Must(t, err)
	clients.Must(t, st.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	if n, err := st.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// firefoxStream is the stream of Firefox's CONNECT.
const firefoxStream = 3

// A firefox plays one connection with one session. It reads what the server
// sends only in wait.
type firefox struct {
	t    *testing.T
	conn net.Conn
	fr   *http2.Framer

	settings  map[http2.SettingID]uint32
	response  http.Header
	partial   []byte // of a capsule
	received  []uint64
	datagrams []string
	aborted   map[capsule.Type][]uint64 // stream and code of the last one
	closing   []byte
	ended     bool
}

// dialFirefox connects and opens the session.
func dialFirefox(t *testing.T, server *clients.TowpathServer) *firefox {
	t.Helper()
	d := tls.Dialer{Config: server.Cert.ClientConfig("127.0.0.1", "h2")}
	conn, err := d.DialContext(clients.Limited(t), "tcp", server.Addr)
	clients.Must(t, err)
	t.Cleanup(func() { conn.Close() })
	clients.Must(t, conn.SetDeadline(time.Now().Add(clients.Patience)))
	p := &firefox{t: t, conn: conn, fr: http2.NewFramer(conn, conn), settings: map[http2.SettingID]uint32{}, aborted: map[capsule.Type][]uint64{}}
	p.fr.ReadMetaHeaders = hpack.NewDecoder(65536, nil)
	_, err = io.WriteString(conn, http2.ClientPreface)
	clients.Must(t, err)
	clients.Must(t, p.fr.WriteSettings(
		http2.Setting{ID: http2.SettingHeaderTableSize, Val: 65536}, http2.Setting{ID: http2.SettingEnablePush},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: 131072}, http2.Setting{ID: http2.SettingMaxFrameSize, Val: 16384}))
	clients.Must(t, p.fr.WriteWindowUpdate(0, 12517377))
	p.wait("SETTINGS", func() bool { return len(p.settings) > 0 })
	// What it needs to see before it sends its CONNECT.
	if p.settings[0x8] != 1 || p.settings[0x2b60] < 1 || p.settings[0x2b63] == 0 {
		t.Fatalf("it would not open a session with SETTINGS %v", p.settings)
	}
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range [][2]string{
		{":method", "CONNECT"}, {":path", "/"}, {":authority", server.Addr}, {":scheme", "https"}, {":protocol", "webtransport"},
		{"user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0"}, {"accept", "*/*"},
		{"accept-language", "en-US,en;q=0.5"}, {"accept-encoding", "gzip, deflate, br, zstd"}, {"sec-webtransport-http3-draft02", "1"},
		{"origin", "https://" + server.Addr}, {"sec-fetch-dest", "webtransport"}, {"sec-fetch-mode", "no-cors"},
		{"sec-fetch-site", "same-origin"}, {"priority", "u=4"}, {"pragma", "no-cache"}, {"cache-control", "no-cache"},
	} {
		clients.Must(t, enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
	}
	clients.Must(t, p.fr.WriteHeaders(http2.HeadersFrameParam{
		StreamID: firefoxStream, BlockFragment: block.Bytes(), EndHeaders: true, Priority: http2.PriorityParam{Weight: 41},
	}))
	p.wait("the response", func() bool { return p.response != nil })
	if status := p.response.Get(":status"); status != "200" {
		t.Fatalf("status %s", status)
	}
	return p
}

// capsule sends a capsule in a DATA frame of its own.
func (p *firefox) capsule(typ capsule.Type, value []byte) {
	p.t.Helper()
	b := append(varints(uint64(typ), uint64(len(value))), value...)
	clients.Must(p.t, p.fr.WriteData(firefoxStream, false, b))
}

// data sends stream data, always with the type that never ends a stream.
func (p *firefox) data(stream uint64, data string) {
	p.t.Helper()
	p.capsule(0x190b4d3b, append(varints(stream), data...))
}

// wait reads frames until ok.
func (p *firefox) wait(what string, ok func() bool) {
	p.t.Helper()
	for !ok() {
		f, err := p.fr.ReadFrame()
		if err != nil {
			p.t.Fatalf("waiting for %s: %v", what, err)
		}
		clients.Must(p.t, p.frame(f))
	}
}

func (p *firefox) frame(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			return nil
		}
		f.ForeachSetting(func(s http2.Setting) error {
			p.settings[s.ID] = s.Val
			return nil
		})
		return p.fr.WriteSettingsAck()
	case *http2.PingFrame:
		if f.IsAck() {
			return nil
		}
		return p.fr.WritePing(true, f.Data)
	case *http2.MetaHeadersFrame:
		p.response = http.Header{}
		for _, h := range f.Fields {
			if h.IsPseudo() {
				p.response[h.Name] = []string{h.Value}
			}
			p.response.Add(h.Name, h.Value)
		}
	case *http2.DataFrame:
		p.ended = p.ended || f.StreamEnded()
		p.partial = append(p.partial, f.Data()...)
		p.capsules()
	case *http2.RSTStreamFrame:
		return fmt.Errorf("RST_STREAM %v", f.ErrCode)
	case *http2.GoAwayFrame:
		return fmt.Errorf("GOAWAY %v %q", f.ErrCode, f.DebugData())
	}
	return nil
}

// capsules takes in the capsules that are complete.
func (p *firefox) capsules() {
	for {
		typ, n := capsule.ParseVarint(p.partial)
		length, m := capsule.ParseVarint(p.partial[n:])
		if n == 0 || m == 0 || uint64(len(p.partial)-n-m) < length {
			return
		}
		value := p.partial[n+m:][:length]
		p.partial = p.partial[n+m:][length:]
		switch capsule.Type(typ) {
		case 0x00:
			p.datagrams = append(p.datagrams, string(value))
		case 0x2843:
			p.closing = bytes.Clone(value)
		case 0x190b4d39, 0x190b4d3a:
			id, n := capsule.ParseVarint(value)
			code, _ := capsule.ParseVarint(value[n:])
			p.aborted[capsule.Type(typ)] = []uint64{id, code}
		case 0x190b4d3b, 0x190b4d3c:
			id, n := capsule.ParseVarint(value)
			if len(value) > n {
				p.received = append(p.received, id)
			}
		}
	}
}

// varints returns integers of RFC 9000 section 16 one after the other.
func varints(vs ...uint64) (b []byte) {
	for _, v := range vs {
		b = capsule.AppendVarint(b, v)
	}
	return b
}
