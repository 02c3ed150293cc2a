package h3wt

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/transport"
)

func TestMemory(t *testing.T) {
	bubble(t, "H3-068 a connection that makes us hold too much loses a session", func(t *testing.T) {
		const most = 200 << 10
		h, accepted := serveRaw(t, &Config{MaxConnectionMemory: most, Session: &transport.Config{IncomingDatagramQueue: 1000}}, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		str := c.accepted()
		s := <-accepted
		for n := 0; s.Context().Err() == nil; n++ {
			if n > most/1000+10 {
				t.Fatal("the limit was passed")
			}
			c.SendDatagram(make([]byte, 1001))
			time.Sleep(5 * time.Millisecond)
		}
		wantViolation(t, s, transport.ViolationExcess)
		rawStream{c, str}.wantAborted(0x107)
		c.wantOpen()
	})
	const much = 48 << 20 // within which windows that may grow have always grown
	transfer := func(t *testing.T, settings *Config) uint64 {
		cfg := settings.settle()
		handler, accepted := sessions(t, nil)
		h := serve(t, simulated(t), &Server{Handler: handler, Config: settings})
		defer h.stop()
		cc := h.client(nil)
		defer cc.Close()
		s, err := cc.Dial(context.Background(), testURL, nil)
		if err != nil {
			t.Fatal(err)
		}
		served := (<-accepted).(*Session)
		u, err := s.OpenUniStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		go func() { u.Write(make([]byte, much)); u.Close() }()
		v, err := served.AcceptUniStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, v); n != much || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
		served.mu.Lock()
		window := served.window.Window()
		served.mu.Unlock()
		s.CloseWithError(0, "")
		<-served.done
		// What the session had of the connection's window came back.
		grown := cfg.connectionWindow()
		h.server.growth.mu.Lock()
		grown += h.server.growth.conns[served.c.qc].by
		h.server.growth.mu.Unlock()
		if free, want := served.c.pool.Load(), grown-windowReserve-DefaultMaxSessions*pooledWindow; free != want {
			t.Errorf("%d bytes of the connection's window are free, want %d", free, want)
		}
		return window
	}
	large := &transport.Config{InitialStreamWindow: 256 << 10, MaxStreamWindow: 16 << 20}
	bubble(t, "the windows grow with the bandwidth-delay product", func(t *testing.T) {
		if w := transfer(t, &Config{Session: large}); w <= transport.DefaultInitialSessionWindow || w > transport.DefaultMaxSessionWindow {
			t.Errorf("the session's window is %d", w)
		}
	})
	bubble(t, "and do not while memory is short", func(t *testing.T) {
		// The window of the connection cannot grow, and the session's only
		// into what it leaves.
		if w := transfer(t, &Config{Session: large, MaxServerMemory: 4096}); w > 2*transport.DefaultInitialSessionWindow {
			t.Errorf("the session's window is %d", w)
		}
	})
	t.Run("growth is counted, and given back", func(t *testing.T) {
		g := newGrowth(1000)
		a, b := &conn{qc: new(quic.Conn)}, &conn{qc: new(quic.Conn)}
		g.add(a)
		g.add(b)
		var asked uint64
		allow := g.allow(func(_ *quic.Conn, delta uint64) bool { asked = delta; return delta != 13 })
		if !allow(a.qc, 500) || asked != 500 || a.pool.Load() != 500 {
			t.Error("500 of 750 are not allowed")
		}
		if allow(a.qc, 13) {
			t.Error("the caller's own function is not asked")
		}
		if !allow(b.qc, 250) || allow(b.qc, 1) || g.used != 750 {
			t.Errorf("%d are counted, of 750", g.used)
		}
		g.remove(a)
		if !allow(b.qc, 500) || allow(b.qc, 1) {
			t.Errorf("%d are counted after a connection's end", g.used)
		}
		if allow(a.qc, 1) {
			t.Error("an unknown connection may grow")
		}
		g.remove(b)
		if g.used != 0 {
			t.Errorf("%d are counted at the end", g.used)
		}
		if none := newGrowth(0); !func() bool { none.add(a); return none.allow(nil)(a.qc, 1<<40) }() {
			t.Error("growth is limited without a limit")
		}
	})
}

// The numbers are those of the package documentation.
func TestGoroutines(t *testing.T) {
	bubble(t, "goroutines of connections and sessions", func(t *testing.T) {
		handler, accepted := sessions(t, nil)
		h := serve(t, simulated(t), &Server{Handler: handler})
		defer h.stop()
		// Those of this bubble: one of an earlier test may be about to end.
		count := func() int {
			synctest.Wait()
			buf := make([]byte, 1<<20)
			dump := buf[:runtime.Stack(buf, true)] // begins with this goroutine
			bubble := regexp.MustCompile(`synctest bubble \d+`).Find(dump)
			return bytes.Count(dump, append(bubble, ']'))
		}
		warm := h.client(nil) // makes the transport's own goroutines
		before := count()
		cc := h.client(nil)
		connection := count() - before
		var held []transport.Session
		per := 0
		for range 5 {
			before := count()
			s, err := cc.Dial(context.Background(), testURL, nil)
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, s, <-accepted)
			per = count() - before
		}
		// Both ends run here. A stream and a datagram leave none behind.
		before = count()
		u, err := held[0].OpenUniStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		u.Write([]byte("x"))
		held[0].SendDatagram([]byte("x"))
		if n := count() - before; n != 0 {
			t.Errorf("a stream and a datagram cost %d goroutines", n)
		}
		if per != 2*goroutinesPerSession {
			t.Errorf("%d goroutines per session at both ends, documented are %d at each", per, goroutinesPerSession)
		}
		t.Logf("%d goroutines per connection at both ends", connection)
		if connection != goroutinesPerConnection[0]+goroutinesPerConnection[1] {
			t.Errorf("%d goroutines per connection, documented are %v", connection, goroutinesPerConnection)
		}
		cc.Close()
		warm.Close()
	})
}

const goroutinesPerSession = 2

// At a client and at a server.
var goroutinesPerConnection = [2]int{6, 6}
