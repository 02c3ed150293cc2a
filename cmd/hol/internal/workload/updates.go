package workload

import (
	"context"
	"fmt"
)

// updates sends the timed messages of one channel. When the transport holds one
// up, those after it keep their scheduled times and are sent as soon as there is
// room.
func (s *session) updates(ctx context.Context, t *track) {
	alarm, err := s.newAlarm(ctx, s.base)
	if err != nil {
		s.fail(err)
		return
	}
	defer alarm.close()
	ch := t.end(s.run.Direction)
	buffer := newMessage(s.schedule.max)
	for sequence := range t.records {
		due := s.due(t.number, sequence)
		m := buffer[:s.schedule.size(t.number, sequence)]
		header{kind: update, channel: t.number, sequence: sequence, scheduled: due}.put(m)
		if err := s.sleep(alarm, due); err != nil {
			s.fail(err)
			return
		}
		t.records[sequence].waited.Store(int64(s.now() - due))
		if err := ch.Send(m); err != nil {
			s.fail(fmt.Errorf("channel %d, sending %s: %w", t.number, s.run.Direction, err))
			return
		}
	}
}
