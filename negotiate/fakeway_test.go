package negotiate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// A fakeWay scripts what a way does; the zero value stays silent for ever.
type fakeWay struct {
	rung    int
	below   bool // of the way before it; of WebSocket
	delay   time.Duration
	heardAt time.Duration // after its start; 0 never
	blockAt time.Duration // -1 at once, 0 never
	openAt  time.Duration // -1 at once, 0 never
	openErr error
	// The leg.
	answerAt  time.Duration // -1 at once, 0 never
	answerErr error
	patience  time.Duration // 0 means 1 s
	within    time.Duration
	progress  bool
	deadAt    time.Duration // when the path shows that it is dead, after the request
	stubborn  bool          // answers although its context ended
}

// A script is a race over fake ways that records what it saw.
type script struct {
	mu    sync.Mutex
	start time.Time
	log   []string
}

func (s *script) add(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, fmt.Sprintf("%v ", time.Since(s.start))+fmt.Sprintf(format, args...))
}

func (s *script) way(name string, f fakeWay) way {
	a := newAttempt(transport.HTTP3, name, "")
	if f.rung == 1 {
		a.Protocol = transport.HTTP2
	}
	if f.below {
		a.Protocol = transport.WebSocket
	}
	return way{attempt: a, rung: f.rung, below: f.below, delay: f.delay, open: func(ctx context.Context, sg signs) (leg, error) {
		s.add("%s start", name)
		if f.heardAt > 0 {
			time.AfterFunc(f.heardAt, sg.heard)
		}
		if f.blockAt != 0 {
			time.AfterFunc(max(f.blockAt, 0), func() { sg.blocked(errDead) })
		}
		if !sleep(ctx, f.openAt) {
			return nil, ctx.Err()
		}
		if f.openErr != nil {
			return nil, f.openErr
		}
		return &fakeLeg{name: name, fakeWay: f, script: s}, nil
	}}
}

// sleep waits for d (negative: not at all, 0: for ever) or the end of ctx.
func sleep(ctx context.Context, d time.Duration) bool {
	if d < 0 {
		return true
	}
	var c <-chan time.Time
	if d > 0 {
		c = time.After(d)
	}
	select {
	case <-c:
		return true
	case <-ctx.Done():
		return false
	}
}

type fakeLeg struct {
	name string
	fakeWay
	script *script
}

func (l *fakeLeg) request(ctx context.Context) (transport.Session, error) {
	l.script.add("%s ask", l.name)
	if l.stubborn {
		time.Sleep(l.answerAt)
	} else if !sleep(ctx, l.answerAt) {
		l.script.add("%s reset", l.name)
		return nil, ctx.Err()
	}
	if l.answerErr != nil {
		return nil, l.answerErr
	}
	return &fakeSession{name: l.name, script: l.script}, nil
}

func (l *fakeLeg) patience() time.Duration {
	if l.fakeWay.patience == 0 {
		return time.Second
	}
	return l.fakeWay.patience
}

func (l *fakeLeg) watch() (func(bool) sight, time.Duration) {
	began := time.Now()
	return func(due bool) sight {
		switch {
		case l.progress:
			return alive
		case due && time.Since(began) >= l.deadAt:
			return dead
		}
		return unseen
	}, l.within
}

func (l *fakeLeg) discard() {
	l.script.add("%s discard", l.name)
}

type fakeSession struct {
	transport.Session
	name   string
	script *script
}

func (s *fakeSession) CloseWithError(code transport.SessionErrorCode, reason string) error {
	s.script.add("%s close %d %q", s.name, code, reason)
	return nil
}

type raceCase struct {
	name      string
	ways      map[string]fakeWay // "6", "4" (QUIC), "T" (HTTP/2), "W" (WebSocket); in this order, "<6" and "<4" behind them
	headStart time.Duration      // 0 means 250 ms
	silence   time.Duration      // 0 means half of it; negative none
	ctx       time.Duration      // 0 means none

	winner string // "" for none
	at     time.Duration
	err    error
	// answered is checked if err is errLast.
	answered bool
	log      string // events in order, separated by "; "
	settled  string // outcomes of the ways at the end
}

func judgeFake(_ Attempt, err error) verdict {
	switch {
	case errors.Is(err, errRefused):
		return answer
	case errors.Is(err, errHigher):
		return tryBelow
	case errors.Is(err, errLast):
		return lastWord
	case errors.Is(err, errCrowded):
		return noRoom
	}
	return tryNext
}

func runRaceCase(t *testing.T, c raceCase) {
	t.Helper()
	s := &script{start: time.Now()}
	r := &race{headStart: c.headStart, silence: c.silence, linger: 500 * msec, judge: judgeFake}
	if r.headStart == 0 {
		r.headStart = 250 * msec
	}
	switch {
	case r.silence == 0 && r.headStart > 0:
		r.silence = r.headStart / 2
	case r.silence < 0:
		r.silence = 0
	}
	for _, n := range []string{"6", "4", "T", "W", "<6", "<4"} {
		if f, ok := c.ways[n]; ok {
			r.ways = append(r.ways, s.way(strings.TrimPrefix(n, "<"), f))
		}
	}
	ctx := t.Context()
	if c.ctx > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.ctx)
		defer cancel()
	}
	done := make(chan result, 1)
	var settled []Attempt
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.run(ctx, t.Context(), done, func(as []Attempt) { settled = as })
	}()
	res := <-done
	at := time.Since(s.start)
	<-ended

	winner := ""
	if res.winner >= 0 {
		winner = r.ways[res.winner].attempt.Network
		if res.session == nil || res.session.(*fakeSession).name != winner {
			t.Errorf("the session is not the winner's: %v", res.session)
		}
	} else if res.session != nil || res.leg != nil {
		t.Error("a session without a winner")
	}
	if winner != c.winner || at != c.at {
		t.Errorf("won: %q at %v, want %q at %v", winner, at, c.winner, c.at)
	}
	if c.err == nil && res.winner < 0 || c.err != nil && !errors.Is(res.err, c.err) {
		t.Errorf("error %v, want %v", res.err, c.err)
	}
	if c.err == errLast && res.answered != c.answered {
		t.Errorf("answered %v, want %v", res.answered, c.answered)
	}
	// Events of one instant come from different goroutines, in any order.
	want := strings.Split(c.log, "; ")
	if c.log == "" {
		want = nil
	}
	slices.Sort(want)
	slices.Sort(s.log)
	if !slices.Equal(s.log, want) {
		t.Errorf("events:\n got %s\nwant %s", strings.Join(s.log, "; "), strings.Join(want, "; "))
	}
	var states []string
	for _, a := range settled {
		states = append(states, a.Network+" "+a.Outcome.String())
	}
	if got := strings.Join(states, ", "); got != c.settled {
		t.Errorf("settled: %s, want %s", got, c.settled)
	}
}
