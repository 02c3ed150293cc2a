package workload

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// A record is what became of one scheduled message. Sender and receiver write it
// and the end of the run reads it, whatever they do then; both fields are
// durations, and unset until it happens.
type record struct {
	waited  atomic.Int64 // until it was handed over
	latency atomic.Int64
}

const unset = int64(lab.Undelivered)

func newRecords(n int) []record {
	records := make([]record, n)
	for i := range records {
		records[i].waited.Store(unset)
		records[i].latency.Store(unset)
	}
	return records
}

// A track is one of the workload's channels: its two ends, and what became of its
// messages.
type track struct {
	number  int
	client  adapter.Channel
	claimed atomic.Bool // the server has its end
	// heard tells when the hello was at the server, once, after server is set.
	heard   chan time.Duration
	server  adapter.Channel
	records []record
	last    int // sequence number of the newest message; the receiver's
}

// end is the end of the channel that sends in a direction.
func (t *track) end(d lab.Direction) adapter.Channel {
	if d == lab.Down {
		return t.server
	}
	return t.client
}

// greet sends the hello with which every channel begins.
func (s *session) greet(number int, ch adapter.Channel) error {
	m := newMessage(HeaderSize)
	header{kind: hello, channel: number, scheduled: s.now()}.put(m)
	return ch.Send(m)
}

// accepted serves a channel that the client opened, at the server: the hello says
// which it is.
func (s *session) accepted(ctx context.Context, ch adapter.Channel) {
	m, err := ch.Receive(ctx)
	at := s.now()
	if err != nil {
		s.fail(fmt.Errorf("first message of a channel: %w", err))
		return
	}
	h, err := parse(m)
	if err == nil && (h.kind != hello || h.channel >= len(s.tracks) || s.tracks[h.channel].claimed.Swap(true)) {
		err = fmt.Errorf("%w: %v on channel %d, which begins", errForeign, h.kind, h.channel)
	}
	if err != nil {
		s.fail(err)
		return
	}
	t := s.tracks[h.channel]
	t.server = ch
	t.heard <- at
	s.receive(ctx, t, ch, lab.Up)
}

// receive takes what arrives at one end of a channel, from a direction, until the
// run ends. That it waits at both ends is how a broken transport is noticed
// whichever way the messages go, and what some transports need to answer pings.
func (s *session) receive(ctx context.Context, t *track, ch adapter.Channel, d lab.Direction) {
	for {
		m, err := ch.Receive(ctx)
		at := s.now()
		if err != nil {
			s.fail(fmt.Errorf("channel %d, receiving %s: %w", t.number, d, err))
			return
		}
		h, err := parse(m)
		switch {
		case err != nil:
		case h.kind == hello && d == lab.Up && h.channel == t.number && !s.adapter.Reliable:
			continue // repeated, because it could have been lost
		case h.kind == update && d == s.run.Direction:
			err = s.arrived(t, h, len(m), at)
		default:
			err = errForeign
		}
		if err != nil {
			s.fail(fmt.Errorf("channel %d, receiving %s: %w (%v %d of channel %d)", t.number, d, err, h.kind, h.sequence, h.channel))
			return
		}
	}
}

// arrived records a timed message, after it has made sure that it is what was
// sent.
func (s *session) arrived(t *track, h header, size int, at time.Duration) error {
	if h.channel != t.number || h.sequence >= len(t.records) {
		return errForeign
	}
	if h.scheduled != s.due(t.number, h.sequence) || size != s.schedule.size(t.number, h.sequence) {
		return errContent
	}
	if s.adapter.Ordered && h.sequence < t.last {
		return fmt.Errorf("it came after %d, but the transport is to keep their order", t.last)
	}
	if !s.settle(&t.records[h.sequence], at-h.scheduled) {
		if s.adapter.Reliable {
			return fmt.Errorf("it came twice")
		}
		s.duplicates.Add(1)
	}
	t.last = max(t.last, h.sequence)
	return nil
}

// due is when a message is to be sent, by the run's clock.
func (s *session) due(channel, sequence int) time.Duration {
	return time.Duration(s.start.Load()) + s.schedule.at(channel, sequence)
}

// settle records a latency and reports whether it was the first.
func (s *session) settle(r *record, latency time.Duration) bool {
	if !r.latency.CompareAndSwap(unset, int64(latency)) {
		return false
	}
	if s.missing.Add(-1) == 0 {
		close(s.complete)
	}
	return true
}

// within says whether what was to be sent at due has arrived from measured until
// so long afterwards.
func (r *record) within(due, measured, duration time.Duration) bool {
	latency := r.latency.Load()
	at := due + time.Duration(latency)
	return latency != unset && at >= measured && at < measured+duration
}

// arrivedFrom is the payload of a track that arrived in the measured time, also
// if it was scheduled in the warm-up.
func (s *session) arrivedFrom(t *track, measured time.Duration) int64 {
	sum := int64(0)
	for sequence := range t.records {
		if t.records[sequence].within(s.due(t.number, sequence), measured, s.run.Workload.Duration) {
			sum += int64(s.schedule.size(t.number, sequence))
		}
	}
	return sum
}

// appendSamples appends the messages of a track that were scheduled in the
// measured time. One that was never handed over has waited until the end.
func (s *session) appendSamples(samples []lab.Sample, t *track, measured, end time.Duration) []lab.Sample {
	for sequence := range t.records {
		due := s.due(t.number, sequence)
		if due < measured {
			continue
		}
		r := &t.records[sequence]
		waited := r.waited.Load()
		if waited == unset {
			waited = max(0, int64(end-due))
		}
		samples = append(samples, lab.Sample{
			Channel:   t.number,
			Scheduled: due - measured,
			Latency:   time.Duration(r.latency.Load()),
			Size:      s.schedule.size(t.number, sequence),
			Waited:    time.Duration(waited),
		})
	}
	return samples
}
