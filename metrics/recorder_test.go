package metrics

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// series are the values of all samples, by name and label values.
func series(t testing.TB, sources ...Source) map[string]float64 {
	t.Helper()
	all, err := Gather(sources...)
	if err != nil {
		t.Fatal(err)
	}
	m := make(map[string]float64)
	for _, f := range all {
		for _, p := range f.Points {
			key := strings.TrimPrefix(f.SampleName(), "towpath_") + " " + strings.Join(p.Labels, " ")
			if p.Histogram == nil {
				m[key] = p.Value
				continue
			}
			m[key+" count"], m[key+" sum"] = float64(p.Histogram.Count), p.Histogram.Sum
			for _, b := range p.Histogram.Buckets {
				m[fmt.Sprint(key, " le ", b.UpperBound)] = float64(b.Count)
			}
		}
	}
	return m
}

// want checks that certain series have certain values, and that what is not among
// them but has one of the prefixes is 0.
func want(t *testing.T, got map[string]float64, want map[string]float64, prefixes ...string) {
	t.Helper()
	for k, v := range want {
		if g, ok := got[k]; !ok || g != v {
			t.Errorf("%s is %v (there: %v), want %v", k, g, ok, v)
		}
	}
	for k, v := range got {
		if _, listed := want[k]; !listed && v != 0 && slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(k, p) }) {
			t.Errorf("%s is %v, want nothing", k, v)
		}
	}
}

func TestSessionOutcomes(t *testing.T) {
	limit := &transport.ProtocolError{Violation: transport.ViolationExcess, Limit: transport.LimitAborts}
	for _, c := range []struct {
		name  string
		cause error
		word  string
		limit string
	}{
		{"here", &transport.SessionError{Code: 7}, "closed", ""},
		{"by the peer", &transport.SessionError{Code: 7, Remote: true}, "closed_by_peer", ""},
		{"idle", &transport.SessionError{Err: &transport.ProtocolError{Limit: transport.LimitSessionIdle}}, "idle", "session-idle"},
		{"limit", &transport.SessionError{Err: limit}, "limit", "aborts"},
		{"limit of the connection", &transport.SessionError{Err: fmt.Errorf("connection: %w", limit)}, "limit", "aborts"},
		{"limit unknown here", &transport.SessionError{Err: &transport.ProtocolError{Limit: "peer's words"}}, "limit", "other"},
		{"violation", &transport.SessionError{Err: &transport.ProtocolError{}}, "violation", ""},
		{"dialect", &transport.SessionError{Err: &transport.DialectError{}}, "dialect", ""},
		{"reset", &transport.SessionError{Remote: true, Err: &transport.ResetError{}}, "reset", ""},
		{"lost", &transport.SessionError{Remote: true, Err: errors.New("read: broken")}, "lost", ""},
		{"no SessionError", errors.New("other"), "other", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := NewRecorder()
				s := newFake(transport.HTTP2)
				r.SessionOpened(s, transport.ServerSide)
				s.cancel(c.cause)
				synctest.Wait()
				expected := map[string]float64{"sessions_opened_total h2 server": 1, "sessions_ended_total h2 server " + c.word: 1, "sessions_open h2 server": 0}
				if c.limit != "" {
					expected["sessions_killed_total h2 server "+c.limit] = 1
				}
				want(t, series(t, r), expected, "sessions_")
			})
		})
	}
}

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRecorder()
		s := newFake(transport.HTTP3)
		r.SessionOpened(s, transport.ClientSide)
		s.count(func(st *transport.Stats) {
			*st = transport.Stats{
				StreamsOpened: 1, StreamsAccepted: 2, BytesSent: 3, BytesReceived: 4, BytesRead: 5,
				DatagramsSent: 6, DatagramsReceived: 7, DatagramsDroppedOutgoing: 8, DatagramsExpiredOutgoing: 9,
				DatagramsDroppedIncoming: 10, DatagramsExpiredIncoming: 11, DatagramsThrottled: 12, Stalls: 13, Throttled: 14,
				RTT: 30 * time.Millisecond,
			}
		})
		counters := map[string]float64{
			"streams_opened_total h3 client local":             1,
			"streams_opened_total h3 client peer":              2,
			"stream_sent_bytes_total h3 client":                3,
			"stream_received_bytes_total h3 client":            4,
			"datagrams_sent_total h3 client":                   6,
			"datagrams_received_total h3 client":               7,
			"datagrams_dropped_total h3 client sent queue":     8,
			"datagrams_dropped_total h3 client sent age":       9,
			"datagrams_dropped_total h3 client received queue": 10,
			"datagrams_dropped_total h3 client received age":   11,
			"datagrams_dropped_total h3 client received rate":  12,
			"flow_control_stalls_total h3 client":              13,
			"byte_rate_throttled_total h3 client":              14,
		}
		prefixes := []string{"streams_", "stream_", "datagrams_", "flow_", "byte_", "live_", "session_rtt"}
		live := maps.Clone(counters)
		live["live_rtt_seconds h3 client smallest"] = 0.03
		live["live_rtt_seconds h3 client median"] = 0.03
		live["live_rtt_seconds h3 client largest"] = 0.03
		want(t, series(t, r), live, prefixes...)

		time.Sleep(2 * time.Second)
		s.end()
		synctest.Wait()
		// What closing flushes still counts.
		s.count(func(st *transport.Stats) { st.BytesSent += 100; st.RTT = -1 })
		counters["stream_sent_bytes_total h3 client"] = 103
		after := maps.Clone(counters)
		after["session_rtt_seconds h3 client count"], after["session_rtt_seconds h3 client sum"] = 1, 0.03
		for _, b := range bounds[sessionRTT] {
			if b >= 0.03 {
				after[fmt.Sprint("session_rtt_seconds h3 client le ", b)] = 1
			}
		}
		after["session_duration_seconds h3 client sum"] = 2
		want(t, series(t, r), after, prefixes...)

		time.Sleep(lingerTime)
		synctest.Wait()
		if len(r.live) != 0 || len(r.ended) != 0 || r.timer != nil {
			t.Errorf("%d sessions live, %d ended, timer %v: want none", len(r.live), len(r.ended), r.timer)
		}
		asked := s.asked
		want(t, series(t, r), after, prefixes...)
		if s.asked != asked {
			t.Error("a finished session was asked again")
		}
	})
}

func TestEvents(t *testing.T) {
	r := NewRecorder()
	broken := errors.New("broken")
	limit := &transport.ProtocolError{Limit: transport.LimitPingTime}
	r.ConnectionOpened(transport.HTTP2, transport.ServerSide)
	r.ConnectionOpened(transport.HTTP2, transport.ServerSide)
	r.ConnectionOpened(transport.HTTP2, transport.ServerSide)
	r.ConnectionOpened(transport.HTTP2, transport.ServerSide)
	r.ConnectionEnded(transport.HTTP2, transport.ServerSide, nil)
	r.ConnectionEnded(transport.HTTP2, transport.ServerSide, broken)
	r.ConnectionEnded(transport.HTTP2, transport.ServerSide, limit)
	r.ConnectionRefused(transport.ProtocolUnknown, transport.LimitConnectionRate)
	r.ConnectionRefused(transport.HTTP3, "words of the peer")
	r.SessionRefused(transport.Refusal{Protocol: transport.HTTP3, Status: 429, Limit: transport.LimitSessionRate})
	r.SessionRefused(transport.Refusal{Protocol: transport.HTTP2, Limit: transport.LimitSessionsPerConnection})
	for _, status := range []int{403, 418, 299, 599, 600, -1} {
		r.SessionRefused(transport.Refusal{Protocol: transport.WebSocket, Status: status})
	}
	r.Dialed(transport.Dialed{
		Protocol: transport.HTTP2, Elapsed: 30 * time.Millisecond, Outcome: transport.DialConnected,
		Fallbacks: []transport.Fallback{{Protocol: transport.HTTP3, Reason: transport.FallbackUDPSilent}, {Protocol: transport.HTTP3, Reason: "words"}},
	})
	r.Dialed(transport.Dialed{Outcome: "words", Err: broken})
	want(t, series(t, r), map[string]float64{
		"connections_opened_total h2 server":                      4,
		"connections_open h2 server":                              1,
		"connections_ended_total h2 server closed":                1,
		"connections_ended_total h2 server error":                 1,
		"connections_ended_total h2 server limit":                 1,
		"connections_killed_total h2 server ping-time":            1,
		"connections_refused_total unknown connection-rate":       1,
		"connections_refused_total h3 other":                      1,
		"sessions_refused_total h3 429 session-rate":              1,
		"sessions_refused_total h2 reset sessions-per-connection": 1,
		"sessions_refused_total ws 403 none":                      1,
		"sessions_refused_total ws 4xx none":                      1,
		"sessions_refused_total ws 2xx none":                      1,
		"sessions_refused_total ws 5xx none":                      1,
		"sessions_refused_total ws other none":                    2,
		"dials_total h2 connected":                                1,
		"dials_total none other":                                  1,
		"dial_fallbacks_total h3 udp_silent":                      1,
		"dial_fallbacks_total h3 other":                           1,
		"dial_duration_seconds h2 connected le 0.025":             0,
		"dial_duration_seconds h2 connected le 0.05":              1,
	}, "connections_", "sessions_", "dials_", "dial_fallbacks_")
}

// TestMonotone opens, uses and ends sessions while others scrape: no counter goes
// back, and at the end everything is there once.
func TestMonotone(t *testing.T) {
	r := NewRecorder()
	const workers, rounds = 4, 300
	var bytes, datagrams [workers]uint64
	var work, scrapes sync.WaitGroup
	stop := make(chan struct{})
	for w := range workers {
		work.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 1))
			for range rounds {
				s := newFake(transport.Protocol(1 + random.IntN(3)))
				r.SessionOpened(s, transport.Side(random.IntN(2)))
				for range random.IntN(4) {
					n := random.Uint64N(1000)
					bytes[w] += n
					datagrams[w]++
					s.count(func(st *transport.Stats) { st.BytesSent += n; st.DatagramsSent++ })
				}
				s.end()
				if random.IntN(2) == 0 { // flushed behind the end
					bytes[w]++
					s.count(func(st *transport.Stats) { st.BytesSent++ })
				}
			}
		})
	}
	for range 2 {
		scrapes.Go(func() {
			before := map[string]float64{}
			for {
				now := series(t, r)
				for k, v := range before {
					if strings.Contains(k, "_total ") && now[k] < v {
						t.Errorf("%s went back from %v to %v", k, v, now[k])
					}
				}
				before = now
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	// The timer would finish them later; here it is to happen under the scrapes.
	scrapes.Go(func() {
		for {
			r.mu.Lock()
			var e *entry
			if len(r.ended) > 20 {
				e = r.oldestLocked()
			}
			r.mu.Unlock()
			if e != nil {
				r.finish(e)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	work.Wait()
	for open := -1.0; open != 0; { // the ends are counted by goroutines of their own
		open = 0
		for k, v := range series(t, r) {
			if strings.HasPrefix(k, "sessions_open ") {
				open += v
			}
		}
	}
	close(stop)
	scrapes.Wait()
	sums := map[string]float64{}
	for k, v := range series(t, r) {
		sums[strings.Fields(k)[0]] += v
	}
	var sent, messages uint64
	for w := range workers {
		sent, messages = sent+bytes[w], messages+datagrams[w]
	}
	for name, n := range map[string]uint64{
		"sessions_opened_total": workers * rounds, "sessions_ended_total": workers * rounds,
		"stream_sent_bytes_total": sent, "datagrams_sent_total": messages,
	} {
		if sums[name] != float64(n) {
			t.Errorf("%s is %v, want %d", name, sums[name], n)
		}
	}
}

func TestLingerBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRecorder()
		const n = maxLinger + 500
		for range n {
			s := newFake(transport.HTTP2)
			s.count(func(st *transport.Stats) { st.BytesSent = 1 })
			r.SessionOpened(s, transport.ServerSide)
			s.end()
		}
		synctest.Wait()
		if len(r.ended) != maxLinger || len(r.live) != maxLinger {
			t.Errorf("%d sessions remembered, %d live, want %d", len(r.ended), len(r.live), maxLinger)
		}
		sent := map[string]float64{"stream_sent_bytes_total h2 server": n}
		want(t, series(t, r), sent)
		time.Sleep(lingerTime)
		synctest.Wait()
		if len(r.ended) != 0 || len(r.live) != 0 || r.timer != nil {
			t.Errorf("%d sessions remembered, %d live: want none", len(r.ended), len(r.live))
		}
		want(t, series(t, r), sent)
	})
}

// TestBounded gives a Recorder words, statuses and protocols without end.
func TestBounded(t *testing.T) {
	r := NewRecorder()
	feed := func(n int) {
		for i := range n {
			w := fmt.Sprint("w", i)
			p := transport.Protocol(i)
			r.ConnectionOpened(p, transport.Side(i))
			r.ConnectionEnded(p, transport.Side(i), &transport.ProtocolError{Limit: transport.Limit(w)})
			r.ConnectionRefused(p, transport.Limit(w))
			r.SessionRefused(transport.Refusal{Protocol: p, Status: i, Limit: transport.Limit(w)})
			r.Dialed(transport.Dialed{Protocol: p, Outcome: w, Fallbacks: []transport.Fallback{{Protocol: p, Reason: w}}})
		}
	}
	feed(1000)
	before := len(series(t, r))
	feed(10_000)
	if n := len(series(t, r)); n != before {
		t.Errorf("%d series, %d before", n, before)
	}
	if before > 700 {
		t.Errorf("%d series of one word each", before)
	}
}

func TestGatherAddsRecorders(t *testing.T) {
	a, b := NewRecorder(), NewRecorder()
	for i, r := range []*Recorder{a, b} {
		for j := range 2 {
			s := newFake(transport.HTTP2)
			s.rtt(time.Duration(1+2*i+j) * time.Second)
			r.SessionOpened(s, transport.ServerSide)
		}
		r.ConnectionRefused(transport.HTTP2, transport.LimitConnections)
	}
	want(t, series(t, a, b, a), map[string]float64{
		"sessions_opened_total h2 server":          4,
		"sessions_open h2 server":                  4,
		"connections_refused_total h2 connections": 2,
		"live_rtt_seconds h2 server smallest":      1,
		"live_rtt_seconds h2 server median":        3,
		"live_rtt_seconds h2 server largest":       4,
	})
	other := fixed{{Name: "towpath_sessions_opened"}}
	if _, err := Gather(a, other); err == nil || !strings.Contains(err.Error(), "towpath_sessions_opened") {
		t.Errorf("two sources with one family: %v", err)
	}
}

// fixed is a Source.
type fixed []Family

func (f fixed) Metrics() []Family { return f }

// BenchmarkScrape writes the text for 20,000 live sessions.
func BenchmarkScrape(b *testing.B) {
	for _, n := range []int{0, 1000, 20_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := NewRecorder()
			for i := range n {
				s := newFake(transport.Protocol(1 + i%3))
				s.rtt(time.Duration(i%977+1) * time.Microsecond)
				r.SessionOpened(s, transport.ServerSide)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := WriteText(discard{}, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
