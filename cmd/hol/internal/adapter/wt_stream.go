package adapter

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// sessionStream is a channel on a stream: messages with their lengths, each
// handed over in one Write.
type sessionStream struct {
	stream transport.Stream
	reader frameReader
	out    []byte // the kind until it was sent, then scratch
	began  bool   // the kind was sent, or is the peer's to send
	closed atomic.Bool
}

// timedOrder is the Order of channels where messages go before bulk.
const timedOrder = 1

func (s *sessionStream) setPriority(env Env, bulk bool) {
	if env.Priorities && !bulk {
		s.stream.SetPriority(transport.Priority{Order: timedOrder})
	}
}

func (s *sessionStream) Send(message []byte) error {
	if err := checkMessage(message); err != nil {
		return err
	}
	if s.began {
		s.out = s.out[:0]
	}
	s.began = true
	s.out = appendFrame(s.out, message)
	_, err := s.stream.Write(s.out)
	return err
}

func (s *sessionStream) Receive(ctx context.Context) ([]byte, error) {
	if s.closed.Load() {
		return nil, net.ErrClosed
	}
	if message, err := s.reader.buffered(); message != nil || err != nil {
		return message, err
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		_ = s.stream.SetReadDeadline(time.Unix(1, 0)) // fails if Read does as well
	})
	message, err := s.reader.next()
	if !stop() {
		<-ended
		_ = s.stream.SetReadDeadline(time.Time{})
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = context.Cause(ctx)
		}
	}
	return message, err
}

// exchange is a call's: the request and its end, then the response and its end.
func (s *sessionStream) exchange(request []byte) ([]byte, error) {
	if _, err := s.stream.Write(append([]byte{byte(streamCall)}, request...)); err != nil {
		return nil, err
	}
	if err := s.stream.Close(); err != nil {
		return nil, err
	}
	return s.reader.readAll(MaxCall)
}

// Close ends both directions: what was sent is delivered, what arrives is not
// wanted.
func (s *sessionStream) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	var err error
	if !s.began && len(s.out) > 0 {
		_, err = s.stream.Write(s.out) // or the peer would not know what ends
	}
	err = errors.Join(err, s.stream.Close())
	s.stream.CancelRead(codeGone)
	if endOfSession(err) == io.EOF {
		return nil
	}
	return err
}

func (s *sessionStream) cancel(code transport.StreamErrorCode) {
	s.stream.CancelWrite(code)
	s.stream.CancelRead(code)
}

// endOfSession turns the orderly end of a session into io.EOF.
func endOfSession(err error) error {
	if e, ok := errors.AsType[*transport.SessionError](err); ok && e.Code == 0 && e.Err == nil {
		return io.EOF
	}
	return err
}
