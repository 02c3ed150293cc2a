package wswt

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/internal/hostile"
	"github.com/towpath-go/towpath/transport"
)

// TestHostileHTTP2 attacks a session whose WebSocket is a stream of an HTTP/2
// connection. Another session on the same connection has to go on.
func TestHostileHTTP2(t *testing.T) {
	// pour writes a piece until the session has ended.
	pour := func(piece []byte) func(t testing.TB, nc net.Conn, s transport.Session, sample func()) {
		return func(t testing.TB, nc net.Conn, s transport.Session, sample func()) {
			for i := 0; s.Context().Err() == nil && i < 10_000; i++ {
				if _, err := nc.Write(piece); err != nil {
					return
				}
				if i == floodBurst/20 {
					synctest.Wait()
					sample()
				}
			}
			synctest.Wait()
		}
	}
	peer := &rawPeer{t: t, client: true}
	for _, tt := range []struct {
		id, name string
		first    []byte
		attack   func(t testing.TB, nc net.Conn, s transport.Session, sample func())
		reads    bool
		limit    transport.Limit
		bytes    int64
		reaction string
	}{
		{id: "DS-11", name: "a message in fragments of 1 byte", first: endless(peer), reads: true,
			attack: pour(again(10, func(p *rawPeer) []byte { return p.encode(ws.OpContinuation, false, []byte{0}) })(peer)),
			limit:  transport.LimitFrames, reaction: "Close 1008 and the end of the session"},
		{id: "DS-05", name: "pings, and the pongs are not read",
			attack: pour(again(10, func(p *rawPeer) []byte { return p.encode(ws.OpPing, true, make([]byte, 125)) })(peer)),
			limit:  transport.LimitFrames, reaction: "Close 1008 and the end of the session"},
		{id: "DS-04 DS-10", name: "credit for 100 streams, and nothing is read", attack: neverRead, limit: transport.LimitWriteTime,
			// Config.StreamSendBuffer for each stream, and the streams.
			bytes: 100 * (transport.DefaultStreamSendBuffer + 4<<10), reaction: "the session ends after Config.WriteTimeout"},
	} {
		t.Run(tt.id+" "+tt.name+" over HTTP/2", func(t *testing.T) {
			var m *hostile.Meter
			var cause error
			synctest.Test(t, func(bubble *testing.T) {
				s := newHTTP2Server(bubble)
				defer s.stop()
				cc, err := h2wt.NewClientConn(bubble.Context(), s.dial(), nil)
				if err != nil {
					t.Fatal(err)
				}
				defer cc.Close()
				bystander, err := DialHTTP2(bubble.Context(), cc, "https://example.com/", nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				other := (<-s.upgraded).s
				nc, _, err := cc.OpenWebSocket(bubble.Context(), "https://example.com/", http.Header{"Sec-Websocket-Protocol": {Subprotocol}})
				if err != nil {
					t.Fatal(err)
				}
				victim := (<-s.upgraded).s
				synctest.Wait()
				m = hostile.Start(t, hostile.Attack{
					Name: tt.name + " over HTTP/2", Victim: "ws", Limit: tt.limit, Reaction: tt.reaction,
					// Beside the session, the stream's windows and buffers at both ends,
					// the connection's, and TLS.
					Bytes: frameBytes + sessionBytes + 1<<20 + tt.bytes, Goroutines: 1, // the script's
				})
				read := make(chan struct{})
				go func() { // ends with the stream
					defer close(read)
					if tt.reads {
						_, _ = io.Copy(io.Discard, nc)
					}
				}()
				if _, err := nc.Write(tt.first); err != nil {
					t.Fatal(err)
				}
				tt.attack(bubble, nc, victim, m.Sample)
				m.Sample()
				cause = context.Cause(victim.Context())
				if cause == nil {
					t.Error("the session goes on")
				}
				if err := transport.SendMessage(bubble.Context(), bystander, []byte("alive")); err != nil {
					t.Errorf("a bystander: %v", err)
				}
				if b, err := transport.ReceiveMessage(bubble.Context(), other, 10); err != nil || string(b) != "alive" {
					t.Errorf("a bystander: %q, %v", b, err)
				}
				nc.Close()
				<-read
				bystander.CloseWithError(0, "")
			})
			m.End(cause)
		})
	}
}

// neverRead gives a server credit for 100 streams, which it writes to, and reads
// nothing.
func neverRead(t testing.TB, nc net.Conn, s transport.Session, sample func()) {
	p := &rawPeer{t: t, client: true}
	var credit []byte
	credit = capsule.MaxData{MaximumData: 1 << 40}.Append(credit)
	data := make([]byte, 1<<20)
	for i := range uint64(100) {
		x, err := s.OpenStream(ended())
		if err != nil {
			t.Fatal(err)
		}
		credit = capsule.MaxStreamData{StreamID: 1 + 4*i, MaximumStreamData: 1 << 40}.Append(credit)
		x.SetWriteDeadline(time.Now().Add(time.Millisecond))
		if n, err := x.Write(data); err == nil {
			t.Fatalf("%d bytes were taken", n)
		}
	}
	write := func(b []byte) {
		if _, err := nc.Write(b); err != nil && s.Context().Err() == nil {
			t.Fatal(err)
		}
	}
	write(p.encode(ws.OpBinary, true, credit))
	synctest.Wait()
	sample()
	start := time.Now()
	for s.Context().Err() == nil && time.Since(start) < 2*DefaultWriteTimeout {
		write(p.encode(ws.OpPing, true, nil)) // it lives
		time.Sleep(time.Second)
	}
	if d := time.Since(start); d > DefaultWriteTimeout+time.Second {
		t.Errorf("ended after %v", d)
	}
}
