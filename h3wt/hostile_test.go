package h3wt

import (
	"bytes"
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/hostile"
	"github.com/towpath-go/towpath/transport"
)

// What is in the bounds of these tests beside the limits that each names. The
// attacker runs in the same process, so they hold both ends'.
const (
	// processNoise are the pools of packet buffers, and what the simulated network
	// has on the way.
	processNoise = 3 << 20
	// streamCost is a QUIC stream with the goroutine that may wait for its header.
	streamCost = 16 << 10
	// goroutineNoise are goroutines of the script, and timers that fire.
	goroutineNoise = 10
)

// floodBound is how many events at once the buckets of Floods.Resets and
// Floods.Glitches take. A victim holds most just before, so attacks are measured there.
const floodBound = 1000

// off has no bucket stop an attack whose cost is measured.
var off = transport.Floods{
	Glitches: transport.Rate{PerSecond: -1}, Resets: transport.Rate{PerSecond: -1},
	Control: transport.Rate{PerSecond: -1}, TinyDatagrams: transport.Rate{PerSecond: -1},
}

// victim is a session of ours, at the end of a script.
type victim struct {
	testing.TB
	h    *harness
	conn *rawConn
	str  *quic.Stream // CONNECT
	s    transport.Session
}

// onVictim runs a script against a session in a bubble.
func onVictim(t *testing.T, cfg *Config, settings []uint64, script func(v *victim)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Second) // for goroutines of the script that see the end
		h, accepted := serveRaw(t, cfg, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, settings...)
		defer c.close()
		str := c.accepted()
		go io.Copy(io.Discard, str) // ends with the stream
		script(&victim{t, h, c, str, <-accepted})
	})
}

// flood writes the same bytes in DATA frames until so many copies were written or
// the session has ended.
func (v *victim) flood(capsule []byte, times int) {
	const most = 8 << 10
	per := max(1, min(times, most/len(capsule)))
	frame := dataFrame(bytes.Repeat(capsule, per))
	v.str.SetWriteDeadline(time.Now().Add(time.Hour))
	for left := times; left > 0 && v.s.Context().Err() == nil; left -= per {
		if left < per {
			frame = dataFrame(bytes.Repeat(capsule, left))
		}
		if _, err := v.str.Write(frame); err != nil {
			return
		}
	}
	time.Sleep(time.Second)
}

func TestHostileCapsules(t *testing.T) {
	number := func(c capsule.Capsule) []byte { return c.Append(nil) }
	for _, a := range []struct {
		name     string
		reaction string
		limit    transport.Limit
		settings []uint64
		frame    []byte
	}{
		{"DS-17 PADDING capsules", "the session ends with H3_GENERAL_PROTOCOL_ERROR", transport.LimitCapsules, pooledSettings, varints(uint64(capsule.TypePadding), 0)},
		{"DS-17 capsules of unknown type", "the session ends with H3_GENERAL_PROTOCOL_ERROR", transport.LimitCapsules, pooledSettings, varints(0x4242, 3, 0, 0, 0)},
		{"DS-17 repeated WT_DRAIN_SESSION", "the session ends with H3_GENERAL_PROTOCOL_ERROR", transport.LimitCapsules, pooledSettings, number(capsule.DrainSession{})},
		{"DS-17 repeated WT_DATA_BLOCKED", "the session ends with H3_GENERAL_PROTOCOL_ERROR", transport.LimitCapsules, pooledSettings, number(capsule.DataBlocked{MaximumData: 7})},
		{"DS-17 flow-control capsules without flow control", "the session ends with H3_GENERAL_PROTOCOL_ERROR", transport.LimitCapsules, modernSettings, number(capsule.MaxData{MaximumData: 7})},
		{"DS-17 DATAGRAM capsules of a byte", "the session ends with H3_GENERAL_PROTOCOL_ERROR", transport.LimitTinyDatagrams, pooledSettings, varints(0, 1, 0)},
	} {
		t.Run(a.name, func(t *testing.T) {
			var m *hostile.Meter
			var reached error
			tiny := transport.Floods{TinyDatagrams: transport.Rate{PerSecond: 1000, Burst: 5000}}
			onVictim(t, &Config{Session: &transport.Config{Floods: tiny}}, a.settings, func(v *victim) {
				m = hostile.Start(t, hostile.Attack{
					Name: a.name[len("DS-17 "):], Victim: "h3", Reaction: a.reaction, Limit: a.limit,
					// A capsule is decoded from 2 KiB at a time and not kept; datagrams have their queue.
					Bytes: processNoise + readSize + transport.DefaultIncomingDatagramQueue*64, Goroutines: goroutineNoise,
				})
				v.flood(a.frame, floodBound-1)
				m.Sample()
				if v.s.Context().Err() != nil {
					v.Errorf("ended below the bound: %v", context.Cause(v.s.Context()))
				}
				v.flood(a.frame, 20_000)
				reached = context.Cause(v.s.Context())
				wantViolation(v, v.s, transport.ViolationGeneric)
				v.conn.wantStopped(v.str, 0x101)
				v.conn.wantOpen()
			})
			m.Cost(5000, func(frames int) {
				onVictim(t, &Config{Session: &transport.Config{Floods: off}}, a.settings, func(v *victim) {
					v.flood(a.frame, frames)
					if v.s.Context().Err() != nil {
						t.Errorf("ended without limits: %v", context.Cause(v.s.Context()))
					}
				})
			})
			m.End(reached)
		})
	}
	t.Run("DS-17 WT_MAX_DATA by one", func(t *testing.T) {
		raise := func(v *victim, times int) {
			var b []byte
			for i := range times {
				b = capsule.MaxData{MaximumData: 1001 + uint64(i)}.Append(b)
				if len(b) > 8<<10 || i == times-1 {
					if _, err := v.str.Write(dataFrame(b)); err != nil || v.s.Context().Err() != nil {
						break
					}
					b = b[:0]
				}
			}
			time.Sleep(time.Second)
		}
		var m *hostile.Meter
		var reached error
		onVictim(t, nil, pooledSettings, func(v *victim) {
			m = hostile.Start(t, hostile.Attack{
				Name: "WT_MAX_DATA that raises the limit by one", Victim: "h3", Limit: transport.LimitControl,
				Reaction: "the session ends with H3_GENERAL_PROTOCOL_ERROR", Bytes: processNoise, Goroutines: goroutineNoise,
			})
			raise(v, 20_000)
			m.Sample()
			wantLimit(v, v.s, transport.LimitControl)
			reached = context.Cause(v.s.Context())
		})
		m.Cost(5000, func(frames int) {
			onVictim(t, &Config{Session: &transport.Config{Floods: off}}, pooledSettings, func(v *victim) { raise(v, frames) })
		})
		m.End(reached)
	})
	t.Run("DS-11 empty DATA frames", func(t *testing.T) {
		send := func(v *victim, times int) {
			frames := bytes.Repeat(dataFrame(nil), 1000)
			for n := 0; n < times && v.s.Context().Err() == nil; n += 1000 {
				if _, err := v.str.Write(frames); err != nil {
					break
				}
			}
			time.Sleep(time.Second)
		}
		var m *hostile.Meter
		var reached error
		onVictim(t, nil, pooledSettings, func(v *victim) {
			m = hostile.Start(t, hostile.Attack{
				Name: "empty DATA frames", Victim: "h3", Limit: transport.LimitCapsules,
				Reaction: "the session ends with H3_GENERAL_PROTOCOL_ERROR", Bytes: processNoise, Goroutines: goroutineNoise,
			})
			send(v, 20_000)
			m.Sample()
			wantLimit(v, v.s, transport.LimitCapsules)
			reached = context.Cause(v.s.Context())
		})
		m.Cost(10_000, func(frames int) {
			onVictim(t, &Config{Session: &transport.Config{Floods: off}}, pooledSettings, func(v *victim) { send(v, frames) })
		})
		m.End(reached)
	})
	// What is skipped is neither kept nor a reason to end the session: it costs what
	// it takes to receive it.
	for _, a := range []struct {
		name  string
		begin []byte
		frame []byte
	}{
		{"DS-17 an unknown capsule of endless length", dataFrame(varints(0x4242, 1<<62-1)), dataFrame(make([]byte, 8<<10))},
		{"DS-17 a DATAGRAM capsule of endless length", dataFrame(varints(0, 1<<62-1)), dataFrame(make([]byte, 8<<10))},
		{"DS-17 unknown frames on the CONNECT stream", nil, bytes.Repeat(h3frame(0x21+0x1f*7, make([]byte, 30)), 250)},
		{"DS-17 an unknown frame of endless length", varints(0x40, 1<<62-1), make([]byte, 8<<10)},
	} {
		t.Run(a.name, func(t *testing.T) {
			send := func(v *victim, times int) {
				v.str.Write(a.begin)
				for range times {
					if _, err := v.str.Write(a.frame); err != nil {
						v.Errorf("the stream ended: %v", err)
						return
					}
				}
				time.Sleep(time.Second)
				if v.s.Context().Err() != nil {
					v.Errorf("the session ended: %v", context.Cause(v.s.Context()))
				}
			}
			var m *hostile.Meter
			onVictim(t, nil, pooledSettings, func(v *victim) {
				m = hostile.Start(t, hostile.Attack{
					Name: a.name[len("DS-17 "):], Victim: "h3", Reaction: "skipped, nothing is kept",
					// What is on the way is as much as the stream's window.
					Bytes: processNoise + readSize + transport.DefaultMaxStreamWindow, Goroutines: goroutineNoise,
				})
				send(v, 1000)
				m.Sample()
			})
			m.Cost(300, func(frames int) { onVictim(t, nil, pooledSettings, func(v *victim) { send(v, frames) }) })
			m.End(nil)
		})
	}
	t.Run("DS-17 capsule headers a byte at a time", func(t *testing.T) {
		var m *hostile.Meter
		onVictim(t, nil, pooledSettings, func(v *victim) {
			m = hostile.Start(t, hostile.Attack{
				Name: "a capsule header dribbled, and never finished", Victim: "h3", Reaction: "16 bytes are kept, the session waits",
				Bytes: processNoise, Goroutines: goroutineNoise,
			})
			for _, b := range varints(1<<61, 1<<61)[:15] {
				v.str.Write(dataFrame([]byte{b}))
				time.Sleep(20 * time.Second)
			}
			m.Sample()
			if v.s.Context().Err() != nil {
				v.Errorf("the session ended: %v", context.Cause(v.s.Context()))
			}
		})
		m.End(nil)
	})
	for _, c := range []capsule.Capsule{
		capsule.MaxStreamData{StreamID: 4, MaximumStreamData: 1}, capsule.StreamDataBlocked{StreamID: 4, MaximumStreamData: 1},
	} {
		t.Run("H3-054 a prohibited "+c.Type().String(), func(t *testing.T) {
			var m *hostile.Meter
			onVictim(t, nil, pooledSettings, func(v *victim) {
				m = hostile.Start(t, hostile.Attack{
					Name: "a prohibited " + c.Type().String(), Victim: "h3", Reaction: "the session ends with H3_MESSAGE_ERROR",
					Bytes: processNoise, Goroutines: goroutineNoise,
				})
				v.conn.capsules(v.str, c)
				wantViolation(v, v.s, transport.ViolationMalformed)
				v.conn.wantStopped(v.str, 0x10e)
				m.Sample()
				v.conn.wantOpen()
			})
			m.End(nil)
		})
	}
}

func TestHostileFlowControl(t *testing.T) {
	const window = 32 << 10
	limits := &transport.Config{
		MaxIncomingStreams: 3, MaxIncomingUniStreams: 3,
		InitialSessionWindow: window, MaxSessionWindow: window,
	}
	header := varints(uniStreamType, 0)
	for _, a := range []struct {
		name, attack string
		within       func(v *victim)
		beyond       func(v *victim)
	}{
		{"H3-050 one stream above the session's limit", "one stream more than the session allows",
			func(v *victim) {
				for range 3 {
					v.conn.uniStream(header, []byte("x"))
				}
			},
			func(v *victim) { v.conn.uniStream(header, []byte("x")) }},
		{"H3-051 one byte above the session's window", "one byte more than the session's window",
			func(v *victim) { v.conn.uniStream(header, make([]byte, window)).Close() },
			func(v *victim) { v.conn.uniStream(header, []byte("x")).Close() }},
	} {
		t.Run(a.name, func(t *testing.T) {
			var m *hostile.Meter
			var reached error
			onVictim(t, &Config{Session: limits}, pooledSettings, func(v *victim) {
				m = hostile.Start(t, hostile.Attack{
					Name: a.attack, Victim: "h3", Reaction: "the session ends with WT_FLOW_CONTROL_ERROR", Limit: transport.LimitFlowControl,
					// Both ends have the window's bytes in packets and in frames.
					Bytes: processNoise + 4*window + 4*streamCost, Goroutines: goroutineNoise,
				})
				a.within(v)
				time.Sleep(time.Second)
				if v.s.Context().Err() != nil {
					v.Fatalf("ended at the limit: %v", context.Cause(v.s.Context()))
				}
				m.Sample()
				a.beyond(v)
				wantViolation(v, v.s, transport.ViolationFlowControl)
				v.conn.wantStopped(v.str, codeFlowControl)
				m.Sample()
				reached = context.Cause(v.s.Context())
				v.conn.wantOpen()
			})
			m.End(reached)
		})
	}
}
