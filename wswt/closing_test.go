package wswt

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// closeCapsule is WT_CLOSE_SESSION.
func closeCapsule(code uint32, reason string) []byte {
	return capsule.CloseSession{ErrorCode: code, Message: reason}.Append(nil)
}

func TestPeerCloses(t *testing.T) {
	eachSide(t, "with WT_CLOSE_SESSION", nil, func(t *testing.T, p *rawPeer) {
		p.binary(closeCapsule(4321, "bye"))
		p.close(1000, "")
		p.wantClose(1000)
		p.wantEnd()
		if se := p.wantSession(); se.Code != 4321 || se.Reason != "bye" || !se.Remote || se.Err != nil {
			t.Errorf("ended with %+v", se)
		}
	})
	eachSide(t, "with WT_CLOSE_SESSION and a status that is an error", nil, func(t *testing.T, p *rawPeer) {
		p.binary(closeCapsule(7, ""))
		synctest.Wait()
		p.close(1011, "")
		p.wantClose(1000) // the session had ended before
		p.wantEnd()
		if se := p.wantSession(); se.Code != 7 || se.Err != nil {
			t.Errorf("ended with %+v", se)
		}
	})
	for _, tt := range []struct {
		name           string
		status, answer ws.StatusCode
	}{{"1000", 1000, 1000}, {"1001", 1001, 1001}, {"no status", 0, 1000}} {
		eachSide(t, "with "+tt.name+" alone", nil, func(t *testing.T, p *rawPeer) {
			p.close(tt.status, "")
			if reason := p.wantClose(tt.answer); reason != "" {
				t.Errorf("answer with reason %q", reason)
			}
			p.wantEnd()
			if se := p.wantSession(); se.Code != 0 || se.Reason != "" || !se.Remote || se.Err != nil {
				t.Errorf("ended with %+v, want a clean end", se)
			}
		})
	}
	for _, status := range []ws.StatusCode{1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4000, 4002, 4003, 4008, 4009, 4011, 4999} {
		eachSide(t, "with an error", nil, func(t *testing.T, p *rawPeer) {
			reason := strings.Repeat("x", 123)
			p.close(status, reason)
			p.wantClose(status)
			p.wantEnd()
			p.wantReset(status, reason)
			re, _ := errors.AsType[*transport.ResetError](p.wantSession())
			if (re.Name == "") != (status == 3000 || status == 4000 || status == 4999) {
				t.Errorf("status %d is named %q", status, re.Name)
			}
		})
	}
	eachSide(t, "streams finished before stay readable", nil, func(t *testing.T, p *rawPeer) {
		p.binary(streamCapsule(p.peerStream(), true, "last words"))
		x, err := p.s.AcceptStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p.close(1000, "")
		p.wantClose(1000)
		p.wantSession()
		if got, err := io.ReadAll(x); string(got) != "last words" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
	})
	eachSide(t, "by the end of the connection alone", nil, func(t *testing.T, p *rawPeer) {
		p.nc.CloseWrite()
		p.wantEnd()
		if se := p.wantSession(); !errors.Is(se, io.ErrUnexpectedEOF) || !se.Remote {
			t.Errorf("ended with %+v", se)
		}
	})
	eachSide(t, "by the end of the connection inside a frame", nil, func(t *testing.T, p *rawPeer) {
		p.raw(p.encode(ws.OpBinary, true, padding(300))[:200])
		p.nc.CloseWrite()
		p.wantEnd()
		if se := p.wantSession(); !errors.Is(se, io.ErrUnexpectedEOF) || !se.Remote {
			t.Errorf("ended with %+v", se)
		}
	})
	eachSide(t, "by a reset of the connection", nil, func(t *testing.T, p *rawPeer) {
		p.nc.Cut(nil)
		if se := p.wantSession(); !errors.Is(se, syscall.ECONNRESET) || !se.Remote {
			t.Errorf("ended with %+v", se)
		}
	})
	eachSide(t, "and ends the connection at once, in the middle of ours", nil, func(t *testing.T, p *rawPeer) {
		p.close(1000, "")
		p.nc.Close()
		if se := p.wantSession(); se.Err != nil || !se.Remote {
			t.Errorf("ended with %+v, want a clean end", se)
		}
	})
}

func TestWeClose(t *testing.T) {
	eachSide(t, "the capsule, then Close 1000", nil, func(t *testing.T, p *rawPeer) {
		closed := make(chan error, 1)
		start := time.Now()
		go func() { closed <- p.s.CloseWithError(9, "done") }()
		f := p.want(ws.OpBinary)
		if want := closeCapsule(9, "done"); string(f.payload) != string(want) {
			t.Errorf("message %x, want %x", f.payload, want)
		}
		p.wantClose(1000)
		p.write(ws.OpPing, true, []byte("late"))
		p.wantIdle("nothing follows a Close frame")
		p.binary(padding(100)) // was on its way
		p.close(1000, "")
		if err := <-closed; err != nil || time.Since(start) > 10*time.Millisecond {
			t.Errorf("CloseWithError: %v after %v", err, time.Since(start))
		}
		if p.client { // RFC 6455 section 7.1.1
			p.wantEnd()
			return
		}
		p.wantIdle("a client waits for the server to end the connection")
		p.nc.Close()
	})
	eachSide(t, "a peer that never answers", nil, func(t *testing.T, p *rawPeer) {
		start := time.Now()
		if err := p.s.CloseWithError(9, "done"); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d != transport.DefaultCloseTimeout {
			t.Errorf("CloseWithError took %v", d)
		}
		p.wantClose(1000)
		p.wantEnd()
		if d := time.Since(start); d > transport.DefaultCloseTimeout+time.Millisecond {
			t.Errorf("the connection ended after %v", d)
		}
	})
	t.Run("a server that never ends the connection", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := connect(t, true, nil, nil)
			start := time.Now()
			go func() { _ = p.s.CloseWithError(0, "") }()
			p.wantClose(1000)
			p.close(1000, "")
			p.wantEnd()
			if d := time.Since(start); d != transport.DefaultCloseTimeout {
				t.Errorf("the connection ended after %v", d)
			}
			p.wantGone()
		})
	})
	eachSide(t, "a peer that reads nothing", nil, func(t *testing.T, p *rawPeer) {
		x, err := p.s.OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p.other.StallWrites(true)
		start := time.Now()
		if _, err := x.Write(make([]byte, 40_000)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := p.s.CloseWithError(9, ""); err != nil {
			t.Error(err)
		}
		<-p.c.done
		if d := time.Since(start); d > 3*transport.DefaultCloseTimeout {
			t.Errorf("everything had ended after %v", d)
		}
	})
	eachSide(t, "a violation whose Close frame is never answered", nil, func(t *testing.T, p *rawPeer) {
		start := time.Now()
		p.write(ws.OpText, true, nil)
		p.wantClose(1003)
		p.wantEnd()
		<-p.c.done
		if d := time.Since(start); d > transport.DefaultCloseTimeout {
			t.Errorf("everything had ended after %v", d)
		}
	})
	eachSide(t, "a violation, and bytes without end", nil, func(t *testing.T, p *rawPeer) {
		start := time.Now()
		p.write(ws.OpText, true, nil)
		p.wantClose(1003)
		for {
			if _, err := p.nc.Write(make([]byte, 1000)); err != nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		<-p.c.done
		if d := time.Since(start); d > transport.DefaultCloseTimeout+10*time.Millisecond {
			t.Errorf("everything had ended after %v", d)
		}
	})
	eachSide(t, "both at once", nil, func(t *testing.T, p *rawPeer) {
		closed := make(chan error, 1)
		p.binary(closeCapsule(1, ""))
		p.close(1000, "")
		go func() { closed <- p.s.CloseWithError(2, "") }()
		p.wantClose(1000)
		if err := <-closed; err != nil {
			t.Error(err)
		}
		p.wantEnd()
	})
}

func TestServerEnds(t *testing.T) {
	eachSide(t, "Close says 1001", nil, func(t *testing.T, p *rawPeer) {
		closed := make(chan error, 1)
		go func() { closed <- p.srv.Close() }()
		p.wantClose(1001)
		p.close(1001, "")
		p.nc.CloseWrite()
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if se := p.wantSession(); !errors.Is(se, errServerDown) || se.Remote {
			t.Errorf("ended with %+v", se)
		}
		if err := p.srv.Close(); err != nil {
			t.Errorf("the second Close: %v", err)
		}
	})
	eachSide(t, "Shutdown drains and waits", nil, func(t *testing.T, p *rawPeer) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.srv.Shutdown(ctx); err != context.DeadlineExceeded {
			t.Errorf("Shutdown: %v", err)
		}
		if f := p.want(ws.OpBinary); string(f.payload) != string(capsule.DrainSession{}.Append(nil)) {
			t.Errorf("message %x", f.payload)
		}
		done := make(chan error, 1)
		go func() { done <- p.srv.Shutdown(context.Background()) }()
		p.binary(streamCapsule(p.peerStream(), true, "goes on"))
		x, err := p.s.AcceptStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(x); string(got) != "goes on" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		p.close(1000, "")
		p.wantClose(1000)
		p.nc.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Run("Close does not wait for a peer that reads nothing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newTestServer(t, nil, nil, nil)
			defer s.stop()
			nc, err := s.ln.Dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			tc := tls.Client(nc, s.cert.ClientConfig("example.com", "http/1.1"))
			if _, err := io.WriteString(tc, opening()); err != nil {
				t.Fatal(err)
			}
			a := <-s.upgraded
			if a.err != nil {
				t.Fatal(a.err)
			}
			for range 5 { // more than the connection takes
				x, err := a.s.OpenUniStream(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := x.Write(make([]byte, 60_000)); err != nil {
					t.Fatal(err)
				}
			}
			start := time.Now()
			s.srv.Close()
			if d := time.Since(start); d > 2*transport.DefaultCloseTimeout {
				t.Errorf("Close took %v", d)
			}
		})
	})
	t.Run("an empty server", func(t *testing.T) {
		s := NewServer(nil)
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
