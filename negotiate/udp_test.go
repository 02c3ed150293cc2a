package negotiate

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/internal/testcert"
)

// udpEcho is a QUIC server on loopback that keeps its connections open.
func udpServer(t *testing.T, cert *testcert.Cert) netip.AddrPort {
	t.Helper()
	ln, err := quic.ListenAddr("127.0.0.1:0", cert.ServerConfig("test"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() { // ends when the listener is closed
		for {
			if _, err := ln.Accept(context.Background()); err != nil {
				return
			}
		}
	}()
	return ln.Addr().(*net.UDPAddr).AddrPort()
}

// closedPort returns an address where nothing listens, for UDP nor TCP.
func closedPort(t *testing.T) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func watchedDial(t *testing.T, addr netip.AddrPort, s signs) watchedConn {
	t.Helper()
	pc, err := dialUDP(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	c := watchConn(pc, s)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestUDPRefusedIsSeenAtOnce(t *testing.T) {
	addr := closedPort(t)
	c := watchedDial(t, addr, signs{heard: func() { t.Error("heard something from a closed port") }})
	tr := &quic.Transport{Conn: c}
	defer tr.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second) // quic-go alone would take 5 s
	defer cancel()
	_, err := tr.Dial(ctx, net.UDPAddrFromAddrPort(addr), testcert.New(t).ClientConfig("127.0.0.1", "test"), nil)
	if !isRefusal(err) {
		t.Fatalf("got %v, want a refused connection", err)
	}
}

func TestUDPKeepsTheFastPath(t *testing.T) {
	cert := testcert.New(t)
	addr := udpServer(t, cert)
	heard := make(chan struct{}, 100)
	c := watchedDial(t, addr, signs{heard: func() { heard <- struct{}{} }})

	dial := func(pc net.PacketConn) *quic.Conn {
		tr := &quic.Transport{Conn: pc}
		t.Cleanup(func() { tr.Close() })
		qc, err := tr.Dial(t.Context(), net.UDPAddrFromAddrPort(addr), cert.ClientConfig("127.0.0.1", "test"), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { qc.CloseWithError(0, "") })
		return qc
	}
	qc := dial(c)
	plain, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if got, want := qc.ConnectionState().GSO, dial(plain).ConnectionState().GSO; got != want {
		t.Errorf("GSO %v in the wrapper, %v without", got, want)
	}
	<-heard
	if len(heard) != 0 {
		t.Error("heard more than once")
	}
	if c.watch().received.Load() == 0 {
		t.Error("counted no packet")
	}
	if got := qc.RemoteAddr().String(); got != addr.String() {
		t.Errorf("remote address %v, want %v", got, addr)
	}
}

// What the kernel says of ICMP counts during the handshake only.
func TestPathWatch(t *testing.T) {
	refusal := &net.OpError{Op: "read", Err: refusals[0]}
	tooBig := &net.OpError{Op: "read", Err: errTooBig}
	other := errors.New("other")
	for _, c := range []struct {
		name          string
		settled       bool
		received      uint64
		err           error
		read, write   error
		wantsFallback bool
	}{
		{name: "refused in the handshake", err: refusal, read: refusal, write: refusal},
		{name: "refused later", settled: true, received: 1, err: refusal},
		{name: "too big in the handshake", err: tooBig, write: tooBig, wantsFallback: true},
		{name: "too big although packets came", received: 1, err: tooBig, write: tooBig},
		{name: "too big later", settled: true, received: 1, err: tooBig, write: tooBig},
		{name: "another error later", settled: true, err: other, read: other, write: other},
	} {
		t.Run(c.name, func(t *testing.T) {
			var blocked []error
			w := &pathWatch{signs: signs{blocked: func(err error) { blocked = append(blocked, err) }}}
			w.settled.Store(c.settled)
			w.received.Store(c.received)
			if got := w.readError(c.err); got != c.read {
				t.Errorf("read: %v, want %v", got, c.read)
			}
			if got := w.writeError(c.err); got != c.write {
				t.Errorf("write: %v, want %v", got, c.write)
			}
			if (len(blocked) > 0) != c.wantsFallback {
				t.Errorf("told of a blocked way: %v", blocked)
			}
		})
	}
}

func TestUDPTooBigIsToldAtOnce(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("loopback has no MTU there")
	}
	var blocked error
	c := watchedDial(t, closedPort(t), signs{blocked: func(err error) { blocked = err }})
	if _, err := c.WriteTo(make([]byte, 66_000), nil); !isTooBig(err) {
		t.Fatalf("writing 66,000 bytes gave %v", err)
	}
	if !isTooBig(blocked) {
		t.Errorf("blocked said %v", blocked)
	}
}

func TestReportICMP(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:9", "[::1]:9"} {
		c, err := net.Dial("udp", addr)
		if err != nil {
			if addr != "127.0.0.1:9" {
				t.Skipf("no IPv6 here: %v", err)
			}
			t.Fatal(err)
		}
		defer c.Close()
		for _, on := range []bool{true, false} {
			if err := reportICMP(c.(*net.UDPConn), on); err != nil {
				t.Errorf("%s, on %v: %v", addr, on, err)
			}
		}
	}
}
