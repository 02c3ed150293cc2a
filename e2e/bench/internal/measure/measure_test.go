package measure

import (
	"context"
	"crypto/tls"
	"errors"
	"math"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/e2e/bench/internal/peer"
)

// The test's process is also what the idle benchmarks start.
func TestMain(m *testing.M) {
	if role := Role(); role != nil {
		os.Exit(role(os.Stdin, os.Stdout))
	}
	// With the race detector a process sleeps for a second when it ends.
	os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0"))
	os.Exit(m.Run())
}

// short is as long as it takes to see that something works.
var short = Options{Duration: 5 * time.Millisecond, Warmup: time.Millisecond, Idle: 3, Settle: time.Millisecond}

// Every peer does every benchmark that it does not say it cannot, and leaves no
// goroutine behind.
func TestEveryPeer(t *testing.T) {
	for _, p := range peer.All() {
		t.Run(p.Name, func(t *testing.T) {
			for _, b := range benches {
				if b.Lacks(p) != "" || b.Steady {
					continue
				}
				t.Run(b.Name, func(t *testing.T) {
					before := runtime.NumGoroutine()
					r, err := b.Measure(t.Context(), p, short)
					if err != nil {
						t.Fatal(err)
					}
					check(t, b, r)
					wantGoroutines(t, before)
				})
			}
		})
	}
}

// check tells whether a result can be one.
func check(t *testing.T, b *Bench, r Result) {
	t.Helper()
	for _, v := range []float64{r.Value, r.P99, r.Lost, r.CPU, r.Allocs, r.Goroutines} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			t.Errorf("a result is no number: %+v", r)
		}
	}
	if r.Value <= 0 && !b.Steady { // so little memory may be hidden by what was free before
		t.Errorf("nothing was measured: %+v", r)
	}
	if r.Lost < 0 || r.Lost >= 1 {
		t.Errorf("%v of the datagrams were lost", r.Lost)
	}
}

// wantGoroutines waits until there are no more goroutines than before. Libraries
// need a moment after their Close has returned.
func wantGoroutines(t *testing.T, before int) {
	t.Helper()
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before; {
		if time.Now().After(end) {
			b := make([]byte, 1<<20)
			t.Fatalf("%d goroutines before, %d after\n%s", before, runtime.NumGoroutine(), b[:runtime.Stack(b, true)])
		}
		<-time.After(time.Millisecond)
	}
}

// Every peer carries the bytes that it is given.
func TestVerify(t *testing.T) {
	for _, p := range peer.All() {
		t.Run(p.Name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			if err := Verify(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			wantGoroutines(t, before)
		})
	}
}

// The processes of idle benchmarks look at as many connections as they are to.
func TestIdle(t *testing.T) {
	for _, p := range peer.All() {
		for _, b := range benches {
			if b.Lacks(p) != "" || !b.Steady {
				continue
			}
			t.Run(p.Name+"/"+b.Name, func(t *testing.T) {
				t.Parallel()
				r, err := b.Measure(t.Context(), p, short)
				if err != nil {
					t.Fatal(err)
				}
				check(t, b, r)
				if r.Goroutines <= 0 || b.Name == "pooled" && r.PerConn != p.PerConn {
					t.Errorf("%+v", r)
				}
			})
		}
	}
}

// breaking is a peer whose streams do something wrong. The handshakes are right.
func breaking(name string, broken func(peer.Stream) peer.Stream) *peer.Peer {
	p := *peer.Named("tls")
	p.Name = name
	dial := p.Dial
	p.Dial = func(ctx context.Context, addr string, conf *tls.Config) (peer.Conn, error) {
		c, err := dial(ctx, addr, conf)
		if err != nil {
			return nil, err
		}
		return &breakingConn{c, broken}, nil
	}
	return &p
}

type breakingConn struct {
	peer.Conn
	broken func(peer.Stream) peer.Stream
}

func (c *breakingConn) Open(ctx context.Context) (peer.Stream, error) {
	s, err := c.Conn.Open(ctx)
	if err != nil {
		return nil, err
	}
	return c.broken(s), nil
}

// A losing stream does not send some of what it says it has.
type losing struct {
	peer.Stream
	n int
}

func (s *losing) Write(p []byte) (int, error) {
	if s.n++; s.n%2 == 0 { // the first is the ping's
		return len(p), nil
	}
	return s.Stream.Write(p)
}

// A lying stream changes a byte.
type lying struct {
	peer.Stream
	n int
}

func (s *lying) Write(p []byte) (int, error) {
	if s.n++; s.n == 3 {
		p = slices.Clone(p)
		p[len(p)-1] ^= 1
	}
	return s.Stream.Write(p)
}

// A failing stream fails after a while.
type failing struct {
	peer.Stream
	n int
}

var errBroken = errors.New("broken")

func (s *failing) Write(p []byte) (int, error) {
	if s.n++; s.n > 3 {
		return 0, errBroken
	}
	return s.Stream.Write(p)
}

// A fast wrong answer is none.
func TestWrongData(t *testing.T) {
	lose := breaking("losing", func(s peer.Stream) peer.Stream { return &losing{Stream: s} })
	lie := breaking("lying", func(s peer.Stream) peer.Stream { return &lying{Stream: s} })
	fail := breaking("failing", func(s peer.Stream) peer.Stream { return &failing{Stream: s} })
	for _, tt := range []struct {
		name string
		p    *peer.Peer
		run  func(context.Context, *peer.Peer) error
		want string // a regular expression
	}{
		{"lost bytes are found", lose, Verify, "wrong bytes between"},
		{"changed bytes are found", lie, Verify, "wrong bytes between"},
		{"a failure is found", fail, Verify, "broken"},
		{"a failure in a measurement is found", fail, func(ctx context.Context, p *peer.Peer) error {
			_, err := Named("up64k").Measure(ctx, p, short)
			return err
		}, "broken"},
		{"bytes that do not arrive are no throughput", lose, func(ctx context.Context, p *peer.Peer) error {
			ctx, cancel := context.WithCancelCause(ctx)
			defer cancel(nil)
			time.AfterFunc(500*time.Millisecond, func() { cancel(errors.New("waited for nothing")) })
			_, err := Named("up64k").Measure(ctx, p, short)
			return err
		}, "waited for nothing|bytes were sent, and .* received"}, // lost in the warm-up, or only after it
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			err := tt.run(t.Context(), tt.p)
			if err == nil || !regexp.MustCompile(tt.want).MatchString(err.Error()) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			wantGoroutines(t, before)
		})
	}
}

// An echo that is not what was sent is none.
func TestWrongEcho(t *testing.T) {
	p := breaking("forging", func(s peer.Stream) peer.Stream { return forging{s} })
	if _, err := Named("echo").Measure(t.Context(), p, short); err == nil || !strings.Contains(err.Error(), "not what was sent") {
		t.Errorf("%v", err)
	}
}

type forging struct{ peer.Stream }

func (s forging) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	if n > 0 {
		p[0] ^= 1
	}
	return n, err
}

// What ends a measurement early ends it at once, with nothing left behind.
func TestCancel(t *testing.T) {
	for _, b := range benches {
		t.Run(b.Name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			ctx, cancel := context.WithCancelCause(t.Context())
			gone := errors.New("gone")
			time.AfterFunc(20*time.Millisecond, func() { cancel(gone) })
			o := Options{Duration: time.Hour, Warmup: time.Hour, Idle: 1, Settle: time.Hour}
			if _, err := b.Measure(ctx, peer.Named("quic-go"), o); !errors.Is(err, gone) {
				t.Errorf("%v", err)
			}
			wantGoroutines(t, before)
		})
	}
}

func TestPattern(t *testing.T) {
	b := make([]byte, 1000)
	fill(b, 77)
	if !matches(b, 77) || !matches(nil, 0) {
		t.Error("what was filled does not match")
	}
	for _, wrong := range []int{0, 76, 78, 77 + 1000, 77 + 65536, 1 << 30} {
		if matches(b, wrong) {
			t.Errorf("it matches at %d as well", wrong)
		}
	}
}

// An answer that is too long, or that ends early, is found.
func TestReadAll(t *testing.T) {
	for _, tt := range []struct {
		in   string
		n    int
		fail bool
	}{{"", 0, false}, {"abc", 3, false}, {"abcd", 0, true}, {"abcde", 0, true}} {
		n, err := readAll(strings.NewReader(tt.in), make([]byte, 4))
		if (err != nil) != tt.fail || !tt.fail && n != tt.n {
			t.Errorf("%q: %d, %v", tt.in, n, err)
		}
	}
}
