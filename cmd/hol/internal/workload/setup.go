package workload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

const (
	// setupChannels are the channels that every run opens at least: the set-up
	// measures the first two.
	setupChannels = 2
	// Numbers of the channels that are not of the workload's own.
	bulkNumber   = 0xffff
	serverNumber = 0xfffe
)

// setUp connects, measures how long that takes, and opens all channels. None
// carries anything else meanwhile.
func (s *session) setUp(ctx context.Context, env adapter.Env) (lab.Setup, error) {
	bound := setupBound(s.run)
	late := fmt.Errorf("not connected, or its channels not open, after %v", bound)
	timer := time.AfterFunc(bound, func() { s.fail(late) })
	defer timer.Stop()

	var err error
	if s.server, err = s.adapter.Listen(ctx, env); err != nil {
		return lab.Setup{}, fmt.Errorf("listen: %w", s.cause(ctx, err))
	}
	// Both the connection and the channels are accepted on the side, as a server
	// does: the client's time must not depend on what the server was told here.
	s.group.Go(func() { s.accept(ctx) }) // ends with ctx

	var setup lab.Setup
	begun := s.now()
	if s.client, err = s.server.Dial(ctx); err != nil {
		return setup, fmt.Errorf("dial: %w", s.cause(ctx, err))
	}
	if setup.FirstMessage, err = s.open(ctx, s.tracks[0], begun); err != nil {
		return setup, err
	}
	if setup.NextChannel, err = s.open(ctx, s.tracks[1], s.now()); err != nil {
		return setup, err
	}
	select {
	case s.remote = <-s.connected:
	case <-ctx.Done():
		return setup, context.Cause(ctx)
	}
	if err := s.serverChannel(ctx, &setup); err != nil {
		return setup, fmt.Errorf("a channel from the server: %w", s.cause(ctx, err))
	}
	if s.run.Workload.Kind == lab.Updates || s.run.Workload.Kind == lab.Mixed {
		for _, t := range s.tracks[setupChannels:] {
			if _, err := s.open(ctx, t, s.now()); err != nil {
				return setup, err
			}
		}
	}
	if s.run.Workload.Kind == lab.Mixed {
		if err := s.openBulk(ctx); err != nil {
			return setup, fmt.Errorf("bulk channel: %w", s.cause(ctx, err))
		}
	}
	return setup, nil
}

// cause is why the run has ended, if it has: that explains err.
func (s *session) cause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// accept takes the server's end of the connection and of every channel that the
// client opens.
func (s *session) accept(ctx context.Context) {
	remote, err := s.server.Accept(ctx)
	if err != nil {
		s.fail(fmt.Errorf("accept: %w", err))
		return
	}
	s.connected <- remote
	for range s.announced() {
		ch, err := remote.AcceptChannel(ctx)
		if err != nil {
			s.fail(fmt.Errorf("accept a channel: %w", err))
			return
		}
		s.group.Go(func() { s.accepted(ctx, ch) }) // ends with ctx
	}
}

// announced is how many channels the client opens.
func (s *session) announced() int {
	n := 0
	for _, t := range s.tracks {
		if t.heard != nil {
			n++
		}
	}
	return n
}

// open opens a channel from the client and waits until its hello is at the
// server. It returns how long after begun that was.
func (s *session) open(ctx context.Context, t *track, begun time.Duration) (time.Duration, error) {
	var err error
	if t.client, err = s.client.OpenChannel(ctx); err != nil {
		return 0, fmt.Errorf("open channel %d: %w", t.number, s.cause(ctx, err))
	}
	s.group.Go(func() { s.receive(ctx, t, t.client, lab.Down) }) // ends with ctx
	at, err := s.announce(ctx, t.number, t.client, t.heard)
	if err != nil {
		return 0, fmt.Errorf("first message of channel %d: %w", t.number, s.cause(ctx, err))
	}
	return at - begun, nil
}

// announce says hello on a channel until it was heard: once where that is enough.
func (s *session) announce(ctx context.Context, number int, ch adapter.Channel, heard <-chan time.Duration) (time.Duration, error) {
	// What is not reliable needs an application that repeats: after a round trip
	// without an answer, and some time for the ends.
	var again <-chan time.Time
	if !s.adapter.Reliable {
		ticker := time.NewTicker(s.run.Link.RTT() + 50*time.Millisecond)
		defer ticker.Stop()
		again = ticker.C
	}
	for {
		if err := s.greet(number, ch); err != nil {
			return 0, err
		}
		select {
		case at := <-heard:
			return at, nil
		case <-again:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// serverChannel measures a channel that the server opens, or takes down why it
// cannot. The channel stays open and idle.
func (s *session) serverChannel(ctx context.Context, setup *lab.Setup) error {
	accepting, cancel := context.WithCancel(ctx)
	heard := make(chan time.Duration, 1)
	failed := make(chan error, 1)
	ended := make(chan struct{})
	s.group.Go(func() { // ends with accepting
		defer close(ended)
		at, err := s.hearServer(accepting)
		if err != nil {
			failed <- err
			return
		}
		heard <- at
	})
	defer func() {
		cancel()
		<-ended
	}()
	sent := make(chan error, 1)
	begun := s.now()
	arrived := make(chan time.Duration, 1)
	s.group.Go(func() { // ends with accepting
		ch, err := s.remote.OpenChannel(accepting)
		if err == nil {
			var at time.Duration
			if at, err = s.announce(accepting, serverNumber, ch, heard); err == nil {
				arrived <- at
				return
			}
		}
		sent <- err
	})
	var err error
	select {
	case at := <-arrived:
		setup.ServerChannel = at - begun
		return nil
	case err = <-sent:
	case err = <-failed:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if errors.Is(err, adapter.ErrUnsupported) {
		setup.ServerChannelError = err.Error()
		return nil
	}
	return err
}

// hearServer accepts the server's channel at the client and waits for its hello.
func (s *session) hearServer(ctx context.Context) (time.Duration, error) {
	ch, err := s.client.AcceptChannel(ctx)
	if err != nil {
		return 0, err
	}
	m, err := ch.Receive(ctx)
	at := s.now()
	if err != nil {
		return 0, err
	}
	h, err := parse(m)
	if err == nil && (h.kind != hello || h.channel != serverNumber) {
		err = errForeign
	}
	return at, err
}
