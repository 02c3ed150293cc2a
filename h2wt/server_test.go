package h2wt

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/transport"
)

func TestConfigureServer(t *testing.T) {
	t.Run("H2-062 FW-01 TLS configuration", func(t *testing.T) {
		hs := &http.Server{}
		if err := ConfigureServer(hs, nil); err != nil {
			t.Fatal(err)
		}
		if c := hs.TLSConfig; c.MinVersion != tls.VersionTLS13 || !slices.Equal(c.NextProtos, []string{"h2", "http/1.1"}) || hs.TLSNextProto["h2"] == nil {
			t.Errorf("TLSConfig %+v", c)
		}
		hs = &http.Server{TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"x", "http/1.1"}}}
		if err := ConfigureServer(hs, nil); err != nil {
			t.Fatal(err)
		}
		if c := hs.TLSConfig; c.MinVersion != tls.VersionTLS12 || !slices.Equal(c.NextProtos, []string{"x", "h2", "http/1.1"}) {
			t.Errorf("TLSConfig %+v", c)
		}
		if err := ConfigureServer(&http.Server{TLSConfig: &tls.Config{MaxVersion: tls.VersionTLS11}}, nil); err == nil {
			t.Error("TLS 1.1 at most: no error")
		}
		if err := ConfigureServer(nil, nil); err == nil {
			t.Error("no server: no error")
		}
	})
	t.Run("Config is copied", func(t *testing.T) {
		cfg := &Config{Session: &transport.Config{MaxIncomingStreams: 5}}
		d := cfg.clone()
		cfg.Session.MaxIncomingStreams = 6
		if d.Session.MaxIncomingStreams != 5 {
			t.Error("the session's limits are shared")
		}
	})
}

// tls12 lets a server and a client use TLS 1.2.
func tls12(hs *http.Server) { hs.TLSConfig.MinVersion = tls.VersionTLS12 }

func TestTLS(t *testing.T) {
	bubble(t, "H2-061 FW-01 TLS 1.2 with extended master secret suffices", func(t *testing.T) {
		h, up := upgradeHandler(nil)
		srv := newServer(t, h, nil, tls12)
		defer srv.stop()
		tc := srv.clientTLS(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 })
		c, err := NewClientConn(t.Context(), tc, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if v := c.ConnectionState().Version; v != tls.VersionTLS12 {
			t.Fatalf("version %#x", v)
		}
		if _, err := c.Dial(t.Context(), "https://example.com/", nil); err != nil {
			t.Error(err)
		}
		<-up
	})
	bubble(t, "H2-061 without it a session is malformed, other requests are not", func(t *testing.T) {
		// crypto/tls always negotiates the extended master secret; that its
		// absence is noticed shows below.
		h, _ := upgradeHandler(nil)
		srv := newServer(t, h, nil, func(hs *http.Server) {
			tls12(hs)
			hs.TLSConfig.Renegotiation = tls.RenegotiateOnceAsClient // exports nothing
		})
		defer srv.stop()
		p := h2test.NewClient(t, srv.clientTLS(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }))
		defer p.Close()
		p.Greet()
		p.WriteHeaders(1, false, connectFields()...)
		p.WantRST("malformed", 1, http2.ErrCodeProtocol)
		get(p, 3, "GET", "/")
		wantStatus(t, p, 3, "405", true)
	})
	t.Run("H2-060 H2-061 the exporter tells", func(t *testing.T) {
		fails := func(string, []byte, int) ([]byte, error) { return nil, errors.New("no extended master secret") }
		works := func(_ string, _ []byte, n int) ([]byte, error) { return make([]byte, n), nil }
		for _, tt := range []struct {
			version uint16
			export  exportFunc
			ok      bool
		}{
			{tls.VersionTLS13, fails, true},
			{tls.VersionTLS12, works, true},
			{tls.VersionTLS12, fails, false},
			{tls.VersionTLS11, works, false},
		} {
			if err := checkWebTransportTLS(&tls.ConnectionState{Version: tt.version}, tt.export); (err == nil) != tt.ok {
				t.Errorf("version %#x: %v", tt.version, err)
			}
		}
	})
	bubble(t, "H2-060 a client without it asks for nothing", func(t *testing.T) {
		srv := newServer(t, http.NotFoundHandler(), nil, tls12)
		defer srv.stop()
		tc := srv.clientTLS(func(c *tls.Config) {
			c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
			c.Renegotiation = tls.RenegotiateOnceAsClient // exports nothing
		})
		if c, err := NewClientConn(t.Context(), tc, nil); err == nil || !strings.Contains(err.Error(), "extended master secret") {
			t.Errorf("NewClientConn = %v, %v", c, err)
		}
	})
	bubble(t, "H2-062 a client without h2 by ALPN", func(t *testing.T) {
		srv := newServer(t, http.NotFoundHandler(), nil)
		defer srv.stop()
		for _, protos := range [][]string{{"http/1.1"}, nil} {
			tc := srv.clientTLS(func(c *tls.Config) { c.NextProtos = protos })
			if c, err := NewClientConn(t.Context(), tc, nil); !errors.Is(err, errNotH2) {
				t.Errorf("NewClientConn = %v, %v", c, err)
			}
		}
	})
	bubble(t, "H2-062 FW-01 cleartext HTTP/2 is refused", func(t *testing.T) {
		srv := newServer(t, http.NotFoundHandler(), nil)
		defer srv.stop()
		nc, err := srv.ln.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(nc, http2.ClientPreface)
		b, _ := io.ReadAll(nc)
		if strings.Contains(string(b), "SETTINGS") || len(b) > 0 && b[3] == byte(http2.FrameSettings) {
			t.Errorf("the server answered %q", b)
		}
		nc.Close()
	})
	bubble(t, "a failed handshake", func(t *testing.T) {
		srv := newServer(t, http.NotFoundHandler(), nil)
		defer srv.stop()
		nc, err := srv.ln.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		conf := srv.cert.ClientConfig("other.example", "h2")
		if c, err := NewClientConn(t.Context(), tls.Client(nc, conf), nil); err == nil {
			t.Errorf("NewClientConn = %v", c)
		}
	})
	t.Run("BP-030 prohibited cipher suites", func(t *testing.T) {
		for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
			aead := strings.Contains(s.Name, "_GCM_") || strings.Contains(s.Name, "CHACHA20")
			want := aead && strings.Contains(s.Name, "ECDHE")
			if !slices.Contains(s.SupportedVersions, tls.VersionTLS12) {
				continue
			}
			if err := checkCipher(&tls.ConnectionState{Version: tls.VersionTLS12, CipherSuite: s.ID}); (err == nil) != want {
				t.Errorf("%s: %v", s.Name, err)
			}
		}
	})
	bubble(t, "BP-030 a prohibited cipher suite ends the connection", func(t *testing.T) {
		srv := newServer(t, http.NotFoundHandler(), nil, func(hs *http.Server) {
			tls12(hs)
			hs.TLSConfig.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
		})
		defer srv.stop()
		p := h2test.NewClient(t, srv.clientTLS(func(c *tls.Config) {
			c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
			c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
		}))
		defer p.Close()
		p.AllowWriteErrors = true
		p.Preface()
		p.WantConnError("RFC 9113 section 9.2.2", http2.ErrCodeInadequateSecurity)
	})
}

func TestShutdown(t *testing.T) {
	bubble(t, "BP-027 H2-173 FW-13 Shutdown says GOAWAY, drains, and waits for the last session", func(t *testing.T) {
		h, up := upgradeHandler(nil)
		srv := newServer(t, h, nil)
		p := h2test.NewClient(t, srv.clientTLS())
		defer p.Close()
		p.AnswerPings = true
		p.Greet(wtLimits(100)...)
		p.WriteHeaders(1, false, connectFields()...)
		wantStatus(t, p, 1, "200", false)
		a := <-up
		done := h2test.RunAsync(func() (int, error) { return 0, srv.hs.Shutdown(context.Background()) })
		sawGoAway, sawDrain := false, false
		for range 10 {
			time.Sleep(time.Second)
			for _, f := range p.Drain() {
				switch f := f.(type) {
				case h2test.GoAway:
					sawGoAway = f.Code == http2.ErrCodeNo
				case h2test.Data:
					sawDrain = f.Data == "\x80\x00\x78\xae\x00" && !f.EndStream
				}
			}
		}
		if !sawGoAway || !sawDrain {
			t.Errorf("GOAWAY %v, WT_DRAIN_SESSION %v", sawGoAway, sawDrain)
		}
		if done.Done() {
			t.Error("Shutdown did not wait for the session")
		}
		if err := a.s.SendDatagram([]byte("hi")); err != nil {
			t.Error(err)
		}
		p.WantData("the session goes on", 1, false, "\x00\x02hi")
		p.WriteData(1, true, "")
		p.SkipUntil("the session's end", func(f h2test.Frame) bool { d, ok := f.(h2test.Data); return ok && d.EndStream })
		p.SkipUntil("closed", func(f h2test.Frame) bool { _, ok := f.(h2test.Closed); return ok })
		if _, err := done.Result(); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-srv.done; err != http.ErrServerClosed {
			t.Error(err)
		}
	})
	bubble(t, "H2-173 a session accepted during Shutdown is drained as well", func(t *testing.T) {
		decide := make(chan struct{})
		h, up := upgradeHandler(nil)
		srv := newServer(t, waitFor(decide, h), nil)
		p, _ := srv.peer(wtLimits(100)...)
		defer p.Close()
		p.WriteHeaders(1, false, connectFields()...)
		synctest.Wait()
		done := h2test.RunAsync(func() (int, error) { return 0, srv.hs.Shutdown(context.Background()) })
		synctest.Wait()
		close(decide)
		<-up
		p.SkipUntil("drain", func(f h2test.Frame) bool { d, ok := f.(h2test.Data); return ok && d.Data == "\x80\x00\x78\xae\x00" })
		srv.stop()
		done.Result()
	})
	bubble(t, "H2-180 H2-181 Close ends sessions and handlers at once", func(t *testing.T) {
		h, up := upgradeHandler(nil)
		blocked := make(chan struct{})
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodConnect {
				h.ServeHTTP(w, r)
				return
			}
			<-r.Context().Done()
			close(blocked)
		}), nil)
		c := srv.conn(nil)
		s, err := c.Dial(t.Context(), "https://example.com/", nil)
		if err != nil {
			t.Fatal(err)
		}
		a := <-up
		p, _ := srv.peer()
		get(p, 1, "GET", "/")
		synctest.Wait()
		srv.stop()
		<-blocked
		<-a.s.Context().Done()
		<-s.Context().Done()
		<-c.Done()
		if c.Err() == nil {
			t.Error("the client's connection has no error")
		}
		p.Close()
		c.Close()
	})
	bubble(t, "ConnState", func(t *testing.T) {
		var mu sync.Mutex
		var states []http.ConnState
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { time.Sleep(time.Second) }), &Config{KeepAlive: -1},
			func(hs *http.Server) {
				hs.ConnState = func(nc net.Conn, s http.ConnState) {
					mu.Lock()
					defer mu.Unlock()
					states = append(states, s)
				}
			})
		p, _ := srv.peer()
		for _, id := range []uint32{1, 3} {
			get(p, id, "GET", "/")
		}
		time.Sleep(2 * time.Second)
		get(p, 5, "GET", "/")
		time.Sleep(2 * time.Second)
		p.Close()
		srv.stop()
		want := []http.ConnState{http.StateNew, http.StateActive, http.StateIdle, http.StateActive, http.StateIdle,
			http.StateActive, http.StateIdle, http.StateClosed}
		if !slices.Equal(states, want) {
			t.Errorf("states %v, want %v", states, want)
		}
	})
	t.Run("the last call of the ConnState hook tells the truth", func(t *testing.T) {
		var mu sync.Mutex
		n := 0
		var last http.ConnState
		s := stateHook{
			hook: func(c http.ConnState) { last = c },
			current: func() http.ConnState {
				mu.Lock()
				defer mu.Unlock()
				if n > 0 {
					return http.StateActive
				}
				return http.StateIdle
			},
		}
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				for _, d := range []int{1, -1} {
					mu.Lock()
					n += d
					mu.Unlock()
					s.changed()
				}
			})
		}
		wg.Wait()
		if last != http.StateIdle {
			t.Errorf("the last call said %v", last)
		}
	})
}

func TestMemory(t *testing.T) {
	// hoard fills the stream windows of a session that nobody reads.
	hoard := func(c *capsulePeer, n int) {
		for id := uint64(2); n > 0; id += 4 {
			k := min(n, transport.DefaultInitialStreamWindow)
			c.data(id, false, k)
			n -= k
		}
	}
	t.Run("limits", func(t *testing.T) {
		for _, tt := range []struct {
			cfg  Config
			want int64
		}{
			{Config{}, DefaultMaxConnectionMemory},
			{Config{MaxConnectionMemory: 5}, 5},
			{Config{MaxConnectionMemory: -1}, 1 << 62},
		} {
			if h := tt.cfg.h2(); h.ReceiveBuffer != tt.want {
				t.Errorf("%d: %d, want %d", tt.cfg.MaxConnectionMemory, h.ReceiveBuffer, tt.want)
			}
		}
	})
	bubble(t, "DS-19 H2-185 the newest session of those holding most is ended, the connection lives on", func(t *testing.T) {
		h, up := upgradeHandler(nil)
		srv := newServer(t, h, &Config{MaxConnectionMemory: 2 << 20})
		defer srv.stop()
		p, _ := srv.peer(wtLimits(100)...)
		defer p.Close()
		var peers []*capsulePeer
		var sessions []transport.Session
		for i := range 5 {
			id := uint32(1 + 2*i)
			p.WriteHeaders(id, false, connectFields()...)
			p.SkipUntil("200", func(f h2test.Frame) bool { h, ok := f.(h2test.Headers); return ok && h.StreamID == id })
			sessions = append(sessions, (<-up).s)
			peers = append(peers, newCapsulePeer(t, p, id))
		}
		ended := func() (ids []int) {
			synctest.Wait()
			for i, s := range sessions {
				if s.Context().Err() != nil {
					ids = append(ids, i)
				}
			}
			return ids
		}
		// A buffer takes at most twice the memory of what is in it.
		for _, c := range peers[:3] {
			hoard(c, 400<<10)
		}
		hoard(peers[4], 1<<10)
		p.Drain()
		if got := ended(); got != nil {
			t.Fatalf("sessions %v ended below the limit: %v", got, context.Cause(sessions[got[0]].Context()))
		}
		hoard(peers[3], 1<<20)
		if got := ended(); !slices.Equal(got, []int{3}) {
			t.Fatalf("sessions %v ended, want the newest of those that hold most", got)
		}
		p.SkipUntil("its reset", func(f h2test.Frame) bool {
			return f == h2test.RSTStream{StreamID: 7, Code: http2.ErrCodeEnhanceYourCalm}
		})
		var pe *transport.ProtocolError
		if err := context.Cause(sessions[3].Context()); !errors.As(err, &pe) || pe.Violation != transport.ViolationExcess {
			t.Errorf("it ended with %v", err)
		}
		p.WriteData(1, false, string(capsule.DrainSession{}.Append(nil)))
		<-sessions[0].Draining()
	})
	bubble(t, "DS-19 the server's limit is all connections'", func(t *testing.T) {
		h, up := upgradeHandler(nil)
		srv := newServer(t, h, &Config{MaxServerMemory: 1 << 20})
		defer srv.stop()
		var sessions []transport.Session
		for range 2 {
			p, _ := srv.peer(wtLimits(100)...)
			defer p.Close()
			p.WriteHeaders(1, false, connectFields()...)
			wantStatus(t, p, 1, "200", false)
			sessions = append(sessions, (<-up).s)
			hoard(newCapsulePeer(t, p, 1), 400<<10+(len(sessions)-1)*300<<10)
		}
		synctest.Wait()
		if sessions[0].Context().Err() != nil || sessions[1].Context().Err() == nil {
			t.Errorf("ended: %v, %v", sessions[0].Context().Err(), sessions[1].Context().Err())
		}
	})
}

func TestPriority(t *testing.T) {
	for _, tt := range []struct {
		lines []string
		want  uint8
		ok    bool
	}{
		{nil, 0, false},
		{[]string{""}, 0, false},
		{[]string{"u=0"}, 0, true},
		{[]string{"u=7, i"}, 7, true},
		{[]string{"i"}, 3, true},
		{[]string{"u=8"}, 0, false},
		{[]string{"u=-1"}, 0, false},
		{[]string{"u=1.5"}, 0, false},
		{[]string{"u"}, 0, false},
		{[]string{"u=(1)"}, 0, false},
		{[]string{"u=1,"}, 0, false},
		{[]string{"u=1", "u=2"}, 2, true},
		{[]string{"u=1" + strings.Repeat(" ", maxPriorityField)}, 0, false},
	} {
		if got, ok := parseUrgency(tt.lines); got != tt.want || ok != tt.ok {
			t.Errorf("parseUrgency(%.20q) = %d, %v, want %d, %v", tt.lines, got, ok, tt.want, tt.ok)
		}
	}
	for _, tt := range []struct {
		name   string
		field  string // of session 1; session 3 has none
		before string // PRIORITY_UPDATE for session 1 before its CONNECT
		after  string // and after it
		first  uint32 // which session's bytes come alone first
	}{
		{"H2-184 Priority field", "u=1", "", "", 1},
		{"H2-184 Priority field, less urgent", "u=5", "", "", 3},
		{"H2-184 PRIORITY_UPDATE before the stream overrides the field", "u=5", "u=1", "", 1},
		{"H2-184 PRIORITY_UPDATE on the session", "", "", "u=7", 3},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			h, up := upgradeHandler(nil)
			srv := newServer(t, h, nil)
			defer srv.stop()
			p, _ := srv.peer(append(wtLimits(10_000_000), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})...)
			defer p.Close()
			if tt.before != "" {
				p.WritePriorityUpdate(1, tt.before)
			}
			// Nothing is sent before both sessions have bytes: the
			// connection's window is used up by a third one.
			for i, fields := range [][]string{connectFields("priority", tt.field), connectFields(), connectFields("priority", "u=0")} {
				id := uint32(1 + 2*i)
				p.WriteHeaders(id, false, fields...)
				wantStatus(t, p, id, "200", false)
			}
			if tt.after != "" {
				p.WritePriorityUpdate(1, tt.after)
			}
			sessions := []transport.Session{(<-up).s, (<-up).s, (<-up).s}
			slices.SortFunc(sessions, func(a, b transport.Session) int { return int(a.Info().ID) - int(b.Info().ID) })
			for _, i := range []int{2, 0, 1} {
				w, err := sessions[i].OpenUniStream(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if i == 2 {
					go w.Write(make([]byte, 60<<10)) // all its buffer takes
				} else {
					go flood(w)
				}
				p.Drain()
			}
			p.WriteWindowUpdate(0, 65_535)
			p.Drain() // the rest of session 5, which is the most urgent
			sent := map[uint32]int{}
			for range 5 {
				p.WriteWindowUpdate(0, 20_000)
				for _, f := range p.Drain() {
					if d, ok := f.(h2test.Data); ok {
						sent[d.StreamID] += len(d.Data)
					}
				}
			}
			if other := 4 - tt.first; sent[tt.first] != 100_000 || sent[other] != 0 {
				t.Errorf("bytes by stream %v, want all on %d", sent, tt.first)
			}
		})
	}
}
