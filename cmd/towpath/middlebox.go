package main

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
)

// A middlebox is what the demo puts before a server: it ends TLS, offers HTTP/1.1
// alone, and passes the bytes on over another TLS connection.
type middlebox struct {
	net.Listener
	server string
	key    tls.Certificate

	wg    sync.WaitGroup
	mu    sync.Mutex // guards the following
	ended bool
	conns map[net.Conn]struct{}
}

// newMiddlebox starts one that Close ends. It shows the server's certificate.
func newMiddlebox(server string, cert tls.Certificate) (*middlebox, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	m := &middlebox{Listener: ln, server: server, key: cert, conns: make(map[net.Conn]struct{})}
	m.wg.Go(m.accept)
	return m, nil
}

// Close ends the middlebox and what it carries.
func (m *middlebox) Close() error {
	err := m.Listener.Close()
	m.mu.Lock()
	m.ended = true
	for c := range m.conns {
		_ = c.Close()
	}
	m.mu.Unlock()
	m.wg.Wait()
	return err
}

func (m *middlebox) accept() {
	for {
		c, err := m.Accept()
		if err != nil {
			return
		}
		m.wg.Go(func() { m.carry(c) }) // ends with either connection
	}
}

func (m *middlebox) carry(c net.Conn) {
	if !m.keep(c) {
		return
	}
	defer m.drop(c)
	in := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{m.key}, NextProtos: []string{"http/1.1"}})
	if in.Handshake() != nil {
		return
	}
	raw, err := net.Dial("tcp", m.server)
	if err != nil || !m.keep(raw) {
		return
	}
	defer m.drop(raw)
	// It is the server of this very process.
	out := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	back := make(chan struct{})
	go func() { // ends with either connection; waited for below
		defer close(back)
		_, _ = io.Copy(in, out)
		_ = in.CloseWrite()
	}()
	_, _ = io.Copy(out, in)
	_ = out.CloseWrite()
	<-back
}

// keep notes a connection that Close is to end; false says that it was closed.
func (m *middlebox) keep(c net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		_ = c.Close()
		return false
	}
	m.conns[c] = struct{}{}
	return true
}

func (m *middlebox) drop(c net.Conn) {
	m.mu.Lock()
	delete(m.conns, c)
	m.mu.Unlock()
	_ = c.Close()
}
