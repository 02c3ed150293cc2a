package adapter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
)

// An answerer answers the calls that come over one channel.
type answerer struct {
	channel Channel
	handle  func(request []byte) (response []byte)
	log     *slog.Logger
	cancel  context.CancelFunc
	ended   chan struct{}
	wake    chan struct{}
	wg      sync.WaitGroup // the calls of handle

	mu    sync.Mutex // guards the following
	queue chunkQueue
	open  map[uint32]struct{} // calls that have begun and are not answered
	parts assembly
}

// answerCalls answers the calls of the channel with handle until the channel ends
// or Close. log, which may be nil, is told if it ends otherwise than by
// Close at one of its ends.
func answerCalls(channel Channel, handle func(request []byte) (response []byte), log *slog.Logger) *answerer {
	ctx, cancel := context.WithCancel(context.Background())
	a := &answerer{
		channel: channel,
		handle:  handle,
		log:     log,
		cancel:  cancel,
		ended:   make(chan struct{}),
		wake:    make(chan struct{}, 1),
		open:    make(map[uint32]struct{}),
	}
	go a.run(ctx) // ends with the channel or by Close, which waits for it
	return a
}

// Close closes the channel and waits for the goroutines, and so for handle.
func (a *answerer) Close() error {
	a.cancel()
	<-a.ended
	return nil
}

func (a *answerer) run(ctx context.Context) {
	err := serveChunks(ctx, a.channel, a.wake, a.next, a.receive)
	a.wg.Wait()
	quiet := errors.Is(err, context.Canceled) || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed)
	if a.log != nil && !quiet {
		a.log.Warn("a channel of calls ended", "error", err)
	}
	a.cancel()
	close(a.ended)
}

func (a *answerer) next(b []byte) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.queue.empty() {
		return nil
	}
	message, number, complete := a.queue.next(b)
	if complete {
		// Before the peer can have it, so that its next call finds room.
		delete(a.open, number)
	}
	return message
}

func (a *answerer) receive(ck chunk) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	begun := a.parts.begun(ck.number)
	if ck.flags&chunkAbort != 0 {
		if !begun {
			return fmt.Errorf("%w: an abort of call %d, which is not on its way", errCallsViolation, ck.number)
		}
		a.parts.drop(ck.number)
		delete(a.open, ck.number)
		return nil
	}
	if !begun {
		if _, ok := a.open[ck.number]; ok {
			return fmt.Errorf("%w: call %d, which is not answered, again", errCallsViolation, ck.number)
		}
		if len(a.open) == maxOpenCalls {
			return fmt.Errorf("%w: more than %d calls at once", errCallsViolation, maxOpenCalls)
		}
		a.open[ck.number] = struct{}{}
	}
	request, complete, err := a.parts.add(ck)
	if err != nil || !complete {
		return err
	}
	// Ends with handle; run waits for it. There are at most maxOpenCalls.
	a.wg.Go(func() { a.answer(ck.number, request) })
	return nil
}

func (a *answerer) answer(number uint32, request []byte) {
	o := &outgoing{number: number, rest: a.handle(request)}
	if len(o.rest) > MaxCall {
		o.rest, o.abort = nil, true
	}
	a.mu.Lock()
	a.queue.add(o)
	a.mu.Unlock()
	signal(a.wake)
}
