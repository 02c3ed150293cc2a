package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"

	"github.com/towpath-go/towpath/h3wt"
)

var webtransportGo = newWebTransportGo(nil)

// newWebTransportGo has sessions with limits of their own, without which a
// connection has one session only.
func newWebTransportGo(conf *webtransport.Config) Peer {
	return Peer{
		Name:     "webtransport-go",
		Module:   "github.com/quic-go/webtransport-go",
		PerConn:  h3wt.DefaultMaxSessions,
		Sessions: true,
		Note:     "WebTransport over HTTP/3, on quic-go; pooled are sessions, with its flow control, which is off otherwise",
		Listen:   func(c Config) (Server, error) { return listenWebTransportGo(c, conf) },
		Dial: func(ctx context.Context, addr string, tlsConf *tls.Config) (Conn, error) {
			return dialWebTransportGo(ctx, addr, tlsConf, conf)
		},
	}
}

func init() {
	pooled := newWebTransportGo(&webtransport.Config{MaxIncomingStreams: 100, MaxIncomingUniStreams: 100, MaxIncomingData: ConnWindow})
	webtransportGo.Pooled = &pooled
}

// webtransportWindows are quicWindows with what webtransport-go asks for.
func webtransportWindows() *quic.Config {
	c := quicWindows()
	c.EnableStreamResetPartialDelivery = true
	return c
}

func listenWebTransportGo(c Config, sessions *webtransport.Config) (Server, error) {
	var s *udpServer
	conf := http3.ConfigureTLSConfig(c.TLS)
	server := &webtransport.Server{Config: sessions, H3: &http3.Server{TLSConfig: conf, QUICConfig: webtransportWindows()}}
	server.H3.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if session, err := server.Upgrade(w, r); err == nil {
			serveWebTransport(session, c.Handler, &s.wg)
		}
	})
	s, err := listenUDP(server.Close)
	if err != nil {
		return nil, err
	}
	s.serve(server.Serve)
	return s, nil
}

// serveWebTransport serves a session until it ends, without waiting.
func serveWebTransport(s *webtransport.Session, h Handler, wg *sync.WaitGroup) {
	ctx := context.Background() // the session's end ends the calls
	if h.Stream != nil {
		wg.Go(func() { // ends with the session, as the next two do
			for {
				st, err := s.AcceptStream(ctx)
				if err != nil {
					return
				}
				wg.Go(func() { // ends with the handler
					h.Stream(webtransportStream{st})
					_ = st.Close()
					st.CancelRead(0)
				})
			}
		})
	}
	if h.Uni != nil {
		wg.Go(func() {
			for {
				st, err := s.AcceptUniStream(ctx)
				if err != nil {
					return
				}
				h.Uni(st)
			}
		})
	}
	if h.Datagram != nil {
		wg.Go(func() {
			for {
				p, err := s.ReceiveDatagram(ctx)
				if err != nil {
					return
				}
				h.Datagram(p)
			}
		})
	}
}

// webtransportStream is a stream whose Close is that of both directions.
type webtransportStream struct{ *webtransport.Stream }

func (s webtransportStream) CloseWrite() error { return s.Stream.Close() }

func (s webtransportStream) Close() error {
	s.CancelWrite(0) // nothing after CloseWrite
	s.CancelRead(0)  // nothing after the end
	return nil
}

type webtransportConn struct {
	s    *webtransport.Session
	more func(ctx context.Context) (*webtransport.Session, error)
	end  func() error
}

func dialWebTransportGo(ctx context.Context, addr string, conf *tls.Config, sessions *webtransport.Config) (Conn, error) {
	qc, end, err := dialUDP(ctx, addr, withALPN(conf, http3.NextProtoH3), webtransportWindows(), func(pc net.PacketConn) *quic.Transport {
		return &quic.Transport{Conn: pc}
	})
	if err != nil {
		return nil, err
	}
	closeAll := func() error {
		err := qc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
		return errors.Join(err, end())
	}
	cc, err := (&webtransport.Transport{Config: sessions}).NewClientConn(qc)
	if err != nil {
		return nil, errors.Join(err, closeAll())
	}
	dial := func(ctx context.Context) (*webtransport.Session, error) {
		_, s, err := cc.Dial(ctx, "https://"+addr+path, nil)
		return s, err
	}
	s, err := dial(ctx)
	if err != nil {
		return nil, errors.Join(err, closeAll())
	}
	return &webtransportConn{s: s, more: dial, end: closeAll}, nil
}

func (c *webtransportConn) Open(ctx context.Context) (Stream, error) {
	st, err := c.s.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	return webtransportStream{st}, nil
}

func (c *webtransportConn) OpenUni(ctx context.Context) (io.WriteCloser, error) {
	return c.s.OpenUniStreamSync(ctx)
}

func (c *webtransportConn) SendDatagram(p []byte) error { return c.s.SendDatagram(p) }

func (c *webtransportConn) OpenPooled(ctx context.Context) error {
	_, err := c.more(ctx)
	return err
}

func (c *webtransportConn) Close() error {
	_ = c.s.CloseWithError(0, "") // the connection's end follows
	return c.end()
}
