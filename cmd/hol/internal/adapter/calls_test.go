package adapter

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
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

func TestCallsTakeTurns(t *testing.T) {
	var q chunkQueue
	q.add(&outgoing{number: 1, rest: make([]byte, 3*callChunk)})
	q.add(&outgoing{number: 2, rest: make([]byte, 10)})
	q.add(&outgoing{number: 3, rest: make([]byte, callChunk+1)})
	aborted := &outgoing{number: 4, rest: make([]byte, 2*callChunk)}
	q.add(aborted)
	var got []string
	for !q.empty() {
		message, number, complete := q.next(nil)
		c, err := parseChunk(message)
		if err != nil || c.number != number {
			t.Fatal(c.number, number, err)
		}
		got = append(got, fmt.Sprint(number, " ", len(c.payload), " ", complete))
		if number == 4 {
			aborted.rest, aborted.abort = nil, true
		}
		if len(got) == 4 {
			q.add(&outgoing{number: 5})
		}
	}
	want := []string{
		"1 16384 false", "2 10 true", "3 16384 false", "4 16384 false",
		"1 16384 false", "3 1 true", "4 0 true", "5 0 true", "1 16384 true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the chunks were\n%q\nwant\n%q", got, want)
	}
}

func TestChunks(t *testing.T) {
	for _, tt := range []struct {
		name    string
		message []byte
		ok      bool
	}{
		{"nothing", nil, false},
		{"half a header", []byte{0, 0, 0, 1}, false},
		{"an empty end", []byte{0, 0, 0, 1, 1}, true},
		{"a chunk of nothing", []byte{0, 0, 0, 1, 0}, false},
		{"payload", []byte{0, 0, 0, 1, 0, 9}, true},
		{"an end with payload", []byte{0, 0, 0, 1, 1, 9}, true},
		{"an abort", []byte{0, 0, 0, 1, 2}, true},
		{"an abort with payload", []byte{0, 0, 0, 1, 2, 9}, false},
		{"an abort that is an end", []byte{0, 0, 0, 1, 3}, false},
		{"an unknown flag", []byte{0, 0, 0, 1, 4, 9}, false},
		{"as large as can be", make([]byte, callHeader+callChunk), true},
		{"larger", make([]byte, callHeader+callChunk+1), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parseChunk(tt.message)
			if tt.ok != (err == nil) || err != nil && !errors.Is(err, errCallsViolation) {
				t.Fatal(err)
			}
			if tt.ok && !bytes.Equal(appendChunk(nil, c), tt.message) {
				t.Errorf("%+v is not what was parsed", c)
			}
		})
	}
}

func TestAssemblyBound(t *testing.T) {
	payload := make([]byte, callChunk)
	var a assembly
	for range MaxCall / callChunk {
		if _, complete, err := a.add(chunk{number: 1, payload: payload}); complete || err != nil {
			t.Fatal(complete, err)
		}
	}
	if _, _, err := a.add(chunk{number: 1, flags: chunkEnd, payload: payload[:1]}); !errors.Is(err, errCallsViolation) {
		t.Fatal("one byte more:", err)
	}
	if whole, complete, err := a.add(chunk{number: 1, flags: chunkEnd}); !complete || len(whole) != MaxCall || err != nil {
		t.Error(len(whole), complete, err)
	}
	if a.begun(1) {
		t.Error("a part of what is complete is left")
	}
}

// send is what a hostile end sends.
func send(t *testing.T, c Channel, number uint32, flags chunkFlags, payload int) {
	t.Helper()
	message := binary.BigEndian.AppendUint32(nil, number)
	if err := c.Send(append(append(message, byte(flags)), make([]byte, payload)...)); err != nil {
		t.Fatal(err)
	}
}

func TestCallersPeerViolates(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, peer Channel)
	}{
		{"a response to no call", func(t *testing.T, peer Channel) { send(t, peer, 3, chunkEnd, 0) }},
		{"an abort of no call", func(t *testing.T, peer Channel) { send(t, peer, 3, chunkAbort, 0) }},
		{"two responses", func(t *testing.T, peer Channel) {
			send(t, peer, 1, chunkEnd, 0)
			send(t, peer, 1, chunkEnd, 0)
		}},
		{"no chunk", func(t *testing.T, peer Channel) { _ = peer.Send([]byte("x")) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := memoryChannels(2)
				c := newCaller(1, func(context.Context, int) (Channel, error) { return near, nil })
				defer c.Close()
				errs := make(chan error, 2)
				for range 2 {
					go func() {
						_, err := c.Call(t.Context(), 0, []byte("question"))
						errs <- err
					}()
				}
				for range 2 {
					if _, err := far.Receive(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				tt.do(t, far) // calls 1 and 2 wait
				synctest.Wait()
				violations := 0
				for range 2 {
					if err := <-errs; errors.Is(err, errCallsViolation) {
						violations++
					} else if err != nil {
						t.Error(err)
					}
				}
				if violations == 0 {
					t.Error("no call ended with a violation")
				}
				if _, err := far.Receive(t.Context()); err != io.EOF {
					t.Error("the channel is not closed:", err)
				}
			})
		})
	}
}

func TestAnswerersPeerViolates(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, peer Channel)
	}{
		{"a call again", func(t *testing.T, peer Channel) {
			send(t, peer, 1, chunkEnd, 1)
			send(t, peer, 1, chunkEnd, 1)
		}},
		{"an abort of no call", func(t *testing.T, peer Channel) { send(t, peer, 1, chunkAbort, 0) }},
		{"an abort after the end", func(t *testing.T, peer Channel) {
			send(t, peer, 1, chunkEnd, 1)
			send(t, peer, 1, chunkAbort, 0)
		}},
		{"one call more than may be", func(t *testing.T, peer Channel) {
			for number := range uint32(maxOpenCalls) {
				send(t, peer, number, 0, 1)
			}
			send(t, peer, maxOpenCalls-1, chunkAbort, 0) // makes room for one
			send(t, peer, maxOpenCalls, 0, 1)
			synctest.Wait()
			send(t, peer, maxOpenCalls, 0, 1) // it lives
			send(t, peer, maxOpenCalls+1, 0, 1)
		}},
		{"no chunk", func(t *testing.T, peer Channel) { _ = peer.Send(nil) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := memoryChannels(0)
				block := make(chan struct{})
				var logged bytes.Buffer
				a := answerCalls(far, func([]byte) []byte { <-block; return nil }, slog.New(slog.NewTextHandler(&logged, nil)))
				tt.do(t, near)
				if _, err := near.Receive(t.Context()); err != io.EOF {
					t.Error("the channel is not closed:", err)
				}
				close(block)
				_ = a.Close()
				if !strings.Contains(logged.String(), errCallsViolation.Error()) {
					t.Errorf("the log is %q", logged.String())
				}
			})
		})
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
