package wswt

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/memconn"
	"github.com/towpath-go/towpath/transport"
)

func TestKeepAlive(t *testing.T) {
	eachSide(t, "a silent peer", nil, func(t *testing.T, p *rawPeer) {
		start := time.Now()
		se := p.wantSession()
		if d := time.Since(start); d != DefaultKeepAlive+DefaultPingTimeout {
			t.Errorf("ended after %v", d)
		}
		if !errors.Is(se, os.ErrDeadlineExceeded) || !se.Remote {
			t.Errorf("ended with %+v", se)
		}
		p.wantEnd()
		if len(p.pings) != 1 {
			t.Errorf("%d pings", len(p.pings))
		}
	})
	eachSide(t, "a peer that answers", &Config{KeepAlive: time.Second, PingTimeout: time.Second}, func(t *testing.T, p *rawPeer) {
		start := time.Now()
		for range 1000 {
			f, err := readFrame(p.nc)
			if err != nil || f.OpCode != ws.OpPing {
				t.Fatalf("%+v, %v", f.Header, err)
			}
			time.Sleep(900 * time.Millisecond)
			p.write(ws.OpPong, true, f.payload)
		}
		if d := time.Since(start); d < 1000*time.Second {
			t.Errorf("1000 pings in %v", d)
		}
		p.close(1000, "")
		p.wantClose(1000)
		p.wantEnd()
	})
	eachSide(t, "any byte is a sign of life", &Config{KeepAlive: time.Second, PingTimeout: time.Second}, func(t *testing.T, p *rawPeer) {
		go io.Copy(io.Discard, p.nc) // ends with the connection
		b := p.encode(ws.OpBinary, true, padding(200))
		for i := range b {
			time.Sleep(1900 * time.Millisecond)
			p.raw(b[i : i+1])
		}
		synctest.Wait()
		if p.s.Context().Err() != nil {
			t.Errorf("ended with %v", context.Cause(p.s.Context()))
		}
		p.srv.Close()
	})
	eachSide(t, "none", &Config{KeepAlive: -1}, func(t *testing.T, p *rawPeer) {
		time.Sleep(time.Hour)
		p.wantIdle("there is no keep-alive")
		if len(p.pings) != 0 {
			t.Errorf("%d pings", len(p.pings))
		}
		p.srv.Close()
	})
	eachSide(t, "a peer that reads nothing", &Config{KeepAlive: -1}, func(t *testing.T, p *rawPeer) {
		x, err := p.s.OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p.other.StallWrites(true)
		start := time.Now()
		if _, err := x.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		se := p.wantSession()
		if d := time.Since(start); d != DefaultWriteTimeout || !errors.Is(se, os.ErrDeadlineExceeded) {
			t.Errorf("ended with %v after %v", se, d)
		}
	})
}

func TestPings(t *testing.T) {
	eachSide(t, "only the newest of those not answered yet", nil, func(t *testing.T, p *rawPeer) {
		// The first bytes have the session measure the round-trip time, whose ping
		// must not be what waits for the connection.
		p.write(ws.OpPing, true, []byte("before"))
		if got := p.wantPong(); string(got) != "before" {
			t.Errorf("pong %q", got)
		}
		synctest.Wait()
		p.other.StallWrites(true)
		p.write(ws.OpPing, true, []byte("first")) // its answer waits for the connection
		synctest.Wait()
		for _, payload := range []string{"second", "third", "newest"} {
			p.write(ws.OpPing, true, []byte(payload))
		}
		synctest.Wait()
		p.other.StallWrites(false)
		if got := p.wantPong(); string(got) != "first" {
			t.Errorf("pong %q", got)
		}
		if got := p.wantPong(); string(got) != "newest" {
			t.Errorf("pong %q", got)
		}
		p.wantIdle("all others were overtaken")
		p.srv.Close()
	})
	for _, client := range []bool{false, true} {
		t.Run("the round-trip time", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := connect(t, client, nil, &memconn.Options{Latency: 20 * time.Millisecond})
				if rtt := p.s.Stats().RTT; rtt >= 0 {
					t.Errorf("RTT %v before any measurement", rtt)
				}
				p.binary(streamCapsule(p.peerStream(), false, "x"))
				f, err := readFrame(p.nc)
				if err != nil || f.OpCode != ws.OpPing {
					t.Fatalf("%+v, %v", f.Header, err)
				}
				p.write(ws.OpPong, true, []byte("not that"))
				p.write(ws.OpPong, true, f.payload)
				time.Sleep(time.Second)
				if rtt := p.s.Stats().RTT; rtt != 40*time.Millisecond {
					t.Errorf("RTT %v, want 40ms", rtt)
				}
				p.write(ws.OpPong, true, f.payload)
				time.Sleep(time.Second)
				if rtt := p.s.Stats().RTT; rtt != 40*time.Millisecond {
					t.Errorf("RTT %v after a second answer", rtt)
				}
				p.nc.Close()
				p.wantGone()
			})
		})
	}
}

// TestTLSWrites is about what TLS writes by itself: alerts, and answers to the
// peer's change of keys.
func TestTLSWrites(t *testing.T) {
	eachSide(t, "no deadline is left that fails them", &Config{KeepAlive: -1}, func(t *testing.T, p *rawPeer) {
		if err := p.s.SendDatagram([]byte("x")); err != nil {
			t.Fatal(err)
		}
		p.want(ws.OpBinary)
		time.Sleep(DefaultWriteTimeout)
		// As crypto/tls does from Read when the peer asks for new keys. An error
		// would fail every later Write.
		if _, err := p.other.Write(nil); err != nil {
			t.Errorf("a write beside those of the session: %v", err)
		}
		p.srv.Close()
	})
	for _, tt := range []struct {
		name string
		op   ws.OpCode
		room int // bytes that the connection takes
	}{
		{"says Close and reads nothing", ws.OpClose, 0},
		{"says Close and reads the answer alone", ws.OpClose, 40},
		{"breaks a rule and reads nothing", ws.OpText, 0},
		{"breaks a rule and reads the answer alone", ws.OpText, 50},
	} {
		t.Run("a goodbye to a peer that "+tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cc, sc := tlsPipe(t)
				defer cc.NetConn().Close()
				c := start(params{nc: sc, cfg: new(Config)})
				send := func(op ws.OpCode) {
					if err := ws.WriteFrame(cc, ws.MaskFrame(ws.NewFrame(op, true, nil))); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
				}
				send(ws.OpBinary) // has the round-trip time measured
				wire := sc.NetConn().(*memconn.Conn)
				if _, err := wire.Write(make([]byte, memconn.DefaultBuffer-wire.Buffered()-tt.room)); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				send(tt.op)
				if left := memconn.DefaultBuffer - wire.Buffered(); left != 0 {
					t.Errorf("there is room for %d bytes more", left)
				}
				<-c.done
				if d := time.Since(began); d > 2*transport.DefaultCloseTimeout {
					t.Errorf("everything had ended after %v", d)
				}
			})
		})
	}
}

// TestLate is about what is received behind a Close frame: of a peer that is to
// blame for it no more than maxLate bytes.
func TestLate(t *testing.T) {
	for _, tt := range []struct {
		name  string
		cause func(p *rawPeer) // may start a goroutine, which ends with the connection
		bound bool
	}{
		{"a rule of frames", func(p *rawPeer) { p.write(ws.OpText, true, nil) }, true},
		{"a rule of capsules", func(p *rawPeer) { p.binary([]byte{0x68, 0x43, 1, 0}) }, true}, // WT_CLOSE_SESSION, too short
		{"a limit", func(p *rawPeer) {
			for range 2 * floodBurst {
				p.write(ws.OpPong, true, nil)
			}
		}, true},
		{"nothing, for this side closes", func(p *rawPeer) { go p.s.CloseWithError(1, "") }, false},
		{"nothing, for the server goes", func(p *rawPeer) { go p.srv.Close() }, false},
	} {
		eachSide(t, "behind a Close frame for "+tt.name, nil, func(t *testing.T, p *rawPeer) {
			go io.Copy(io.Discard, p.nc) // ends with the connection
			tt.cause(p)
			synctest.Wait()
			p.c.mu.Lock()
			left := maxLate - p.c.late
			p.c.mu.Unlock()
			start := time.Now()
			chunk := p.encode(ws.OpBinary, true, capsule.AppendVarint(capsule.AppendVarint(nil, uint64(capsule.TypePadding)), 0))
			chunk = slices.Repeat(chunk, 1000)
			for ; left > 0; left -= len(chunk) {
				p.raw(chunk[:min(left, len(chunk))])
			}
			synctest.Wait()
			select {
			case <-p.c.done:
				t.Fatal("the connection ended within the bound")
			default:
			}
			p.raw([]byte{0})
			synctest.Wait()
			if !tt.bound {
				for range maxLate / len(chunk) {
					p.raw(chunk)
				}
			}
			<-p.c.done
			if d := time.Since(start); d != 0 && tt.bound {
				t.Errorf("the connection ended after %v", d)
			} else if d == 0 && !tt.bound {
				t.Errorf("the connection ended at once")
			}
		})
	}
}
