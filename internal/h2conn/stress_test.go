package h2conn_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/internal/memconn"
)

// slow is an owner that echoes, consuming on a goroutine of its own in random
// pieces, and resets some streams.
type slow struct {
	*stream
	rnd  *rand.Rand
	fate int // 0: reset half-way
	wg   *sync.WaitGroup
}

func (s *slow) Data(p []byte) int {
	s.mu.Lock()
	s.out = append(s.out, p...)
	used := s.rnd.IntN(len(p) + 1)
	s.mu.Unlock()
	s.st.Wake()
	if rest := len(p) - used; rest > 0 {
		s.wg.Go(func() {
			time.Sleep(time.Duration(rest) * time.Microsecond)
			s.st.Consume(rest / 2)
			if s.fate == 0 {
				s.st.Reset(http2.ErrCodeInternal)
			}
			s.st.Consume(rest - rest/2)
		})
	}
	return used
}

func (s *slow) End() {
	s.write("", true)
	s.st.Done()
}

func (s *slow) Reset(c http2.ErrCode, remote bool, err error) {
	s.stream.Reset(c, remote, err)
	s.st.Done()
}

// TestStress runs many streams with random sizes, resets and latencies, and checks
// that every stream has exactly one end and every echo all its bytes.
func TestStress(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		cn, sn := memconn.Pipe(&memconn.Options{Latency: time.Millisecond, MaxRead: 3000})
		var work sync.WaitGroup
		srv := h2conn.Server(sn, &h2conn.Config{MaxConcurrentStreams: 20, Resets: h2conn.Rate{Burst: -1}}, handlerFunc(func(st *h2conn.Stream, h *h2conn.Header) h2conn.Receiver {
			s := &slow{stream: &stream{st: st}, rnd: rand.New(rand.NewPCG(seed, uint64(st.ID()))), fate: int(st.ID()) % 14, wg: &work}
			if st.ID()%10 == 5 {
				st.Done()
				return nil
			}
			st.WriteHeaders(ok200, false, nil)
			st.SetSource(source{s.stream})
			return s
		}))
		work.Go(func() { srv.Serve() })
		c := h2conn.Client(cn, nil)

		var all []*stream
		sizes := map[*stream]int{}
		cancelled := map[*stream]bool{}
		var clients sync.WaitGroup
		var mu sync.Mutex
		for range 200 {
			size, cancel := rnd.IntN(200_000), rnd.IntN(10) == 0
			clients.Go(func() {
				s := &stream{out: make([]byte, size), outEnd: true}
				st, err := c.OpenStream(context.Background(), &h2conn.Open{Fields: fields(post...), Receiver: s, Source: source{s}})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				all = append(all, s)
				sizes[s], cancelled[s] = size, cancel
				mu.Unlock()
				if cancel {
					time.Sleep(time.Duration(size) * time.Nanosecond)
					st.Reset(http2.ErrCodeCancel)
				}
			})
		}
		clients.Wait()
		time.Sleep(time.Minute)
		whole := 0
		for _, s := range all {
			data, ended, reset := s.snapshot()
			switch {
			case ended && reset == nil && len(data) == sizes[s]:
				whole++
			case reset != nil && reset.Remote && s.resets == 1:
			case cancelled[s] && reset == nil:
			default:
				t.Errorf("%d of %d bytes, ended %v, reset %v (%d times), cancelled %v", len(data), sizes[s], ended, reset, s.resets, cancelled[s])
			}
		}
		if whole < 100 {
			t.Errorf("only %d of %d streams were echoed", whole, len(all))
		}
		if n, m := c.Streams(), srv.Streams(); n != 0 || m != 0 {
			t.Errorf("%d and %d streams are left", n, m)
		}
		if !c.CanOpen() {
			t.Error("the limit was not given back")
		}
		// Nothing leaked from the windows: another stream moves many of them.
		const many = 12 << 20
		s := &stream{out: make([]byte, many), outEnd: true}
		if _, err := c.OpenStream(context.Background(), &h2conn.Open{Fields: fields(post...), Receiver: s, Source: source{s}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if data, ended, reset := s.snapshot(); len(data) != many || !ended || reset != nil {
			t.Errorf("%d bytes, ended %v, %v", len(data), ended, reset)
		}
		c.Close()
		work.Wait()
		if err := srv.Err(); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}
