package h3wt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"

	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
)

// webtransport-go is the other implementation on quic-go. Here it stands at the
// other end, as the server and as the client, without and with session flow
// control.

// interopPair is one session, seen from both libraries.
type interopPair struct {
	ours   transport.Session
	theirs *webtransport.Session
}

// interop is a connection between the two libraries.
type interop struct {
	testing.TB
	dial func() interopPair // another session on the connection
	stop func()
}

// theirConfig turns session flow control on at webtransport-go.
var theirConfig = &webtransport.Config{MaxIncomingStreams: 10, MaxIncomingUniStreams: 10, MaxIncomingData: 100 << 10}

// theirServer connects our client to webtransport-go's server.
func theirServer(t testing.TB, cfg *webtransport.Config) *interop {
	n := simulated(t)
	cert := testcert.New(t)
	accepted := make(chan *webtransport.Session, 10)
	srv := &webtransport.Server{H3: &http3.Server{TLSConfig: cert.ServerConfig("h3")}, Config: cfg, ApplicationProtocols: []string{"b", "a"}}
	srv.H3.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := srv.Upgrade(w, r)
		if err != nil {
			t.Errorf("their Upgrade: %v", err)
			return
		}
		accepted <- s
	})
	pc := n.listen(t)
	served := make(chan struct{})
	go func() {
		defer close(served)
		srv.Serve(pc)
	}()
	socket := n.listen(t)
	tr := &quic.Transport{Conn: socket}
	var config *Config
	qc, err := tr.Dial(context.Background(), pc.LocalAddr(), cert.ClientConfig("example.com", "h3"), config.QUIC(nil))
	if err != nil {
		t.Fatal(err)
	}
	cc, err := NewClientConn(context.Background(), qc, config)
	if err != nil {
		t.Fatal(err)
	}
	return &interop{
		TB: t,
		dial: func() interopPair {
			s, err := cc.Dial(context.Background(), testURL, &transport.DialOptions{Protocols: []string{"a", "b"}})
			if err != nil {
				t.Fatalf("Dial: %v", err)
			}
			return interopPair{s, <-accepted}
		},
		stop: func() {
			cc.Close()
			srv.Close()
			<-served
			tr.Close()
			socket.Close()
			pc.Close()
			n.stop()
		},
	}
}

// theirClient connects webtransport-go's client to our server.
func theirClient(t testing.TB, cfg *webtransport.Config) *interop {
	handler, accepted := sessions(t, &transport.UpgradeOptions{Protocols: []string{"b", "a"}})
	h := serve(t, simulated(t), &Server{Handler: handler})
	qc := h.dialQUIC(&quic.Config{EnableDatagrams: true, EnableStreamResetPartialDelivery: true})
	wtr := &webtransport.Transport{Config: cfg, ApplicationProtocols: []string{"a", "b"}}
	cc, err := wtr.NewClientConn(qc)
	if err != nil {
		t.Fatal(err)
	}
	return &interop{
		TB: t,
		dial: func() interopPair {
			_, s, err := cc.Dial(context.Background(), testURL, nil)
			if err != nil {
				t.Fatalf("their Dial: %v", err)
			}
			return interopPair{<-accepted, s}
		},
		stop: func() {
			qc.CloseWithError(0x100, "")
			wtr.Close()
			h.stop()
		},
	}
}

// eachPeer runs a test in a bubble for each role and flow control setting.
func eachPeer(t *testing.T, name string, test func(t *testing.T, c *interop)) {
	onEachPeer(t, name, test, nil, theirConfig)
}

func onEachPeer(t *testing.T, name string, test func(t *testing.T, c *interop), configs ...*webtransport.Config) {
	for _, role := range []struct {
		name string
		make func(testing.TB, *webtransport.Config) *interop
	}{{"our client, their server", theirServer}, {"their client, our server", theirClient}} {
		for _, cfg := range configs {
			what := "with flow control"
			if cfg == nil {
				what = "without flow control"
			}
			t.Run(name+", "+role.name+", "+what, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					c := role.make(t, cfg)
					defer c.stop()
					test(t, c)
				})
			})
		}
	}
}

func (c *interop) ok(err error, what string) {
	c.Helper()
	if err != nil {
		c.Fatalf("%s: %v", what, err)
	}
}

// wantAll reads r to its end.
func (c *interop) wantAll(r io.Reader, want []byte, what string) {
	c.Helper()
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, want) {
		c.Fatalf("%s: %d bytes, %v; want %d bytes", what, len(got), err, len(want))
	}
}

func TestInterop(t *testing.T) {
	ctx := context.Background()
	payload := bytes.Repeat([]byte("0123456789abcdef"), 1<<15) // 512 KiB, five times their window

	eachPeer(t, "H3-025 H3-026 H3-043 streams", func(t *testing.T, c *interop) {
		p := c.dial()
		// Ours first, then theirs.
		x, err := p.ours.OpenStream(ctx)
		c.ok(err, "OpenStream")
		go func() { x.Write(payload); x.Close() }()
		y, err := p.theirs.AcceptStream(ctx)
		c.ok(err, "their AcceptStream")
		c.wantAll(y, payload, "their Read")
		go func() { y.Write(payload); y.Close() }()
		c.wantAll(x, payload, "Read")

		y, err = p.theirs.OpenStreamSync(ctx)
		c.ok(err, "their OpenStream")
		go func() { y.Write(payload); y.Close() }()
		a, err := p.ours.AcceptStream(ctx)
		c.ok(err, "AcceptStream")
		c.wantAll(a, payload, "Read")
		go func() { a.Write(payload); a.Close() }()
		c.wantAll(y, payload, "their Read")

		u, err := p.ours.OpenUniStream(ctx)
		c.ok(err, "OpenUniStream")
		go func() { u.Write(payload); u.Close() }()
		v, err := p.theirs.AcceptUniStream(ctx)
		c.ok(err, "their AcceptUniStream")
		c.wantAll(v, payload, "their Read")

		tu, err := p.theirs.OpenUniStreamSync(ctx)
		c.ok(err, "their OpenUniStream")
		go func() { tu.Write(payload); tu.Close() }()
		w, err := p.ours.AcceptUniStream(ctx)
		c.ok(err, "AcceptUniStream")
		c.wantAll(w, payload, "Read")
	})

	eachPeer(t, "H3-049 H3-056 stream limits move on", func(t *testing.T, c *interop) {
		p := c.dial()
		for i := range 150 { // above every limit of the two
			x, err := p.ours.OpenStream(ctx)
			c.ok(err, "OpenStream")
			c.ok(x.Close(), "Close")
			y, err := p.theirs.AcceptStream(ctx)
			c.ok(err, "their AcceptStream")
			c.wantAll(y, nil, "their Read")
			c.ok(y.Close(), "their Close")
			c.wantAll(x, nil, "Read")

			tu, err := p.theirs.OpenUniStreamSync(ctx)
			c.ok(err, "their OpenUniStream")
			tu.Write([]byte{byte(i)})
			c.ok(tu.Close(), "their Close")
			w, err := p.ours.AcceptUniStream(ctx)
			c.ok(err, "AcceptUniStream")
			c.wantAll(w, []byte{byte(i)}, "Read")
		}
	})

	eachPeer(t, "H3-028 H3-029 H3-030 reset and stop codes", func(t *testing.T, c *interop) {
		p := c.dial()
		for _, code := range []uint32{0, 29, 30, 0xffffffff} {
			x, err := p.ours.OpenUniStream(ctx)
			c.ok(err, "OpenUniStream")
			x.CancelWrite(transport.StreamErrorCode(code)) // before any byte
			y, err := p.theirs.AcceptUniStream(ctx)
			c.ok(err, "their AcceptUniStream")
			_, err = y.Read(make([]byte, 1))
			if e, ok := errors.AsType[*webtransport.StreamError](err); !ok || uint32(e.ErrorCode) != code || !e.Remote {
				t.Fatalf("their Read: %v, want code %d", err, code)
			}

			tu, err := p.theirs.OpenUniStreamSync(ctx)
			c.ok(err, "their OpenUniStream")
			tu.Write([]byte("x"))
			v, err := p.ours.AcceptUniStream(ctx)
			c.ok(err, "AcceptUniStream")
			v.CancelRead(transport.StreamErrorCode(code))
			for err = nil; err == nil; {
				_, err = tu.Write([]byte("y"))
				time.Sleep(time.Millisecond)
			}
			if e, ok := errors.AsType[*webtransport.StreamError](err); !ok || uint32(e.ErrorCode) != code || !e.Remote {
				t.Fatalf("their Write: %v, want code %d", err, code)
			}

			tu, err = p.theirs.OpenUniStreamSync(ctx)
			c.ok(err, "their OpenUniStream")
			tu.CancelWrite(webtransport.StreamErrorCode(code))
			v, err = p.ours.AcceptUniStream(ctx)
			c.ok(err, "AcceptUniStream")
			_, err = v.Read(make([]byte, 1))
			if e, ok := errors.AsType[*transport.StreamError](err); !ok || uint32(e.Code) != code || !e.Remote || e.NoCode {
				t.Fatalf("Read: %v, want code %d", err, code)
			}
		}
	})

	eachPeer(t, "H3-032 datagrams", func(t *testing.T, c *interop) {
		p := c.dial()
		c.ok(p.ours.SendDatagram([]byte("from us")), "SendDatagram")
		if got, err := p.theirs.ReceiveDatagram(ctx); err != nil || string(got) != "from us" {
			t.Fatalf("their ReceiveDatagram: %q, %v", got, err)
		}
		c.ok(p.theirs.SendDatagram([]byte("from them")), "their SendDatagram")
		if got, err := p.ours.ReceiveDatagram(ctx); err != nil || string(got) != "from them" {
			t.Fatalf("ReceiveDatagram: %q, %v", got, err)
		}
		most := make([]byte, p.ours.Info().MaxDatagramSize)
		c.ok(p.ours.SendDatagram(most), "SendDatagram of the largest size")
		if got, err := p.theirs.ReceiveDatagram(ctx); err != nil || len(got) != len(most) {
			t.Fatalf("their ReceiveDatagram: %d bytes, %v", len(got), err)
		}
	})

	eachPeer(t, "H3-020 H3-041 application protocol and exporter", func(t *testing.T, c *interop) {
		p := c.dial()
		if got := p.ours.Info().ApplicationProtocol; got != "a" {
			t.Errorf("our application protocol is %q, want the client's first", got)
		}
		if got := p.theirs.SessionState().ApplicationProtocol; got != "a" {
			t.Errorf("their application protocol is %q", got)
		}
		ours, err := p.ours.ExportKeyingMaterial("app1", []byte{0xaa, 0xbb}, 32)
		c.ok(err, "ExportKeyingMaterial")
		// Session 0, then the label and the context with their lengths.
		full := []byte("\x00\x00\x00\x00\x00\x00\x00\x00\x04app1\x02\xaa\xbb")
		tls := p.theirs.SessionState().ConnectionState.TLS
		theirs, err := tls.ExportKeyingMaterial("EXPORTER-WebTransport", full, 32)
		c.ok(err, "their exporter")
		if !bytes.Equal(ours, theirs) {
			t.Errorf("exported %x and %x", ours, theirs)
		}
	})

	eachPeer(t, "H3-040 a peer that does not know draining", func(t *testing.T, c *interop) {
		p := c.dial()
		c.ok(p.ours.Drain(), "Drain")
		u, err := p.ours.OpenUniStream(ctx)
		c.ok(err, "OpenUniStream")
		u.Write([]byte("x"))
		u.Close()
		v, err := p.theirs.AcceptUniStream(ctx)
		c.ok(err, "their AcceptUniStream")
		c.wantAll(v, []byte("x"), "their Read")
	})

	onEachPeer(t, "H3-042 several sessions", func(t *testing.T, c *interop) {
		var pairs []interopPair
		for range 3 {
			pairs = append(pairs, c.dial())
		}
		for i, p := range pairs {
			if want := uint64(4 * i); p.ours.Info().ID < want {
				t.Errorf("session %d has ID %d", i, p.ours.Info().ID)
			}
			u, err := p.ours.OpenUniStream(ctx)
			c.ok(err, "OpenUniStream")
			msg := fmt.Appendf(nil, "session %d", i)
			u.Write(msg)
			u.Close()
			v, err := p.theirs.AcceptUniStream(ctx)
			c.ok(err, "their AcceptUniStream")
			c.wantAll(v, msg, "their Read")
		}
		c.ok(pairs[1].ours.CloseWithError(1, ""), "CloseWithError")
		<-pairs[1].theirs.Context().Done()
		c.ok(pairs[2].ours.SendDatagram([]byte("still")), "SendDatagram")
		if got, err := pairs[2].theirs.ReceiveDatagram(ctx); err != nil || string(got) != "still" {
			t.Fatalf("their ReceiveDatagram: %q, %v", got, err)
		}
	}, theirConfig)
}

// A close code must arrive every time, so it is tried many times.
func TestInteropClose(t *testing.T) {
	const times = 200
	eachPeer(t, "H3-058 H3-059 H3-061 our close arrives", func(t *testing.T, c *interop) {
		for i := range times {
			p := c.dial()
			reason := fmt.Sprintf("bye %d", i)
			c.ok(p.ours.CloseWithError(transport.SessionErrorCode(i), reason), "CloseWithError")
			<-p.theirs.Context().Done()
			_, err := p.theirs.AcceptStream(context.Background())
			e, ok := errors.AsType[*webtransport.SessionError](err)
			if !ok || !e.Remote || e.ErrorCode != webtransport.SessionErrorCode(i) || e.Message != reason {
				t.Fatalf("close %d: they see %v", i, err)
			}
		}
	})
	eachPeer(t, "H3-059 H3-062 their close arrives", func(t *testing.T, c *interop) {
		for i := range times {
			p := c.dial()
			reason := fmt.Sprintf("bye %d", i)
			c.ok(p.theirs.CloseWithError(webtransport.SessionErrorCode(i), reason), "their CloseWithError")
			<-p.ours.Context().Done()
			want := transport.SessionError{Code: transport.SessionErrorCode(i), Reason: reason, Remote: true}
			if e, ok := errors.AsType[*transport.SessionError](context.Cause(p.ours.Context())); !ok || *e != want {
				t.Fatalf("close %d: we see %+v", i, e)
			}
		}
	})
	eachPeer(t, "H3-057 streams of a session that they close", func(t *testing.T, c *interop) {
		p := c.dial()
		x, err := p.ours.OpenStream(context.Background())
		c.ok(err, "OpenStream")
		x.Write([]byte("x"))
		_, err = p.theirs.AcceptStream(context.Background())
		c.ok(err, "their AcceptStream")
		p.theirs.CloseWithError(3, "")
		for _, call := range []func([]byte) (int, error){x.Read, x.Write} {
			_, err := call(make([]byte, 1))
			for err == nil {
				_, err = call(make([]byte, 1))
				time.Sleep(time.Millisecond)
			}
			if e, ok := errors.AsType[*transport.SessionError](err); !ok || e.Code != 3 {
				t.Fatalf("the stream ended with %v, want the session's error", err)
			}
		}
	})
}
