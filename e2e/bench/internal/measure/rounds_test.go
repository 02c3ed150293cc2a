package measure

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/e2e/bench/internal/peer"
)

func TestQuantile(t *testing.T) {
	for _, tt := range []struct {
		v    []float64
		p    float64
		want float64
	}{
		{nil, .5, 0}, {[]float64{3}, .5, 3}, {[]float64{3}, 1, 3}, {[]float64{3, 1}, .5, 2}, {[]float64{5, 1, 3}, .5, 3},
		{[]float64{5, 1, 3}, 0, 1}, {[]float64{5, 1, 3}, 1, 5}, {[]float64{0, 10}, .25, 2.5},
	} {
		if got := Quantile(tt.v, tt.p); got != tt.want {
			t.Errorf("Quantile(%v, %v) = %v, want %v", tt.v, tt.p, got, tt.want)
		}
	}
	v := []float64{2, 1}
	if Median(v); v[0] != 2 {
		t.Error("the values were sorted in place")
	}
}

func TestLatencies(t *testing.T) {
	l := make(latencies, 0, 3)
	if l.quantile(.5) != 0 {
		t.Error("a median of nothing")
	}
	for _, d := range []time.Duration{5 * time.Second, 1, 3, 100} {
		l.add(d)
	}
	if len(l) != 3 || l.quantile(0) != 1 || l.quantile(.5) != 3 || l.quantile(1) != 1<<32-1 {
		t.Errorf("%v", l)
	}
}

// script is a peer that is not dialed.
func script(name string) *peer.Peer { return &peer.Peer{Name: name} }

// planned are benchmarks that return what the test says, of three peers.
func planned(t *testing.T, run func(p *peer.Peer) (Result, error)) Plan {
	t.Helper()
	b := &Bench{Name: "x", Reference: "tls", Run: func(_ context.Context, p *peer.Peer, _ Options) (Result, error) { return run(p) }}
	return Plan{Benches: []*Bench{b}, Peers: []*peer.Peer{script("a"), peer.Named("tls"), script("b"), script("c")}, Rounds: 2}
}

// The reference is measured between any two peers, and the round begins with
// another peer each time.
func TestOrder(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(*Plan)
		want string
	}{
		{"interleaved", func(*Plan) {}, "tls a tls b tls c tls | tls b tls c tls a tls"},
		{"alone", func(p *Plan) { p.Alone = true }, "a tls b c | tls b c a"},
		{"the reference once a round", func(p *Plan) { p.Benches[0].Steady = true }, "tls a b c | tls b c a"},
		{"the reference is not among the peers", func(p *Plan) { p.Peers = p.Peers[2:3] }, "tls b tls | tls b tls"},
		{"the reference only", func(p *Plan) { p.Peers = p.Peers[1:2] }, "tls | tls"},
		{"what a peer lacks", func(p *Plan) {
			p.Benches[0].Needs = []peer.Feature{peer.Uni}
			p.Benches[0].Reference = "quic-go"
			p.Peers[0].Lacks = map[peer.Feature]string{peer.Uni: "no"}
		}, "quic-go b quic-go c quic-go | quic-go c quic-go b quic-go"},
		{"nobody can", func(p *Plan) {
			p.Benches[0].Needs = []peer.Feature{peer.Uni}
			p.Benches[0].Reference = "quic-go"
			p.Peers = p.Peers[1:2]
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := planned(t, nil)
			tt.set(&p)
			var got []string
			round := 0
			for _, s := range p.steps() {
				if s.round > round {
					round = s.round
					got = append(got, "|")
				}
				got = append(got, s.peer.Name)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Ratios are to the mean of the reference right before and after.
func TestRatios(t *testing.T) {
	n := 0.0
	var told []Progress
	samples, failures, err := planned(t, func(p *peer.Peer) (Result, error) {
		n++ // tls 1, a 2, tls 3, b 4, tls 5, c 6, tls 7
		if p.Name == "b" && n > 7 {
			return Result{}, errors.New("failed")
		}
		return Result{Value: n, CPU: 10 * n}, nil
	}).Run(t.Context(), func(p Progress) { told = append(told, p) })
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range samples {
		got = append(got, fmt.Sprintf("%d %s %g %.3f %.3f", s.Round, s.Peer, s.Value, s.Ratio, s.CPURatio))
	}
	// The second round begins with b: tls 8, b fails 9, tls 10, c 11, tls 12, a 13, tls 14.
	want := "1 tls 4 1.000 1.000; 1 a 2 1.000 1.000; 1 b 4 1.000 1.000; 1 c 6 1.000 1.000; " +
		"2 tls 11 1.000 1.000; 2 c 11 1.000 1.000; 2 a 13 1.000 1.000"
	if s := strings.Join(got, "; "); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
	if len(failures) != 1 || failures[0].Peer != "b" || failures[0].Round != 2 || !strings.Contains(failures[0].Error, "failed") {
		t.Errorf("failures %+v", failures)
	}
	if len(told) != 14 || told[13].Done != 13 || told[13].Steps != 14 || told[13].Round != 2 || told[13].Rounds != 2 || told[0].Left <= 0 {
		t.Errorf("told %+v", told)
	}

	t.Run("one neighbour failed", func(t *testing.T) {
		n := 0.0
		samples, _, _ := planned(t, func(p *peer.Peer) (Result, error) {
			if n++; n == 3 {
				return Result{}, errors.New("failed")
			}
			return Result{Value: n}, nil
		}).Run(t.Context(), func(Progress) {})
		if s := samples[1]; s.Peer != "a" || s.Ratio != 2 {
			t.Errorf("%+v, want the ratio to the first alone", s)
		}
	})
}

// The end of a run keeps the rounds that are complete.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	n := 0
	samples, failures, err := planned(t, func(*peer.Peer) (Result, error) {
		if n++; n == 9 {
			cancel(errors.New("enough"))
		}
		return Result{Value: 1}, nil
	}).Run(ctx, func(Progress) {})
	if err == nil || err.Error() != "enough" || len(samples) != 4 || len(failures) != 0 {
		t.Errorf("%v, %v, %v", samples, failures, err)
	}
}

func TestClock(t *testing.T) {
	b := &Bench{}
	steps := []step{{bench: b}, {bench: b}, {bench: b}}
	c := newClock(Options{Duration: time.Second}, steps)
	if d := c.left(steps); d < 3*time.Second {
		t.Errorf("%v left at first", d)
	}
	c.took(b, 2*time.Second)
	c.took(b, 4*time.Second)
	if d := c.left(steps[2:]); d != 3*time.Second {
		t.Errorf("%v left, want the mean of those before", d)
	}
}

func TestSelect(t *testing.T) {
	if got, err := Select("echo, up64k"); err != nil || len(got) != 2 || got[0].Name != "up64k" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := Select("up64k,ehco"); err == nil || !strings.Contains(err.Error(), `"ehco"`) || !strings.Contains(err.Error(), "echo") {
		t.Errorf("%v", err)
	}
	for _, b := range All() {
		if Named(b.Name) != b || peer.Named(b.Reference) == nil {
			t.Errorf("%s has no reference", b.Name)
		}
		if b.ReferenceBench != "" && Named(b.ReferenceBench) == nil {
			t.Errorf("%s is compared with %s", b.Name, b.ReferenceBench)
		}
	}
}
