package workload

import (
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

const ms = time.Millisecond

// tcp is a transport whose channels promise everything.
var tcp = adapter.Traits{Connections: 1, Ordered: true, Reliable: true, Calls: true, ServerOpens: true}

// small is a workload of two channels with 4 messages each in the measured time.
func small() lab.Run {
	return lab.Run{
		Direction: lab.Down, Seed: 3, Link: lab.Link{Delay: 25 * ms},
		Workload: lab.Workload{
			Kind: lab.Updates, Channels: 2, Interval: 20 * ms, MinSize: 150, MaxSize: 250,
			Warmup: 40 * ms, Duration: 80 * ms, Drain: 300 * ms,
		},
	}
}

// bubble plays a run over a fake in virtual time.
func bubble(t *testing.T, f *fake, run lab.Run, check func(o Outcome, err error)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		check(play(t.Context(), f.adapter(), adapter.Env{}, run, Marks{}, newTimer))
	})
}

// sample is what one message of small is to become.
func sample(run lab.Run, channel, sequence int, latency, waited time.Duration) lab.Sample {
	s := newSchedule(run.Workload, run.Seed)
	return lab.Sample{
		Channel: channel, Scheduled: s.at(channel, sequence) - run.Workload.Warmup,
		Latency: latency, Size: s.size(channel, sequence), Waited: waited,
	}
}

// all are the samples of small if every message takes latency.
func all(run lab.Run, latency time.Duration) []lab.Sample {
	var samples []lab.Sample
	for channel := range 2 {
		for sequence := 2; sequence < 6; sequence++ {
			samples = append(samples, sample(run, channel, sequence, latency, 0))
		}
	}
	return samples
}

// sizes are what messages of a channel have together.
func sizes(run lab.Run, channel, from, to int) int64 {
	s, sum := newSchedule(run.Workload, run.Seed), 0
	for sequence := from; sequence < to; sequence++ {
		sum += s.size(channel, sequence)
	}
	return int64(sum)
}

func wantSamples(t *testing.T, got, want []lab.Sample) {
	t.Helper()
	if reflect.DeepEqual(got, want) {
		return
	}
	t.Errorf("%d samples, not %d", len(got), len(want))
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Errorf("sample %d is %+v, not %+v", i, got[i], want[i])
		}
	}
}

func TestUpdates(t *testing.T) {
	for _, d := range []lab.Direction{lab.Down, lab.Up} {
		t.Run("every message takes the delay, "+string(d), func(t *testing.T) {
			run := small()
			run.Direction = d
			bubble(t, &fake{traits: tcp, delay: 25 * ms, dialed: 50 * ms}, run, func(o Outcome, err error) {
				if err != nil {
					t.Fatal(err)
				}
				wantSamples(t, o.Samples, all(run, 25*ms))
				// The first of each that count were scheduled in the warm-up, and the last
				// that are measured came after the measured time.
				if want := sizes(run, 0, 1, 5) + sizes(run, 1, 1, 5); o.Arrived != want {
					t.Errorf("%d bytes arrived, not %d", o.Arrived, want)
				}
				want := lab.Setup{FirstMessage: 75 * ms, NextChannel: 25 * ms, ServerChannel: 25 * ms}
				if o.Setup != want {
					t.Errorf("set-up %+v, not %+v", o.Setup, want)
				}
			})
		})
	}
	t.Run("what is lost is undelivered", func(t *testing.T) {
		run := small()
		f := &fake{traits: adapter.Traits{}, delay: 25 * ms}
		f.fate = func(h header, d lab.Direction) fate {
			return fate{lost: h.kind == update && h.channel == 1 && h.sequence == 3}
		}
		bubble(t, f, run, func(o Outcome, err error) {
			if err != nil {
				t.Fatal(err)
			}
			want := all(run, 25*ms)
			want[5].Latency = lab.Undelivered
			wantSamples(t, o.Samples, want)
			if want := sizes(run, 0, 1, 5) + sizes(run, 1, 1, 3) + sizes(run, 1, 4, 5); o.Arrived != want {
				t.Errorf("%d bytes arrived, not %d", o.Arrived, want)
			}
		})
	})
	t.Run("one that is late holds up the ordered ones behind it", func(t *testing.T) {
		run := small()
		f := &fake{traits: tcp, delay: 25 * ms}
		f.fate = func(h header, d lab.Direction) fate {
			if h.kind == update && h.channel == 0 && h.sequence == 3 {
				return fate{extra: 50 * ms}
			}
			return fate{}
		}
		bubble(t, f, run, func(o Outcome, err error) {
			if err != nil {
				t.Fatal(err)
			}
			want := all(run, 25*ms)
			want[1].Latency = 75 * ms
			want[2].Latency = 55 * ms
			want[3].Latency = 35 * ms
			wantSamples(t, o.Samples, want)
		})
	})
	t.Run("a sender that is held up keeps its schedule", func(t *testing.T) {
		run := small()
		f := &fake{traits: tcp, delay: 45 * ms, window: 1}
		bubble(t, f, run, func(o Outcome, err error) {
			if err != nil {
				t.Fatal(err)
			}
			// One at a time takes 45 ms instead of 20: message k has room at 45k, when
			// Send returns. The next is handed over then, and not sooner than it is due.
			var want []lab.Sample
			for channel := range 2 {
				for k := 2; k < 6; k++ {
					room := 45 * ms * time.Duration(k)
					due := 20 * ms * time.Duration(k)
					want = append(want, sample(run, channel, k, room+45*ms-due, room-45*ms-due))
				}
			}
			wantSamples(t, o.Samples, want)
		})
	})
	t.Run("what could not be sent has waited until the end", func(t *testing.T) {
		run := small()
		f := &fake{traits: tcp, delay: 25 * ms, window: 1}
		f.fate = func(h header, d lab.Direction) fate {
			if h.kind == update && h.channel == 0 && h.sequence == 3 {
				return fate{extra: time.Hour}
			}
			return fate{}
		}
		run.Workload.Drain = 100 * ms
		bubble(t, f, run, func(o Outcome, err error) {
			if err != nil {
				t.Fatal(err)
			}
			// The end is 120 + 100 ms after the first message.
			want := []lab.Sample{
				sample(run, 0, 2, 35*ms, 0),
				sample(run, 0, 3, lab.Undelivered, 0), // on its way for an hour
				sample(run, 0, 4, lab.Undelivered, 0), // in Send until the end
				sample(run, 0, 5, lab.Undelivered, 220*ms-100*ms),
			}
			wantSamples(t, o.Samples[:4], want)
		})
	})
	t.Run("the run ends when everything has arrived", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			run := small()
			o, err := play(t.Context(), (&fake{traits: tcp, delay: 25 * ms}).adapter(), adapter.Env{}, run, Marks{}, newTimer)
			if err != nil {
				t.Fatal(err)
			}
			// Three messages of the set-up; the last update is due at 110 ms, but the
			// measured time lasts until 120.
			if took, want := time.Since(begun), 75*ms+lead+110*ms+25*ms; took != want {
				t.Errorf("took %v, not %v", took, want)
			}
			if start, want := o.Start.Sub(begun), 75*ms+lead+40*ms; start != want {
				t.Errorf("measured from %v, not %v", start, want)
			}
		})
	})
	t.Run("marks stand at both ends of the measured time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var from, to time.Time
			marks := Marks{Begin: func() { from = time.Now() }, End: func() { to = time.Now() }}
			o, err := play(t.Context(), (&fake{traits: tcp, delay: ms}).adapter(), adapter.Env{}, small(), marks, newTimer)
			if err != nil {
				t.Fatal(err)
			}
			if !from.Equal(o.Start) || to.Sub(from) != 80*ms {
				t.Errorf("%v to %v, measured from %v", from, to, o.Start)
			}
		})
	})
	t.Run("one channel", func(t *testing.T) {
		run := small()
		run.Workload.Channels = 1
		bubble(t, &fake{traits: tcp, delay: 25 * ms}, run, func(o Outcome, err error) {
			if err != nil {
				t.Fatal(err)
			}
			wantSamples(t, o.Samples, all(run, 25*ms)[:4])
			if o.Setup.NextChannel != 25*ms {
				t.Errorf("set-up %+v", o.Setup)
			}
		})
	})
	t.Run("as many channels as are allowed", func(t *testing.T) {
		run := small()
		run.Workload.Channels = MaxChannels
		bubble(t, &fake{traits: tcp, delay: ms}, run, func(o Outcome, err error) {
			if err != nil || len(o.Samples) != 4*MaxChannels {
				t.Fatalf("%d samples, %v", len(o.Samples), err)
			}
		})
	})
}

func TestUnreliable(t *testing.T) {
	t.Run("a lost hello is repeated", func(t *testing.T) {
		lost := 0
		f := &fake{delay: 25 * ms, traits: adapter.Traits{ServerOpens: true}}
		f.fate = func(h header, d lab.Direction) fate {
			if h.kind == hello && h.channel != 1 && lost < 1 || h.kind == hello && h.channel == serverNumber && lost < 2 {
				lost++
				return fate{lost: true}
			}
			return fate{}
		}
		bubble(t, f, small(), func(o Outcome, err error) {
			if err != nil {
				t.Fatal(err)
			}
			// Again after a round trip and 50 ms.
			want := lab.Setup{FirstMessage: 125 * ms, NextChannel: 25 * ms, ServerChannel: 125 * ms}
			if o.Setup != want {
				t.Errorf("set-up %+v, not %+v", o.Setup, want)
			}
		})
	})
	t.Run("a hello that was late and repeated is known", func(t *testing.T) {
		f := &fake{delay: 25 * ms}
		f.fate = func(h header, d lab.Direction) fate {
			if h.kind == hello && h.channel == 1 {
				return fate{extra: 150 * ms}
			}
			return fate{}
		}
		bubble(t, f, small(), func(o Outcome, err error) {
			if err != nil || o.Setup.NextChannel != 175*ms {
				t.Errorf("set-up %+v, %v", o.Setup, err)
			}
		})
	})
	t.Run("duplicates are counted, and the first counts", func(t *testing.T) {
		run := small()
		f := &fake{delay: 25 * ms, drops: adapter.Drops{Outgoing: 1, OutgoingExpired: 2, Incoming: 10, IncomingExpired: 20}}
		f.fate = func(h header, d lab.Direction) fate {
			if h.kind == update && h.sequence == 4 {
				return fate{copies: 2}
			}
			return fate{}
		}
		bubble(t, f, run, func(o Outcome, err error) {
			if err != nil {
				t.Fatal(err)
			}
			wantSamples(t, o.Samples, all(run, 25*ms))
			if o.Duplicates != 4 {
				t.Errorf("%d duplicates, not 4", o.Duplicates)
			}
			// Of both ends.
			if want := (lab.Dropped{Full: 22, Expired: 44}); o.Dropped != want {
				t.Errorf("dropped %+v, not %+v", o.Dropped, want)
			}
		})
	})
	t.Run("order is not expected", func(t *testing.T) {
		run := small()
		f := &fake{delay: 25 * ms}
		f.fate = func(h header, d lab.Direction) fate {
			if h.kind == update && h.channel == 1 && h.sequence == 2 {
				return fate{extra: 50 * ms}
			}
			return fate{}
		}
		bubble(t, f, run, func(o Outcome, err error) {
			if err != nil {
				t.Fatal(err)
			}
			want := all(run, 25*ms)
			want[4].Latency = 75 * ms
			wantSamples(t, o.Samples, want)
		})
	})
}

func TestFailures(t *testing.T) {
	at := func(sequence int, f fate) func(header, lab.Direction) fate {
		return func(h header, d lab.Direction) fate {
			if h.kind == update && h.channel == 1 && h.sequence == sequence {
				return f
			}
			return fate{}
		}
	}
	reliable := adapter.Traits{Reliable: true, ServerOpens: true}
	ordered := adapter.Traits{Ordered: true}
	for _, c := range []struct {
		name string
		f    *fake
		want string
	}{
		{"dial", &fake{traits: tcp, dialErr: errors.New("no route")}, "dial: no route"},
		{"send", &fake{traits: tcp, fate: at(3, fate{err: errors.New("broken pipe")})}, "channel 1, sending down: broken pipe"},
		{"twice on a reliable transport", &fake{traits: reliable, fate: at(3, fate{copies: 1})}, "channel 1, receiving down: it came twice (update 3 of channel 1)"},
		{
			"out of order on an ordered transport", &fake{traits: adapter.Traits{Ordered: true, Reliable: true}, fate: at(3, fate{change: func(m []byte) []byte {
				// As if a later one had come first.
				run := small()
				s := newSchedule(run.Workload, run.Seed)
				h, _ := parse(m)
				later := newMessage(s.size(1, 4))
				h.scheduled += 20 * ms
				h.sequence++
				h.put(later)
				return later
			}})},
			"channel 1, receiving down: it came twice (update 4 of channel 1)",
		},
		{"overtaken on an ordered transport", &fake{traits: ordered, delay: 25 * ms, fate: nil}, ""},
		{"a changed byte", &fake{traits: reliable, fate: at(3, fate{change: func(m []byte) []byte {
			m[HeaderSize]++
			return m
		}})}, "channel 1, receiving down: a message with changed content"},
		{"cut", &fake{traits: reliable, fate: at(3, fate{change: func(m []byte) []byte { return m[:len(m)-1] }})}, "changed content (update 3 of channel 1)"},
		{"foreign", &fake{traits: reliable, fate: at(3, fate{change: func(m []byte) []byte { return []byte("hi") }})}, "a message that the workload did not send"},
		{"of another channel", &fake{traits: reliable, fate: at(3, fate{change: func(m []byte) []byte {
			m[3] = 0
			return m
		}})}, "a message that the workload did not send (update 3 of channel 0)"},
		{"beyond the schedule", &fake{traits: reliable, fate: at(3, fate{change: func(m []byte) []byte {
			m[7] = 200
			return m
		}})}, "a message that the workload did not send (update 200 of channel 1)"},
		{"of another time", &fake{traits: reliable, fate: at(3, fate{change: func(m []byte) []byte {
			m[15]++
			return m
		}})}, "a message with changed content (update 3 of channel 1)"},
		{"a second hello on a reliable transport", &fake{traits: reliable, fate: func(h header, d lab.Direction) fate {
			return fate{copies: min(1, int(hello/h.kind))}
		}}, "receiving up: a message that the workload did not send (hello 0 of channel"},
		{"no hello", &fake{traits: reliable, fate: func(h header, d lab.Direction) fate {
			return fate{change: func(m []byte) []byte {
				m[1] = byte(update)
				return m
			}}
		}}, "update on channel 0, which begins"},
		{"a hello of the channel before", &fake{traits: reliable, fate: func(h header, d lab.Direction) fate {
			return fate{change: func(m []byte) []byte {
				m[3] = 0
				return m
			}}
		}}, "hello on channel 0, which begins"},
		{"the server cannot open a channel for once", &fake{traits: tcp, serverErr: errors.New("too many")}, "a channel from the server: too many"},
		{"nothing comes", &fake{traits: tcp, fate: func(h header, d lab.Direction) fate { return fate{lost: true} }}, "not connected, or its channels not open, after 21.6s"},
	} {
		if c.want == "" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			bubble(t, c.f, small(), func(o Outcome, err error) {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, not %s", err, c.want)
				}
				if c.f.dialErr == nil && c.f.closes["server"] != 1 {
					t.Errorf("closed: %v", c.f.closes)
				}
			})
		})
	}
	t.Run("overtaken on an ordered transport", func(t *testing.T) {
		// The fake keeps order only if it is asked to.
		f := &fake{traits: adapter.Traits{ServerOpens: true}, delay: 25 * ms, fate: at(3, fate{extra: 50 * ms})}
		a := f.adapter()
		a.Ordered = true
		synctest.Test(t, func(t *testing.T) {
			_, err := play(t.Context(), a, adapter.Env{}, small(), Marks{}, newTimer)
			if want := "it came after 5, but the transport is to keep their order (update 3 of channel 1)"; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, not %s", err, want)
			}
		})
	})
	t.Run("the peer closes a channel", func(t *testing.T) {
		f := &fake{traits: tcp}
		var ch *fakeChannel
		f.fate = func(h header, d lab.Direction) fate {
			if h.kind == update && h.channel == 1 && h.sequence == 3 {
				ch.deliver(nil)
			}
			return fate{}
		}
		a := f.adapter()
		listen := a.Listen
		a.Listen = func(ctx context.Context, env adapter.Env) (adapter.Server, error) {
			s, err := listen(ctx, env)
			s.(*fakeServer).client.opened = func(c *fakeChannel) { ch = c }
			return s, err
		}
		synctest.Test(t, func(t *testing.T) {
			_, err := play(t.Context(), a, adapter.Env{}, small(), Marks{}, newTimer)
			if !errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "channel 1, receiving down: EOF") {
				t.Errorf("%v", err)
			}
		})
	})
	t.Run("a server that cannot open channels says why", func(t *testing.T) {
		bubble(t, &fake{traits: tcp, serverErr: adapter.ErrUnsupported}, small(), func(o Outcome, err error) {
			want := lab.Setup{ServerChannelError: adapter.ErrUnsupported.Error()}
			if err != nil || o.Setup != want {
				t.Errorf("set-up %+v, %v", o.Setup, err)
			}
		})
	})
	t.Run("the context ends it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 100*ms)
			defer cancel()
			_, err := play(ctx, (&fake{traits: tcp, delay: ms}).adapter(), adapter.Env{}, small(), Marks{}, newTimer)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		})
	})
	t.Run("a transport that does not end is told of", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{traits: tcp, stuck: make(chan struct{})}
			begun := time.Now()
			_, err := play(t.Context(), f.adapter(), adapter.Env{}, small(), Marks{}, newTimer)
			if want := "the transport is still not closed after 10s"; err == nil || err.Error() != want {
				t.Errorf("%v, not %s", err, want)
			}
			if took := time.Since(begun); took > Total(small()) {
				t.Errorf("took %v", took)
			}
			close(f.stuck)
		})
	})
	t.Run("a direction", func(t *testing.T) {
		run := small()
		run.Direction = "sideways"
		bubble(t, &fake{traits: tcp}, run, func(o Outcome, err error) {
			if want := `direction: "sideways" is neither down nor up`; err == nil || err.Error() != want {
				t.Errorf("%v", err)
			}
		})
	})
}
