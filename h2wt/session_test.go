package h2wt

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/transport"
)

// ended returns the error that a session has ended with.
func ended(t testing.TB, s transport.Session) *transport.SessionError {
	t.Helper()
	synctest.Wait()
	var se *transport.SessionError
	if err := context.Cause(s.Context()); !errors.As(err, &se) {
		t.Fatalf("session has not ended, cause %v", err)
	}
	return se
}

// eachSide runs f with a session on a server of this package, and one on a client.
func eachSide(t *testing.T, name string, cfg *Config, f func(t *testing.T, c *capsulePeer, s transport.Session)) {
	t.Helper()
	bubble(t, name+", server", func(t *testing.T) {
		srv, c, s := serverSession(t, cfg, nil, wtLimits(100_000))
		defer srv.stop()
		defer c.p.Close()
		f(t, c, s)
	})
	bubble(t, name+", client", func(t *testing.T) {
		conn, c, s := clientSession(t, cfg, nil, enabled(100_000))
		defer conn.Close()
		defer c.p.Close()
		f(t, c, s)
	})
}

func TestSessionEnd(t *testing.T) {
	eachSide(t, "H2-174 H2-175 FW-11 FW-12 close sends code and reason with END_STREAM", nil, func(t *testing.T, c *capsulePeer, s transport.Session) {
		done := h2test.RunAsync(func() (int, error) { return 0, s.CloseWithError(1, "bye") })
		c.want("close", `WT_CLOSE_SESSION code=1 message="bye"`, "END_STREAM")
		if done.Done() {
			t.Error("CloseWithError did not wait for the answer")
		}
		c.p.WriteData(1, true, "")
		if _, err := done.Result(); err != nil {
			t.Errorf("CloseWithError: %v", err)
		}
		c.want("nothing behind it")
		if se := ended(t, s); se.Code != 1 || se.Reason != "bye" || se.Remote || se.Err != nil {
			t.Errorf("ended with %#v", se)
		}
	})
	eachSide(t, "H2-176 H2-177 the reason is cut at a UTF-8 boundary", nil, func(t *testing.T, c *capsulePeer, s transport.Session) {
		done := h2test.RunAsync(func() (int, error) { return 0, s.CloseWithError(7, strings.Repeat("x", 1023)+"€") })
		c.want("close", `WT_CLOSE_SESSION code=7 message="`+strings.Repeat("x", 1023)+`"`, "END_STREAM")
		c.p.WriteData(1, true, "")
		done.Result()
	})
	eachSide(t, "H2-175 FW-15 the peer's close is reported and answered", nil, func(t *testing.T, c *capsulePeer, s transport.Session) {
		c.p.WriteData(1, true, string(capsule.CloseSession{ErrorCode: 0xffffffff, Message: "tschüß"}.Append(nil)))
		c.want("END_STREAM and no capsule", "END_STREAM")
		if se := ended(t, s); se.Code != 0xffffffff || se.Reason != "tschüß" || !se.Remote || se.Err != nil {
			t.Errorf("ended with %#v", se)
		}
	})
	eachSide(t, "H2-175 the close's END_STREAM may come later", nil, func(t *testing.T, c *capsulePeer, s transport.Session) {
		c.send(capsule.CloseSession{ErrorCode: 5})
		c.want("answered at once", "END_STREAM")
		c.p.WriteData(1, true, "")
		c.want("the stream has ended")
		if se := ended(t, s); se.Code != 5 {
			t.Errorf("ended with %#v", se)
		}
	})
	eachSide(t, "H2-179 FW-11 END_STREAM alone is code 0", nil, func(t *testing.T, c *capsulePeer, s transport.Session) {
		c.p.WriteData(1, true, "")
		c.want("answer", "END_STREAM")
		if se := ended(t, s); se.Code != 0 || se.Reason != "" || !se.Remote || se.Err != nil {
			t.Errorf("ended with %#v", se)
		}
	})
	eachSide(t, "H2-180 RST_STREAM", nil, func(t *testing.T, c *capsulePeer, s transport.Session) {
		c.p.WriteRST(1, 0x4d2)
		se := ended(t, s)
		var re *transport.ResetError
		if !errors.As(se, &re) || re.Code != 0x4d2 || re.Connection || re.Protocol != transport.HTTP2 || !se.Remote || se.Code != 0 {
			t.Errorf("ended with %#v", se)
		}
		c.want("no RST_STREAM in answer")
	})
	eachSide(t, "H2-180 GOAWAY with an error and the connection's end", nil, func(t *testing.T, c *capsulePeer, s transport.Session) {
		c.p.AllowWriteErrors = true
		c.p.WriteGoAway(1, http2.ErrCodeInternal)
		c.p.NetConn().Close()
		if se := ended(t, s); se.Err == nil || !se.Remote {
			t.Errorf("ended with %#v", se)
		}
	})
	eachSide(t, "H2-181 all calls end with the session", nil, func(t *testing.T, c *capsulePeer, s transport.Session) {
		c.data(map[bool]uint64{true: 3, false: 2}[isClient(s)], true, 5)
		finished, err := s.AcceptUniStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		st, err := s.OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		calls := map[string]func() error{
			"AcceptStream":    func() error { _, err := s.AcceptStream(t.Context()); return err },
			"AcceptUniStream": func() error { _, err := s.AcceptUniStream(t.Context()); return err },
			"ReceiveDatagram": func() error { _, err := s.ReceiveDatagram(t.Context()); return err },
			"Read":            func() error { _, err := st.Read(make([]byte, 1)); return err },
			"Write":           func() error { _, err := st.Write(make([]byte, 1<<20)); return err },
		}
		results := make(map[string]*h2test.Result[int])
		for name, call := range calls {
			results[name] = h2test.RunAsync(func() (int, error) { return 0, call() })
		}
		synctest.Wait()
		c.p.WriteRST(1, http2.ErrCodeCancel)
		for name, r := range results {
			var se *transport.SessionError
			if _, err := r.Result(); !errors.As(err, &se) || !errors.Is(err, se) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if b, err := io.ReadAll(finished); len(b) != 5 || err != nil {
			t.Errorf("a stream whose end had come: %d bytes, %v", len(b), err)
		}
	})
	eachSide(t, "H2-182 a peer that does not answer the close", nil, func(t *testing.T, c *capsulePeer, s transport.Session) {
		start := time.Now()
		s.CloseWithError(0, "")
		if d := time.Since(start); d != transport.DefaultCloseTimeout {
			t.Errorf("CloseWithError took %v", d)
		}
		c.want("close, then reset", `WT_CLOSE_SESSION code=0 message=""`, "END_STREAM", "RST_STREAM CANCEL")
	})
	eachSide(t, "H2-183 bytes behind the close", nil, func(t *testing.T, c *capsulePeer, s transport.Session) {
		c.send(capsule.CloseSession{ErrorCode: 5})
		c.want("answered at once", "END_STREAM")
		c.write(make([]byte, 16384))
		c.want("some are ignored")
		for range 4 {
			c.p.AllowWriteErrors = true
			c.write(make([]byte, 16384))
		}
		c.want("too many", "RST_STREAM PROTOCOL_ERROR")
		if se := ended(t, s); se.Code != 5 {
			t.Errorf("ended with %#v", se)
		}
	})
	eachSide(t, "H2-178 close with 1,025 bytes of reason", nil, func(t *testing.T, c *capsulePeer, s transport.Session) {
		b := append([]byte{0x68, 0x43, 0x44, 0x05, 0, 0, 0, 1}, bytes.Repeat([]byte{'x'}, 1025)...)
		c.write(b)
		c.want("refused", "RST_STREAM PROTOCOL_ERROR")
		var pe *transport.ProtocolError
		if se := ended(t, s); !errors.As(se, &pe) {
			t.Errorf("ended with %#v", se)
		}
	})
	eachSide(t, "H2-178 close with a reason that is not UTF-8", nil, func(t *testing.T, c *capsulePeer, s transport.Session) {
		c.write([]byte{0x68, 0x43, 0x05, 0, 0, 0, 1, 0xff})
		c.want("refused", "RST_STREAM PROTOCOL_ERROR")
		var pe *transport.ProtocolError
		if se := ended(t, s); !errors.As(se, &pe) || pe.Violation != transport.ViolationGeneric {
			t.Errorf("ended with %#v", se)
		}
	})
}

// isClient tells the side of a session by the header it has from its peer.
func isClient(s transport.Session) bool {
	_, request := s.Info().Header[":protocol"]
	return !request
}

func TestSessionErrors(t *testing.T) {
	for _, tt := range []struct {
		name      string
		send      string
		violation transport.Violation
		code      string
	}{
		{"H2-091 malformed capsule", "\x99\x0b\x4d\x3d\x02\x04\x05", transport.ViolationMalformed, "PROTOCOL_ERROR"},
		{"H2-099 drain with content", "\x80\x00\x78\xae\x01x", transport.ViolationMalformed, "PROTOCOL_ERROR"},
		{"H2-116 stream of ours that is not open", "\x99\x0b\x4d\x3c\x02\x33x", transport.ViolationStreamState, "STREAM_CLOSED"},
		{"H2-119 code above 32 bits", "\x99\x0b\x4d\x3a\x09\x00\xc0\x00\x00\x01\x00\x00\x00\x00", transport.ViolationGeneric, "PROTOCOL_ERROR"},
		{"H2-144 limit lowered", "\x99\x0b\x4d\x3d\x01\x05", transport.ViolationFlowControl, "FLOW_CONTROL_ERROR"},
		{"H2-146 more than 2^60 streams", "\x99\x0b\x4d\x3f\x08\xd0\x00\x00\x00\x00\x00\x00\x01", transport.ViolationFlowControl, "FLOW_CONTROL_ERROR"},
	} {
		eachSide(t, tt.name+", H2-186: the connection lives on", nil, func(t *testing.T, c *capsulePeer, s transport.Session) {
			send := tt.send
			if tt.violation == transport.ViolationStreamState && isClient(s) {
				send = strings.Replace(send, "\x33", "\x32", 1)
			}
			c.write([]byte(send))
			c.want("the wire code of its violation", "RST_STREAM "+tt.code)
			var pe *transport.ProtocolError
			if se := ended(t, s); !errors.As(se, &pe) || pe.Violation != tt.violation {
				t.Errorf("ended with %#v", se)
			}
			c.p.WritePing(false, [8]byte{1})
			c.p.WantFrame("the connection answers", h2test.Ping{Ack: true, Data: [8]byte{1}})
		})
	}
	eachSide(t, "H2-092 END_STREAM inside a capsule", nil, func(t *testing.T, c *capsulePeer, s transport.Session) {
		c.p.WriteData(1, true, "\x99\x0b\x4d")
		c.want("malformed", "RST_STREAM PROTOCOL_ERROR")
	})
	bubble(t, "H2-186 FW-24 FW-22 an error of one session leaves the other alone", func(t *testing.T) {
		h, up := upgradeHandler(nil)
		srv := newServer(t, h, nil)
		defer srv.stop()
		p, _ := srv.peer(wtLimits(100)...)
		defer p.Close()
		for _, id := range []uint32{1, 3} {
			p.WriteHeaders(id, false, connectFields()...)
			wantStatus(t, p, id, "200", false)
		}
		sessions := []transport.Session{(<-up).s, (<-up).s}
		p.WriteData(3, false, "\x80\x00\x78\xae\x01x")
		p.WantRST("malformed", 3, http2.ErrCodeProtocol)
		for _, s := range sessions {
			if s.Info().ID == 3 {
				ended(t, s)
				continue
			}
			p.WriteData(1, false, "\x00\x02hi")
			if b, err := s.ReceiveDatagram(t.Context()); string(b) != "hi" || err != nil {
				t.Errorf("ReceiveDatagram = %q, %v", b, err)
			}
			// A stream's error is no session's either.
			p.WriteData(1, false, "\x99\x0b\x4d\x3c\x03\x02xx\x99\x0b\x4d\x39\x03\x02\x07\x02")
			r, err := s.AcceptUniStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var se *transport.StreamError
			if _, err := io.ReadAll(r); !errors.As(err, &se) || se.Code != 7 {
				t.Errorf("Read: %v", err)
			}
			if s.Context().Err() != nil {
				t.Error("the session has ended")
			}
		}
	})
	bubble(t, "H2-036 trailers on an accepted CONNECT", func(t *testing.T) {
		srv, c, s := serverSession(t, nil, nil, wtLimits(100))
		defer srv.stop()
		defer c.p.Close()
		c.p.WriteHeaders(1, true, "x-trailer", "1")
		c.want("malformed", "RST_STREAM PROTOCOL_ERROR")
		var pe *transport.ProtocolError
		if se := ended(t, s); !errors.As(se, &pe) || pe.Violation != transport.ViolationMalformed {
			t.Errorf("ended with %#v", se)
		}
	})
	bubble(t, "H2-036 trailers on an undecided CONNECT", func(t *testing.T) {
		decide := make(chan struct{})
		h, up := upgradeHandler(nil)
		srv := newServer(t, waitFor(decide, h), nil)
		defer srv.stop()
		p, _ := srv.peer()
		defer p.Close()
		p.WriteHeaders(1, false, connectFields()...)
		p.WriteHeaders(1, true, "x-trailer", "1")
		p.WantRST("malformed", 1, http2.ErrCodeProtocol)
		close(decide)
		if a := <-up; a.err == nil {
			t.Error("Upgrade returned no error")
		}
	})
	t.Run("H2-186 every violation has a wire code, and no code is sent that RFC 9113 does not have", func(t *testing.T) {
		for v := transport.ViolationGeneric; v <= transport.ViolationExcess+1; v++ {
			if c := violationCode(v); c == http2.ErrCodeNo || c > http2.ErrCodeHTTP11Required {
				t.Errorf("%v: %v", v, c)
			}
		}
		if len(violationCodes) != int(transport.ViolationExcess)+1 {
			t.Errorf("%d codes for %d violations", len(violationCodes), transport.ViolationExcess+1)
		}
	})
}

func TestSessionTraffic(t *testing.T) {
	eachSide(t, "H2-170 FW-10 datagrams", nil, func(t *testing.T, c *capsulePeer, s transport.Session) {
		most := s.Info().MaxDatagramSize
		for _, n := range []int{0, 1, most} {
			if err := s.SendDatagram(make([]byte, n)); err != nil {
				t.Error(err)
			}
		}
		c.p.WriteWindowUpdate(1, 1<<20)
		c.p.WriteWindowUpdate(0, 1<<20)
		c.want("sent", "datagram 0", "datagram 1", "datagram 65535")
		var too *transport.DatagramTooLargeError
		if err := s.SendDatagram(make([]byte, most+1)); !errors.As(err, &too) || too.Max != most {
			t.Errorf("SendDatagram: %v", err)
		}
		c.write([]byte("\x00\x00\x00\x02hi"))
		for _, want := range []string{"", "hi"} {
			if b, err := s.ReceiveDatagram(t.Context()); string(b) != want || err != nil {
				t.Errorf("ReceiveDatagram = %q, %v", b, err)
			}
		}
	})
	eachSide(t, "H2-171 an oversize datagram is skipped, not buffered", nil, func(t *testing.T, c *capsulePeer, s transport.Session) {
		c.write(capsule.AppendDatagramHeader(nil, 1<<30))
		for range 100 {
			c.write(make([]byte, 16384))
			c.p.Drain() // credit
		}
		if n := s.Stats().DatagramsReceived; n > 1 {
			t.Errorf("%d datagrams received", n)
		}
		c.want("the session lives on")
	})
	eachSide(t, "H2-172 a blocked connection drops datagrams and blocks nobody", nil, func(t *testing.T, c *capsulePeer, s transport.Session) {
		for range 10_000 {
			if err := s.SendDatagram(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		st := s.Stats()
		if st.DatagramsDroppedOutgoing < 9000 || st.DatagramsSent > 100 {
			t.Errorf("stats %+v", st)
		}
	})
	eachSide(t, "H2-173 FW-13 drain goes on", nil, func(t *testing.T, c *capsulePeer, s transport.Session) {
		select {
		case <-s.Draining():
			t.Error("draining from the start")
		default:
		}
		c.send(capsule.DrainSession{})
		c.send(capsule.DrainSession{})
		<-s.Draining()
		if err := s.SendDatagram([]byte("hi")); err != nil {
			t.Error(err)
		}
		c.want("the session works", "datagram 2")
		if err := errors.Join(s.Drain(), s.Drain()); err != nil {
			t.Error(err)
		}
		c.want("sent once", "WT_DRAIN_SESSION")
	})
	eachSide(t, "H2-173 FW-13 GOAWAY drains and the session goes on", nil, func(t *testing.T, c *capsulePeer, s transport.Session) {
		c.p.WriteGoAway(1<<31-1, http2.ErrCodeNo)
		synctest.Wait()
		<-s.Draining()
		if err := s.SendDatagram([]byte("hi")); err != nil {
			t.Error(err)
		}
		got := c.read()
		if !slices.Contains(got, "datagram 2") {
			t.Errorf("got %q, want a datagram", got)
		}
		if context.Cause(s.Context()) != nil {
			t.Error("the session has ended")
		}
	})
	bubble(t, "H2-173 a session accepted after the client's GOAWAY drains from the start", func(t *testing.T) {
		h, up := upgradeHandler(nil)
		srv := newServer(t, h, nil)
		defer srv.stop()
		p, _ := srv.peer(wtLimits(100)...)
		defer p.Close()
		p.WriteHeaders(1, false, connectFields()...) // keeps the connection
		p.WriteGoAway(0, http2.ErrCodeNo)
		p.WriteHeaders(3, false, connectFields()...)
		for range 2 {
			a := <-up
			if a.err != nil {
				t.Fatal(a.err)
			}
			synctest.Wait()
			select {
			case <-a.s.Draining():
			default:
				t.Error("not draining")
			}
		}
	})
	bubble(t, "H2-044 H2-173 after GOAWAY a client asks for nothing", func(t *testing.T) {
		conn, c, _ := clientSession(t, nil, nil, enabled(100))
		defer conn.Close()
		defer c.p.Close()
		c.p.WriteGoAway(1<<31-1, http2.ErrCodeNo)
		synctest.Wait()
		if conn.CanTakeNewSession() {
			t.Error("CanTakeNewSession")
		}
		_, err := conn.Dial(t.Context(), "https://example.com/", nil)
		var np *transport.NotProcessedError
		if !errors.As(err, &np) {
			t.Errorf("Dial: %v, want NotProcessedError", err)
		}
	})
	bubble(t, "H2-154 H2-011 a stream nobody reads holds up neither capsules nor other streams", func(t *testing.T) {
		srv, c, s := serverSession(t, nil, nil, wtLimits(100_000))
		defer srv.stop()
		defer c.p.Close()
		c.data(2, false, transport.DefaultInitialStreamWindow) // never read
		for i := range 40 {
			c.data(uint64(6+4*i), true, 20_000)
			r, err := s.AcceptUniStream(t.Context())
			if err == nil && r.StreamID() == 2 {
				r, err = s.AcceptUniStream(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
			if b, err := transport.ReadMessage(r, 20_000); len(b) != 20_000 || err != nil {
				t.Fatalf("stream %d: %d bytes, %v", r.StreamID(), len(b), err)
			}
			c.read()
		}
		c.send(capsule.CloseSession{ErrorCode: 3})
		if se := ended(t, s); se.Code != 3 {
			t.Errorf("ended with %v", se)
		}
	})
	bubble(t, "FW-03 DS-10 no more is sent than the network takes", func(t *testing.T) {
		h, up := upgradeHandler(nil)
		srv := newServer(t, h, nil)
		defer srv.stop()
		nc, err := srv.ln.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		conn, err := NewClientConn(t.Context(), tls.Client(nc, srv.cert.ClientConfig("example.com", "h2")), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		s, err := conn.Dial(t.Context(), "https://example.com/", nil)
		if err != nil {
			t.Fatal(err)
		}
		a := <-up
		w, err := s.OpenUniStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		nc.StallWrites(true)
		const size = 1 << 20
		wrote := h2test.RunAsync(func() (int, error) { return w.Write(make([]byte, size)) })
		if wrote.Done() {
			t.Error("Write did not wait")
		}
		if n := s.Stats().BytesSent; n > 128<<10 {
			t.Errorf("%d bytes taken from the session while nothing is sent", n)
		}
		nc.StallWrites(false)
		r, err := a.s.AcceptUniStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.CopyN(io.Discard, r, size); err != nil {
			t.Errorf("read %d bytes, %v", n, err)
		}
		if n, err := wrote.Result(); n != size || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
	})
	bubble(t, "H2-184 FW-04 sessions share the connection by bytes", func(t *testing.T) {
		h, up := upgradeHandler(nil)
		srv := newServer(t, h, nil)
		defer srv.stop()
		p, _ := srv.peer(append(wtLimits(10_000_000), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})...)
		defer p.Close()
		sent := map[uint32]int{}
		var greedy []transport.Session
		for _, id := range []uint32{1, 3} {
			p.WriteHeaders(id, false, connectFields()...)
			wantStatus(t, p, id, "200", false)
			a := <-up
			greedy = append(greedy, a.s)
		}
		for range 20 { // the first session has twenty streams, the second one
			w, err := greedy[0].OpenUniStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			go flood(w)
		}
		w, err := greedy[1].OpenUniStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		go flood(w)
		// All of it waits for the connection's window, which opens bit by bit.
		count := func() {
			for _, f := range p.Drain() {
				if d, ok := f.(h2test.Data); ok {
					sent[d.StreamID] += len(d.Data)
				}
			}
		}
		count()
		clear(sent)
		for range 20 {
			p.WriteWindowUpdate(0, 20_000)
			count()
		}
		if d := sent[1] - sent[3]; d < -32_768 || d > 32_768 || sent[1]+sent[3] < 300_000 {
			t.Errorf("session 1 sent %d bytes, session 3 %d", sent[1], sent[3])
		}
	})
	bubble(t, "H2-063 H2-064 H2-065 FW-14 exporter", func(t *testing.T) {
		h, up := upgradeHandler(nil)
		srv := newServer(t, h, nil)
		defer srv.stop()
		conn := srv.conn(nil)
		defer conn.Close()
		var pairs [2][2]transport.Session
		for i := range pairs {
			c, err := conn.Dial(t.Context(), "https://example.com/", nil)
			if err != nil {
				t.Fatal(err)
			}
			pairs[i] = [2]transport.Session{c, (<-up).s}
		}
		export := func(s transport.Session, label string, ctx []byte) string {
			b, err := s.ExportKeyingMaterial(label, ctx, 32)
			if err != nil || len(b) != 32 {
				t.Errorf("ExportKeyingMaterial = %x, %v", b, err)
			}
			return string(b)
		}
		seen := map[string]bool{}
		for _, p := range pairs {
			for _, label := range []string{"a", "b"} {
				for _, ctx := range [][]byte{nil, {1}, {2}} {
					k := export(p[0], label, ctx)
					if k != export(p[1], label, ctx) {
						t.Error("the ends differ")
					}
					if seen[k] {
						t.Errorf("the same for session %d, label %s, context %x as for another", p[0].Info().ID, label, ctx)
					}
					seen[k] = true
				}
			}
			if export(p[0], "a", nil) != export(p[0], "a", []byte{}) {
				t.Error("no context differs from an empty one")
			}
		}
		s := pairs[0][0]
		for _, bad := range []struct {
			label string
			ctx   []byte
		}{{"", nil}, {strings.Repeat("x", 256), nil}, {"x", make([]byte, 256)}} {
			if _, err := s.ExportKeyingMaterial(bad.label, bad.ctx, 32); err == nil {
				t.Errorf("label of %d bytes, context of %d: no error", len(bad.label), len(bad.ctx))
			}
		}
		s.CloseWithError(0, "")
		if _, err := s.ExportKeyingMaterial("a", nil, 32); err == nil {
			t.Error("a closed session exports")
		}
		// It is the TLS exporter with the draft's label and context.
		s = pairs[1][0]
		cs := conn.ConnectionState()
		want, err := cs.ExportKeyingMaterial("EXPORTER-WebTransport", []byte("\x00\x00\x00\x00\x00\x00\x00\x03\x04app1\x02\xaa\xbb"), 32)
		if err != nil {
			t.Fatal(err)
		}
		if got := export(s, "app1", []byte{0xaa, 0xbb}); got != string(want) {
			t.Errorf("got %x, want %x", got, want)
		}
	})
	bubble(t, "the session outlives its handler and its request's context", func(t *testing.T) {
		var reqCtx context.Context
		up := make(chan transport.Session, 1)
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			reqCtx = r.Context()
			s, err := Upgrade(w, r, nil)
			if err != nil {
				t.Error(err)
			}
			up <- s
		}), nil)
		defer srv.stop()
		conn := srv.conn(nil)
		defer conn.Close()
		c, err := conn.Dial(t.Context(), "https://example.com/", nil)
		if err != nil {
			t.Fatal(err)
		}
		s := <-up
		synctest.Wait()
		if reqCtx.Err() == nil {
			t.Error("the request's context lives on after the handler")
		}
		time.Sleep(time.Hour)
		if err := c.SendDatagram([]byte("hi")); err != nil {
			t.Error(err)
		}
		if b, err := s.ReceiveDatagram(t.Context()); string(b) != "hi" || err != nil {
			t.Errorf("ReceiveDatagram = %q, %v", b, err)
		}
	})
}
