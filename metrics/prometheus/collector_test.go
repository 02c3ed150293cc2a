package prometheus

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/towpath-go/towpath/metrics"
	"github.com/towpath-go/towpath/transport"
)

// A session has what a Recorder asks for.
type session struct {
	transport.Session
	protocol transport.Protocol
	ctx      context.Context
	stats    transport.Stats
}

func (s *session) Info() transport.Info     { return transport.Info{Protocol: s.protocol} }
func (s *session) Context() context.Context { return s.ctx }
func (s *session) Stats() transport.Stats   { return s.stats }

// full returns a Recorder in which every family has a point.
func full(t *testing.T) *metrics.Recorder {
	t.Helper()
	r := metrics.NewRecorder()
	for _, p := range []transport.Protocol{transport.HTTP3, transport.HTTP2, transport.WebSocket} {
		for _, side := range []transport.Side{transport.ClientSide, transport.ServerSide} {
			stats := transport.Stats{
				StreamsOpened: 2, StreamsAccepted: 3, BytesSent: 1 << 40, BytesReceived: 5, DatagramsSent: 6, DatagramsReceived: 7,
				DatagramsThrottled: 8, Stalls: 9, Throttled: 10, RTT: 3 * time.Millisecond,
			}
			r.ConnectionOpened(p, side)
			r.ConnectionOpened(p, side)
			r.ConnectionEnded(p, side, &transport.ProtocolError{Limit: transport.LimitMemory})
			r.SessionOpened(&session{protocol: p, ctx: t.Context(), stats: stats}, side)
			ended, cancel := context.WithCancelCause(context.Background())
			cancel(&transport.SessionError{Err: &transport.ProtocolError{Limit: transport.LimitAborts}})
			r.SessionOpened(&session{protocol: p, ctx: ended, stats: stats}, side)
		}
		r.ConnectionRefused(p, transport.LimitConnectionRate)
		r.SessionRefused(transport.Refusal{Protocol: p, Status: 429, Limit: transport.LimitSessionRate})
		r.Dialed(transport.Dialed{Protocol: p, Elapsed: time.Millisecond, Fallbacks: []transport.Fallback{{Protocol: transport.HTTP3, Reason: transport.FallbackUDPSilent}}})
	}
	// The ends are counted on goroutines of their own.
	for deadline := time.Now().Add(10 * time.Second); ; {
		killed := 0.0
		for _, f := range r.Metrics() {
			if f.Name == "towpath_sessions_killed" {
				for _, p := range f.Points {
					killed += p.Value
				}
			}
		}
		if killed == 6 {
			return r
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v sessions killed, want 6", killed)
		}
	}
}

func TestCollector(t *testing.T) {
	c := Collector(full(t))
	if problems, err := testutil.CollectAndLint(c); err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
	want := `
# HELP towpath_connections_killed_total Connections that this side ended because a limit was reached.
# TYPE towpath_connections_killed_total counter
towpath_connections_killed_total{limit="memory",side="client",transport="h2"} 1
towpath_connections_killed_total{limit="memory",side="client",transport="h3"} 1
towpath_connections_killed_total{limit="memory",side="client",transport="ws"} 1
towpath_connections_killed_total{limit="memory",side="server",transport="h2"} 1
towpath_connections_killed_total{limit="memory",side="server",transport="h3"} 1
towpath_connections_killed_total{limit="memory",side="server",transport="ws"} 1
# HELP towpath_sessions_open Sessions open now.
# TYPE towpath_sessions_open gauge
towpath_sessions_open{side="client",transport="h2"} 1
towpath_sessions_open{side="client",transport="h3"} 1
towpath_sessions_open{side="client",transport="ws"} 1
towpath_sessions_open{side="server",transport="h2"} 1
towpath_sessions_open{side="server",transport="h3"} 1
towpath_sessions_open{side="server",transport="ws"} 1
`
	if err := testutil.CollectAndCompare(c, strings.NewReader(want), "towpath_connections_killed_total", "towpath_sessions_open"); err != nil {
		t.Error(err)
	}
}

// TestSameAsText has Prometheus' own encoder write what the Collector gives, in
// OpenMetrics, and compares it with WriteText sample by sample.
func TestSameAsText(t *testing.T) {
	r := full(t)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(Collector(r))
	w := httptest.NewRecorder()
	request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	request.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true, ErrorHandling: promhttp.HTTPErrorOnError}).ServeHTTP(w, request)
	if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "application/openmetrics-text") {
		t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	var text bytes.Buffer
	if err := metrics.WriteText(&text, r); err != nil {
		t.Fatal(err)
	}
	theirs, ours := samples(t, w.Body.String()), samples(t, text.String())
	if len(ours) < 400 {
		t.Errorf("only %d samples", len(ours))
	}
	for s, v := range ours {
		if there, ok := theirs[s]; !ok || there != v {
			t.Errorf("%s is %v, from the Collector %v", s, v, there)
		}
	}
	for s := range theirs {
		if _, ok := ours[s]; !ok {
			t.Errorf("%s is not in the text", s)
		}
	}
	for _, line := range strings.Split(w.Body.String(), "\n") {
		if strings.HasPrefix(line, "# HELP ") || strings.HasPrefix(line, "# TYPE ") {
			if !strings.Contains(text.String(), line+"\n") {
				t.Errorf("not in the text: %s", line)
			}
		}
	}
}

// samples are the values by names and sorted labels.
func samples(t *testing.T, text string) map[string]float64 {
	t.Helper()
	all := make(map[string]float64)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, value, _ := strings.Cut(line, "} ")
		name, labels, _ := strings.Cut(name, "{")
		sorted := strings.Split(labels, ",")
		slices.Sort(sorted)
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Errorf("%v: %s", err, line)
		}
		all[name+" "+strings.Join(sorted, " ")] = v
	}
	return all
}

// TestTextParses has Prometheus' parser read what WriteText writes. It knows the
// older format: the names of counters, units and the end are OpenMetrics' own.
func TestTextParses(t *testing.T) {
	var text bytes.Buffer
	if err := metrics.WriteText(&text, full(t)); err != nil {
		t.Fatal(err)
	}
	counters := map[string]bool{}
	var old strings.Builder
	for line := range strings.Lines(text.String()) {
		f := strings.SplitN(line, " ", 4)
		if f[0] != "#" {
			old.WriteString(line)
			continue
		}
		if f[1] == "TYPE" && f[3] == "counter\n" {
			counters[f[2]] = true
		}
		if len(f) > 2 && counters[f[2]] {
			f[2] += "_total"
		}
		if f[1] == "TYPE" || f[1] == "HELP" {
			old.WriteString(strings.Join(f, " "))
		}
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(old.String()))
	if err != nil {
		t.Fatal(err)
	}
	var all []*dto.MetricFamily
	for name, f := range families {
		if f.GetType() == dto.MetricType_UNTYPED || f.GetHelp() == "" {
			t.Errorf("%s has no type or no help", name)
		}
		all = append(all, f)
	}
	if len(all) != 24 {
		t.Errorf("%d families", len(all))
	}
	if problems, err := promlint.NewWithMetricFamilies(all).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
	sent := families["towpath_stream_sent_bytes_total"]
	if len(sent.GetMetric()) != 6 || sent.GetMetric()[0].GetCounter().GetValue() != 1<<41 {
		t.Errorf("bytes sent: %v", sent)
	}
}

type broken []metrics.Family

func (b broken) Metrics() []metrics.Family { return b }

func TestCollectorReportsErrors(t *testing.T) {
	r := metrics.NewRecorder()
	for name, c := range map[string]prometheus.Collector{
		"a family twice":    Collector(r, broken{{Name: "towpath_dials"}}),
		"labels missing":    Collector(broken{{Name: "a", Labels: []string{"l"}, Points: []metrics.Point{{Value: 1}}}}),
		"histogram, labels": Collector(broken{{Name: "a", Kind: metrics.KindHistogram, Points: []metrics.Point{{Labels: []string{"x"}, Histogram: &metrics.Histogram{}}}}}),
	} {
		registry := prometheus.NewRegistry()
		if err := registry.Register(c); err != nil {
			t.Fatal(err)
		}
		if _, err := registry.Gather(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(Collector())
	if all, err := registry.Gather(); err != nil || len(all) != 0 {
		t.Errorf("no source: %v, %v", all, err)
	}
}
