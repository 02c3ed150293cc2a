package peers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"

	"github.com/towpath-go/towpath/e2e/clients"
	"github.com/towpath-go/towpath/h3wt"
	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
)

const (
	wtgoModule = "go github.com/quic-go/webtransport-go"
	oneSession = "without session flow control HTTP/3 has one session on a connection, as the draft says; "
)

// The rows of webtransport-go. Its own Config turns session flow control on.
var (
	wtgoClient       = &clients.Row{Name: "webtransport-go client", Table: foreign, Peer: "webtransport-go, a Config with limits", End: "client", Transport: "HTTP/3", Module: wtgoModule}
	wtgoClientNoFlow = &clients.Row{Name: "webtransport-go client without flow control", Table: foreign, Peer: "webtransport-go, no Config", End: "client", Transport: "HTTP/3", Module: wtgoModule}
	wtgoTransport    = &clients.Row{Name: "webtransport-go Transport.Dial", Table: foreign, Peer: "webtransport-go, Transport.Dial", End: "client", Transport: "HTTP/3", Module: wtgoModule}
	wtgoServer       = &clients.Row{Name: "webtransport-go server", Table: foreign, Peer: "webtransport-go, a Config with limits", End: "server", Transport: "HTTP/3", Module: wtgoModule}
	wtgoServerNoFlow = &clients.Row{Name: "webtransport-go server without flow control", Table: foreign, Peer: "webtransport-go, no Config", End: "server", Transport: "HTTP/3", Module: wtgoModule}
)

// wtgoFlow turns session flow control on, with limits that every scenario
// reaches or that others go round.
var wtgoFlow = &webtransport.Config{MaxIncomingStreams: 10, MaxIncomingUniStreams: 10, MaxIncomingData: 100 << 10}

var wtgoQUIC = &quic.Config{EnableDatagrams: true, EnableStreamResetPartialDelivery: true}

func TestWebTransportGoClient(t *testing.T) {
	t.Run("with flow control", func(t *testing.T) {
		clients.Measure(t, wtgoClient, newWTGoClientLink(t, wtgoFlow), thorough(nil))
	})
	t.Run("without flow control", func(t *testing.T) {
		clients.Measure(t, wtgoClientNoFlow, newWTGoClientLink(t, nil), thorough(clients.Exceptions{
			clients.SeveralSessions: {Lacks: oneSession + "another is refused until the first has ended", Show: secondRefused},
		}))
	})
	t.Run("by Transport.Dial", func(t *testing.T) {
		clients.Measure(t, wtgoTransport, newWTGoTransportLink(t), thorough(clients.Exceptions{
			clients.CloseByClient: {
				Lacks: "Transport.Dial closes the QUIC connection with the session, mostly before the code has left; ClientConn.Dial does not",
				Show:  codeLost,
			},
			// Each has a connection of its own.
			clients.SeveralSessions: {Show: func(t *testing.T, l clients.Link) { endBesideOthers(t, l, false) }},
		}))
	})
}

func TestWebTransportGoServer(t *testing.T) {
	t.Run("with flow control", func(t *testing.T) {
		not := thorough(nil)
		pooled := not[clients.SeveralSessions].Show
		not[clients.SeveralSessions] = clients.Exception{Show: func(t *testing.T, l clients.Link) {
			pooled(t, l)
			if n := l.(*wtgoServerLink).connections(t, 3); n != 1 {
				t.Errorf("three sessions of a pool came on %d connections", n)
			}
		}}
		clients.Measure(t, wtgoServer, newWTGoServerLink(t, wtgoFlow), not)
	})
	t.Run("without flow control", func(t *testing.T) {
		clients.Measure(t, wtgoServerNoFlow, newWTGoServerLink(t, nil), thorough(clients.Exceptions{
			clients.SeveralSessions: {
				Partly: oneSession + "Dialer.Pool makes another connection for each",
				Show: func(t *testing.T, l clients.Link) {
					clients.Scenarios[clients.SeveralSessions](t, l)
					endBesideOthers(t, l, true)
					if n := l.(*wtgoServerLink).connections(t, 3); n != 3 {
						t.Errorf("three sessions of a pool came on %d connections", n)
					}
				},
			},
		}))
	})
	// The same by h3wt alone, which has a connection for each session.
	t.Run("h3wt.Dial", func(t *testing.T) {
		l := newWTGoServerLink(t, wtgoFlow)
		l.dial = func(ctx context.Context, offer []string) (transport.Session, error) {
			return h3wt.Dial(ctx, l.url, l.cert.ClientConfig("127.0.0.1", "h3"), &transport.DialOptions{Protocols: offer})
		}
		checks := thorough(nil)
		for c := range clients.ColumnCount {
			show := clients.Scenarios[c]
			if x, ok := checks[c]; ok {
				show = x.Show
			}
			t.Run(c.String(), func(t *testing.T) { show(t, l) })
		}
	})
}

// A wtgoClientLink has webtransport-go's client and our server, all sessions on
// one QUIC connection.
type wtgoClientLink struct {
	server *clients.TowpathServer
	conn   *webtransport.ClientConn
}

func newWTGoClientLink(t *testing.T, config *webtransport.Config) *wtgoClientLink {
	t.Helper()
	l := &wtgoClientLink{server: clients.NewTowpathServer(t, nil, nil, transport.HTTP3)}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	clients.Must(t, err)
	tr := &quic.Transport{Conn: pc}
	t.Cleanup(func() {
		tr.Close()
		pc.Close()
	})
	qc, err := tr.Dial(clients.Limited(t), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(l.server.Addr)),
		l.server.Cert.ClientConfig("127.0.0.1", "h3"), wtgoQUIC)
	clients.Must(t, err)
	t.Cleanup(func() { qc.CloseWithError(0x100, "") })
	wt := &webtransport.Transport{Config: config, ApplicationProtocols: []string{"first", "second"}}
	t.Cleanup(func() { wt.Close() })
	l.conn, err = wt.NewClientConn(qc)
	clients.Must(t, err)
	return l
}

func (l *wtgoClientLink) Session(t *testing.T, offer ...string) (client, server clients.End) {
	t.Helper()
	ctx := clients.Limited(t)
	_, s, err := l.conn.Dial(ctx, l.server.URL("/"), nil)
	clients.Must(t, err)
	return wtgoSession(t, s), l.server.Accept(t, ctx)
}

// wtgoSession is an end that ends with the test.
func wtgoSession(t *testing.T, s *webtransport.Session) clients.End {
	t.Cleanup(func() { s.CloseWithError(0, "") })
	return wtgoEnd{s}
}

// secondRefused shows that a connection without flow control keeps to one
// session, and takes another once the first has ended.
func secondRefused(t *testing.T, l clients.Link) {
	ctx := clients.Limited(t)
	conn := l.(*wtgoClientLink)
	for range 3 {
		client, server := l.Session(t)
		_, _, err := conn.conn.Dial(ctx, conn.server.URL("/"), nil)
		if e, ok := errors.AsType[*http3.Error](err); !ok || e.ErrorCode != http3.ErrCodeRequestRejected || !e.Remote {
			t.Errorf("the second session: %v, want H3_REQUEST_REJECTED", err)
		}
		clients.Must(t, clients.Echo(ctx, client, server, true, "the first goes on"))
		clients.Must(t, client.Close(ctx, 0, ""))
		_, _, err = server.Closed(ctx)
		clients.Must(t, err)
	}
}

// A wtgoTransportLink has our server and webtransport-go's client as its
// documentation shows it first: Transport.Dial makes a QUIC connection for
// each session.
type wtgoTransportLink struct {
	server    *clients.TowpathServer
	transport *webtransport.Transport
}

func newWTGoTransportLink(t *testing.T) *wtgoTransportLink {
	t.Helper()
	l := &wtgoTransportLink{server: clients.NewTowpathServer(t, nil, nil, transport.HTTP3)}
	l.transport = &webtransport.Transport{
		ApplicationProtocols: []string{"first", "second"},
		TLSClientConfig:      l.server.Cert.ClientConfig("127.0.0.1", "h3"),
		QUICConfig:           wtgoQUIC,
	}
	t.Cleanup(func() { l.transport.Close() })
	return l
}

func (l *wtgoTransportLink) Session(t *testing.T, offer ...string) (client, server clients.End) {
	t.Helper()
	ctx := clients.Limited(t)
	_, s, err := l.transport.Dial(ctx, l.server.URL("/"), nil)
	clients.Must(t, err)
	return wtgoSession(t, s), l.server.Accept(t, ctx)
}

// codeLost shows that Transport.Dial loses close codes. Some arrive, before
// the connection's end; sooner or later one does not, and is then seen as the
// connection's end and as nothing else.
func codeLost(t *testing.T, l clients.Link) {
	const tries = 1000
	ctx := clients.Limited(t)
	for i := range tries {
		client, server := l.Session(t)
		reason := fmt.Sprintf("close number %d", i)
		clients.Must(t, client.Close(ctx, uint32(i), reason))
		code, why, err := server.Closed(ctx)
		if err == nil {
			if code != uint32(i) || why != reason {
				t.Fatalf("close number %d: our server was told %d %q", i, code, why)
			}
			continue
		}
		if e, ok := errors.AsType[*transport.ResetError](err); !ok || !e.Connection {
			t.Fatalf("close number %d: our server saw %v, want the code or the connection's end", i, err)
		}
		return
	}
	t.Errorf("%d codes arrived: Transport.Dial loses none", tries)
}

// A wtgoServerLink has our client and webtransport-go's server.
type wtgoServerLink struct {
	url      string
	cert     *testcert.Cert
	sessions chan *webtransport.Session
	// dial makes a session: by a Dialer with a pool unless it is replaced.
	dial func(ctx context.Context, offer []string) (transport.Session, error)
}

func newWTGoServerLink(t *testing.T, config *webtransport.Config) *wtgoServerLink {
	t.Helper()
	l := &wtgoServerLink{cert: testcert.New(t), sessions: make(chan *webtransport.Session, 16)}
	srv := &webtransport.Server{
		H3: &http3.Server{TLSConfig: l.cert.ServerConfig("h3")}, Config: config, ApplicationProtocols: []string{"second"},
	}
	srv.H3.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := srv.Upgrade(w, r)
		if err != nil {
			return // the client has been told
		}
		l.sessions <- s
	})
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	clients.Must(t, err)
	l.url = "https://" + pc.LocalAddr().String() + "/"
	served := make(chan struct{})
	go func() { // ends when the server is closed
		defer close(served)
		srv.Serve(pc)
	}()
	t.Cleanup(func() {
		srv.Close()
		pc.Close()
		<-served
	})
	d := newTowpathDialer(t, l.cert, nil, transport.HTTP3)
	d.Pool = true
	l.dial = func(ctx context.Context, offer []string) (transport.Session, error) {
		s, _, err := d.Dial(ctx, l.url, &transport.DialOptions{Protocols: offer})
		return s, err
	}
	return l
}

func (l *wtgoServerLink) Session(t *testing.T, offer ...string) (client, server clients.End) {
	t.Helper()
	ctx := clients.Limited(t)
	s, err := l.dial(ctx, offer)
	clients.Must(t, err)
	t.Cleanup(func() { s.CloseWithError(0, "") })
	select {
	case p := <-l.sessions:
		return clients.TowpathEnd{S: s}, wtgoSession(t, p)
	case <-ctx.Done():
		t.Fatal("their handler got no session")
		return nil, nil
	}
}

// connections counts the connections that sessions came on.
func (l *wtgoServerLink) connections(t *testing.T, sessions int) int {
	t.Helper()
	from := map[string]bool{}
	for range sessions {
		_, server := l.Session(t)
		from[server.(wtgoEnd).s.RemoteAddr().String()] = true
	}
	return len(from)
}
