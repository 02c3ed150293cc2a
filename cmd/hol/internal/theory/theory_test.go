package theory

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

const ms = time.Millisecond

// The kinds of transports that there are.
var (
	oneTCP     = adapter.Traits{Connections: 1, Ordered: true, Shared: true, Reliable: true, Calls: true, Recovery: "tcp"}
	eachTCP    = adapter.Traits{Connections: 0, Ordered: true, Shared: true, Reliable: true, Calls: true, CallsOrdered: true, Recovery: "tcp"}
	quicOnce   = adapter.Traits{UDP: true, Connections: 1, Reliable: true, Calls: true, Recovery: "quic"}
	quicStream = adapter.Traits{UDP: true, Connections: 1, Ordered: true, Reliable: true, Calls: true, Recovery: "quic"}
	datagrams  = adapter.Traits{UDP: true, Connections: 1, Recovery: "quic"}
	sctpOrder  = adapter.Traits{UDP: true, Connections: 1, Ordered: true, Reliable: true, Calls: true, CallsOrdered: true, Recovery: "sctp"}
)

// light is eight channels with a small message each every 20 ms, and 25 ms of
// delay.
func light() lab.Run {
	return lab.Run{
		CC:        "cubic",
		Direction: lab.Down,
		Link:      lab.Link{Delay: 25 * ms, MTU: 1500},
		Workload: lab.Workload{
			Kind: lab.Updates, Channels: 8, Interval: 20 * ms, MinSize: 150, MaxSize: 250,
			Duration: 20 * time.Second,
		},
	}
}

// At a loss that is nearly none the share is the loss times the number of
// messages that wait for a packet; it was worked out by hand.
func TestHowManyMessagesWaitForAPacket(t *testing.T) {
	change := func(f func(*lab.Run)) lab.Run {
		run := light()
		f(&run)
		return run
	}
	for _, c := range []struct {
		name   string
		run    lab.Run
		traits adapter.Traits
		n      float64
	}{
		// Three segments later are 7.5 ms: 57.5 ms late; within 32.5 ms 14 messages.
		{"one TCP connection", light(), oneTCP, 14},
		// The next segment after 20 ms, beyond the reordering window of 12.5 ms: 70
		// ms; within 45 ms 3 messages. In half of the cases the one after that: 90 ms,
		// within 65 ms 4.
		{"a TCP connection each", light(), eachTCP, 3.5},
		{"QUIC, a message waits for itself", light(), quicOnce, 1},
		// 9/8 of 50 ms: 56.25 ms late; within 31.25 ms 2 messages.
		{"QUIC, a stream each", light(), quicStream, 2},
		{"SCTP, a stream each", light(), sctpOrder, 2},
		{"datagrams", light(), datagrams, 0},
		// Half the channels: segments after 15 ms, 65 ms late, within 40 ms 9.
		{"four channels", change(func(r *lab.Run) { r.Workload.Channels = 4 }), oneTCP, 9},
		// Every 10 ms: the second one, after 20 ms, is beyond 12.5 ms: within 45 ms 5.
		{"two channels", change(func(r *lab.Run) { r.Workload.Channels = 2 }), oneTCP, 5},
		// One channel is one channel, on whatever connection.
		{"one channel", change(func(r *lab.Run) { r.Workload.Channels = 1 }), oneTCP, 3.5},
		{"one channel of its own", change(func(r *lab.Run) { r.Workload.Channels = 1 }), eachTCP, 3.5},
		// The timeout comes before the next message: 250 ms late, of 225 ms 1.
		{"TCP timeout", change(func(r *lab.Run) { r.Workload.Interval = time.Second }), eachTCP, 1},
		// 2.5 ms apart in 5 ms of delay: an RTT of 10 ms, a reordering window of 2.5
		// ms, one segment: 12.5 ms late, within 7.5 ms 4; in half of the cases two: 15
		// ms late, within 10 ms 5.
		{"a short link", change(func(r *lab.Run) { r.Link.Delay = 5 * ms }), oneTCP, 4.5},
		// Messages of 2,000 bytes are two segments: any of which delays. Three later
		// segments are in the next two messages: 55 ms late, within 30 ms 13 messages.
		{"two segments", change(func(r *lab.Run) { r.Workload.MinSize, r.Workload.MaxSize = 2000, 2000 }), oneTCP, 26},
		// A call is late by its request or its response.
		{"calls over one TCP connection", change(func(r *lab.Run) { r.Workload.Kind = lab.RPC }), oneTCP, 28},
		{"calls over QUIC, a stream each", change(func(r *lab.Run) { r.Workload.Kind = lab.RPC }), quicStream, 2},
		{"calls over TCP connections", change(func(r *lab.Run) { r.Workload.Kind = lab.RPC }), eachTCP, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			const p = 1e-7
			share, ok := Late(c.run, c.traits, p)
			if n := share / p; !ok || math.Abs(n-c.n) > 1e-3 {
				t.Errorf("predicted %v messages late for each packet lost (ok %v), want %v", n, ok, c.n)
			}
		})
	}
}

// Very late is what waits for a packet that was lost twice, where it was found out
// soon the first time: so many messages for the square of the loss.
func TestHowManyMessagesWaitForAPacketLostTwice(t *testing.T) {
	for _, c := range []struct {
		name   string
		traits adapter.Traits
		n      float64
	}{
		// Found out a round trip and a segment after it was sent again: 57.5 + 52.5 ms
		// late; within 35 ms 15 messages.
		{"one TCP connection", oneTCP, 15},
		// Twice 56.25 ms late; within 37.5 ms 2 messages.
		{"QUIC, a stream each", quicStream, 2},
		{"QUIC, a message waits for itself", quicOnce, 1},
		// By the timer, 1,050 ms late; within 975 ms 49 messages.
		{"SCTP, a stream each", sctpOrder, 49},
		{"datagrams", datagrams, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			const p = 1e-5
			got, ok := Predict(light(), c.traits, Losses{Forward: p})
			if n := got.VeryLate / (p * p); !ok || math.Abs(n-c.n) > .01 {
				t.Errorf("predicted %v messages very late (ok %v), want %v", n, ok, c.n)
			}
		})
	}
}

// What the simplest form of the theory says, 1-(1-p)^n, at realised losses of 0.8,
// 1.7 and 4.6 %, give or take 0.2 points: each transport meets its own.
func TestSimplestForm(t *testing.T) {
	for _, c := range []struct {
		name   string
		traits adapter.Traits
		n      int
		want   []float64
	}{
		{"one TCP connection", oneTCP, 14, []float64{.116, .205, .47}},
		{"a TCP connection each", eachTCP, 3, []float64{.024, .050, .132}},
		{"QUIC, a message waits for itself", quicOnce, 1, []float64{.008, .017, .046}},
		{"SCTP, a stream each", sctpOrder, 2, []float64{.016}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, ok := newFlow(light(), c.traits)
			if !ok {
				t.Fatal("no flow")
			}
			f.pending = 0 // acknowledgements that a receiver keeps back were left out
			for i, nominal := range []float64{.008, .017, .046}[:len(c.want)] {
				p := 1 - math.Pow(1-c.want[i], 1/float64(c.n))
				if math.Abs(p-nominal) > .002 {
					t.Errorf("%v late are no %d messages at %v: that takes a loss of %v", c.want[i], c.n, nominal, p)
				}
				// Losses of retransmissions come on top, and recovery in
				// progress goes off.
				if got := f.share(p, f.rtt/2); math.Abs(got-c.want[i]) > .11*c.want[i] && math.Abs(got-c.want[i]) > .004 {
					t.Errorf("at %v predicted %v, want %v", p, got, c.want[i])
				}
			}
		})
	}
}

func TestNoPrediction(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*lab.Run)
		traits adapter.Traits
		loss   float64
	}{
		{"mixed", func(r *lab.Run) { r.Workload.Kind = lab.Mixed }, oneTCP, .01},
		{"page", func(r *lab.Run) { r.Workload.Kind = lab.Page }, oneTCP, .01},
		{"limited rate", func(r *lab.Run) { r.Link.Rate = 1e6 }, oneTCP, .01},
		{"bursts", func(r *lab.Run) { r.Link.Burst = lab.Burst{Good: time.Second, Bad: 20 * ms, Loss: 1} }, oneTCP, .01},
		{"reordering", func(r *lab.Run) { r.Link.Reorder = true }, oneTCP, .01},
		{"jitter", func(r *lab.Run) { r.Link.Jitter = 7 * ms }, oneTCP, .01},
		{"no delay", func(r *lab.Run) { r.Link.Delay = 0 }, oneTCP, .01},
		{"blocked", func(r *lab.Run) { r.Link.BlockUDP = true }, quicStream, .01},
		{"no channels", func(r *lab.Run) { r.Workload.Channels = 0 }, oneTCP, .01},
		{"no interval", func(r *lab.Run) { r.Workload.Interval = 0 }, oneTCP, .01},
		{"unknown recovery", func(*lab.Run) {}, adapter.Traits{Recovery: "carrier pigeon"}, .01},
		// 16 kB a round trip, and a window of 17 kB.
		{"full load on one connection", func(r *lab.Run) { r.Workload.MinSize, r.Workload.MaxSize = 200, 1200 }, oneTCP, .01},
		{"full load on QUIC", func(r *lab.Run) { r.Workload.MinSize, r.Workload.MaxSize = 200, 1200 }, quicStream, .01},
		{"light load at 5 %", func(*lab.Run) {}, oneTCP, .05},
		{"calls at 5 % back", func(r *lab.Run) { r.Workload.Kind = lab.RPC }, oneTCP, .05},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := light()
			c.change(&run)
			if share, ok := Late(run, c.traits, c.loss); ok || share != 0 {
				t.Errorf("predicted %v (%v)", share, ok)
			}
		})
	}
	t.Run("and where there is one", func(t *testing.T) {
		full := light()
		full.Workload.MinSize, full.Workload.MaxSize = 200, 1200
		if _, ok := Late(full, eachTCP, .02); !ok {
			t.Error("full load on connections of their own")
		}
		full.CC = "bbr"
		if _, ok := Late(full, oneTCP, .05); !ok {
			t.Error("full load without a congestion control that takes losses for congestion")
		}
		blocked := light()
		blocked.Link.BlockUDP = true
		if _, ok := Late(blocked, oneTCP, .01); !ok {
			t.Error("TCP where UDP is blocked")
		}
	})
}

// More loss makes more messages late, never fewer, and a share stays a share.
func TestShareGrowsWithLoss(t *testing.T) {
	for _, kind := range []lab.Kind{lab.Updates, lab.RPC} {
		for i, traits := range []adapter.Traits{oneTCP, eachTCP, quicOnce, quicStream, sctpOrder, datagrams} {
			t.Run(fmt.Sprint(kind, " ", i), func(t *testing.T) {
				run := light()
				run.Workload.Kind = kind
				f, ok := newFlow(run, traits)
				if !ok {
					t.Fatal("no flow")
				}
				last := 0.0
				for _, p := range []float64{0, 1e-9, 1e-4, .001, .005, .01, .02, .03, .05, .1, .2, .5, .9, 1, 1.5} {
					share := f.share(p, f.rtt/2)
					if math.IsNaN(share) || share < last-1e-12 || share > 1 {
						t.Fatalf("predicted %v at %v after %v", share, p, last)
					}
					if tail := f.share(p, 3*f.rtt/2); tail > share || tail < 0 {
						t.Fatalf("predicted %v very late and %v late", tail, share)
					}
					last = share
				}
			})
		}
	}
}

func TestMeanPackets(t *testing.T) {
	for _, c := range []struct {
		smallest, largest int
		payload, want     float64
	}{
		{150, 250, 1400, 1},
		{0, 0, 1400, 1},
		{1400, 1400, 1400, 1},
		{1401, 1401, 1400, 2},
		{2801, 2801, 1400, 3},
		{1, 2800, 1400, 1.5},
		{1301, 1500, 1400, 1.5},
		{1401, 1500, 1400, 2},
		{9, 3, 1400, 1},
	} {
		if got := meanPackets(c.smallest, c.largest, c.payload); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%d to %d bytes in packets of %v: %v, want %v", c.smallest, c.largest, c.payload, got, c.want)
		}
	}
}
