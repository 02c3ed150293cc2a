package workload

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// bulkMessage is the size of the messages of a bulk transfer in bytes.
const bulkMessage = 16 << 10

// A bulkCount is the bulk transfer of a mixed workload.
type bulkCount struct {
	sender   adapter.Channel
	measured atomic.Int64 // bytes that arrived in the measured time
	// window is from when until when bytes count, by the run's clock. It is set
	// before the first byte is sent.
	from, to atomic.Int64
}

// openBulk opens the channel of the bulk transfer and starts its receivers.
func (s *session) openBulk(ctx context.Context) error {
	accepted := make(chan adapter.Channel, 1)
	heard := make(chan time.Duration, 1)
	s.group.Go(func() { // ends with ctx
		ch, err := s.remote.AcceptBulk(ctx)
		if err != nil {
			s.fail(fmt.Errorf("accept the bulk channel: %w", err))
			return
		}
		accepted <- ch
		s.receiveBulk(ctx, ch, lab.Up, heard)
	})
	client, err := s.client.OpenBulk(ctx)
	if err != nil {
		return err
	}
	s.group.Go(func() { s.receiveBulk(ctx, client, lab.Down, nil) }) // ends with ctx
	if err := s.greet(bulkNumber, client); err != nil {
		return err
	}
	select {
	case <-heard:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s.bulk.sender = client
	if s.run.Direction == lab.Down {
		s.bulk.sender = <-accepted
	}
	return nil
}

// sendBulk sends without a pause until finish. What a full transport holds up
// then ends with it.
func (s *session) sendBulk(finish time.Duration) {
	s.bulk.to.Store(int64(finish))
	s.bulk.from.Store(int64(finish - s.run.Workload.Duration))
	m := newMessage(bulkMessage)
	for sequence := 0; ; sequence++ {
		now := s.now()
		if now >= finish || s.over.Load() {
			return
		}
		header{kind: bulk, channel: bulkNumber, sequence: sequence, scheduled: now}.put(m)
		if err := s.bulk.sender.Send(m); err != nil {
			s.fail(fmt.Errorf("bulk, sending %s: %w", s.run.Direction, err))
			return
		}
	}
}

// receiveBulk takes what arrives at one end of the bulk channel.
func (s *session) receiveBulk(ctx context.Context, ch adapter.Channel, d lab.Direction, heard chan<- time.Duration) {
	next := 0
	for {
		m, err := ch.Receive(ctx)
		at := s.now()
		if err != nil {
			s.fail(fmt.Errorf("bulk, receiving %s: %w", d, err))
			return
		}
		h, err := parse(m)
		switch {
		case err != nil:
		case h.channel != bulkNumber:
			err = errForeign
		case h.kind == hello && heard != nil:
			heard <- at
			heard = nil
		case h.kind == bulk && d == s.run.Direction && h.sequence == next && len(m) == bulkMessage:
			next++
			if int64(at) >= s.bulk.from.Load() && int64(at) < s.bulk.to.Load() {
				s.bulk.measured.Add(int64(len(m)))
			}
		default:
			err = fmt.Errorf("%w: %v %d, not %d", errForeign, h.kind, h.sequence, next)
		}
		if err != nil {
			s.fail(fmt.Errorf("bulk, receiving %s: %w", d, err))
			return
		}
	}
}
