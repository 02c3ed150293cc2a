package admission

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/internal/quota"
	"github.com/towpath-go/towpath/transport"
)

// fakeListener accepts what it is given.
type fakeListener struct {
	net.Listener
	conns []net.Conn
}

func (l *fakeListener) Accept() (net.Conn, error) {
	if len(l.conns) == 0 {
		return nil, net.ErrClosed
	}
	c := l.conns[0]
	l.conns = l.conns[1:]
	return c, nil
}

// fakeConn has an address and knows how it was closed.
type fakeConn struct {
	net.Conn
	remote net.Addr
	linger int // -1: not set
	closed int
}

func newFake(ip string) *fakeConn {
	return &fakeConn{remote: &net.TCPAddr{IP: net.ParseIP(ip), Port: 1000}, linger: -1}
}

func (c *fakeConn) RemoteAddr() net.Addr    { return c.remote }
func (c *fakeConn) SetLinger(sec int) error { c.linger = sec; return nil }
func (c *fakeConn) Close() error            { c.closed++; return nil }

func TestListener(t *testing.T) {
	a, b, c, d := newFake("192.0.2.1"), newFake("192.0.2.1"), newFake("192.0.2.2"), newFake("192.0.2.3")
	under := &fakeListener{conns: []net.Conn{a, b, c, d}}
	var refused []transport.Limit
	l := &Listener{
		Listener: under,
		Table:    quota.NewTable(quota.Limits{Open: 2, OpenPerClient: 1}),
		Refused:  func(_ net.Addr, limit transport.Limit) { refused = append(refused, limit) },
	}
	first, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	second, err := l.Accept() // b is one too many of its address
	if err != nil || second.RemoteAddr() != c.remote {
		t.Fatalf("the second connection is %v, %v; want that of another address", second, err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) { // d is one too many of all
		t.Fatalf("the third one: %v, want what the listener says", err)
	}
	want := []transport.Limit{transport.LimitConnectionsPerAddress, transport.LimitConnections}
	if len(refused) != 2 || refused[0] != want[0] || refused[1] != want[1] {
		t.Errorf("refused for %v, want %v", refused, want)
	}
	for _, c := range []*fakeConn{b, d} {
		if c.closed != 1 || c.linger != 0 {
			t.Errorf("a refused connection: closed %d times, linger %d; want once, 0", c.closed, c.linger)
		}
	}
	if a.closed != 0 || c.closed != 0 {
		t.Error("an old connection was closed for a new one")
	}
	first.Close()
	first.Close()
	if n := l.Table.Open(); n != 1 || a.closed != 2 || a.linger != -1 {
		t.Errorf("%d connections count after one of two was closed (%d times, linger %d)", n, a.closed, a.linger)
	}
	under.conns = []net.Conn{b}
	if nc, err := l.Accept(); err != nil || nc.RemoteAddr() != b.remote {
		t.Errorf("the address after its connection ended: %v, %v", nc, err)
	}
	if nc := first.(interface{ NetConn() net.Conn }).NetConn(); nc != net.Conn(a) {
		t.Errorf("NetConn is %v", nc)
	}
}

func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		under := &fakeListener{}
		var refused []transport.Limit
		l := &Listener{
			Listener: under,
			Table:    quota.NewTable(quota.Limits{Rate: 2}),
			Refused:  func(_ net.Addr, limit transport.Limit) { refused = append(refused, limit) },
		}
		come := func(n int) (accepted int) {
			for range n {
				under.conns = append(under.conns, newFake("192.0.2.1"))
			}
			for {
				nc, err := l.Accept()
				if err != nil {
					return accepted
				}
				nc.Close()
				accepted++
			}
		}
		if n := come(10); n != 4 || len(refused) != 6 || refused[0] != transport.LimitConnectionRate {
			t.Errorf("of 10 at once %d were accepted, refused %v; want 4", n, refused)
		}
		time.Sleep(time.Second)
		if n := come(10); n != 2 {
			t.Errorf("of 10 a second later %d were accepted, want 2", n)
		}
	})
}

func TestRefusedConnectionIsReset(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Listener{Listener: ln, Table: quota.NewTable(quota.Limits{OpenPerClient: 1})}
	done := make(chan net.Conn)
	go func() { // ends with the listener
		nc, _ := l.Accept()
		l.Accept()
		done <- nc
	}()
	first, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := net.Dial("tcp", ln.Addr().String())
	if err == nil {
		defer second.Close()
		_, err = second.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
		t.Errorf("the refused client sees %v, want a reset", err)
	}
	ln.Close()
	nc := <-done
	defer nc.Close()
	if _, err := first.Write([]byte("x")); err != nil {
		t.Errorf("the first connection: %v", err)
	}
	if n, err := nc.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("the first connection: %d, %v", n, err)
	}
}

func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		l := &Log{Logger: slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			},
		}))}
		for range 1000 {
			l.Refused("session refused", "192.0.2.1:5", transport.HTTP2, transport.LimitSessions)
		}
		l.Refused("session refused", "192.0.2.1:5", transport.HTTP2, transport.LimitSessionRate)
		l.Refused("session refused", "192.0.2.2:5", transport.WebSocket, transport.LimitSessions)
		time.Sleep(logInterval)
		synctest.Wait()
		l.Refused("session refused", "192.0.2.3:5", transport.HTTP3, transport.LimitSessions)
		time.Sleep(5 * logInterval)
		synctest.Wait()
		if len(l.pending) != 0 {
			t.Errorf("%d limits wait for a line", len(l.pending))
		}
		l.Refused("session refused", "192.0.2.4:5", transport.HTTP3, transport.LimitSessions)
		want := `level=INFO msg="session refused" remote=192.0.2.1:5 transport=h2 limit=sessions count=1
level=INFO msg="session refused" remote=192.0.2.1:5 transport=h2 limit=session-rate count=1
level=INFO msg="session refused" remote=192.0.2.2:5 transport=ws limit=sessions count=1000
level=INFO msg="session refused" remote=192.0.2.3:5 transport=h3 limit=sessions count=1
level=INFO msg="session refused" remote=192.0.2.4:5 transport=h3 limit=sessions count=1
`
		if got := b.String(); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
		(&Log{}).Refused("x", "", 0, "") // silence
		quiet := &Log{Logger: slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelWarn}))}
		quiet.Refused("quiet", "", 0, "")
		if strings.Contains(b.String(), "quiet") {
			t.Error("a logger that wants no Info got one")
		}
	})
}

func TestLimitNames(t *testing.T) {
	for v, want := range map[quota.Verdict]transport.Limit{
		quota.Full:    transport.LimitConnections,
		quota.TooMany: transport.LimitConnectionsPerAddress,
		quota.TooFast: transport.LimitConnectionRate,
		quota.Granted: "",
	} {
		if got := Limit(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}
