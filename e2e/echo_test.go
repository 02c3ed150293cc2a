package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// echoSession answers what comes on s until it ends: a bidirectional stream
// with its own bytes, a unidirectional one with one of the same bytes, a
// datagram with itself.
func echoSession(s transport.Session) {
	ctx := context.Background()
	var all sync.WaitGroup
	all.Go(func() {
		for {
			st, err := s.AcceptStream(ctx)
			if err != nil {
				return
			}
			all.Go(func() { echoStream(st, st) })
		}
	})
	all.Go(func() {
		for {
			in, err := s.AcceptUniStream(ctx)
			if err != nil {
				return
			}
			all.Go(func() {
				out, err := s.OpenUniStream(ctx)
				if err != nil {
					return // the session has ended
				}
				echoStream(out, in)
			})
		}
	})
	for {
		p, err := s.ReceiveDatagram(ctx)
		if err != nil {
			break
		}
		if s.SendDatagram(p) != nil {
			break
		}
	}
	all.Wait()
}

func echoStream(out transport.SendStream, in transport.ReceiveStream) {
	if _, err := io.Copy(out, in); err != nil {
		out.CancelWrite(0)
		in.CancelRead(0)
		return
	}
	out.Close()
}

// exercise uses a session whose peer runs echoSession: large and small streams
// of both kinds at the same time, and a datagram. It says what did not work.
func exercise(ctx context.Context, s transport.Session) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// A session that dies or hangs ends every wait below.
	stop := context.AfterFunc(ctx, func() { s.CloseWithError(1, "the exercise took too long") })
	defer stop()
	var mu sync.Mutex
	var errs []error
	var all sync.WaitGroup
	try := func(what string, f func() error) {
		all.Go(func() {
			if err := f(); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	for i, size := range []int{1 << 20, 1, 100, 10_000} {
		message := bytes.Repeat([]byte{'a' + byte(i), 0, 0xff}, size/3+1)
		try(fmt.Sprintf("echo of %d bytes", len(message)), func() error {
			st, err := s.OpenStream(ctx)
			if err != nil {
				return err
			}
			return roundTrip(st, st, message)
		})
	}
	try("unidirectional echo", func() error {
		message := []byte("one way and back on another")
		out, err := s.OpenUniStream(ctx)
		if err != nil {
			return err
		}
		if _, err := out.Write(message); err != nil {
			return err
		}
		if err := out.Close(); err != nil {
			return err
		}
		in, err := s.AcceptUniStream(ctx)
		if err != nil {
			return err
		}
		return wantAll(in, message)
	})
	try("datagram echo", func() error { return datagramEcho(ctx, s) })
	all.Wait()
	return errors.Join(errs...)
}

// roundTrip writes message and its end, and expects both back.
func roundTrip(out transport.SendStream, in transport.ReceiveStream, message []byte) error {
	written := make(chan error, 1)
	go func() { // ends with the stream at the latest
		_, err := out.Write(message)
		written <- errors.Join(err, out.Close())
	}()
	err := wantAll(in, message)
	return errors.Join(err, <-written)
}

func wantAll(in io.Reader, want []byte) error {
	got, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("after %d of %d bytes: %w", len(got), len(want), err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%d bytes came back, not the %d that were sent", len(got), len(want))
	}
	return nil
}

// datagramEcho sends a datagram, again and again where it can be lost, until
// one comes back.
func datagramEcho(ctx context.Context, s transport.Session) error {
	message := []byte("datagram")
	if size := s.Info().MaxDatagramSize; size < 1000 {
		return fmt.Errorf("MaxDatagramSize is %d", size)
	}
	for {
		if err := s.SendDatagram(message); err != nil {
			return err
		}
		wait := patience
		if s.Info().Unreliable {
			wait = 200 * time.Millisecond
		}
		short, cancel := context.WithTimeout(ctx, wait)
		p, err := s.ReceiveDatagram(short)
		cancel()
		switch {
		case err == nil && bytes.Equal(p, message):
			return nil
		case err == nil:
			return fmt.Errorf("datagram %q came back", p)
		case !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil || !s.Info().Unreliable:
			return err
		}
	}
}
