package wswt

import (
	"context"
	"io"
	"testing"
	"testing/synctest"

	"github.com/gobwas/ws"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/hostile"
	"github.com/towpath-go/towpath/transport"
)

// sessionBytes bounds what the session itself holds for capsules that bring
// nothing: its one stream, and the capsules that answer.
const sessionBytes = 64 << 10

// openFloods has the engine's limits switched off.
var openFloods = &Config{Session: &transport.Config{Floods: transport.Floods{
	Glitches:      transport.Rate{PerSecond: -1},
	Resets:        transport.Rate{PerSecond: -1},
	Control:       transport.Rate{PerSecond: -1},
	TinyDatagrams: transport.Rate{PerSecond: -1},
}}}

// capsuleFlood is a message of n capsules.
func capsuleFlood(n int, one func(p *rawPeer) []byte) func(p *rawPeer) []byte {
	return func(p *rawPeer) []byte {
		var payload []byte
		for range n {
			payload = append(payload, one(p)...)
		}
		return p.encode(ws.OpBinary, true, payload)
	}
}

// TestHostileCapsules has capsules that bring nothing come in real frames, many in
// a message.
func TestHostileCapsules(t *testing.T) {
	const n = 100
	opens := func(p *rawPeer) []byte {
		return p.encode(ws.OpBinary, true, streamCapsule(p.peerStream(), false, "x"))
	}
	for _, f := range []flood{
		{name: "empty WT_STREAM capsules on a stream that is open", limit: transport.LimitCapsules, first: opens,
			piece: capsuleFlood(n, func(p *rawPeer) []byte { return streamCapsule(p.peerStream(), false, "") })},
		{name: "PADDING of 1 byte", limit: transport.LimitCapsules,
			piece: capsuleFlood(n, func(*rawPeer) []byte { return capsule.Padding{Length: 1}.Append(nil) })},
		{name: "capsules of unknown type", limit: transport.LimitCapsules,
			piece: capsuleFlood(n, func(*rawPeer) []byte { return []byte{0x17, 0} })},
		{name: "WT_DATA_BLOCKED again and again", limit: transport.LimitCapsules,
			piece: capsuleFlood(n, func(*rawPeer) []byte { return capsule.DataBlocked{MaximumData: 1}.Append(nil) })},
		{name: "WT_MAX_DATA again and again", limit: transport.LimitCapsules,
			piece: capsuleFlood(n, func(*rawPeer) []byte { return capsule.MaxData{MaximumData: 1 << 20}.Append(nil) })},
		{name: "WT_DRAIN_SESSION again and again", limit: transport.LimitCapsules,
			piece: capsuleFlood(n, func(*rawPeer) []byte { return capsule.DrainSession{}.Append(nil) })},
		{name: "datagrams of 1 byte", limit: transport.LimitTinyDatagrams,
			// 128 of them are queued.
			piece: capsuleFlood(n, func(*rawPeer) []byte { return append(capsule.AppendDatagramHeader(nil, 1), 0) })},
	} {
		f.id, f.frames, f.reads, f.status, f.bytes, f.unbound = "DS-17", n, true, 1008, sessionBytes, openFloods
		f.reaction = "Close 1008 and the end of the session"
		f.run(t)
	}
}

// TestHostileChurn has the peer open streams and reset them at once, or ask for
// resets of its own streams' other halves.
func TestHostileChurn(t *testing.T) {
	const n = 50
	next := func(ids func(p *rawPeer, i uint64) []byte) func(p *rawPeer) func() []byte {
		return func(p *rawPeer) func() []byte {
			i := uint64(0)
			return func() []byte {
				var payload []byte
				for range n {
					payload = append(payload, ids(p, i)...)
					i++
				}
				return p.encode(ws.OpBinary, true, payload)
			}
		}
	}
	for _, tt := range []struct {
		name string
		make func(p *rawPeer, i uint64) []byte
	}{
		{"streams opened and reset", func(p *rawPeer, i uint64) []byte {
			id := p.peerStream() + 4*i + 2
			return capsule.ResetStream{StreamID: id}.Append(streamCapsule(id, false, ""))
		}},
		{"streams opened, stopped and reset", func(p *rawPeer, i uint64) []byte {
			id := p.peerStream() + 4*i
			return capsule.ResetStream{StreamID: id}.Append(capsule.StopSending{StreamID: id}.Append(streamCapsule(id, false, "")))
		}},
	} {
		for _, client := range []bool{false, true} {
			side := "to a server"
			if client {
				side = "to a client"
			}
			t.Run("DS-02 DS-07 DS-18 "+tt.name+" "+side, func(t *testing.T) {
				attack := func(cfg *Config, most int, sample func()) (cause error) {
					synctest.Test(t, func(*testing.T) {
						p := connect(t, client, cfg, attackWire)
						defer p.nc.Close()
						read := make(chan struct{})
						go func() { // ends with the connection
							defer close(read)
							_, _ = io.Copy(io.Discard, p.nc)
						}()
						message := next(tt.make)(p)
						for sent := 0; sent < most; sent += n {
							if _, err := p.nc.Write(message()); err != nil {
								break
							}
							// The application takes the streams and finds them reset, so that
							// the peer may open more.
							synctest.Wait()
							for {
								x, err := p.s.AcceptStream(ended())
								if err != nil {
									break
								}
								x.CancelRead(0)
								x.Close()
							}
							for {
								u, err := p.s.AcceptUniStream(ended())
								if err != nil {
									break
								}
								u.CancelRead(0)
							}
							synctest.Wait()
							if sent%500 == 0 {
								sample()
							}
							if p.s.Context().Err() != nil {
								break
							}
						}
						sample()
						cause = context.Cause(p.s.Context())
						p.nc.Close()
						<-p.c.done
						<-read
						p.wantGone()
					})
					return cause
				}
				attack(nil, 100, func() {}) // what is made once
				m := hostile.Start(t, hostile.Attack{
					Name: tt.name + " " + side, Victim: "ws", Reaction: "Close 1008 and the end of the session", Limit: transport.LimitAborts,
					// The connection with its session, and 100 streams of both kinds.
					Bytes: frameBytes + sessionBytes + 2*100*2<<10,
					// The connection's two, the bubble's two, and the script's.
					Goroutines: 5,
				})
				cause := attack(nil, 100_000, m.Sample)
				if cause == nil {
					t.Error("the session goes on")
				}
				m.Cost(2000, func(streams int) {
					if cause := attack(openFloods, streams, func() {}); cause != nil {
						t.Errorf("without the limit the session ended with %v", cause)
					}
				})
				m.End(cause)
			})
		}
	}
}

// TestHostileDatagrams has datagrams come faster than the application takes them.
func TestHostileDatagrams(t *testing.T) {
	for _, tt := range []struct {
		name     string
		cfg      *transport.Config
		limit    transport.Limit
		reaction string
	}{
		{"datagrams of 16 KiB that nobody takes", nil, "", "all but the newest 128 are dropped"},
		{"more datagrams than the rate allows", &transport.Config{IncomingDatagramRate: transport.Rate{PerSecond: 10}},
			transport.LimitDatagramRate, "those above the rate are dropped"},
	} {
		for _, client := range []bool{false, true} {
			side := "to a server"
			if client {
				side = "to a client"
			}
			t.Run("DS-17 "+tt.name+" "+side, func(t *testing.T) {
				const size = 16 << 10
				var m *hostile.Meter
				synctest.Test(t, func(*testing.T) {
					p := connect(t, client, &Config{Session: tt.cfg}, attackWire)
					defer p.nc.Close()
					message := p.encode(ws.OpBinary, true, append(capsule.AppendDatagramHeader(nil, size), make([]byte, size)...))
					go func() { _, _ = io.Copy(io.Discard, p.nc) }() // ends with the connection
					synctest.Wait()
					m = hostile.Start(t, hostile.Attack{
						Name: tt.name + " " + side, Victim: "ws", Reaction: tt.reaction, Limit: tt.limit,
						// Config.IncomingDatagramQueue of them, and the one that comes. They
						// are gathered from pieces, which leaves up to a quarter more.
						Bytes: frameBytes + sessionBytes + (transport.DefaultIncomingDatagramQueue+2)*size*5/4,
					})
					for i := range 2000 {
						p.raw(message)
						if i%500 == 0 {
							synctest.Wait()
							m.Sample()
						}
					}
					synctest.Wait()
					m.Sample()
					s := p.s.Stats()
					kept := 2000 - s.DatagramsDroppedIncoming - s.DatagramsThrottled
					if want := map[bool]uint64{false: transport.DefaultIncomingDatagramQueue, true: 10}[tt.cfg != nil]; kept != want {
						t.Errorf("%d datagrams were kept, want %d: %+v", kept, want, s)
					}
					if p.s.Context().Err() != nil {
						t.Errorf("the session ended with %v", context.Cause(p.s.Context()))
					}
					p.nc.Close()
					<-p.c.done
					p.wantGone()
				})
				m.Cost(2000, func(n int) {
					p := connect(t, client, &Config{Session: tt.cfg}, attackWire)
					message := p.encode(ws.OpBinary, true, append(capsule.AppendDatagramHeader(nil, 1000), make([]byte, 1000)...))
					go func() { _, _ = io.Copy(io.Discard, p.nc) }() // ends with the connection
					for range n {
						p.raw(message)
					}
					p.nc.Close()
					<-p.c.done
				})
				m.End(nil)
			})
		}
	}
}
