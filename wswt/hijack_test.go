package wswt

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/internal/memconn"

	"github.com/towpath-go/towpath/transport"
)

// deadConn is a connection whose peer has gone.
type deadConn struct {
	net.Conn // nil: what is not below is not called
	writeErr error
	closed   atomic.Int32
}

func (c *deadConn) Read([]byte) (int, error)         { return 0, io.EOF }
func (c *deadConn) Write(p []byte) (int, error)      { return len(p), c.writeErr }
func (c *deadConn) Close() error                     { c.closed.Add(1); return nil }
func (c *deadConn) SetDeadline(time.Time) error      { return nil }
func (c *deadConn) SetReadDeadline(time.Time) error  { return nil }
func (c *deadConn) SetWriteDeadline(time.Time) error { return nil }
func (c *deadConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *deadConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }

// hijacker gives out nc.
type hijacker struct {
	http.ResponseWriter
	nc net.Conn
}

func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.nc, bufio.NewReadWriter(bufio.NewReader(h.nc), bufio.NewWriter(h.nc)), nil
}

// openingRequest is the request of opening.
func openingRequest() *http.Request {
	r := httptest.NewRequest("GET", "https://example.com/", nil)
	for _, l := range strings.Split(strings.TrimSpace(opening()), "\r\n")[2:] {
		name, value, _ := strings.Cut(l, ": ")
		r.Header.Set(name, value)
	}
	return r
}

// TestGoneAtOnce makes sure that a connection that ends while it is being accepted
// is not kept.
func TestGoneAtOnce(t *testing.T) {
	srv := NewServer(&Config{SessionRate: -1})
	for range 5_000 {
		s, err := srv.Upgrade(hijacker{httptest.NewRecorder(), new(deadConn)}, openingRequest(), nil)
		if err != nil {
			t.Fatal(err)
		}
		<-s.Context().Done()
	}
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
	if srv.count != 0 || len(srv.conns) != 0 {
		t.Errorf("%d connections are counted and %d kept", srv.count, len(srv.conns))
	}
}

// TestGoneBefore makes sure that nothing is left of a connection on which the
// acceptance could not be written.
func TestGoneBefore(t *testing.T) {
	srv := NewServer(nil)
	nc := &deadConn{writeErr: io.ErrClosedPipe}
	if _, err := srv.Upgrade(hijacker{httptest.NewRecorder(), nc}, openingRequest(), nil); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Upgrade: %v", err)
	}
	if nc.closed.Load() != 1 {
		t.Errorf("the connection was closed %d times", nc.closed.Load())
	}
	if srv.count != 0 || len(srv.conns) != 0 {
		t.Errorf("%d connections are counted and %d kept", srv.count, len(srv.conns))
	}
}

// TestAcceptingStalls makes sure that a client that does not take the acceptance
// holds up the handler for no longer than the handshake may take.
func TestAcceptingStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := NewServer(nil)
		cc, sc := tlsPipe(t)
		defer cc.NetConn().Close()
		sc.NetConn().(*memconn.Conn).StallWrites(true)
		start := time.Now()
		_, err := srv.Upgrade(hijacker{httptest.NewRecorder(), sc}, openingRequest(), nil)
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != DefaultHandshakeTimeout {
			t.Errorf("Upgrade: %v after %v", err, time.Since(start))
		}
		srv.Close()
	})
}

// A lateHijacker is the writer of a request that its transport has answered
// already, because the handler took too long.
type lateHijacker struct{ http.ResponseWriter }

func (lateHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, &transport.LimitError{Limit: transport.LimitUpgradeTime, Reason: "too late"}
}

func TestUpgradeTooLate(t *testing.T) {
	m := new(told)
	srv := NewServer(&Config{Monitor: m})
	defer srv.Close()
	_, err := srv.Upgrade(lateHijacker{httptest.NewRecorder()}, openingRequest(), nil)
	if limit, _ := transport.ReachedLimit(err); limit != transport.LimitUpgradeTime {
		t.Errorf("Upgrade: %v", err)
	}
	want := transport.Refusal{Protocol: transport.WebSocket, Status: http.StatusServiceUnavailable, Limit: transport.LimitUpgradeTime}
	if len(m.refused) != 1 || m.refused[0] != want {
		t.Errorf("told %+v, want %+v once", m.refused, want)
	}
}
