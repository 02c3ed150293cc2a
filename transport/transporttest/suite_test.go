package transporttest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var refCaps = Caps{Bubble: true, ExactPriority: true, ReliableDatagrams: true, ConfiguredDatagramSize: true, SendBuffer: true, DenseStreamIDs: true}

// faultVariable names the fault of TestFaulty's sessions.
const faultVariable = "TOWPATH_TRANSPORTTEST_FAULT"

func TestReference(t *testing.T) { TestSession(t, refMakePair(), refCaps) }

// TestReferenceInRealTime runs the suite as it runs over real sockets.
func TestReferenceInRealTime(t *testing.T) {
	caps := refCaps
	caps.Bubble, caps.ExactPriority, caps.Unpaced, caps.Parallel = false, false, true, true
	TestSession(t, refMakePair(), caps)
}

// TestFaulty is run by TestFaultsAreFound in a process of its own, because it
// fails on purpose.
func TestFaulty(t *testing.T) {
	fault := os.Getenv(faultVariable)
	if fault == "" {
		t.Skip("run by TestFaultsAreFound")
	}
	caps := refCaps
	if name, ok := strings.CutPrefix(fault, "tendency: "); ok {
		fault, caps.ExactPriority = name, false
	}
	TestSession(t, refMakePair(fault), caps)
}

// TestFaultsAreFound: a suite that cannot fail proves nothing. Each fault built
// into the reference must fail the case that is about it.
func TestFaultsAreFound(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for fault, where := range map[string]string{
		"corrupts all":             "streams/unidirectional_stream",
		"ids leave gaps":           "streams/stream_ids",
		"empty streams lost":       "streams/may_be_empty",
		"empty writes fail":        "streams/empty_Write",
		"CancelRead after the end": "cancel/after_the_end_does_nothing",
		"CancelRead aborts both":   "cancel/peer_has_finished",
		"deadline ends session":    "deadlines/not_the_session's_end",
		"datagrams wake nobody":    "datagrams/is_woken",
		"datagrams need credit":    "datagrams/need_no_credit",
		"datagram buffer reused":   "datagrams/is_the_caller's",
		"age ignores its length":   "datagrams/age_that_has_not_passed",
		"unreliable over TCP":      "info/Info",
		"reading not counted":      "info/Stats_count$",
		"datagrams not counted":    "info/Stats_count_datagrams",
		"exporter takes anything":  "info/arguments",
		"announces on open":        "streams/first_byte",
		"corrupts":                 "streams/echo_of_16385",
		"write after close":        "streams/Write_after_Close",
		"who is wrong":             "cancel/CancelWrite_1$",
		"codes cut to 8 bits":      "cancel/CancelWrite_4294967295",
		"reset is EOF":             "cancel/CancelWrite_0",
		"new error each time":      "cancel/CancelRead_1$",
		"stop not sent":            "cancel/CancelRead_ends_a_waiting_Read",
		"reset keeps data":         "cancel/reset_discards",
		"abort ends session":       "cancel/CancelRead_0",
		"read deadline fixed":      "deadlines/renewed",
		"deadlines are one":        "deadlines/read_deadline_in_the_past",
		"no write deadline":        "deadlines/write_deadline_in_the_past",
		"no stream window":         "limits/stream's_window",
		"no session window":        "limits/session's_window",
		"no send buffer bound":     "limits/stream's_window",
		"discarded without credit": "limits/discarded_data",
		"no stream limit":          "limits/limit_of_unidirectional",
		"no stream credit":         "limits/limit_of_bidirectional",
		"streams never over":       "limits/unidirectional_stream_aborted_by_the_acceptor",
		"context instead of limit": "limits/limit_of_bidirectional",
		"context ends session":     "limits/bounds_its_call_alone",
		"done context fails":       "limits/need_not_wait",
		"large datagrams":          "datagrams/too_large",
		"large datagrams received": "datagrams/bounds_what_is_received",
		"datagrams without queue":  "datagrams/no_outgoing_queue",
		"empty datagrams lost":     "datagrams/every_size",
		"datagram aliases":         "datagrams/SendDatagram_keeps_no_reference",
		"wrong drop":               "datagrams/drops_the_oldest",
		"no age":                   "datagrams/expire",
		"exporter ignores context": "info/exported_keying",
		"exporter differs":         "info/exported_keying",
		"drain ends":               "closing/drain",
		"no flush":                 "closing/waits_for_credit",
		"unsent not told":          "closing/what_could_not_be_sent",
		"no truncation":            "closing/1025_bytes",
		"truncation cuts runes":    "closing/rune_across",
		"code lost":                "closing/close_with_code_1",
		"not remote":               "closing/every_call_returns",
		"end is EOF":               "closing/unfinished_stream",
		"end discards finished":    "closing/finished_stream_stays",
		"closed traced twice":      "closing/Trace.Closed",
		"no priority":              "priority/higher_order",
		"lowest first":             "priority/higher_order",
		"no turns":                 "priority/equal_orders",
		"no groups":                "priority/groups_share",
		"priority fixed":           "priority/may_change",
		"tendency: no priority":    "priority/tends_to_finish_first$",
		"leak":                     "info/Stats_count",
		"no byte rate":             "rates/slows_the_writer",
		"bytes above rate lost":    "rates/slows_the_writer",
		"throttling not counted":   "rates/slows_the_writer",
		"no burst":                 "rates/within_its_burst",
		"no datagram rate":         "rates/IncomingDatagramRate",
		"dropped and not told":     "rates/IncomingDatagramRate",
		"datagram rate ends":       "rates/IncomingDatagramRate",
		"no idle timeout":          "rates/without_traffic",
		"idle names no limit":      "rates/without_traffic",
		"idle without reason":      "rates/without_traffic",
		"datagrams are no traffic": "rates/traffic_of_every_kind",
		"always idle":              "rates/silence",
		"stalls not counted":       "rates/limit_on_streams",
		"stalls of calls":          "rates/limit_on_streams",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel() // most of the time of a process that fails is the race detector's wait at its end
			cmd := exec.Command(self, "-test.run=^TestFaulty$/"+where, "-test.timeout=60s")
			cmd.Env = append(os.Environ(), faultVariable+"="+fault)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Errorf("%s passes with the fault", where)
			} else if !strings.Contains(string(out), "FAIL: TestFaulty") && !strings.Contains(string(out), "panic: ") {
				t.Errorf("%v without a failing case\n%s", err, out)
			}
		})
	}
}

// A recorder takes errors in place of a test that must not fail.
type recorder struct {
	testing.TB
	errors []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

// TestLeaksAreFound: in real time too, and not those of other tests.
func TestLeaksAreFound(t *testing.T) {
	for name, tt := range map[string]struct {
		left int
		run  func(block chan struct{})
	}{
		"none":       {0, func(block chan struct{}) {}},
		"one":        {1, func(block chan struct{}) { go func() { <-block }() }},
		"grandchild": {1, func(block chan struct{}) { go func() { go func() { <-block }() }() }},
		"two of one kind": {2, func(block chan struct{}) {
			for range 2 {
				go func() { <-block }()
			}
		}},
		"one that ends late": {0, func(block chan struct{}) { go func() { <-time.After(time.Second) }() }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				block := make(chan struct{})
				go func() { withoutLeak(t, func() { <-block }) }() // another test, with its own goroutines
				r := &recorder{TB: t}
				withoutLeak(r, func() { tt.run(block) })
				want := fmt.Sprintf("%d goroutines are left", tt.left)
				if tt.left == 0 && len(r.errors) > 0 || tt.left > 0 && (len(r.errors) != 1 || !strings.HasPrefix(r.errors[0], want)) {
					t.Errorf("%.200q, want that %d are left", r.errors, tt.left)
				}
				close(block)
			})
		})
	}
}
