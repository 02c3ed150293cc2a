package h3wt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

func TestDatagrams(t *testing.T) {
	raw := func(name string, config *transport.Config, test func(t *testing.T, c *rawConn, str rawStream, s transport.Session)) {
		bubble(t, name, func(t *testing.T) {
			h, accepted := serveRaw(t, &Config{Session: config}, nil)
			defer h.stop()
			c := h.rawDial(fullQUIC, modernSettings...)
			defer c.close()
			str := c.accepted()
			test(t, c, rawStream{c, str}, <-accepted)
		})
	}
	raw("H3-032 for a session that is closed", nil, func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
		str.send(capsule.CloseSession{})
		str.str.Close()
		<-s.Context().Done()
		c.SendDatagram([]byte("\x00late"))
		c.SendDatagram([]byte("\x40\x40for session 256, which never was"))
		synctest.Wait()
		if _, err := s.ReceiveDatagram(context.Background()); err != context.Cause(s.Context()) {
			t.Errorf("ReceiveDatagram: %v", err)
		}
		if n := s.Stats().DatagramsReceived; n != 0 {
			t.Errorf("%d datagrams were received", n)
		}
		c.wantOpen()
	})
	for _, bad := range [][]byte{{}, {0x40}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}} {
		raw("H3-032 a datagram without a session ID that can be", nil, func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			c.SendDatagram(bad)
			c.wantClosed(0x33)
		})
	}
	for _, policy := range []struct {
		policy transport.DropPolicy
		want   string
	}{{transport.DropOldest, "7 8 9 "}, {transport.DropNewest, "0 1 2 "}} {
		raw("H3-035 H3-037 FW-17 a full queue drops", &transport.Config{IncomingDatagramQueue: 3, DatagramDrop: policy.policy},
			func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
				for i := range 10 {
					c.SendDatagram(fmt.Appendf([]byte{0}, "%d ", i))
					time.Sleep(time.Millisecond)
				}
				time.Sleep(time.Second)
				got := ""
				for range 3 {
					p, err := s.ReceiveDatagram(canceled)
					if err != nil {
						t.Fatal(err)
					}
					got += string(p)
				}
				if _, err := s.ReceiveDatagram(canceled); !errors.Is(err, context.Canceled) || got != policy.want {
					t.Errorf("kept %q, want %q; then %v", got, policy.want, err)
				}
				if st := s.Stats(); st.DatagramsReceived != 10 || st.DatagramsDroppedIncoming != 7 {
					t.Errorf("%+v", st)
				}
			})
	}
	raw("FW-17 datagrams that nobody took in time", &transport.Config{IncomingMaxAge: 2 * time.Second},
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			c.SendDatagram([]byte("\x00old"))
			time.Sleep(1500 * time.Millisecond)
			c.SendDatagram([]byte("\x00new"))
			time.Sleep(time.Second)
			if p, err := s.ReceiveDatagram(context.Background()); err != nil || string(p) != "new" {
				t.Errorf("%q, %v", p, err)
			}
			if st := s.Stats(); st.DatagramsExpiredIncoming != 1 {
				t.Errorf("%+v", st)
			}
		})
	raw("datagrams switched off", &transport.Config{IncomingDatagramQueue: -1, OutgoingDatagramQueue: -1},
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			c.SendDatagram([]byte("\x00x"))
			time.Sleep(time.Second)
			if err := s.SendDatagram([]byte("y")); err != nil {
				t.Error(err)
			}
			if st := s.Stats(); st.DatagramsReceived != 1 || st.DatagramsDroppedIncoming != 1 || st.DatagramsDroppedOutgoing != 1 || st.DatagramsSent != 0 {
				t.Errorf("%+v", st)
			}
		})
	bubble(t, "H3-034 H3-037 datagrams wait for the decision, a bounded number", func(t *testing.T) {
		decide := make(chan struct{})
		accepted := make(chan transport.Session, 1)
		h := serve(t, simulated(t), &Server{Handler: decided(decide, accepted)})
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		c.request(connectHeaders(protocolH3))
		time.Sleep(time.Second)
		for i := range 100 {
			c.SendDatagram([]byte{0, byte(i)})
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		close(decide)
		s := <-accepted
		time.Sleep(time.Second)
		if n := s.Stats().DatagramsReceived; n != 32 { // http3's own bound
			t.Errorf("%d datagrams were kept", n)
		}
		if p, err := s.ReceiveDatagram(context.Background()); err != nil || !bytes.Equal(p, []byte{0}) {
			t.Errorf("%v, %v", p, err)
		}
	})
	bubble(t, "FW-17 SendDatagram waits for a network that takes nothing once and shortly", func(t *testing.T) {
		var dropped atomic.Int32
		config := &transport.Config{
			OutgoingDatagramQueue: 8, OutgoingMaxAge: 20 * time.Millisecond,
			Trace: &transport.Trace{DatagramDropped: func(outgoing bool, size int, age time.Duration) {
				if outgoing && size == 1000 {
					dropped.Add(1)
				}
			}},
		}
		router := &cutRouter{}
		handler, accepted := sessions(t, nil)
		h := serve(t, routed(t, router), &Server{Handler: handler})
		defer h.stop()
		cc := h.client(&Config{Session: config})
		defer cc.Close()
		s, err := cc.Dial(context.Background(), testURL, nil)
		if err != nil {
			t.Fatal(err)
		}
		served := <-accepted
		router.cut.Store(true)
		const sent = 500
		waits := 0
		for i := range sent {
			start := time.Now()
			if err := s.SendDatagram(bytes.Repeat([]byte{byte(i)}, 1000)); err != nil {
				t.Fatal(err)
			}
			switch d := time.Since(start); {
			case d > roomWait:
				t.Fatalf("SendDatagram waited %v", d)
			case d > 0:
				waits++
			}
			if i == sent/2 {
				time.Sleep(30 * time.Millisecond) // the congestion window is used up
			}
			if i%4 == 0 {
				synctest.Wait() // what QUIC takes, it has taken
			}
		}
		synctest.Wait()
		if waits == 0 || waits > sent/50 { // QUIC's probes make room now and then
			t.Errorf("SendDatagram waited %d times", waits)
		}
		st := s.Stats()
		if st.DatagramsDroppedOutgoing == 0 || st.DatagramsDroppedOutgoing+st.DatagramsExpiredOutgoing+st.DatagramsSent < sent-9 || st.DatagramsSent < 32 {
			t.Errorf("%+v", st)
		}
		if n := dropped.Load(); uint64(n) != st.DatagramsDroppedOutgoing+st.DatagramsExpiredOutgoing {
			t.Errorf("%d drops were traced", n)
		}
		// What waits in the own queue gets too old, whatever QUIC holds.
		time.Sleep(4 * time.Second)
		router.cut.Store(false)
		for got := ""; got != "fresh"; {
			s.SendDatagram([]byte("fresh"))
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			p, err := served.ReceiveDatagram(ctx)
			cancel()
			if err != nil && ctx.Err() == nil {
				t.Fatal(err)
			}
			got = string(p)
		}
		if later := s.Stats(); later.DatagramsExpiredOutgoing <= st.DatagramsExpiredOutgoing {
			t.Errorf("nothing expired: %+v", later)
		}
	})
	bubble(t, "a sender that is faster than the path waits rather than lose datagrams", func(t *testing.T) {
		const size, bursts = 32, 20
		c, s, stop := makePair(t, simulated(t), &transport.Config{OutgoingDatagramQueue: size}, nil)
		defer stop()
		received := make(chan int)
		go func() {
			n := 0
			for ; ; n++ {
				if _, err := s.ReceiveDatagram(context.Background()); err != nil {
					received <- n
					return
				}
			}
		}()
		for range bursts {
			// Twice what the queue holds: the second half finds it full, unless the
			// first has left already.
			for range 2 * size {
				if err := c.SendDatagram([]byte("x")); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(50 * time.Millisecond)
		}
		if st := c.Stats(); st.DatagramsDroppedOutgoing != 0 || st.DatagramsSent != 2*size*bursts {
			t.Errorf("%+v", st)
		}
		s.CloseWithError(0, "")
		if n := <-received; n < size*bursts {
			t.Errorf("%d datagrams were received", n)
		}
	})
	bubble(t, "H3-066 sessions take turns with their datagrams", func(t *testing.T) {
		handler, accepted := sessions(t, nil)
		router := &cutRouter{}
		h := serve(t, routed(t, router), &Server{Handler: handler})
		defer h.stop()
		config := &Config{Session: &transport.Config{OutgoingDatagramQueue: 1000}}
		cc := h.client(config)
		defer cc.Close()
		var ours, theirs [2]transport.Session
		for i := range ours {
			s, err := cc.Dial(context.Background(), testURL, nil)
			if err != nil {
				t.Fatal(err)
			}
			ours[i], theirs[i] = s, <-accepted
		}
		router.cut.Store(true)
		for range 1000 {
			ours[0].SendDatagram(make([]byte, 1000))
		}
		synctest.Wait()
		ours[1].SendDatagram([]byte("x"))
		router.cut.Store(false)
		if _, err := theirs[1].ReceiveDatagram(context.Background()); err != nil {
			t.Fatal(err)
		}
		if n := theirs[0].Stats().DatagramsReceived; n > 100 {
			t.Errorf("the other session's datagram came behind %d", n)
		}
	})
}

// decided is a handler that accepts sessions when it is told to.
func decided(decide <-chan struct{}, accepted chan<- transport.Session) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-decide
		if s, err := Upgrade(w, r, nil); err == nil {
			accepted <- s
		}
	})
}
