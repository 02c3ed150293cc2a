package hostile

import (
	"encoding/json"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/towpath-go/towpath/transport"
)

// A recorder takes a test's place and keeps what is said of it.
type recorder struct {
	testing.TB
	errors []string
	attrs  map[string]string
}

func (r *recorder) Helper()      {}
func (r *recorder) Name() string { return "TestHostileExample" }
func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}
func (r *recorder) Attr(key, value string) { r.attrs[key] = value }

func (r *recorder) row(t *testing.T) Row {
	t.Helper()
	var row Row
	if err := json.Unmarshal([]byte(r.attrs[Attribute]), &row); err != nil {
		t.Fatal(err)
	}
	return row
}

var example = Attack{Name: "example", Victim: "h2", Bytes: 64 << 10, Goroutines: 1, Reaction: "none", Limit: transport.LimitFrames}

func TestMeter(t *testing.T) {
	measure := func(n, goroutines int) *recorder {
		r := &recorder{TB: t, attrs: map[string]string{}}
		stop := make(chan struct{})
		m := Start(r, example)
		b := make([]byte, n)
		for range goroutines {
			go func() { <-stop }() // ends below
		}
		m.Sample()
		runtime.KeepAlive(b)
		close(stop)
		m.End(&transport.ProtocolError{Limit: transport.LimitFrames})
		return r
	}
	if r := measure(1<<10, 1); len(r.errors) > 0 || !r.row(t).Held || r.row(t).MostGo != 1 {
		t.Errorf("within the bounds: %q, %+v", r.errors, r.row(t))
	}
	if r := measure(1<<20, 1); len(r.errors) != 1 || r.row(t).Held || r.row(t).Peak < 1<<20 {
		t.Errorf("too many bytes: %q, %+v", r.errors, r.row(t))
	}
	if r := measure(1<<10, 2); len(r.errors) != 1 || r.row(t).Held {
		t.Errorf("too many goroutines: %q, %+v", r.errors, r.row(t))
	}
}

// TestSampleWaitsForRest has a victim that makes much garbage and holds nothing,
// and one that holds all it makes.
func TestSampleWaitsForRest(t *testing.T) {
	for _, tt := range []struct {
		name string
		hold bool
	}{{"garbage of a goroutine that runs is not held", false}, {"what it has kept is", true}} {
		t.Run(tt.name, func(t *testing.T) {
			r := &recorder{TB: t, attrs: map[string]string{}}
			synctest.Test(t, func(t *testing.T) {
				work := make(chan int)
				defer close(work)
				var kept [][]byte
				go func() { // ends with work
					for n := range work {
						for range n {
							b := make([]byte, 1<<10)
							if tt.hold {
								kept = append(kept, b)
							}
						}
					}
				}()
				m := Start(r, example)
				for range 10 {
					work <- 100_000 / 10
					m.Sample()
				}
				m.End(nil)
				runtime.KeepAlive(kept)
			})
			if row := r.row(t); row.Held == tt.hold || tt.hold && row.Peak < 100_000<<10 {
				t.Errorf("%q, %+v", r.errors, row)
			}
		})
	}
}

// TestThreadsAreNotHeld has the runtime's threads begin in the middle of an
// attack.
func TestThreadsAreNotHeld(t *testing.T) {
	r := &recorder{TB: t, attrs: map[string]string{}}
	m := Start(r, example)
	occupyThreads(runtime.GOMAXPROCS(0) + 8)
	m.Sample()
	if m.End(nil); len(r.errors) > 0 {
		t.Errorf("%q", r.errors)
	}
}

// TestStacksAreHeld has goroutines that wait deep in their stacks, and new ones
// that wait at once.
func TestStacksAreHeld(t *testing.T) {
	for _, tt := range []struct {
		name       string
		wait       func(stop <-chan struct{})
		n, atLeast int64
	}{
		{"shallow", func(stop <-chan struct{}) { <-stop }, 4000, smallestStack},
		{"deep", func(stop <-chan struct{}) { waitDeep(stop, 20) }, 100, 20 << 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &recorder{TB: t, attrs: map[string]string{}}
			synctest.Test(t, func(t *testing.T) {
				stop := make(chan struct{})
				m := Start(r, example)
				for range tt.n {
					go tt.wait(stop) // ends below
				}
				m.Sample()
				m.End(nil)
				close(stop)
			})
			// Some may take stacks that others have left.
			if row := r.row(t); row.Held || row.Peak < tt.n*tt.atLeast*8/10 {
				t.Errorf("%d bytes for %d goroutines", row.Peak, tt.n)
			}
		})
	}
}

// waitDeep uses 1 KiB of stack and more for each of n calls.
func waitDeep(stop <-chan struct{}, n int) byte {
	var frame [1 << 10]byte
	if n == 0 {
		<-stop
		return 0
	}
	frame[n] = waitDeep(stop, n-1)
	return frame[n] + frame[n/2]
}

func TestLimitIsCompared(t *testing.T) {
	r := &recorder{TB: t, attrs: map[string]string{}}
	Start(r, example).End(&transport.ProtocolError{Limit: transport.LimitMemory})
	if len(r.errors) != 1 {
		t.Errorf("ended for another limit: %q", r.errors)
	}
}

func TestCost(t *testing.T) {
	spin := func(n int) (x int) {
		for i := range n {
			x += i * x
		}
		return x
	}
	r := &recorder{TB: t, attrs: map[string]string{}}
	m := Start(r, example)
	m.Cost(200, func(frames int) {
		for range frames {
			spin(50_000)
		}
	})
	if len(r.errors) > 0 {
		t.Errorf("linear work: %q", r.errors)
	}
	m = Start(r, example)
	m.Cost(200, func(frames int) {
		for i := range frames {
			spin(i * 1000)
		}
	})
	if (len(r.errors) != 1) != raceDetector {
		t.Errorf("quadratic work: %q", r.errors)
	}
}
