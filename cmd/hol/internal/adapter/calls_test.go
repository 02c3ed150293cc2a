package adapter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// memoryChannel is one end of a channel without a transport, with room for some
// messages on their way.
type memoryChannel struct {
	in, out chan []byte
	closed  chan struct{} // this end
	gone    chan struct{} // the other end
	once    sync.Once
}

func memoryChannels(room int) (a, b *memoryChannel) {
	there, back := make(chan []byte, room), make(chan []byte, room)
	ends := [2]chan struct{}{make(chan struct{}), make(chan struct{})}
	return &memoryChannel{in: back, out: there, closed: ends[0], gone: ends[1]},
		&memoryChannel{in: there, out: back, closed: ends[1], gone: ends[0]}
}

func (c *memoryChannel) Send(message []byte) error {
	select {
	case <-c.closed:
		return net.ErrClosed
	case <-c.gone:
		return io.ErrClosedPipe
	case c.out <- bytes.Clone(message):
		return nil
	}
}

func (c *memoryChannel) Receive(ctx context.Context) ([]byte, error) {
	select {
	case m := <-c.in:
		return m, nil
	case <-c.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.gone:
		select {
		case m := <-c.in:
			return m, nil
		default:
			return nil, io.EOF
		}
	}
}

func (c *memoryChannel) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

// callPair is a caller whose channels are answered.
func callPair(channels int, handle func([]byte) []byte) (c *caller, closeBoth func()) {
	var mu sync.Mutex
	var answerers []*answerer
	c = newCaller(channels, func(context.Context, int) (Channel, error) {
		a, b := memoryChannels(2)
		mu.Lock()
		defer mu.Unlock()
		answerers = append(answerers, answerCalls(b, handle, nil))
		return a, nil
	})
	return c, func() {
		_ = c.Close()
		for _, a := range answerers {
			_ = a.Close()
		}
	}
}

// reversed is what the tests' calls are answered with: it shows that a request
// has arrived whole.
func reversed(request []byte) []byte {
	response := bytes.Clone(request)
	slices.Reverse(response)
	return response
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

func TestCalls(t *testing.T) {
	for _, channels := range []int{1, 3} {
		t.Run(fmt.Sprint(channels, " channels"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, closeBoth := callPair(channels, reversed)
				defer closeBoth()
				var wg sync.WaitGroup
				sizes := []int{0, 1, callChunk - 1, callChunk, callChunk + 1, 5*callChunk + 7, 1 << 20}
				for n := range 40 {
					wg.Go(func() {
						request := randomBytes(sizes[n%len(sizes)])
						response, err := c.Call(t.Context(), n, request)
						if err != nil || !bytes.Equal(response, reversed(request)) {
							t.Errorf("call %d of %d bytes: %d bytes, %v", n, len(request), len(response), err)
						}
					})
				}
				wg.Wait()
				for _, lane := range c.lanes {
					if len(lane.slots) != 0 || len(lane.calls) != 0 || len(lane.parts.parts) != 0 {
						t.Errorf("after all calls a channel still has %d slots, %d calls, %d parts",
							len(lane.slots), len(lane.calls), len(lane.parts.parts))
					}
				}
			})
		})
	}
	t.Run("the largest", func(t *testing.T) {
		add := 0
		c, closeBoth := callPair(1, func(request []byte) []byte { return append(reversed(request), make([]byte, add)...) })
		defer closeBoth()
		request := randomBytes(MaxCall)
		if response, err := c.Call(t.Context(), 0, request); err != nil || !bytes.Equal(response, reversed(request)) {
			t.Errorf("a call of %d bytes: %d bytes, %v", len(request), len(response), err)
		}
		if _, err := c.Call(t.Context(), 0, make([]byte, MaxCall+1)); !errors.Is(err, ErrTooLarge) {
			t.Error("a request of one byte more:", err)
		}
		add = 1
		if _, err := c.Call(t.Context(), 0, request); !errors.Is(err, ErrTooLarge) {
			t.Error("a response of one byte more:", err)
		}
		if _, err := c.Call(t.Context(), 0, []byte("x")); err != nil {
			t.Error("after what was too large:", err)
		}
		if n := len(c.lanes[0].slots); n != 0 {
			t.Errorf("%d slots are taken", n)
		}
	})
}

func TestCallChannels(t *testing.T) {
	var mu sync.Mutex
	opened := map[int]int{}
	var answerers []*answerer
	c := newCaller(3, func(_ context.Context, k int) (Channel, error) {
		if k == 2 {
			return nil, io.ErrNoProgress
		}
		a, b := memoryChannels(0)
		mu.Lock()
		defer mu.Unlock()
		opened[k]++
		answerers = append(answerers, answerCalls(b, func([]byte) []byte { return []byte{byte(k)} }, nil))
		return a, nil
	})
	for n := range 30 {
		response, err := c.Call(t.Context(), n, nil)
		switch k := n % 3; {
		case k == 2 && !errors.Is(err, io.ErrNoProgress):
			t.Errorf("call %d over a channel that cannot be opened: %v", n, err)
		case k != 2 && (err != nil || !bytes.Equal(response, []byte{byte(k)})):
			t.Errorf("call %d: %v, %v; want it over channel %d", n, response, err, k)
		}
	}
	if opened[0] != 1 || opened[1] != 1 {
		t.Errorf("channels were opened %v times; want each once", opened)
	}
	_ = c.Close()
	for _, a := range answerers {
		_ = a.Close()
	}
	if _, err := c.Call(t.Context(), 0, nil); !errors.Is(err, net.ErrClosed) {
		t.Error("after Close:", err)
	}
}

func TestCallsAreGivenUp(t *testing.T) {
	t.Run("while the request is on its way", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			near, far := memoryChannels(0)
			c := newCaller(1, func(context.Context, int) (Channel, error) { return near, nil })
			defer c.Close()
			ctx, cancel := context.WithCancel(t.Context())
			result := make(chan error, 3)
			call := func(ctx context.Context, request []byte) {
				go func() {
					_, err := c.Call(ctx, 0, request)
					result <- err
				}()
				synctest.Wait()
			}
			call(ctx, make([]byte, 9*callChunk)) // 1: its first chunk waits in Send
			call(ctx, []byte("never begun"))     // 2
			call(t.Context(), []byte("stays"))   // 3
			cancel()
			for range 2 {
				if err := <-result; !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}
			synctest.Wait()
			var got []chunk
			for range 3 {
				m, err := far.Receive(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				ck, err := parseChunk(m)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, chunk{ck.number, ck.flags, nil})
			}
			// The turn of call 1 came before that of 3.
			want := []chunk{{1, 0, nil}, {1, chunkAbort, nil}, {3, chunkEnd, nil}}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("chunks %v, want %v", got, want)
			}
			send(t, far, 3, chunkEnd, 5)
			if err := <-result; err != nil {
				t.Error("the call that stays:", err)
			}
			if n := len(c.lanes[0].slots); n != 0 {
				t.Errorf("%d slots are taken", n)
			}
		})
	})
	t.Run("while the response is awaited", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			block := make(chan struct{})
			c, closeBoth := callPair(1, func(request []byte) []byte { <-block; return request })
			defer closeBoth()
			ctx, cancel := context.WithCancel(t.Context())
			result := make(chan error)
			for range maxOpenCalls {
				go func() {
					_, err := c.Call(ctx, 0, []byte("x"))
					result <- err
				}()
			}
			synctest.Wait()
			cancel()
			for range maxOpenCalls {
				if err := <-result; !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}
			// All slots are taken until the responses have come.
			go func() {
				_, err := c.Call(t.Context(), 0, []byte("next"))
				result <- err
			}()
			synctest.Wait()
			select {
			case err := <-result:
				t.Fatalf("call %d ended: %v", maxOpenCalls+1, err)
			default:
			}
			close(block)
			if err := <-result; err != nil {
				t.Error("the next call:", err)
			}
			synctest.Wait()
			if n := len(c.lanes[0].slots); n != 0 {
				t.Errorf("%d slots are taken", n)
			}
		})
	})
}

func TestCallsEnd(t *testing.T) {
	t.Run("the caller's Close", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			block := make(chan struct{})
			c, closeBoth := callPair(2, func(request []byte) []byte { <-block; return request })
			result := make(chan error)
			for n := range 4 {
				go func() {
					_, err := c.Call(t.Context(), n, nil)
					result <- err
				}()
			}
			synctest.Wait()
			go c.Close()
			for range 4 {
				if err := <-result; !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
			}
			close(block)
			closeBoth()
		})
	})
	t.Run("Close while a channel is opened", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCaller(1, func(ctx context.Context, _ int) (Channel, error) { <-ctx.Done(); return nil, ctx.Err() })
			result := make(chan error)
			go func() {
				_, err := c.Call(t.Context(), 0, nil)
				result <- err
			}()
			synctest.Wait()
			_ = c.Close()
			if err := <-result; !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		})
	})
}
