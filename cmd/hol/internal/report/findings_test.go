package report

import (
	"slices"
	"testing"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// exactly is an estimate that does not vary.
func exactly(v float64) lab.Estimate { return lab.Estimate{Mean: v, Low: v, High: v, N: 5} }

func TestFindings(t *testing.T) {
	c := lab.Condition{Direction: lab.Down, Link: syntheticLink(.02), Workload: syntheticWorkload(lab.Updates)}
	cell := func(transport string, late, together, delivered, p99, next float64) lab.Cell {
		return lab.Cell{
			Transport: transport, Condition: c, Late: exactly(late), Together: exactly(together),
			Delivered: exactly(delivered), P99: exactly(p99), NextChannel: exactly(next),
		}
	}
	s := lab.Study{Cells: []lab.Cell{
		cell("wt-h3-streams", .035, 0, 1, 82.6, 25.3),
		cell("wt-h3-datagrams", 0, 0, .98, 26, 25.2),
		cell("wt-h2-streams", .24, .71, 1, 115.4, 25.3),
		cell("ws-one", .25, .8, 1, 104, 25.1),
		cell("ws-per-channel", .06, .04, 1, 99, 178),
		cell("http2-streams", .99, 1, 1, 9999, 25),
	}}
	s.Cells[1].Together = lab.Estimate{}
	s.Cells[0].ServerChannel = exactly(25.2)
	s.Cells[4].ServerChannelError = "only clients dial"
	s.Cells[5].Problem = "suspect"
	sc := scenarios(s)[0]

	want := []string{
		"At 2 % loss, of the transports that delivered everything, the fewest messages were late with WebTransport/h3 streams (3.50 %), the most with one WebSocket (25.0 %).",
		"Channels stalled together, more often than not: WebTransport/h2 streams, one WebSocket.",
		"Channels stalled each on its own: WebTransport/h3 streams, WebSocket per channel.",
		"Not everything was delivered, so that a late share alone flatters: WebTransport/h3 datagrams (98.0 %).",
		"At 2 % loss WebTransport streams over HTTP/2 in place of HTTP/3 have 24.0±0 % of the messages late instead of 3.50±0 %, and a p99 of 115±0 ms instead of 82.6±0.0 ms. With one WebSocket it is 25.0±0 %, and 104±0 ms.",
	}
	if got := findings(sc); !slices.Equal(got, want) {
		t.Errorf("findings %q", got)
	}
	want = []string{
		"The server can open a channel with WebTransport/h3 streams.",
		"It cannot with WebSocket per channel.",
		"A further channel of the client needs no handshake with WebTransport/h3 streams, WebTransport/h3 datagrams, WebTransport/h2 streams, one WebSocket, HTTP/2 streams.",
		"It waits for one with WebSocket per channel (178 ms).",
	}
	if got := openings(sc.Levels[0]); !slices.Equal(got, want) {
		t.Errorf("openings %q", got)
	}
	if g := fallbackGrid(sc); g == nil || len(g.Rows) != 3 {
		t.Errorf("fallback %+v", g)
	}

	// What may be chance is no order.
	wide := func(i int, low, high float64) {
		s.Cells[i].Late = lab.Estimate{Mean: (low + high) / 2, Low: low, High: high, N: 5}
	}
	wide(2, .2, .28)
	wide(3, .22, .3)
	wide(4, .01, .25)
	overlapping := "At 2 % loss, of the transports that delivered everything, the fewest messages were late with WebTransport/h3 streams (3.50 %), " +
		"the most with WebTransport/h2 streams (24.0 %), one WebSocket (26.0 %). Where several are named their intervals overlap."
	if got := findings(scenarios(s)[0])[0]; got != overlapping {
		t.Errorf("findings %q", got)
	}
	wide(0, .03, .23)
	if got, want := findings(scenarios(s)[0])[0], "At 2 % loss, of the transports that delivered everything, late shares cannot be told apart: their intervals overlap."; got != want {
		t.Errorf("findings %q", got)
	}

	// A suspect transport is compared with nothing.
	s.Cells[2].Problem = "suspect"
	if got := fallback(scenarios(s)[0].Levels[0]); got != nil {
		t.Errorf("fallback %q", got)
	}
	// Without loss there is nothing to say.
	for i := range s.Cells {
		s.Cells[i].Condition.Link.Loss = 0
	}
	if got := findings(scenarios(s)[0]); got != nil {
		t.Errorf("findings of a control %q", got)
	}
}
