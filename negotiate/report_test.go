package negotiate

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/transport"
)

func testReport() *Report {
	quic := newAttempt(transport.HTTP3, "udp4", "192.0.2.2:443")
	quic.Outcome, quic.Started, quic.Ended, quic.Err = Failed, 0, 1500*time.Microsecond, errors.New("connection refused")
	tcp := newAttempt(transport.HTTP2, "tcp", "example.com:443")
	tcp.Outcome, tcp.Started, tcp.Ready, tcp.Requested, tcp.Ended, tcp.Heard = Won, 1500*time.Microsecond, 61*msec, 61*msec, 82*msec, true
	return &Report{
		URL: "https://example.com/chat", Winner: transport.HTTP2, Elapsed: 90 * msec, Resolve: 8 * msec,
		Memory: MemoryNone, Network: "0123456789abcdef", HeadStart: 250 * msec, Attempts: []Attempt{quic, tcp},
	}
}

func ExampleReport() {
	fmt.Println(testReport())
	// Output:
	// https://example.com/chat: h2 in 90 ms
	//   memory      nothing known; head start 250 ms
	//   resolved    in 8.0 ms
	//   h3 udp4     failed      start 0.0 ms end 1.5 ms: connection refused
	//   h2 tcp      won         start 1.5 ms ready 61 ms asked 61 ms end 82 ms
}

func TestReportFailure(t *testing.T) {
	a := newAttempt(transport.HTTP2, "http", "example.com:443")
	a.Outcome, a.Note = Lost, "the dial ended"
	r := &Report{URL: "https://example.com/", Elapsed: 10 * time.Second, Memory: MemoryUnused, Proxy: "http://p:1", Attempts: []Attempt{a}, Err: errors.New("x")}
	want := "https://example.com/: no session after 10000 ms\n  proxy       http://p:1\n  h2 http     lost: the dial ended"
	if got := r.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestReportJSON(t *testing.T) {
	r := testReport()
	r.MemoryUntil = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	r.Memory = MemoryBroken
	r.Err = errors.New("an error")
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"url":"https://example.com/chat","transport":"h2","ms":90,"resolve_ms":8,"memory":"UDP marked broken",` +
		`"memory_until":"2030-01-02T03:04:05Z","network":"0123456789abcdef","head_start_ms":250,"attempts":[` +
		`{"transport":"h3","network":"udp4","address":"192.0.2.2:443","outcome":"failed","started_ms":0,"ended_ms":1.5,"heard":false,"error":"connection refused"},` +
		`{"transport":"h2","network":"tcp","address":"example.com:443","outcome":"won","started_ms":1.5,"ready_ms":61,"requested_ms":61,"ended_ms":82,"heard":true}],` +
		`"error":"an error"}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	for start, want := range map[time.Duration]bool{0: true, -1: false} {
		r.HeadStart = start
		if b, err := json.Marshal(r); err != nil || strings.Contains(string(b), `"head_start_ms":0,`) != want || !want && strings.Contains(string(b), "head_start") {
			t.Errorf("head start %d: %s, %v", start, b, err)
		}
	}
}

func TestNames(t *testing.T) {
	for o := NotStarted; o <= Lost; o++ {
		if o.String() == "unknown" {
			t.Errorf("outcome %d has no name", o)
		}
	}
	for m := MemoryNone; m <= MemoryUnused; m++ {
		if m.String() == "unknown" {
			t.Errorf("memory %d has no name", m)
		}
	}
	if (Lost+1).String() != "unknown" || (MemoryUnused+1).String() != "unknown" {
		t.Error("names for what does not exist")
	}
}
