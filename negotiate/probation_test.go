package negotiate

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/transport"
)

// trickle is a handler that writes to a stream n times, pause apart.
func trickle(n int, pause time.Duration) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		s, err := Upgrade(rw, r, nil)
		if err != nil {
			return
		}
		go func() { // ends with the session
			st, err := s.OpenUniStream(context.Background())
			for range n {
				if err == nil {
					_, err = st.Write([]byte("tick"))
					time.Sleep(pause)
				}
			}
		}()
	}
}

// A session on a path that lives is never ended, whatever its traffic looks like.
func TestProbationSparesLivePaths(t *testing.T) {
	// Path MTU probes would show the path's life by themselves.
	quiet := func(w *world) *Dialer {
		d := w.dialer()
		d.HeadStart = 2 * time.Second
		d.QUICConfig = &quic.Config{DisablePathMTUDiscovery: true}
		d.Trace = &Trace{Marked: func(string, time.Time) { w.t.Error("marked") }}
		return d
	}
	t.Run("a burst after a rest, right before a check", func(t *testing.T) {
		const check = minProbation / probationChecks
		for n := time.Duration(1); n <= 10; n++ {
			inWorld(t, worldOptions{udp: 100 * time.Millisecond, handler: trickle(2, time.Second)}, func(t *testing.T, w *world) {
				s, _ := wantDial(t, quiet(w), w.url, "open", transport.HTTP3, -1)
				time.Sleep(n*check - 20*time.Millisecond)
				for range 20 {
					if err := s.SendDatagram(make([]byte, 1000)); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(8 * time.Second)
				if err := context.Cause(s.Context()); err != nil {
					t.Errorf("burst before check %d: %v", n, err)
				}
				s.CloseWithError(0, "")
			})
		}
	})
	t.Run("a stream that trickles in and is not read", func(t *testing.T) {
		inWorld(t, worldOptions{handler: trickle(100, 300*time.Millisecond)}, func(t *testing.T, w *world) {
			s, _ := wantDial(t, quiet(w), w.url, "open", transport.HTTP3, -1)
			st, err := s.OpenStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := st.Write([]byte("a question")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
			if err := context.Cause(s.Context()); err != nil {
				t.Error(err)
			}
			s.CloseWithError(0, "")
		})
	})
	t.Run("a process too busy to handle what came", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			d := quiet(w)
			d.hooks.turnTime = busyUntil(time.Now().Add(5 * time.Second))
			s, _ := wantDial(t, d, w.url, "open", transport.HTTP3, -1)
			w.router.drop.Store(true) // what is not handled might as well be lost
			st, err := s.OpenStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := st.Write([]byte("is anybody there?")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
			w.router.drop.Store(false)
			time.Sleep(10 * time.Second)
			if err := context.Cause(s.Context()); err != nil {
				t.Error(err)
			}
			s.CloseWithError(0, "")
		})
	})
}

// busyUntil is a process in which a goroutine waits 200 ms for its turns until then.
func busyUntil(then time.Time) func() time.Duration {
	return func() time.Duration {
		if time.Now().After(then) {
			return 0
		}
		time.Sleep(200 * time.Millisecond)
		return 200 * time.Millisecond
	}
}

// A path that died is found out although the process was busy for a while.
func TestProbationAfterBusyTime(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		d := w.dialer()
		d.hooks.turnTime = busyUntil(time.Now().Add(2 * time.Second))
		s, _ := wantDial(t, d, w.url, "open", transport.HTTP3, -1)
		w.router.drop.Store(true)
		start := time.Now()
		st, err := s.OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Write([]byte("into the void")); err != nil {
			t.Fatal(err)
		}
		<-s.Context().Done()
		if err := context.Cause(s.Context()); !errors.Is(err, ErrPathBroken) {
			t.Errorf("cause %v", err)
		}
		if took := time.Since(start); took < 5*time.Second || took > 7*time.Second {
			t.Errorf("ended after %v, want 5s to 7s", took)
		}
	})
}

func TestTurnTime(t *testing.T) {
	if took := turnTime(); took > time.Minute {
		t.Errorf("%v in a process that does nothing else", took)
	}
	// So many goroutines with so much to do each, before each of the turns.
	const many, work = 400, time.Millisecond
	var stop atomic.Bool
	var started, all sync.WaitGroup
	defer all.Wait()
	defer stop.Store(true)
	started.Add(many)
	for range many {
		all.Go(func() {
			first := true
			for !stop.Load() {
				for start := time.Now(); time.Since(start) < work; {
				}
				if first {
					started.Done()
					first = false
				}
				runtime.Gosched()
			}
		})
	}
	started.Wait()
	// A turn comes after every other goroutine's, on average: half is enough.
	want := turns * many * work / time.Duration(runtime.GOMAXPROCS(0)) / 2
	if took := turnTime(); took < want {
		t.Errorf("%v among %d that do %v of work at a time, want at least %v", took, many, work, want)
	}
}
