package transport

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"time"
)

// SendMessage sends p as one message. It waits as OpenUniStream and Write do,
// and returns nil once all of p and its end are buffered for the transport, not
// when the peer has it. It keeps no reference to p.
//
// When ctx ends first, SendMessage aborts the stream with code 0, so that the
// peer never takes a part for the whole, and returns the cause of ctx; a ctx
// that has already ended sends nothing. Otherwise the errors are those of
// OpenUniStream and Write: a peer that does not want the message makes it a
// [*StreamError], which leaves the session as it is.
func SendMessage(ctx context.Context, s Session, p []byte) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	stream, err := s.OpenUniStream(ctx)
	if err != nil {
		return err
	}
	release := expireWith(ctx, stream.SetWriteDeadline)
	_, err = stream.Write(p)
	release()
	if err == nil {
		err = stream.Close()
	}
	if err != nil {
		stream.CancelWrite(0)
		return causeOf(ctx, err)
	}
	return nil
}

// ReceiveMessage waits for the next message and returns it. Messages longer
// than limit bytes are refused as ReadMessage does.
//
// The session is intact after a [*MessageTooLargeError], after a
// [*StreamError] (the peer gave this message up), and after ctx ended, which
// returns the cause of ctx; a ctx that has already ended receives nothing. If ctx
// ends while a message is arriving, its stream is aborted with code 0 and that
// message is lost. A [*SessionError] is the end.
//
// Several goroutines may call ReceiveMessage, so that a long message holds up
// only the one that receives it.
func ReceiveMessage(ctx context.Context, s Session, limit int) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	stream, err := s.AcceptUniStream(ctx)
	if err != nil {
		return nil, err
	}
	release := expireWith(ctx, stream.SetReadDeadline)
	p, err := ReadMessage(stream, limit)
	release()
	if err != nil {
		stream.CancelRead(0) // does nothing on a stream that is already over
		return nil, causeOf(ctx, err)
	}
	return p, nil
}

// messageStart is the first size of a message's buffer. The buffer grows with
// what has arrived, never with the limit.
const messageStart = 512

// ReadMessage reads s to its clean end and returns what came. It serves the
// receiving direction of a bidirectional stream as well. The read deadline of s
// bounds it.
//
// If more than limit bytes come, it calls CancelRead with code 0 and returns
// [*MessageTooLargeError]; a limit below 0 is 0, which admits only the empty
// message. Any other error is Read's, with the bytes that came before it;
// io.EOF is never among them.
func ReadMessage(s ReceiveStream, limit int) ([]byte, error) {
	limit = min(max(limit, 0), math.MaxInt-1)
	p := make([]byte, 0, min(limit, messageStart)+1)
	for {
		n, err := s.Read(p[len(p):cap(p)])
		p = p[:len(p)+n]
		if len(p) > limit {
			s.CancelRead(0)
			return nil, &MessageTooLargeError{Limit: limit}
		}
		if err == io.EOF {
			return p, nil
		}
		if err != nil {
			return p, err
		}
		if len(p) == cap(p) {
			// The byte beyond the limit is the one that shows the excess.
			p = append(make([]byte, 0, min(limit+1, 2*cap(p))), p...)
		}
	}
}

// expireWith moves a deadline into the past when ctx ends. The function it
// returns stops that and clears the deadline, whichever happened.
func expireWith(ctx context.Context, setDeadline func(time.Time) error) (release func()) {
	moved := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(moved)
		setDeadline(time.Unix(1, 0)) // fails only on a stream that is over
	})
	return func() {
		if !stop() {
			<-moved
			setDeadline(time.Time{})
		}
	}
}

// causeOf returns the cause of ctx in place of the deadline error that ctx
// itself brought about.
func causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return context.Cause(ctx)
	}
	return err
}
