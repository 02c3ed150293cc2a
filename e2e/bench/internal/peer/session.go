package peer

import (
	"context"
	"io"
	"sync"

	"github.com/towpath-go/towpath/transport"
)

// sessionConfig has the windows of all three ways of Towpath; every other limit
// is its default.
func sessionConfig() *transport.Config {
	return &transport.Config{
		InitialStreamWindow: StreamWindow, MaxStreamWindow: StreamWindow,
		InitialSessionWindow: ConnWindow, MaxSessionWindow: ConnWindow,
	}
}

// dialOptions are those of every session.
func dialOptions() *transport.DialOptions { return &transport.DialOptions{Config: sessionConfig()} }

// serveSession serves a session until it ends, without waiting.
func serveSession(s transport.Session, h Handler, wg *sync.WaitGroup) {
	ctx := context.Background() // the session's end ends the calls
	if h.Stream != nil {
		wg.Go(func() { // ends with the session, as the next two do
			for {
				st, err := s.AcceptStream(ctx)
				if err != nil {
					return
				}
				wg.Go(func() { // ends with the handler
					h.Stream(sessionStream{st})
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

// sessionStream is a stream of a session.
type sessionStream struct{ s transport.Stream }

func (s sessionStream) Read(p []byte) (int, error)  { return s.s.Read(p) }
func (s sessionStream) Write(p []byte) (int, error) { return s.s.Write(p) }
func (s sessionStream) CloseWrite() error           { return s.s.Close() }

func (s sessionStream) Close() error {
	s.s.CancelWrite(0) // nothing after CloseWrite
	s.s.CancelRead(0)  // nothing after the end
	return nil
}

// sessionConn is a client's session.
type sessionConn struct {
	s     transport.Session
	more  func(ctx context.Context) (transport.Session, error) // nil: one session only
	close func() error                                         // the connection's, may be nil
}

func (c *sessionConn) Open(ctx context.Context) (Stream, error) {
	s, err := c.s.OpenStream(ctx)
	if err != nil {
		return nil, err
	}
	return sessionStream{s}, nil
}

func (c *sessionConn) OpenUni(ctx context.Context) (io.WriteCloser, error) {
	return c.s.OpenUniStream(ctx)
}

func (c *sessionConn) SendDatagram(p []byte) error { return c.s.SendDatagram(p) }

func (c *sessionConn) OpenPooled(ctx context.Context) error {
	if c.more == nil {
		return errLacking
	}
	_, err := c.more(ctx)
	return err
}

func (c *sessionConn) Close() error {
	// What a benchmark finished was received before, so an answer that is missing
	// costs nothing.
	_ = c.s.CloseWithError(0, "")
	if c.close == nil {
		return nil
	}
	return c.close()
}
