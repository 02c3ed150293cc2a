package workload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// maxCalls bounds the calls under way of an rpc workload: beyond it calls wait,
// and keep their scheduled times.
const maxCalls = 4096

// handle answers a call, at the server.
func (s *session) handle(m []byte) []byte {
	at := s.now()
	h, err := parse(m)
	if err == nil && (h.kind != request || h.answer < HeaderSize || h.answer > adapter.MaxCall) {
		err = errForeign
	}
	if err == nil && s.run.Workload.Kind == lab.Page && s.run.Direction == lab.Up {
		err = s.pages.arrived(h, at)
	}
	if err != nil {
		s.fail(fmt.Errorf("a call at the server: %w (%v %d of channel %d)", err, h.kind, h.sequence, h.channel))
		return nil
	}
	answer := newMessage(h.answer)
	h.kind = response
	h.put(answer)
	return answer
}

// call makes one call of which the larger half has size bytes and goes in the
// run's direction. It returns when the response was there.
func (s *session) call(ctx context.Context, n, channel, sequence, size int, due time.Duration) (time.Duration, error) {
	asked := header{kind: request, channel: channel, sequence: sequence, scheduled: due, answer: HeaderSize}
	length := size
	if s.run.Direction == lab.Down {
		length, asked.answer = HeaderSize, size
	}
	m := newMessage(length)
	asked.put(m)
	answer, err := s.client.Call(ctx, n, m)
	at := s.now()
	if err != nil {
		return 0, err
	}
	got, err := parse(answer)
	if err != nil {
		return 0, err
	}
	asked.kind = response
	if got != asked || len(answer) != asked.answer {
		return 0, errors.New("the response is not that of the call")
	}
	return at, nil
}

// calls makes the timed calls of one channel. Each has a goroutine of its own:
// those before it may be waiting for their responses.
func (s *session) calls(ctx context.Context, t *track, slots chan struct{}) {
	alarm, err := s.newAlarm(ctx, s.base)
	if err != nil {
		s.fail(err)
		return
	}
	defer alarm.close()
	for sequence := range t.records {
		due := s.due(t.number, sequence)
		err := s.sleep(alarm, due)
		if err == nil {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				err = context.Cause(ctx)
			}
		}
		if err != nil {
			s.fail(err)
			return
		}
		// Ends with the response, with ctx or with the transport.
		s.group.Go(func() {
			defer func() { <-slots }()
			s.timedCall(ctx, t, sequence, due)
		})
	}
}

func (s *session) timedCall(ctx context.Context, t *track, sequence int, due time.Duration) {
	r := &t.records[sequence]
	r.waited.Store(int64(s.now() - due))
	n := sequence*s.run.Workload.Channels + t.number
	at, err := s.call(ctx, n, t.number, sequence, s.schedule.size(t.number, sequence), due)
	if err != nil {
		s.fail(fmt.Errorf("call %d of channel %d: %w", sequence, t.number, err))
		return
	}
	s.settle(r, at-due)
}
