// Package transporttest is the conformance suite of package transport: what
// every backend promises, as tests. A backend calls [TestSession] with a
// function that makes a connected pair of its sessions.
//
// A case never asserts that something happens quickly. Where Caps.Bubble is set
// time is virtual and some cases assert exact durations; elsewhere a case waits
// as long as it takes, up to a bound at which it has failed.
package transporttest

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// Caps say what a backend, or the way the tests carry it, can do. A case whose
// expectation depends on a field says so in its skip message, or expects less.
type Caps struct {
	// Bubble runs each case in a testing/synctest bubble of its own; MakePair
	// is called inside it. The carrier must block durably: no real sockets.
	// The nettest cases run outside a bubble all the same.
	Bubble bool
	// ExactPriority says that transport.Priority is followed to the letter:
	// strict by order, fair between groups and among equal orders to within
	// 16 KiB. Otherwise only a tendency is expected. Needs Bubble, SendBuffer.
	ExactPriority bool
	// Unpaced says that the carrier takes bytes as fast as they are written, so
	// that no stream waits for another's and even a tendency cannot show.
	Unpaced bool
	// ReliableDatagrams says that a datagram that was handed to the transport
	// arrives, in order. Otherwise the cases send again until one arrives.
	ReliableDatagrams bool
	// ConfiguredDatagramSize says that Config.MaxDatagramSize sets the largest
	// datagram. Otherwise the path does.
	ConfiguredDatagramSize bool
	// SendBuffer says that Config.StreamSendBuffer is followed, and that
	// UnsentError counts exactly.
	SendBuffer bool
	// DenseStreamIDs says that each class of streams is numbered from the
	// first without gaps, and that streams are accepted in that order.
	DenseStreamIDs bool
	// FixedLimits says that a session starts with limits that are not those of
	// its Config, and at least 100 streams of each kind, 64 KiB in a stream and
	// 1 MiB in all: lower ones cannot be announced.
	FixedLimits bool
	// SwappedStreamIDs says that bit 0 of an ID is 1 for the client's streams,
	// as with the peers of older HTTP/2 drafts that have it so.
	SwappedStreamIDs bool
	// LateReceived says that Stats.BytesReceived counts a stream's bytes only
	// when they are read or the stream's end has arrived: quic-go does not
	// tell of them earlier.
	LateReceived bool
	// TLS says that the sessions run over real TLS, so that Info.TLS is set.
	TLS bool
	// Parallel says that no two pairs share anything, so that cases may run
	// beside one another, by t.Parallel. Those of nettest do not: each of them
	// has a minute.
	Parallel bool
}

// beside has t run beside other tests, if they may.
func (c Caps) beside(t *testing.T) {
	if c.Parallel {
		t.Parallel()
	}
}

// MakePair returns two connected sessions, the client's and the server's, with
// the given limits, and a function that closes both and what carries them and
// returns when all their goroutines have ended. It fails t if it cannot.
type MakePair func(t testing.TB, client, server *transport.Config) (c, s transport.Session, stop func())

// TestSession runs every case against the sessions that mk makes.
func TestSession(t *testing.T, mk MakePair, caps Caps) {
	if caps.ExactPriority && !(caps.Bubble && caps.SendBuffer) {
		t.Fatal("Caps.ExactPriority needs Caps.Bubble and Caps.SendBuffer")
	}
	for _, theme := range themes {
		t.Run(theme.name, func(t *testing.T) {
			caps.beside(t)
			for _, tc := range theme.cases {
				t.Run(tc.name, func(t *testing.T) { tc.test(t, mk, caps) })
			}
		})
	}
	t.Run("nettest", func(t *testing.T) { testNetConn(t, mk) })
}

type theme struct {
	name  string
	cases []testCase
}

var themes = []theme{
	{"streams", streamCases},
	{"cancel", cancelCases},
	{"deadlines", deadlineCases},
	{"limits", limitCases},
	{"datagrams", datagramCases},
	{"messages", messageCases},
	{"info", infoCases},
	{"closing", closingCases},
	{"priority", priorityCases},
	{"rates", rateCases},
	{"stress", stressCases},
}

// A testCase is one promise. It is run twice, with each side in the part of a,
// unless both sides have the same part. Its name starts with the ids of the
// requirements that it shows.
type testCase struct {
	name string
	a, b transport.Config
	both bool // a and b do the same: once is enough
	// skip returns why the case cannot be run with caps, "" if it can.
	skip func(caps Caps) string
	run  func(e *env)
}

func (tc *testCase) test(t *testing.T, mk MakePair, caps Caps) {
	if tc.skip != nil {
		if why := tc.skip(caps); why != "" {
			t.Skip(why)
		}
	}
	caps.beside(t)
	for _, aIsClient := range []bool{true, false} {
		if tc.both && !aIsClient {
			return
		}
		name := "from the client"
		if !aIsClient {
			name = "from the server"
		}
		t.Run(name, func(t *testing.T) {
			caps.beside(t)
			if caps.Bubble { // fails by itself when goroutines are left
				synctest.Test(t, func(t *testing.T) { tc.once(t, mk, caps, aIsClient) })
			} else {
				withoutLeak(t, func() { tc.once(t, mk, caps, aIsClient) })
			}
		})
	}
}

// Bounds at which a case has failed, in virtual and in real time.
const (
	boundBubble = 10 * time.Minute
	boundReal   = 90 * time.Second
)

func (tc *testCase) once(t *testing.T, mk MakePair, caps Caps, aIsClient bool) {
	a, b := tc.a, tc.b
	client, server := &a, &b
	if !aIsClient {
		client, server = server, client
	}
	c, s, stop := mk(t, client, server)
	e := &env{TB: t, caps: caps, mk: mk, a: c, b: s, aIsClient: aIsClient}
	if !aIsClient {
		e.a, e.b = s, c
	}
	bound := boundReal
	if caps.Bubble {
		bound = boundBubble
	}
	// A case that hangs is woken by the end of its sessions. If that does not
	// wake it either, only a panic shows where it hangs.
	watchdog := time.AfterFunc(bound, func() {
		t.Errorf("still running after %v: ending the sessions\n%s", bound, stacks())
		go e.a.CloseWithError(0, "case timed out")
		go e.b.CloseWithError(0, "case timed out")
	})
	last := time.AfterFunc(2*bound, func() {
		panic(fmt.Sprintf("%s hangs\n%s", t.Name(), stacks()))
	})
	defer func() {
		stop()
		e.background.Wait()
		watchdog.Stop()
		last.Stop()
	}()
	tc.run(e)
}

// labels numbers the runs of withoutLeak.
var labels atomic.Int64

// withoutLeak runs f, and waits until none of the goroutines is left that f
// started and those in turn, while other tests run: one that has told of its
// end may still be about to end. Timers' goroutines have no label and are not
// seen.
func withoutLeak(t testing.TB, f func()) {
	label := strconv.FormatInt(labels.Add(1), 10)
	pprof.Do(context.Background(), pprof.Labels("transporttest", label), func(context.Context) {
		defer func() {
			for range 1000 {
				if labelled(label) <= 1 { // this one
					return
				}
				<-time.After(10 * time.Millisecond)
			}
			t.Errorf("%d goroutines are left after the pair was stopped\n%s", labelled(label)-1, stacks())
		}()
		f()
	})
}

// labelled counts the goroutines with a label of withoutLeak.
func labelled(label string) int {
	var profile bytes.Buffer
	pprof.Lookup("goroutine").WriteTo(&profile, 1)
	all, same := 0, 0
	for line := range strings.Lines(profile.String()) {
		// Each stack is "count @ addresses", its labels, and its functions.
		if n, _, ok := strings.Cut(line, " @ "); ok {
			same, _ = strconv.Atoi(n)
		} else if strings.HasPrefix(line, "# labels: ") && strings.Contains(line, `"transporttest":"`+label+`"`) {
			all += same
		}
	}
	return all
}

func stacks() string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}
