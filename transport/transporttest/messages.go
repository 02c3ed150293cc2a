package transporttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/towpath-go/towpath/transport"
)

var messageCases = append([]testCase{
	{name: "several messages", run: func(e *env) {
		want := map[string]bool{}
		for i := range 10 {
			m := fmt.Sprintf("message %d", i)
			want[m] = true
			e.ok(transport.SendMessage(e.Context(), e.a, []byte(m)), "SendMessage")
		}
		for i := range 10 {
			p, err := transport.ReceiveMessage(e.Context(), e.b, 100)
			e.ok(err, "ReceiveMessage")
			if !want[string(p)] || e.caps.DenseStreamIDs && string(p) != fmt.Sprintf("message %d", i) {
				e.Fatalf("message %d is %q", i, p)
			}
			delete(want, string(p))
		}
	}},
	{name: "a message beyond the limit", run: func(e *env) {
		p := pattern(1, 4<<20)
		sent := async(e, func() error { return transport.SendMessage(e.Context(), e.a, p) })
		got, err := transport.ReceiveMessage(e.Context(), e.b, 1000)
		if tooLarge, ok := errors.AsType[*transport.MessageTooLargeError](err); !ok || tooLarge.Limit != 1000 || got != nil {
			e.Fatalf("ReceiveMessage = %d bytes, %v", len(got), err)
		}
		var stopped *transport.StreamError
		if err := <-sent; !errors.As(err, &stopped) || stopped.Code != 0 || !stopped.Remote {
			e.Fatalf("SendMessage: %v, want the peer's stop with code 0", err)
		}
		e.wantAlive()
	}},
	{name: "SendMessage is bounded by its context", b: narrow, run: func(e *env) {
		ctx, cancel := context.WithCancel(e.Context())
		defer cancel()
		sent := async(e, func() error { return transport.SendMessage(ctx, e.a, pattern(2, 4<<20)) })
		e.eventually("the message is under way", func() bool { return e.a.Stats().BytesSent > 0 })
		stillWaiting(e, sent, "the peer has not read")
		cancel()
		if err := <-sent; !errors.Is(err, context.Canceled) {
			e.Fatalf("SendMessage: %v, want the context's error", err)
		}
		// The peer must not take the part for the whole.
		p, err := transport.ReceiveMessage(e.Context(), e.b, 8<<20)
		if se, ok := errors.AsType[*transport.StreamError](err); !ok || !se.Remote || se.Code != 0 {
			e.Fatalf("ReceiveMessage = %d bytes, %v; want the sender's abort", len(p), err)
		}
		e.wantAlive()
	}},
	{name: "ReceiveMessage is bounded by its context", run: func(e *env) {
		x := e.openUni(e.a)
		begun := []byte("a beginning")
		e.write(x, begun)
		ctx, cancel := context.WithCancel(e.Context())
		defer cancel()
		received := async(e, func() error {
			_, err := transport.ReceiveMessage(ctx, e.b, 100)
			return err
		})
		// A stream that came after the context's end would be another's to accept.
		e.eventually("the beginning is read", func() bool { return e.b.Stats().BytesRead == uint64(len(begun)) })
		cancel()
		if err := <-received; !errors.Is(err, context.Canceled) {
			e.Fatalf("ReceiveMessage: %v; want the context's error", err)
		}
		ended, stop := context.WithDeadline(e.Context(), time.Now())
		defer stop()
		if _, err := transport.ReceiveMessage(ended, e.b, 100); !errors.Is(err, context.DeadlineExceeded) {
			e.Fatalf("ReceiveMessage with an ended context: %v", err)
		}
		if err := transport.SendMessage(ended, e.a, nil); !errors.Is(err, context.DeadlineExceeded) {
			e.Fatalf("SendMessage with an ended context: %v", err)
		}
		e.wantAlive()
	}},
}, messageSizes()...)

func messageSizes() (cases []testCase) {
	for _, size := range []int{0, 1, 511, 512, 513, 100 * kib, 2 << 20} {
		cases = append(cases, testCase{name: fmt.Sprintf("message of %d bytes", size), run: func(e *env) {
			want := pattern(3, size)
			sent := async(e, func() error { return transport.SendMessage(e.Context(), e.a, want) })
			got, err := transport.ReceiveMessage(e.Context(), e.b, size)
			if err != nil || !bytes.Equal(got, want) {
				e.Fatalf("ReceiveMessage = %d bytes, %v; want %d", len(got), err, size)
			}
			e.ok(<-sent, "SendMessage")
		}})
	}
	return cases
}
