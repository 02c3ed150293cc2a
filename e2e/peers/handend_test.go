package peers

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strconv"

	"github.com/quic-go/quic-go/quicvarint"

	"github.com/towpath-go/towpath/e2e/clients"
)

// The methods of an end.

func (s *handSession) Open(ctx context.Context, uni bool) (clients.Stream, error) {
	kind := uint64(0)
	if uni {
		kind = 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.waitLocked(ctx, func() bool { return s.next[kind] < s.limit[kind] }); err != nil {
		return nil, err
	}
	st := &handStream{s: s, id: s.next[kind]<<2 | kind<<1, max: serverWindow}
	s.next[kind]++
	s.streams[st.id] = st
	return st, nil
}

func (s *handSession) Accept(ctx context.Context, uni bool) (clients.Stream, error) {
	queue := &s.queue[0]
	if uni {
		queue = &s.queue[1]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.waitLocked(ctx, func() bool { return len(*queue) > 0 }); err != nil {
		return nil, err
	}
	st := (*queue)[0]
	*queue = (*queue)[1:]
	return st, nil
}

func (s *handSession) SendDatagram(_ context.Context, p []byte) error {
	return s.write(handBytes(handDatagram, p))
}

func (s *handSession) ReceiveDatagram(ctx context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.waitLocked(ctx, func() bool { return len(s.packets) > 0 }); err != nil {
		return nil, err
	}
	p := s.packets[0]
	s.packets = s.packets[1:]
	return p, nil
}

func (s *handSession) Protocol() string { return s.selected }

// close sends WT_CLOSE_SESSION and END_STREAM.
func (s *handSession) Close(_ context.Context, code uint32, reason string) error {
	s.mu.Lock()
	over := s.ending != nil
	s.endLocked(&handEnding{err: errors.New("closed by the client")})
	s.mu.Unlock()
	if over {
		return nil
	}
	err := s.write(handBytes(handClose, binary.BigEndian.AppendUint32(nil, code), []byte(reason)))
	return errors.Join(err, s.out.Close())
}

func (s *handSession) Closed(ctx context.Context) (code uint32, reason string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waitLocked(ctx, func() bool { return s.ending != nil })
	if s.ending == nil {
		return 0, "", context.Cause(ctx)
	}
	return s.ending.code, s.ending.reason, s.ending.err
}

// A handStream is a stream of a handSession.
type handStream struct {
	s  *handSession
	id uint64

	// The following is guarded by s.mu.
	received []byte
	finished bool       // FIN arrived
	aborted  *handAbort // WT_RESET_STREAM arrived
	taken    uint64     // how much was read, which moves the window
	unwanted bool       // WT_STOP_SENDING was sent
	opened   bool       // the server knows the stream
	over     bool       // the sending direction has ended
	stopped  *handAbort // WT_STOP_SENDING arrived
	sent     uint64
	max      uint64 // how much may be sent
}

// A handAbort is a code with which the server aborted a direction.
type handAbort struct{ code uint32 }

func (e *handAbort) Error() string { return "aborted with code " + strconv.Itoa(int(e.code)) }

func handCode(err error) (uint32, error) {
	if e, ok := errors.AsType[*handAbort](err); ok {
		return e.code, nil
	}
	return 0, err
}

// write sends capsules of at most 4 KiB, as the windows allow. The first may
// be empty.
func (st *handStream) Write(ctx context.Context, p []byte) error {
	s := st.s
	for {
		s.mu.Lock()
		if len(p) == 0 && st.opened {
			s.mu.Unlock()
			return nil
		}
		err := s.waitLocked(ctx, func() bool {
			return st.stopped != nil || len(p) == 0 || st.sent < st.max && s.sent < s.credit
		})
		if err == nil && st.stopped != nil {
			err = st.stopped
		}
		if err != nil {
			s.mu.Unlock()
			return err
		}
		n := min(uint64(len(p)), 4096, st.max-st.sent, s.credit-s.sent)
		st.sent += n
		s.sent += n
		st.opened = true
		s.mu.Unlock()
		if err := s.write(handBytes(s.dialect.more, quicvarint.Append(nil, st.id), p[:n])); err != nil {
			return err
		}
		p = p[n:]
	}
}

// finish ends the stream by an empty capsule, as the peers in the field do.
func (st *handStream) Finish(context.Context) error {
	if !st.ends() {
		return nil
	}
	return st.s.write(handBytes(st.s.dialect.fin, quicvarint.Append(nil, st.id)))
}

func (st *handStream) Reset(_ context.Context, code uint32) error {
	if !st.ends() {
		return nil
	}
	fields := []uint64{st.id, uint64(code)}
	if st.s.dialect.reliableSize {
		st.s.mu.Lock()
		fields = append(fields, st.sent)
		st.s.mu.Unlock()
	}
	return st.s.write(handCapsule(handReset, fields...))
}

// ends ends the sending direction, once, and reports whether it did.
func (st *handStream) ends() bool {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	first := !st.over
	st.opened, st.over = true, true
	return first
}

func (st *handStream) WasStopped(ctx context.Context) (uint32, error) {
	for {
		if err := st.Write(ctx, make([]byte, 1<<10)); err != nil {
			return handCode(err)
		}
	}
}

// next returns at most limit bytes, and gives credit back for half a window at
// a time.
func (st *handStream) next(ctx context.Context, limit int) ([]byte, error) {
	s := st.s
	s.mu.Lock()
	err := s.waitLocked(ctx, func() bool { return len(st.received) > 0 || st.finished || st.aborted != nil })
	switch {
	case err != nil:
	case st.aborted != nil:
		err = st.aborted
	case len(st.received) == 0:
		err = io.EOF
	}
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	n := min(len(st.received), limit)
	p := st.received[:n]
	st.received = st.received[n:]
	before := st.taken
	st.taken += uint64(n)
	due := s.takenLocked(n)
	streamDue := !st.finished && st.taken/(handWindow/2) > before/(handWindow/2)
	window := st.taken + handWindow
	s.mu.Unlock()
	if due {
		err = s.giveCredit()
	}
	if streamDue {
		err = errors.Join(err, s.write(handCapsule(handMaxStreamData, st.id, window)))
	}
	return p, err
}

func (st *handStream) Read(ctx context.Context, n int) ([]byte, error) {
	var all []byte
	for len(all) < n {
		p, err := st.next(ctx, n-len(all))
		if err != nil {
			return all, err
		}
		all = append(all, p...)
	}
	return all, nil
}

func (st *handStream) ReadAll(ctx context.Context) ([]byte, error) {
	var all []byte
	for {
		p, err := st.next(ctx, 1<<20)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, p...)
	}
}

func (st *handStream) Stop(_ context.Context, code uint32) error {
	s := st.s
	s.mu.Lock()
	st.unwanted = true
	due := s.takenLocked(len(st.received))
	st.received = nil
	s.mu.Unlock()
	if due {
		if err := s.giveCredit(); err != nil {
			return err
		}
	}
	return s.write(handCapsule(handStop, st.id, uint64(code)))
}

func (st *handStream) WasReset(ctx context.Context) (uint32, error) {
	_, err := st.ReadAll(ctx)
	return handCode(err)
}
