package negotiate

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/towpath-go/towpath/internal/delivery"
	"github.com/towpath-go/towpath/transport"
)

// The ways in which networks break, N1 to N17 of docs/networks.md: what Dial
// returns, within which time, and that data which a session accepted arrives or
// is reported lost. Package e2e has those again that need a kernel.

// A network is a world whose server writes and reads numbered streams.
type network struct {
	*world
	accepted chan *party
}

// inNetwork runs f in a bubble with a network.
func inNetwork(t *testing.T, o worldOptions, f func(t *testing.T, n *network)) {
	t.Helper()
	n := &network{accepted: make(chan *party, 64)}
	if o.handler == nil {
		o.handler = n.take
	}
	inWorld(t, o, func(t *testing.T, w *world) {
		n.world = w
		f(t, n)
	})
}

// take is a handler that accepts sessions for the test to use.
func (n *network) take(rw http.ResponseWriter, r *http.Request) {
	s, err := Upgrade(rw, r, nil)
	if err != nil {
		return
	}
	p := newParty(s)
	go p.Await(context.Background()) // ends with the session
	n.accepted <- p
}

// A party is one end of a session, with all that it sends and gets.
type party struct {
	transport.Session
	*delivery.Sender
	got   *delivery.Receiver
	ended chan time.Time // gets the time of the session's end
}

func newParty(s transport.Session) *party {
	p := &party{s, delivery.NewSender(s), delivery.Receive(s), make(chan time.Time, 1)}
	context.AfterFunc(s.Context(), func() { p.ended <- time.Now() })
	return p
}

// Context and Close are of the session and of its data, not of both.
func (p *party) Context() context.Context { return p.Session.Context() }

// dial dials, checks the winner and the time (at < 0: any), and returns both ends.
func (n *network) dial(t *testing.T, d *Dialer, why string, proto transport.Protocol, at time.Duration) (client, server *party, r *Report) {
	t.Helper()
	s, r := wantDial(t, d, n.url, why, proto, at)
	return newParty(s), <-n.accepted, r
}

// pour sends streams of that size both ways at a time, and waits until the calls
// have returned, successfully or not.
func pour(t *testing.T, client, server *party, streams int, size int64) {
	var wg sync.WaitGroup
	for range streams {
		for _, p := range []*party{client, server} {
			wg.Go(func() { _ = p.Stream(t.Context(), size) }) // what it says is in the records
		}
	}
	wg.Wait()
}

// judge says what became of all data once both ends of a session have ended.
func judge(t *testing.T, why string, client, server *party) (up, down delivery.Judgement) {
	t.Helper()
	<-client.got.Done()
	<-server.got.Done()
	one := func(from, to *party, way string) delivery.Judgement {
		from.Await(t.Context()) // so that its end is in the records
		sent, end := from.Records()
		j := delivery.Judge(sent, end, to.got.Records())
		j.Check(t, why+", "+way)
		return j
	}
	return one(client, server, "to the server"), one(server, client, "to the client")
}

// wantAll closes the session and expects that everything arrived.
func wantAll(t *testing.T, why string, client, server *party, streams int) {
	t.Helper()
	await(t, client, server, streams)
	if err := client.Close(); err != nil {
		t.Errorf("%s: CloseWithError: %v", why, err)
	}
	up, down := judge(t, why, client, server)
	if up.Count(delivery.Delivered) != streams || down.Count(delivery.Delivered) != streams {
		t.Errorf("%s: to the server %v; to the client %v", why, up, down)
	}
}

// await waits until each side has got that many whole streams: who closes before
// gives up what is still coming.
func await(t *testing.T, client, server *party, streams int) {
	t.Helper()
	ends := func(p *party) (n int) {
		for _, g := range p.got.Records() {
			if g.Clean {
				n++
			}
		}
		return n
	}
	for range 10_000 {
		if ends(client) >= streams && ends(server) >= streams {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("%d streams at the client and %d at the server, want %d", ends(client), ends(server), streams)
}

// use sends data both ways over a session, closes it, and expects that all of it
// arrived.
func use(t *testing.T, why string, client, server *party) {
	t.Helper()
	pour(t, client, server, 5, 10_000)
	wantAll(t, why, client, server, 5)
}

// wantEnd waits for a session's end, and checks that it is a *SessionError with
// the error of what broke it, and when it came, counted from start: at that time
// but for 50 ms, in which packets were on the way.
func wantEnd(t *testing.T, why string, p *party, start time.Time, at time.Duration, err error) {
	t.Helper()
	wantEndWithin(t, why, p, start, at-50*msec, at+50*msec, err)
}

func wantEndWithin(t *testing.T, why string, p *party, start time.Time, earliest, latest time.Duration, err error) {
	t.Helper()
	took := (<-p.ended).Sub(start)
	cause := p.Await(t.Context())
	end, ok := errors.AsType[*transport.SessionError](cause)
	if !ok || end.Err == nil || err != nil && !errors.Is(cause, err) {
		t.Errorf("%s: the session's end says %#v (%v), want %v", why, cause, cause, err)
	}
	if took < earliest || took > latest {
		t.Errorf("%s: ended after %v, want %v to %v", why, took, earliest, latest)
	}
}

// wantFailure dials and expects an error after that time.
func wantFailure(t *testing.T, d *Dialer, url, why string, at time.Duration) (*Report, error) {
	t.Helper()
	start := time.Now()
	s, r, err := d.Dial(t.Context(), url, nil)
	if took := time.Since(start); err == nil || s != nil || took != at {
		t.Errorf("%s: %v after %v, want an error after %v\n%v", why, err, took, at, r)
	}
	if err == nil {
		s.CloseWithError(0, "")
		err = errors.New("no error")
	}
	return r, err
}

// marks collects what a dialer finds out about UDP.
type marks struct {
	mu    sync.Mutex // guards the following
	found []string
}

// watchMarks has the dialer's findings collected.
func (d *Dialer) watchMarks() *marks {
	m := &marks{}
	note := func(what string) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.found = append(m.found, what)
	}
	d.Trace = &Trace{
		Marked:  func(string, time.Time) { note("marked") },
		Cleared: func(string) { note("works") },
		Probed: func(_ string, err error) {
			if err != nil {
				note("probe failed")
			} else {
				note("probe worked")
			}
		},
	}
	return m
}

// want checks what was found out since the dialer was made.
func (m *marks) want(t *testing.T, why string, found ...string) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.Equal(m.found, found) {
		t.Errorf("%s: of UDP was found out: %q, want %q", why, m.found, found)
	}
}
