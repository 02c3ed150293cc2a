package wswt

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/towpath-go/towpath/transport"
)

// TestChaos has both sides do anything at any time, over TLS, and makes sure that
// all of it ends, and when.
func TestChaos(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { chaos(t, rand.New(rand.NewPCG(seed, 0))) })
		})
		if t.Failed() {
			return
		}
	}
}

func chaos(t *testing.T, r *rand.Rand) {
	far, near := tlsPipe(t)
	if r.IntN(2) == 0 {
		far, near = near, far
	}
	client := r.IntN(2) == 0
	kdraft := !client && r.IntN(3) == 0
	srv := NewServer(&Config{MaxServerMemory: 1 << 20})
	place, _, err := srv.reserve("")
	if err != nil {
		t.Fatal(err)
	}
	c := newConn(params{place: place, nc: near, client: client, kdraft: kdraft, cfg: srv.cfg, budget: srv.budget, onEnd: srv.remove})
	srv.add(c)
	c.run()
	p := &rawPeer{t: t, client: !client}
	wire := near.NetConn().(interface{ StallWrites(bool) })
	for range 1 + r.IntN(30) {
		switch r.IntN(14) {
		case 0:
			time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
		case 1:
			wire.StallWrites(r.IntN(2) == 0)
		case 2:
			if x, err := c.sess.OpenStream(ended()); err == nil {
				go func() {
					x.Write(make([]byte, 50_000))
					x.Close()
				}()
			}
		case 3:
			c.sess.SendDatagram(make([]byte, r.IntN(60_000)))
		case 4:
			if r.IntN(4) == 0 {
				go c.sess.CloseWithError(transport.SessionErrorCode(r.Uint32()), "bye")
			}
		case 5:
			if r.IntN(8) == 0 {
				go srv.Close()
			}
		case 6:
			if r.IntN(8) == 0 {
				far.NetConn().Close()
			}
		case 7:
			if r.IntN(8) == 0 {
				far.CloseWrite()
			}
		case 8:
			buf := make([]byte, 100_000)
			far.SetReadDeadline(time.Now())
			for {
				if _, err := far.Read(buf); err != nil {
					break
				}
			}
		default:
			var b []byte
			for range 1 + r.IntN(3) {
				b = append(b, chaosFrame(p, r)...)
			}
			if r.IntN(10) == 0 {
				b = b[:r.IntN(len(b))]
			}
			far.SetWriteDeadline(time.Now().Add(time.Second))
			far.Write(b)
		}
		if r.IntN(2) == 0 {
			synctest.Wait()
		}
	}
	last := time.Now()
	go srv.Close()
	<-c.done
	if d := time.Since(last); d > 2*transport.DefaultCloseTimeout {
		t.Errorf("everything had ended after %v", d)
	}
	synctest.Wait()
	if n := srv.budget.Held(); n != 0 {
		t.Errorf("%d bytes are still counted as held", n)
	}
	if srv.count != 0 || len(srv.conns) != 0 {
		t.Errorf("%d connections are counted and %d kept", srv.count, len(srv.conns))
	}
	far.NetConn().Close()
}

// chaosFrame is a frame of the peer, often legal.
func chaosFrame(p *rawPeer, r *rand.Rand) []byte {
	switch r.IntN(12) {
	case 0:
		return p.encode(ws.OpClose, true, closePayload(ws.StatusCode(1000+r.IntN(12)), "x"))
	case 1:
		return p.encode(ws.OpClose, true, nil)
	case 2:
		return p.encode(ws.OpPing, true, make([]byte, r.IntN(125)))
	case 3:
		if r.IntN(4) == 0 {
			return p.encode(ws.OpText, true, nil)
		}
		return p.encode(ws.OpPong, true, nil)
	case 4:
		return p.encode(ws.OpBinary, r.IntN(2) == 0, closeCapsule(r.Uint32(), "bye"))
	case 5:
		return p.encode(ws.OpContinuation, r.IntN(2) == 0, make([]byte, r.IntN(3)))
	case 6:
		return p.encode(ws.OpBinary, true, []byte{0x80, 0, 0x78, 0xae, 0}[:4+r.IntN(2)])
	default:
		return p.encode(ws.OpBinary, r.IntN(5) > 0, streamCapsule(p.peerStream()+4*uint64(r.IntN(20)), r.IntN(2) == 0, string(make([]byte, r.IntN(40_000)))))
	}
}
