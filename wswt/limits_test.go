package wswt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

func TestFixedLimits(t *testing.T) {
	small := &Config{Session: &transport.Config{
		InitialStreamWindow: 1000, MaxStreamWindow: 1000, InitialSessionWindow: 1000, MaxSessionWindow: 1000,
		MaxIncomingStreams: 1, MaxIncomingUniStreams: -1,
	}}
	large := &Config{Session: &transport.Config{
		InitialStreamWindow: 1 << 20, InitialSessionWindow: 4 << 20,
		MaxIncomingStreams: 200, MaxIncomingUniStreams: 300,
	}}
	eachSide(t, "limits below the fixed ones: those hold", small, func(t *testing.T, p *rawPeer) {
		for i := range uint64(16) { // 1 MiB in all
			p.binary(streamCapsule(p.peerStream()+4*i, false, strings.Repeat("x", 64<<10)))
		}
		p.binary(streamCapsule(p.peerStream()+4*99, false, ""))
		p.binary(streamCapsule(p.peerStream()+4*99+2, true, "")) // the 100th unidirectional
		synctest.Wait()
		if err := context.Cause(p.s.Context()); err != nil {
			t.Fatalf("ended with %v", err)
		}
		p.binary(streamCapsule(p.peerStream()+4*99, false, "x"))
		p.wantClose(1002)
		p.wantViolation(transport.ViolationFlowControl)
		p.nc.CloseWrite()
	})
	eachSide(t, "limits above the fixed ones are announced", large, func(t *testing.T, p *rawPeer) {
		f := p.want(ws.OpBinary)
		var want []byte
		want = capsule.MaxData{MaximumData: 4 << 20}.Append(want)
		want = capsule.MaxStreams{MaximumStreams: 200}.Append(want)
		want = capsule.MaxStreams{Uni: true, MaximumStreams: 300}.Append(want)
		if !bytes.Equal(f.payload, want) {
			t.Errorf("first message %x, want %x", f.payload, want)
		}
		p.binary(streamCapsule(p.peerStream(), false, "x"))
		if f := p.want(ws.OpBinary); !bytes.Equal(f.payload, capsule.MaxStreamData{StreamID: p.peerStream(), MaximumStreamData: 1 << 20}.Append(nil)) {
			t.Errorf("message %x, want the stream's limit", f.payload)
		}
		p.srv.Close()
	})
	eachSide(t, "what may be sent before any capsule", nil, func(t *testing.T, p *rawPeer) {
		sent := make(chan int)
		go func() {
			total := 0
			for {
				f, err := p.next()
				if err != nil {
					break
				}
				d := &counter{}
				if f.OpCode == ws.OpBinary {
					dec := capsule.Decoder{Dialect: capsule.Draft15}
					if err := dec.Feed(f.payload, d); err != nil || dec.Partial() {
						t.Errorf("message %x...: %v", f.payload[:10], err)
					}
				}
				total += d.data
			}
			sent <- total
		}()
		for range 100 {
			x, err := p.s.OpenStream(ended())
			if err != nil {
				t.Fatal(err)
			}
			u, err := p.s.OpenUniStream(ended())
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range []transport.SendStream{x, u} {
				go w.Write(make([]byte, 64<<10+1)) // ends with the session
			}
		}
		if _, err := p.s.OpenStream(ended()); err != transport.ErrStreamLimit {
			t.Errorf("stream 101: %v", err)
		}
		if _, err := p.s.OpenUniStream(ended()); err != transport.ErrStreamLimit {
			t.Errorf("unidirectional stream 101: %v", err)
		}
		synctest.Wait()
		if n := p.s.Stats().BytesSent; n != 1<<20 {
			t.Errorf("%d bytes were sent", n)
		}
		p.srv.Close()
		if n := <-sent; n != 1<<20 {
			t.Errorf("%d bytes arrived", n)
		}
	})
}

// counter counts stream data.
type counter struct{ data int }

func (c *counter) Stream(uint64, bool, uint64) error  { return nil }
func (c *counter) StreamData(p []byte, _ bool) error  { c.data += len(p); return nil }
func (c *counter) Datagram(uint64) (bool, error)      { return false, nil }
func (c *counter) DatagramData([]byte, bool) error    { return nil }
func (c *counter) Control(capsule.Capsule) error      { return nil }
func (c *counter) Skipped(capsule.Type, uint64) error { return nil }

// TestLateBinding makes sure that bytes are chosen when the connection takes
// them: what is urgent waits for the message that is being written and no other.
func TestLateBinding(t *testing.T) {
	eachSide(t, "an urgent byte overtakes", nil, func(t *testing.T, p *rawPeer) {
		p.other.StallWrites(true)
		low, err := p.s.OpenUniStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := low.Write(make([]byte, 60_000)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the writer holds its first message and waits
		high, err := p.s.OpenUniStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		high.SetPriority(transport.Priority{Order: 1})
		if _, err := high.Write([]byte("urgent")); err != nil {
			t.Fatal(err)
		}
		if err := p.s.SendDatagram([]byte("too")); err != nil {
			t.Fatal(err)
		}
		p.other.StallWrites(false)
		if f := p.want(ws.OpBinary); len(f.payload) > maxMessage || bytes.Contains(f.payload, []byte("urgent")) {
			t.Errorf("first message of %d bytes", len(f.payload))
		}
		second := p.want(ws.OpBinary).payload
		if !bytes.HasPrefix(second, append([]byte{0, 3}, "too"...)) || !bytes.Contains(second[:40], []byte("urgent")) {
			t.Errorf("second message begins with %x", second[:40])
		}
		go io.Copy(io.Discard, p.nc) // ends with the connection
		p.srv.Close()
	})
	eachSide(t, "a frame fits a TLS record", nil, func(t *testing.T, p *rawPeer) {
		x, err := p.s.OpenUniStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		go x.Write(make([]byte, 64<<10)) // as much as may be sent
		for left := 64 << 10; left > 0; {
			h, err := ws.ReadHeader(p.nc)
			if err != nil {
				t.Fatal(err)
			}
			if n := ws.HeaderSize(h) + int(h.Length); n > 16<<10 {
				t.Errorf("a frame of %d bytes", n)
			}
			b := make([]byte, h.Length)
			if _, err := io.ReadFull(p.nc, b); err != nil {
				t.Fatal(err)
			}
			if h.Masked {
				ws.Cipher(b, h.Mask, 0)
			}
			d := &counter{}
			dec := capsule.Decoder{Dialect: capsule.Draft15}
			if h.OpCode == ws.OpBinary && dec.Feed(b, d) != nil {
				t.Fatal("no capsules")
			}
			left -= d.data
		}
		p.srv.Close()
	})
}

// TestMasks makes sure that a client never uses a masking key again, and that the
// keys are not those of the frame before in some order.
func TestMasks(t *testing.T) {
	w := &frameWriter{client: true}
	seen := map[[4]byte]bool{}
	const frames = 1000
	for range frames {
		f, err := readFrame(bytes.NewReader(w.appendFrame(nil, ws.OpBinary, []byte("x"))))
		if err != nil || !f.Masked || string(f.payload) != "x" {
			t.Fatalf("%+v, %v", f, err)
		}
		seen[f.Mask] = true
	}
	if len(seen) < frames-1 { // one pair may be equal by chance
		t.Errorf("%d keys for %d frames", len(seen), frames)
	}
}

// TestMemory makes sure that what a session holds is bounded and given back.
func TestMemory(t *testing.T) {
	eachSide(t, "a connection's budget", &Config{MaxConnectionMemory: 512 << 10, Session: &transport.Config{MaxIncomingStreams: 100}}, func(t *testing.T, p *rawPeer) {
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for i := range uint64(16) {
				if _, err := p.nc.Write(p.encode(ws.OpBinary, true, streamCapsule(p.peerStream()+4*i, false, strings.Repeat("x", 64<<10)))); err != nil {
					return
				}
			}
		}()
		p.wantClose(1008)
		p.wantViolation(transport.ViolationExcess)
		<-sent
		p.nc.CloseWrite()
	})
	t.Run("a server's budget ends the newest", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			first := connect(t, false, &Config{MaxServerMemory: 1 << 20}, nil)
			second := connectTo(t, first.srv)
			for _, p := range []*rawPeer{first, second} {
				go func() {
					for i := range uint64(9) {
						if _, err := p.nc.Write(p.encode(ws.OpBinary, true, streamCapsule(4*i, false, strings.Repeat("x", 60<<10)))); err != nil {
							return
						}
					}
				}()
			}
			second.wantClose(1008)
			second.wantViolation(transport.ViolationExcess)
			synctest.Wait()
			if err := context.Cause(first.s.Context()); err != nil {
				t.Errorf("the first session ended with %v", err)
			}
			second.nc.Close()
			first.nc.Close()
			<-second.c.done
			first.wantGone()
		})
	})
}

// TestServerCloseWhileAccepting makes sure that a session that is accepted while
// its server is being closed is ended.
func TestServerCloseWhileAccepting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := NewServer(nil)
		place, _, err := srv.reserve("")
		if err != nil {
			t.Fatal(err)
		}
		closed := make(chan struct{})
		go func() {
			srv.Close()
			close(closed)
		}()
		time.Sleep(time.Second)
		if _, _, err := srv.reserve(""); err != errShuttingDown {
			t.Errorf("reserve: %v", err)
		}
		select {
		case <-closed:
			t.Error("Close has not waited")
		default:
		}
		p := startPeer(t, srv, place)
		p.wantClose(1001)
		p.nc.Close()
		<-closed
		if se := p.wantSession(); !errors.Is(se, errServerDown) {
			t.Errorf("ended with %v", se)
		}
	})
}
