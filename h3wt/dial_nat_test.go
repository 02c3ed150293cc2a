package h3wt

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// A nat is between clients and a server on the loopback interface. It gives the
// client a new port whenever it is told to, and takes packets at the last one only.
type nat struct {
	testing.TB
	inside *net.UDPConn
	server *net.UDPAddr
	wg     sync.WaitGroup

	mu      sync.Mutex // guards the following
	client  *net.UDPAddr
	outside *net.UDPConn
}

func newNAT(t testing.TB, server net.Addr) *nat {
	t.Helper()
	m := &nat{TB: t, inside: loopback().listen(t).(*net.UDPConn), server: server.(*net.UDPAddr)}
	m.rebind()
	m.wg.Go(func() { // ends with the socket
		b := make([]byte, 1<<16)
		for {
			n, from, err := m.inside.ReadFromUDP(b)
			if err != nil {
				return
			}
			m.mu.Lock()
			m.client = from
			out := m.outside
			m.mu.Unlock()
			out.WriteToUDP(b[:n], m.server) // what is lost is repeated
		}
	})
	return m
}

// rebind changes the client's port.
func (m *nat) rebind() {
	m.Helper()
	out := loopback().listen(m).(*net.UDPConn)
	m.mu.Lock()
	old := m.outside
	m.outside = out
	m.mu.Unlock()
	if old != nil {
		old.Close()
	}
	m.wg.Go(func() { // ends with the socket
		b := make([]byte, 1<<16)
		for {
			n, _, err := out.ReadFromUDP(b)
			if err != nil {
				return
			}
			m.mu.Lock()
			to := m.client
			m.mu.Unlock()
			m.inside.WriteToUDP(b[:n], to)
		}
	})
}

func (m *nat) stop() {
	m.mu.Lock()
	out := m.outside
	m.mu.Unlock()
	out.Close()
	m.inside.Close()
	m.wg.Wait()
}

func TestDialThroughNAT(t *testing.T) {
	t.Run("N8 a NAT changes the port, any number of times", func(t *testing.T) {
		handler, accepted := sessions(t, nil)
		h := serve(t, loopback(), &Server{Handler: handler})
		defer h.stop()
		m := newNAT(t, h.addr)
		defer m.stop()
		s, err := Dial(context.Background(), "https://"+m.inside.LocalAddr().String()+"/session", h.cert.ClientConfig(""), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.CloseWithError(0, "")
		served := <-accepted
		// Only a failure takes as long as this.
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		want := bytes.Repeat([]byte("x"), 50_000)
		for round := range 8 {
			u, err := s.OpenUniStream(ctx)
			if err != nil {
				t.Fatalf("after %d changes: %v", round, err)
			}
			u.Write(want)
			u.Close()
			v, err := served.AcceptUniStream(ctx)
			if err != nil {
				t.Fatalf("after %d changes: %v", round, err)
			}
			v.SetReadDeadline(time.Now().Add(20 * time.Second))
			if got, err := io.ReadAll(v); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("after %d changes: read %d bytes, %v", round, len(got), err)
			}
			m.rebind()
		}
	})
}
