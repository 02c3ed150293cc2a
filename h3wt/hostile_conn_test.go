package h3wt

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/internal/hostile"
	"github.com/towpath-go/towpath/transport"
)

// handshakeCost is what quic-go holds for a handshake that has not got beyond its
// first packet, its goroutines included, as the package documentation says.
const handshakeCost = 64 << 10

// initialPacket is a packet that looks like the first of a client with a
// connection ID of its own. Nothing in it can be decrypted.
func initialPacket() []byte {
	p := make([]byte, 1200)
	rand.Read(p)
	p[0] = 0xc3
	copy(p[1:], []byte{0, 0, 0, 1, 8}) // version, length of the destination ID
	p[14] = 8                          // of the source ID
	p[23] = 0                          // of the token
	p[24], p[25] = 0x44, 0x96          // of the rest, 1174
	return p
}

func TestHostileHandshakes(t *testing.T) {
	flood := func(h *harness, times int) {
		for i := range times {
			h.socket.WriteTo(initialPacket(), h.addr)
			if i%100 == 99 {
				time.Sleep(10 * time.Millisecond)
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Run("DS-14 DS-15 10,000 handshakes that are never finished", func(t *testing.T) {
		var m *hostile.Meter
		w := &watched{}
		synctest.Test(t, func(t *testing.T) {
			handler, accepted := sessions(t, nil)
			h := serve(t, simulated(t), &Server{Handler: handler, Config: &Config{Monitor: w}})
			defer h.stop()
			qc := h.dialQUIC((*Config)(nil).QUIC(nil)) // before the attack; its socket's goroutines exist
			defer qc.CloseWithError(0, "")
			time.Sleep(time.Second)
			m = hostile.Start(t, hostile.Attack{
				Name: "10,000 first packets of handshakes that are never finished", Victim: "h3", Limit: transport.LimitHandshakeTime,
				Reaction: "128 are begun a second, 128 wait for 5 s, all others are answered with Retry",
				Bytes:    processNoise + DefaultUnverifiedHandshakes*handshakeCost, Goroutines: goroutineNoise + 4*DefaultUnverifiedHandshakes,
			})
			flood(h, 10_000)
			m.Sample()
			h.server.unverified.mu.Lock()
			if n := h.server.unverified.progress; n != DefaultUnverifiedHandshakes {
				t.Errorf("%d handshakes are in progress", n)
			}
			h.server.unverified.mu.Unlock()
			// Who proves an address is served all the same.
			start := time.Now()
			cc := h.client(nil)
			if d := time.Since(start); d > 6*linkLatency+50*time.Millisecond {
				t.Errorf("a client waited %v", d)
			}
			s, err := cc.Dial(context.Background(), testURL, nil)
			if err != nil {
				t.Fatal(err)
			}
			<-accepted
			s.CloseWithError(0, "")
			cc.Close()
			time.Sleep(15 * time.Second)
			m.Sample()
			if n := w.told("h3 connection refused handshake-time"); n < DefaultUnverifiedHandshakes {
				t.Errorf("the Monitor was told of %d handshakes", n)
			}
			if n := h.server.unverified.progress; n != 0 {
				t.Errorf("%d handshakes are in progress at the end", n)
			}
		})
		m.Cost(2000, func(frames int) {
			synctest.Test(t, func(t *testing.T) {
				h := serve(t, simulated(t), &Server{})
				defer h.stop()
				flood(h, frames)
			})
		})
		m.End(nil)
	})
	t.Run("DS-14 clients without SETTINGS", func(t *testing.T) {
		var m *hostile.Meter
		w := &watched{}
		onServer(t, &Config{Monitor: w}, undecided, nil, func(t *testing.T, h *harness, c *rawConn) {
			m = hostile.Start(t, hostile.Attack{
				Name: "requests for sessions without SETTINGS", Victim: "h3", Limit: transport.LimitHandshakeTime,
				Reaction: "each is reset with H3_MESSAGE_ERROR after 5 s",
				Bytes:    processNoise + 90*2*streamCost, Goroutines: goroutineNoise + 90,
			})
			var waiting []*quic.Stream
			for range 90 {
				waiting = append(waiting, c.request(connectHeaders(protocolH3)))
			}
			time.Sleep(time.Second)
			m.Sample()
			for _, str := range waiting {
				c.wantAborted(str, 0x10e)
			}
			m.Sample()
			if n := w.told("h3 session refused reset handshake-time"); n != 90 {
				t.Errorf("the Monitor was told %q", w.lines)
			}
		})
		m.End(nil)
	})
	t.Run("DS-15 connections without a request", func(t *testing.T) {
		const many = 30
		var m *hostile.Meter
		w := &watched{}
		synctest.Test(t, func(t *testing.T) {
			h := serve(t, simulated(t), &Server{Config: &Config{Monitor: w}})
			defer h.stop()
			h.dialQUIC(fullQUIC).CloseWithError(0, "")
			time.Sleep(time.Second)
			m = hostile.Start(t, hostile.Attack{
				Name: "connections that only keep themselves alive", Victim: "h3", Limit: transport.LimitConnectionIdle,
				Reaction: "each is closed after 2 min", Bytes: processNoise + many*256<<10,
				Goroutines: goroutineNoise + many*(goroutinesPerConnection[1]+3), // 3 at the attacker
			})
			conf := fullQUIC.Clone()
			conf.KeepAlivePeriod = 10 * time.Second
			var all []*rawConn
			for range many {
				all = append(all, h.rawDial(conf, modernSettings...))
			}
			time.Sleep(time.Second)
			m.Sample()
			for _, c := range all {
				<-c.Conn.Context().Done()
			}
			time.Sleep(time.Second)
			m.Sample()
			if n := w.told("server h3 connection ended with an error connection-idle"); n != many {
				t.Errorf("the Monitor was told %q", w.lines)
			}
		})
		m.End(nil)
	})
}

func TestHostileControlStream(t *testing.T) {
	var many []uint64
	for i := range uint64(1000) {
		many = append(many, 0x21+0x1f*(i+100), i)
	}
	priority := h3frame(0xf0700, append(varints(400), "u=1"...))
	for _, a := range []struct {
		name, attack, reaction string
		settings               []uint64
		code                   uint64 // of the connection's end; 0: it goes on
		frames                 []byte // repeated
		script                 func(c *rawConn)
	}{
		{"DS-08 SETTINGS of 1,000 unknown entries", "SETTINGS of 1,000 unknown entries", "ignored", append(many, modernSettings...), 0, nil, nil},
		{"DS-08 SETTINGS of more than 8 KiB", "SETTINGS of more than 8 KiB", "the connection is closed with H3_FRAME_ERROR", bytesOfSettings(9 << 10), 0x106, nil, nil},
		{"DS-08 a setting twice", "a setting twice", "the connection is closed with H3_FRAME_ERROR", append([]uint64{0x4242, 1, 0x4242, 1}, modernSettings...), 0x106, nil, nil},
		{"DS-08 SETTINGS twice", "SETTINGS twice", "the connection is closed with H3_FRAME_UNEXPECTED", modernSettings, 0x105, settingsFrame(modernSettings...), nil},
		{"DS-06 PRIORITY_UPDATE for requests that are not there", "PRIORITY_UPDATE without end", "ignored, nothing is kept", modernSettings, 0, priority, nil},
		{"DS-11 unknown frames on the control stream", "unknown frames on the control stream", "skipped, nothing is kept", modernSettings, 0, h3frame(0x21, make([]byte, 10)), nil},
		{"H3-068 a second control stream", "a second control stream", "the connection is closed with H3_STREAM_CREATION_ERROR", modernSettings, 0x103, nil,
			func(c *rawConn) { c.control(modernSettings...) }},
		{"H3-068 a second QPACK stream", "a second QPACK encoder stream", "the connection is closed with H3_STREAM_CREATION_ERROR", modernSettings, 0x103, nil,
			func(c *rawConn) { c.uniStream(varints(2)); c.uniStream(varints(2)) }},
	} {
		t.Run(a.name, func(t *testing.T) {
			run := func(t *testing.T, start func(t *testing.T), frames int, sample func()) {
				synctest.Test(t, func(t *testing.T) {
					h := serve(t, simulated(t), &Server{Handler: undecided})
					defer h.stop()
					c := h.rawDial(fullQUIC)
					defer c.close()
					start(t)
					str := c.control(a.settings...)
					for range frames / 100 {
						if _, err := str.Write(bytes.Repeat(a.frames, 100)); err != nil {
							break
						}
					}
					if a.script != nil {
						a.script(c)
					}
					time.Sleep(time.Second)
					sample()
					if a.code == 0 {
						c.wantOpen()
						return
					}
					<-c.Conn.Context().Done()
					err := context.Cause(c.Conn.Context())
					if e, ok := errors.AsType[*quic.ApplicationError](err); !ok || !e.Remote || uint64(e.ErrorCode) != a.code {
						t.Errorf("the connection ended with %v, want %#x", err, a.code)
					}
				})
			}
			var m *hostile.Meter
			run(t, func(t *testing.T) {
				m = hostile.Start(t, hostile.Attack{
					Name: a.attack, Victim: "h3", Reaction: a.reaction,
					// 8 KiB of SETTINGS become a map.
					Bytes: processNoise + 64<<10 + transport.DefaultInitialStreamWindow, Goroutines: goroutineNoise,
				})
			}, 20_000, func() { m.Sample() })
			if a.frames != nil && a.code == 0 {
				m.Cost(10_000, func(frames int) { run(t, func(*testing.T) {}, frames, func() {}) })
			}
			m.End(nil)
		})
	}
}

// bytesOfSettings are unknown settings of at least n bytes.
func bytesOfSettings(n int) (pairs []uint64) {
	for i := uint64(0); len(varints(pairs...)) < n; i++ {
		pairs = append(pairs, 0x21+0x1f*(i+1<<20), 1<<40)
	}
	return pairs
}

func TestHostileDatagrams(t *testing.T) {
	send := func(v *victim, payload []byte, times int) {
		for i := range times {
			if v.conn.SendDatagram(payload) != nil {
				return
			}
			if i%100 == 99 {
				time.Sleep(time.Millisecond)
			}
		}
		time.Sleep(time.Second)
	}
	for _, a := range []struct {
		name, attack, reaction string
		payload                []byte
	}{
		{"FW-17 H3-037 datagrams that nobody takes", "datagrams that nobody takes", "128 are kept, the oldest are dropped and counted", append([]byte{0}, make([]byte, 1000)...)},
		{"H3-035 H3-037 datagrams for sessions that never come", "datagrams for sessions that never come", "dropped", append(varints(100), make([]byte, 1000)...)},
	} {
		t.Run(a.name, func(t *testing.T) {
			var m *hostile.Meter
			onVictim(t, nil, pooledSettings, func(v *victim) {
				m = hostile.Start(t, hostile.Attack{
					Name: a.attack, Victim: "h3", Reaction: a.reaction,
					// The session's queue, http3's of 32 and quic-go's of 128.
					Bytes: processNoise + (transport.DefaultIncomingDatagramQueue+32+128)*1500, Goroutines: goroutineNoise,
				})
				send(v, a.payload, 10_000)
				m.Sample()
				if st := v.s.Stats(); a.payload[0] == 0 && (st.DatagramsReceived < 1000 || st.DatagramsDroppedIncoming != st.DatagramsReceived-transport.DefaultIncomingDatagramQueue) {
					v.Errorf("%+v", st)
				}
				if v.s.Context().Err() != nil {
					v.Errorf("ended: %v", context.Cause(v.s.Context()))
				}
			})
			m.Cost(3000, func(frames int) { onVictim(t, nil, pooledSettings, func(v *victim) { send(v, a.payload, frames) }) })
			m.End(nil)
		})
	}
}

// When the server's memory is full the newest of the greedy sessions goes.
func TestHostileMemory(t *testing.T) {
	t.Run("DS-19 the newest greedy session is ended, the old quiet one lives", func(t *testing.T) {
		const memory = 2 << 20
		var m *hostile.Meter
		var reached error
		synctest.Test(t, func(t *testing.T) {
			handler, accepted := sessions(t, nil)
			h := serve(t, simulated(t), &Server{Handler: handler, Config: &Config{
				MaxServerMemory: memory, Session: &transport.Config{IncomingDatagramQueue: 10_000},
			}})
			defer h.stop()
			open := func() (*rawConn, transport.Session) {
				c := h.rawDial(fullQUIC, modernSettings...)
				c.accepted()
				return c, <-accepted
			}
			quiet, old := open()
			defer quiet.close()
			quiet.SendDatagram(make([]byte, 1000))
			var conns []*rawConn
			var greedy []transport.Session
			for range 3 {
				c, s := open()
				defer c.close()
				conns, greedy = append(conns, c), append(greedy, s)
			}
			m = hostile.Start(t, hostile.Attack{
				Name: "three connections fill the server's memory", Victim: "h3", Limit: transport.LimitMemory,
				Reaction: "the newest of those that hold most is ended with H3_EXCESSIVE_LOAD",
				Bytes:    processNoise + memory, Goroutines: goroutineNoise,
			})
			for n := 0; greedy[2].Context().Err() == nil && n < 3*memory/1000; n++ {
				for _, c := range conns {
					c.SendDatagram(make([]byte, 1001))
				}
				time.Sleep(5 * time.Millisecond)
			}
			m.Sample()
			wantViolation(t, greedy[2], transport.ViolationExcess)
			reached = context.Cause(greedy[2].Context())
			for i, s := range append(greedy[:2:2], old) {
				if err := context.Cause(s.Context()); err != nil {
					t.Errorf("session %d ended with %v", i, err)
				}
			}
			if p, err := old.ReceiveDatagram(context.Background()); err != nil || len(p) != 999 {
				t.Errorf("ReceiveDatagram: %d bytes, %v", len(p), err)
			}
		})
		m.End(reached)
	})
}
