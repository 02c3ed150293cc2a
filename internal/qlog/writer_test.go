package qlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// A memory is a sink and its writer. Writes wait for gate to be closed, if there
// is one.
type memory struct {
	gate   chan struct{}
	none   bool  // OpenQlog returns nil
	err    error // of Write
	opened int
	writes int
	closed int
	b      bytes.Buffer
}

func (m *memory) OpenQlog(transport.Info, transport.Side) io.WriteCloser {
	m.opened++
	if m.none {
		return nil
	}
	return m
}

func (m *memory) Write(p []byte) (int, error) {
	if m.gate != nil {
		<-m.gate
	}
	m.writes++
	if m.err != nil {
		return 0, m.err
	}
	return m.b.Write(p)
}

func (m *memory) Close() error {
	m.closed++
	return nil
}

// records parses a JSON text sequence strictly.
func records(t *testing.T, b []byte) (all []map[string]any) {
	t.Helper()
	if len(b) == 0 {
		return nil
	}
	if b[0] != 0x1e {
		t.Fatalf("the first byte is %#x", b[0])
	}
	for _, text := range bytes.Split(b[1:], []byte{0x1e}) {
		if !bytes.HasSuffix(text, []byte("}\n")) || bytes.Count(text, []byte("\n")) != 1 {
			t.Fatalf("not a record: %q", text)
		}
		var m map[string]any
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		all = append(all, m)
	}
	return all
}

// names are those of events, checked for what each must have.
func names(t *testing.T, events []map[string]any) (all []string) {
	t.Helper()
	before := -1.0
	for _, e := range events {
		name := e["name"].(string)
		if !Known(name) {
			t.Errorf("unknown event %s", name)
		}
		if now := e["time"].(float64); now < before {
			t.Errorf("%s at %v, after %v", name, now, before)
		} else {
			before = now
		}
		if _, ok := e["data"].(map[string]any); !ok || len(e) != 3 {
			t.Errorf("members of an event: %v", e)
		}
		all = append(all, strings.TrimPrefix(name, "webtransport:"))
	}
	return all
}

var info = transport.Info{
	Protocol: transport.HTTP2, ID: 4, ApplicationProtocol: "chat",
	LocalAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443}, RemoteAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 5},
}

func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		w := New(m, info, transport.ServerSide)
		began := time.Now()
		time.Sleep(1500 * time.Microsecond)
		for _, c := range []capsule.Capsule{
			capsule.ResetStream{StreamID: 4, ErrorCode: 5, ReliableSize: 6},
			capsule.ResetStream{StreamID: 4, ErrorCode: 5, SizeAbsent: true},
			capsule.StopSending{StreamID: 4, ErrorCode: 5},
			capsule.MaxData{MaximumData: 1 << 61},
			capsule.MaxStreamData{StreamID: 4, MaximumStreamData: 7},
			capsule.MaxStreams{Uni: true, MaximumStreams: 8},
			capsule.DataBlocked{MaximumData: 9},
			capsule.StreamDataBlocked{StreamID: 4, MaximumStreamData: 10},
			capsule.StreamsBlocked{MaximumStreams: 11},
			capsule.CloseSession{ErrorCode: 12, Message: "a \"b\"\n\x1e\x00\xff"},
			capsule.DrainSession{},
			capsule.Padding{Length: 13},
		} {
			w.Sent(c)
			w.Received(c)
		}
		w.StreamOpened(3, false)
		w.StreamOpened(4, true)
		w.StreamAborted(4, "sending", true, 77)
		w.DatagramDropped(true, 100, 20*time.Millisecond, "too old")
		w.DatagramDropped(false, 101, 0, "rate")
		w.Blocked("stream", 14)
		w.Throttled(time.Second)
		w.Draining()
		w.DialectLearned(transport.DialectLegacy, "a FIN")
		w.Ended(&transport.SessionError{Remote: true, Code: 15, Reason: "why", Err: &transport.ProtocolError{Reason: "r", Limit: transport.LimitAborts}},
			transport.Stats{StreamsOpened: 1, StreamsAccepted: 2, BytesSent: 3, BytesReceived: 4, DatagramsSent: 5, DatagramsReceived: 6, RTT: time.Millisecond})
		w.Close()
		w.Close()
		w.Draining() // too late
		synctest.Wait()
		if m.opened != 1 || m.closed != 1 {
			t.Errorf("opened %d times, closed %d times", m.opened, m.closed)
		}

		all := records(t, m.b.Bytes())
		header, _ := json.Marshal(all[0])
		want := `{"file_schema":"urn:ietf:params:qlog:file:sequential","serialization_format":"application/qlog+json-seq","trace":{` +
			`"common_fields":{"reference_time":{"clock_type":"monotonic","epoch":"unknown","wall_clock_time":"` + began.UTC().Format(time.RFC3339Nano) + `"},"time_format":"relative_to_epoch"},` +
			`"event_schemas":["` + eventSchema + `"],"vantage_point":{"name":"towpath","type":"server"}}}`
		if string(header) != want {
			t.Errorf("header\n%s, want\n%s", header, want)
		}
		names(t, all[1:])
		var got []string
		for _, e := range all[1:] {
			data, _ := json.Marshal(e["data"])
			got = append(got, fmt.Sprint(e["time"], " ", e["name"], " ", string(data)))
		}
		twice := func(data string) []string {
			return []string{"1.5 webtransport:capsule_sent " + data, "1.5 webtransport:capsule_received " + data}
		}
		events := slices.Concat(
			[]string{`0 webtransport:session_started {"application_protocol":"chat","local":"192.0.2.1:443","remote":"192.0.2.2:5","session_id":4,"transport":"h2"}`},
			twice(`{"capsule":"WT_RESET_STREAM","error_code":5,"reliable_size":6,"stream_id":4}`),
			twice(`{"capsule":"WT_RESET_STREAM","error_code":5,"stream_id":4}`),
			twice(`{"capsule":"WT_STOP_SENDING","error_code":5,"stream_id":4}`),
			twice(`{"capsule":"WT_MAX_DATA","maximum":2305843009213694000}`),
			twice(`{"capsule":"WT_MAX_STREAM_DATA","maximum":7,"stream_id":4}`),
			twice(`{"capsule":"WT_MAX_STREAMS","maximum":8,"stream_type":"unidirectional"}`),
			twice(`{"capsule":"WT_DATA_BLOCKED","maximum":9}`),
			twice(`{"capsule":"WT_STREAM_DATA_BLOCKED","maximum":10,"stream_id":4}`),
			twice(`{"capsule":"WT_STREAMS_BLOCKED","maximum":11,"stream_type":"bidirectional"}`),
			twice(`{"capsule":"WT_CLOSE_SESSION","error_code":12,"reason":"a \"b\"\n\u001e\u0000`+"\ufffd"+`"}`),
			twice(`{"capsule":"WT_DRAIN_SESSION"}`),
			twice(`{"capsule":"PADDING","length":13}`),
			[]string{
				`1.5 webtransport:stream_opened {"initiator":"remote","stream_id":3,"stream_type":"unidirectional"}`,
				`1.5 webtransport:stream_opened {"initiator":"local","stream_id":4,"stream_type":"bidirectional"}`,
				`1.5 webtransport:stream_aborted {"error_code":77,"initiator":"local","part":"sending","stream_id":4}`,
				`1.5 webtransport:datagram_dropped {"age":20,"direction":"sent","length":100,"why":"too old"}`,
				`1.5 webtransport:datagram_dropped {"age":0,"direction":"received","length":101,"why":"rate"}`,
				`1.5 webtransport:blocked {"limit":14,"what":"stream"}`,
				`1.5 webtransport:throttled {"for":1000}`,
				`1.5 webtransport:draining {}`,
				`1.5 webtransport:dialect_learned {"dialect":"` + transport.DialectLegacy.String() + `","evidence":"a FIN"}`,
				`1.5 webtransport:session_ended {"bytes_received":4,"bytes_sent":3,"datagrams_received":6,"datagrams_sent":5,"error":"WT_ERROR: r","error_code":15,"initiator":"remote","limit":"aborts","reason":"why","rtt":1,"streams_accepted":2,"streams_opened":1}`,
			})
		for i := range max(len(got), len(events)) {
			switch {
			case i >= len(got):
				t.Errorf("missing: %s", events[i])
			case i >= len(events):
				t.Errorf("not expected: %s", got[i])
			case got[i] != events[i]:
				t.Errorf("event %d is\n%s, want\n%s", i, got[i], events[i])
			}
		}
	})
}

// TestBounds fills the queue of a sink that does not move.
func TestBounds(t *testing.T) {
	long := capsule.CloseSession{Message: strings.Repeat("x", 1024)}
	for _, c := range []struct {
		name  string
		event func(*Writer)
	}{
		{"events", func(w *Writer) { w.Draining() }},
		{"bytes", func(w *Writer) { w.Received(long) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &memory{gate: make(chan struct{})}
				w := New(m, info, transport.ClientSide)
				synctest.Wait() // the goroutine has the first record
				const n = 5000
				for range n {
					c.event(w)
				}
				w.mu.Lock()
				if w.events > MaxEvents || len(w.queue) > MaxBytes || w.lost == 0 || w.lost+uint64(w.events) < n {
					t.Errorf("%d events of %d bytes queued, %d lost", w.events, len(w.queue), w.lost)
				}
				lost := w.lost
				w.mu.Unlock()
				w.Ended(&transport.SessionError{}, transport.Stats{}) // always fits
				w.Close()
				close(m.gate)
				synctest.Wait()
				all := records(t, m.b.Bytes())[1:]
				got := names(t, all)
				if l := len(got); got[l-1] != SessionEnded || got[l-2] != EventsLost {
					t.Fatalf("the last events are %v", got[l-2:])
				}
				if told := all[len(all)-2]["data"].(map[string]any)["count"]; told != float64(lost) {
					t.Errorf("%v events told as lost, %d were", told, lost)
				}
				if len(got)-3+int(lost) != n || m.closed != 1 {
					t.Errorf("%d events written, %d lost, of %d; closed %d times", len(got)-3, lost, n, m.closed)
				}
			})
		})
	}
}

// TestLostIsToldWhenIdle has nothing follow what was lost.
func TestLostIsToldWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{gate: make(chan struct{})}
		w := New(m, info, transport.ClientSide)
		synctest.Wait()
		for range MaxEvents + 1 {
			w.Draining()
		}
		close(m.gate)
		synctest.Wait()
		got := names(t, records(t, m.b.Bytes())[1:])
		if got[len(got)-1] != EventsLost {
			t.Errorf("the last event is %s", got[len(got)-1])
		}
		if w.queue != nil || w.writing {
			t.Errorf("at rest there are a queue of %d bytes and a goroutine: %v", cap(w.queue), w.writing)
		}
		w.Close()
	})
}

func TestSinkThatRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		m      *memory
		closed int
		writes int
	}{
		{"no writer", &memory{none: true}, 0, 0},
		{"error", &memory{err: errors.New("disk full")}, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := New(c.m, info, transport.ClientSide)
				synctest.Wait()
				for range 100 {
					w.Draining()
				}
				synctest.Wait()
				if w.queue != nil || w.lost != 0 {
					t.Errorf("%d bytes queued, %d events lost", len(w.queue), w.lost)
				}
				w.Ended(&transport.SessionError{}, transport.Stats{})
				w.Close()
				synctest.Wait()
				if c.m.opened != 1 || c.m.closed != c.closed || c.m.writes != c.writes {
					t.Errorf("opened %d, closed %d, written %d times", c.m.opened, c.m.closed, c.m.writes)
				}
			})
		})
	}
}

// TestConcurrent has several goroutines report, under the race detector.
func TestConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		w := New(m, info, transport.ClientSide)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for i := range 200 {
					w.StreamOpened(transport.StreamID(i*4), true)
				}
			})
		}
		wg.Wait()
		w.Close()
		synctest.Wait()
		counts := map[string]int{}
		lost := 0.0
		for _, e := range records(t, m.b.Bytes())[1:] {
			counts[e["name"].(string)]++
			if e["name"] == "webtransport:"+EventsLost {
				lost += e["data"].(map[string]any)["count"].(float64)
			}
		}
		if counts["webtransport:stream_opened"]+int(lost) != 800 {
			t.Errorf("%v, %v lost", counts, lost)
		}
		if unknown := slices.DeleteFunc(slices.Collect(maps.Keys(counts)), Known); len(unknown) > 0 {
			t.Errorf("unknown events %v", unknown)
		}
	})
}

// TestOff says that a session without a sink pays nothing.
func TestOff(t *testing.T) {
	w := New(nil, info, transport.ServerSide)
	if w != nil {
		t.Fatal("a Writer without a sink")
	}
	var c capsule.Capsule = capsule.MaxData{MaximumData: 1 << 40}
	err := &transport.SessionError{}
	if n := testing.AllocsPerRun(100, func() {
		w.Sent(c)
		w.Received(c)
		w.StreamOpened(4, true)
		w.StreamAborted(4, "sending", true, 1)
		w.DatagramDropped(true, 1, 1, "queue")
		w.Blocked("session", 1)
		w.Throttled(1)
		w.Draining()
		w.DialectLearned(transport.DialectDraft15, "")
		w.Ended(err, transport.Stats{})
		w.Close()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkEvent(b *testing.B) {
	w := New(&memory{}, info, transport.ServerSide)
	defer w.Close()
	b.ReportAllocs()
	for b.Loop() {
		w.Sent(capsule.MaxData{MaximumData: 1 << 40})
	}
}
