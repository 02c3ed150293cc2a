package metrics

import (
	"maps"
	"slices"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// A family is an index into families.
type family int

const (
	connectionsOpened family = iota
	connectionsOpen
	connectionsEnded
	connectionsKilled
	connectionsRefused
	sessionsOpened
	sessionsOpen
	sessionsEnded
	sessionsKilled
	sessionsRefused
	sessionDuration
	sessionRTT
	liveRTT
	streamsOpened
	streamBytesSent
	streamBytesReceived
	datagramsSent
	datagramsReceived
	datagramsDropped
	stalls
	throttled
	dials
	dialDuration
	fallbacks
	familyCount
)

// families describes what a Recorder has.
var families = [familyCount]Family{
	connectionsOpened: {Name: "towpath_connections_opened", Labels: []string{"transport", "side"},
		Help: "Connections that became ready for sessions."},
	connectionsOpen: {Name: "towpath_connections_open", Kind: KindGauge, Labels: []string{"transport", "side"},
		Help: "Connections open now."},
	connectionsEnded: {Name: "towpath_connections_ended", Labels: []string{"transport", "side", "outcome"},
		Help: "Connections that ended, by how."},
	connectionsKilled: {Name: "towpath_connections_killed", Labels: []string{"transport", "side", "limit"},
		Help: "Connections that this side ended because a limit was reached."},
	connectionsRefused: {Name: "towpath_connections_refused", Labels: []string{"transport", "limit"},
		Help: "Connections that a server turned away before they were ready."},
	sessionsOpened: {Name: "towpath_sessions_opened", Labels: []string{"transport", "side"},
		Help: "Sessions opened."},
	sessionsOpen: {Name: "towpath_sessions_open", Kind: KindGauge, Labels: []string{"transport", "side"},
		Help: "Sessions open now."},
	sessionsEnded: {Name: "towpath_sessions_ended", Labels: []string{"transport", "side", "outcome"},
		Help: "Sessions that ended, by how."},
	sessionsKilled: {Name: "towpath_sessions_killed", Labels: []string{"transport", "side", "limit"},
		Help: "Sessions that this side ended because a limit was reached."},
	sessionsRefused: {Name: "towpath_sessions_refused", Labels: []string{"transport", "status", "limit"},
		Help: "Requests for a session that a server did not grant."},
	sessionDuration: {Name: "towpath_session_duration_seconds", Unit: "seconds", Kind: KindHistogram, Labels: []string{"transport", "side"},
		Help: "How long sessions were open, observed at their end."},
	sessionRTT: {Name: "towpath_session_rtt_seconds", Unit: "seconds", Kind: KindHistogram, Labels: []string{"transport", "side"},
		Help: "Round-trip time of sessions, observed at their end."},
	liveRTT: {Name: "towpath_live_rtt_seconds", Unit: "seconds", Kind: KindGauge, Labels: []string{"transport", "side", "of"},
		Help: "Smallest, median and largest round-trip time of the sessions open now."},
	streamsOpened: {Name: "towpath_streams_opened", Labels: []string{"transport", "side", "by"},
		Help: "Streams of both kinds, by the end that opened them: local or peer."},
	streamBytesSent: {Name: "towpath_stream_sent_bytes", Unit: "bytes", Labels: []string{"transport", "side"},
		Help: "Stream data handed to the transport."},
	streamBytesReceived: {Name: "towpath_stream_received_bytes", Unit: "bytes", Labels: []string{"transport", "side"},
		Help: "Stream data received."},
	datagramsSent: {Name: "towpath_datagrams_sent", Labels: []string{"transport", "side"},
		Help: "Datagrams handed to the transport."},
	datagramsReceived: {Name: "towpath_datagrams_received", Labels: []string{"transport", "side"},
		Help: "Datagrams received, including those dropped afterwards."},
	datagramsDropped: {Name: "towpath_datagrams_dropped", Labels: []string{"transport", "side", "direction", "why"},
		Help: "Datagrams dropped here: for the queue, for their age, or for the rate."},
	stalls: {Name: "towpath_flow_control_stalls", Labels: []string{"transport", "side"},
		Help: "How often sending stopped for want of the peer's credit."},
	throttled: {Name: "towpath_byte_rate_throttled", Labels: []string{"transport", "side"},
		Help: "How often credit was withheld to keep a peer within the byte rate."},
	dials: {Name: "towpath_dials", Labels: []string{"transport", "outcome"},
		Help: "Dials by the way that was taken and how they ended."},
	dialDuration: {Name: "towpath_dial_duration_seconds", Unit: "seconds", Kind: KindHistogram, Labels: []string{"transport", "outcome"},
		Help: "How long dials took."},
	fallbacks: {Name: "towpath_dial_fallbacks", Labels: []string{"transport", "reason"},
		Help: "Better ways that dials did not take, by why."},
}

// Bounds of the histograms' buckets, in seconds.
var bounds = map[family][]float64{
	sessionDuration: {0.1, 1, 10, 60, 600, 3600, 36000},
	sessionRTT:      {0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5},
	dialDuration:    {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
}

// labels are the values of a point, as many as its family has.
type labels [4]string

// A tally is what was counted: the series of all families but liveRTT and the
// gauges of what is open. The closed sets of words.go bound it.
type tally struct {
	counts     [familyCount]map[labels]uint64
	histograms [familyCount]map[labels]*histogram
}

// add adds n to a counter. With n = 0 it makes the series.
func (t *tally) add(f family, n uint64, l labels) {
	if t.counts[f] == nil {
		t.counts[f] = make(map[labels]uint64)
	}
	t.counts[f][l] += n
}

func (t *tally) observe(f family, d time.Duration, l labels) {
	t.histogram(f, l).observe(d.Seconds())
}

func (t *tally) histogram(f family, l labels) *histogram {
	if t.histograms[f] == nil {
		t.histograms[f] = make(map[labels]*histogram)
	}
	h := t.histograms[f][l]
	if h == nil {
		h = &histogram{bounds: bounds[f], counts: make([]uint64, len(bounds[f])+1)}
		t.histograms[f][l] = h
	}
	return h
}

// appear makes the series of an end's connections and sessions, so that a rate
// over them sees the first event too. Those of limits and refusals appear with
// their first event: there are too many.
func (t *tally) appear(e end) {
	for _, f := range []family{connectionsOpened, sessionsOpened} {
		t.add(f, 0, e.labels())
	}
	for _, o := range connectionOutcomes {
		t.add(connectionsEnded, 0, e.labels(o))
	}
	for _, o := range sessionOutcomes {
		t.add(sessionsEnded, 0, e.labels(o))
	}
	t.histogram(sessionDuration, e.labels())
	t.histogram(sessionRTT, e.labels())
	t.addStats(e, transport.Stats{})
}

// addStats adds what sessions of an end did.
func (t *tally) addStats(e end, s transport.Stats) {
	t.add(streamsOpened, s.StreamsOpened, e.labels("local"))
	t.add(streamsOpened, s.StreamsAccepted, e.labels("peer"))
	t.add(streamBytesSent, s.BytesSent, e.labels())
	t.add(streamBytesReceived, s.BytesReceived, e.labels())
	t.add(datagramsSent, s.DatagramsSent, e.labels())
	t.add(datagramsReceived, s.DatagramsReceived, e.labels())
	t.add(datagramsDropped, s.DatagramsDroppedOutgoing, e.labels("sent", "queue"))
	t.add(datagramsDropped, s.DatagramsExpiredOutgoing, e.labels("sent", "age"))
	t.add(datagramsDropped, s.DatagramsDroppedIncoming, e.labels("received", "queue"))
	t.add(datagramsDropped, s.DatagramsExpiredIncoming, e.labels("received", "age"))
	t.add(datagramsDropped, s.DatagramsThrottled, e.labels("received", "rate"))
	t.add(stalls, s.Stalls, e.labels())
	t.add(throttled, s.Throttled, e.labels())
}

// merge adds another tally.
func (t *tally) merge(u *tally) {
	for f := range u.counts {
		for l, n := range u.counts[f] {
			t.add(family(f), n, l)
		}
		for l, h := range u.histograms[f] {
			t.histogram(family(f), l).merge(h)
		}
	}
}

// open is how many of what was opened have not ended.
func (t *tally) open(opened, ended family) map[labels]uint64 {
	n := maps.Clone(t.counts[opened])
	for l, c := range t.counts[ended] {
		l[2] = "" // the outcome
		n[l] -= min(c, n[l])
	}
	return n
}

// points are those of a family, in the order of their labels.
func (t *tally) points(f family) []Point {
	width := len(families[f].Labels)
	if families[f].Kind == KindHistogram {
		return collect(t.histograms[f], width, func(h *histogram) Point { return Point{Histogram: h.public()} })
	}
	return collect(t.counts[f], width, func(n uint64) Point { return Point{Value: float64(n)} })
}

func collect[V any](series map[labels]V, width int, point func(V) Point) []Point {
	keys := slices.SortedFunc(maps.Keys(series), func(a, b labels) int { return slices.Compare(a[:], b[:]) })
	points := make([]Point, len(keys))
	for i, k := range keys {
		points[i] = point(series[k])
		points[i].Labels = k[:width:width]
	}
	return points
}

// A histogram is a Histogram with counts of each bucket alone.
type histogram struct {
	bounds []float64
	counts []uint64 // the last is for what is above all bounds
	sum    float64
}

func (h *histogram) observe(v float64) {
	i, _ := slices.BinarySearch(h.bounds, v)
	h.counts[i]++
	h.sum += v
}

func (h *histogram) merge(o *histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.sum += o.sum
}

func (h *histogram) public() *Histogram {
	p := &Histogram{Buckets: make([]Bucket, len(h.bounds)), Sum: h.sum}
	for i, b := range h.bounds {
		p.Count += h.counts[i]
		p.Buckets[i] = Bucket{UpperBound: b, Count: p.Count}
	}
	p.Count += h.counts[len(h.bounds)]
	return p
}
