package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/towpath-go/towpath/e2e/netns"
	"github.com/towpath-go/towpath/internal/delivery"
	"github.com/towpath-go/towpath/transport"
)

// The broken networks of docs/networks.md that need a kernel and are in no other
// file: what happens to a session's data there, and to dials on narrow paths.

// hauls are what a host knows of the data of its latest session.
var hauls struct {
	mu       sync.Mutex
	sender   *delivery.Sender
	receiver *delivery.Receiver
}

// receiveHaul reads a session of /haul.
func receiveHaul(s transport.Session) {
	hauls.mu.Lock()
	defer hauls.mu.Unlock()
	hauls.receiver = delivery.Receive(s)
}

type haulArgs struct {
	Streams int
	Bytes   int64 // of each
}

type sentReport struct {
	Sent []delivery.Sent
	End  delivery.End
	Took time.Duration
}

// A stuckReport says what became of a Write that could not end.
type stuckReport struct {
	Err             string
	Exceeded, Alive bool
}

var (
	// haul sends streams on the client's session, side by side.
	haul = netns.Register("haul", func(ctx context.Context, a haulArgs) (time.Duration, error) {
		client.mu.Lock()
		s := client.session
		client.mu.Unlock()
		if s == nil {
			return 0, errors.New("there is no session")
		}
		hauls.mu.Lock()
		if hauls.sender == nil {
			hauls.sender = delivery.NewSender(s)
		}
		d := hauls.sender
		hauls.mu.Unlock()
		start := time.Now()
		var wg sync.WaitGroup
		for range a.Streams {
			wg.Go(func() { _ = d.Stream(ctx, a.Bytes) }) // what it says is in the records
		}
		wg.Wait()
		return time.Since(start), nil
	})

	// endHaul closes the client's session and returns what the client knows.
	endHaul = netns.Register("haul.end", func(context.Context, struct{}) (sentReport, error) {
		hauls.mu.Lock()
		defer hauls.mu.Unlock()
		d := hauls.sender
		hauls.sender = nil
		if d == nil {
			return sentReport{}, errors.New("nothing was sent")
		}
		start := time.Now()
		_ = d.Close() // what it says is in the records
		var r sentReport
		r.Sent, r.End = d.Records()
		r.Took = time.Since(start)
		return r, nil
	})

	// stuck writes more than any window allows to a stream of the client's session.
	stuck = netns.Register("haul.stuck", func(ctx context.Context, _ struct{}) (r stuckReport, err error) {
		client.mu.Lock()
		s := client.session
		client.mu.Unlock()
		if s == nil {
			return r, errors.New("there is no session")
		}
		st, err := s.OpenUniStream(ctx)
		if err != nil {
			return r, err
		}
		if err := st.SetWriteDeadline(time.Now().Add(2 * time.Second)); err != nil {
			return r, err
		}
		_, err = st.Write(make([]byte, 32<<20))
		r.Err, r.Exceeded = fmt.Sprint(err), errors.Is(err, os.ErrDeadlineExceeded)
		r.Alive = context.Cause(s.Context()) == nil
		st.CancelWrite(0)
		return r, nil
	})

	// landed waits until the server has so many whole streams, or the session is
	// over, and returns what the server knows.
	landed = netns.Register("haul.landed", func(_ context.Context, streams int) ([]delivery.Got, error) {
		for end := time.Now().Add(patience); time.Now().Before(end); {
			hauls.mu.Lock()
			r := hauls.receiver
			hauls.mu.Unlock()
			if r == nil { // the client may have its session before the handler has
				<-time.After(time.Millisecond)
				continue
			}
			whole := 0
			got := r.Records()
			for _, g := range got {
				if g.Clean {
					whole++
				}
			}
			if whole >= streams {
				return got, nil
			}
			select {
			case <-r.Done():
				return r.Records(), nil
			case <-time.After(5 * time.Millisecond):
			}
		}
		return nil, fmt.Errorf("not %d streams within %v", streams, patience)
	})
)

func haulURL(host string) string { return "https://" + host + ":" + labPort + "/haul" }

// wantLanded waits for that many streams, closes the session, and expects that
// every one was delivered.
func (s *site) wantLanded(streams int) {
	s.t.Helper()
	landed.Call(s.t, s.Server, streams)
	r := endHaul.Call(s.t, s.Client, struct{}{})
	j := delivery.Judge(r.Sent, r.End, landed.Call(s.t, s.Server, streams))
	if j.Check(s.t, "closed"); j.Count(delivery.Delivered) != streams {
		s.t.Errorf("%v; want %d delivered (%s)", j, streams, r.End.Told)
	}
}

// dialHaul dials by one protocol alone, or fails.
func (s *site) dialHaul(protocol string) {
	s.t.Helper()
	if protocol == "h3" {
		s.wantH3(haulURL(netns.ServerName4))
		return
	}
	if r := s.dial(dialArgs{URL: haulURL(netns.ServerName4), Dialer: protocol}); r.Err != "" {
		s.t.Fatal(r.Err)
	}
}

// TestUDPEveryNth is a network that begins to lose packets, a fifth of them.
func TestUDPEveryNth(t *testing.T) {
	s := newSite(t, netns.Topology{}, "", false)
	s.dialHaul("h3")
	haul.Call(t, s.Client, haulArgs{Streams: 2, Bytes: 50_000})
	s.Filter(t, "meta l4proto udp numgen inc mod 5 0 counter name dropped drop")
	took := haul.Call(t, s.Client, haulArgs{Streams: 4, Bytes: 50_000})
	s.wantLanded(6)
	t.Logf("200 kB took %v, %d packets dropped", took, s.Dropped(t))
	if s.Dropped(t) == 0 {
		t.Error("no packet was dropped")
	}
}

// TestUDPPoliced is a network that lets UDP have a fixed rate.
func TestUDPPoliced(t *testing.T) {
	s := newSite(t, netns.Topology{}, "", false)
	s.dialHaul("h3")
	s.Filter(t, "meta l4proto udp limit rate over 400 kbytes/second burst 50 kbytes counter name dropped drop")
	start := time.Now()
	haul.Call(t, s.Client, haulArgs{Streams: 2, Bytes: 500_000})
	landed.Call(t, s.Server, 2)
	took := time.Since(start)
	s.wantLanded(2)
	if s.Dropped(t) == 0 {
		t.Error("no packet was dropped")
	}
	// The kernel's bucket holds one second's worth besides the burst.
	if least := time.Second; took < least {
		t.Errorf("1 MB took %v at 400 KiB/s, want at least %v", took, least)
	}
	t.Logf("1 MB took %v, %d packets dropped", took, s.Dropped(t))
}

// TestMTUBelow1228 has paths that carry no QUIC: 1,200 bytes need 1,228 of IPv4.
func TestMTUBelow1228(t *testing.T) {
	for _, mtu := range []int{1220, 1100} {
		t.Run(fmt.Sprintf("MTU %d and ICMP", mtu), func(t *testing.T) {
			s := newSite(t, netns.Topology{}, "", false)
			s.PathMTU(t, mtu)
			// The first dial has the path's MTU taught to the kernel.
			s.fastest(func(dialer string) time.Duration {
				r := s.want("h2", dialArgs{URL: labURL(netns.ServerName4), Dialer: dialer})
				if quic := r.attempt(t, "h3 udp4"); quic.Outcome == "won" || !strings.Contains(quic.Err, "message too long") {
					t.Errorf("QUIC: %s, %q; want EMSGSIZE", quic.Outcome, quic.Err)
				}
				return r.attempt(t, "h2 tcp").Started
			}, halfHeadStart, "TCP's start after ICMP")
		})
		t.Run(fmt.Sprintf("MTU %d and silence", mtu), func(t *testing.T) {
			s := newSite(t, netns.Topology{}, fmt.Sprintf("meta l4proto udp meta length > %d counter name dropped drop", mtu), false)
			r := s.want("h2", dialArgs{URL: labURL(netns.ServerName4)})
			if started := r.attempt(t, "h2 tcp").Started; started < halfHeadStart {
				t.Errorf("TCP started after %v, before half the head start", started)
			}
			if s.Dropped(t) == 0 {
				t.Error("no packet was dropped")
			}
		})
	}
}

// TestMTUFalls has a path that gets narrower than the packets of a session that
// runs on it, and does not say so.
func TestMTUFalls(t *testing.T) {
	narrowed := func(t *testing.T, protocol, layer4 string) *site {
		s := newSite(t, netns.Topology{}, "", false)
		s.dialHaul(protocol)
		haul.Call(t, s.Client, haulArgs{Streams: 4, Bytes: 500_000}) // QUIC finds the packets' size
		landed.Call(t, s.Server, 4)
		s.Filter(t, "meta l4proto "+layer4+" meta length > 1300 counter name dropped drop")
		return s
	}
	t.Run("h3", func(t *testing.T) {
		s := narrowed(t, "h3", "udp")
		r := stuck.Call(t, s.Client, struct{}{})
		if !r.Exceeded || !r.Alive {
			t.Errorf("Write: %q, the session lives: %t; want its deadline, and a session that small packets keep", r.Err, r.Alive)
		}
		if s.Dropped(t) == 0 {
			t.Error("no packet was dropped")
		}
		s.wantLanded(4)
	})
	for _, protocol := range []string{"h2", "ws"} {
		t.Run(protocol, func(t *testing.T) {
			s := narrowed(t, protocol, "tcp")
			haul.Call(t, s.Client, haulArgs{Streams: 1, Bytes: 50_000})
			r := endHaul.Call(t, s.Client, struct{}{})
			if r.End.Told != transport.ErrUnconfirmed.Error() || r.Took > 5*time.Second {
				t.Errorf("CloseWithError said %q after %v", r.End.Told, r.Took)
			}
			j := delivery.Judge(r.Sent, r.End, landed.Call(t, s.Server, 4))
			if j.Check(t, "closed"); j.Count(delivery.Delivered) != 4 || j.Count(delivery.ReportedLost) != 1 {
				t.Errorf("%v", j)
			}
			if s.Dropped(t) == 0 {
				t.Error("no packet was dropped")
			}
		})
	}
}

// TestNATRebinding has a NAT between that forgets its bindings.
func TestNATRebinding(t *testing.T) {
	t.Run("HTTP/3 goes on", func(t *testing.T) {
		s := newSite(t, netns.Topology{}, "", false)
		s.NAT(t)
		s.dialHaul("h3")
		const rounds = 6
		for i := range rounds {
			haul.Call(t, s.Client, haulArgs{Streams: 1, Bytes: 50_000})
			landed.Call(t, s.Server, i+1)
			s.Rebind(t)
		}
		haul.Call(t, s.Client, haulArgs{Streams: 1, Bytes: 50_000})
		s.wantLanded(rounds + 1)
	})
	for _, protocol := range []string{"h2", "ws"} {
		t.Run("TCP ends, "+protocol, func(t *testing.T) {
			s := newSite(t, netns.Topology{}, "", false)
			s.NAT(t)
			s.dialHaul(protocol)
			haul.Call(t, s.Client, haulArgs{Streams: 1, Bytes: 50_000})
			landed.Call(t, s.Server, 1)
			s.Rebind(t)
			haul.Call(t, s.Client, haulArgs{Streams: 2, Bytes: 50_000})
			end := awaitEnd.Call(t, s.Client, struct{}{})
			t.Logf("ended after %v: %s", end.Waited, end.Cause)
			r := endHaul.Call(t, s.Client, struct{}{})
			s.Filter(t, dropAll) // the server's side has nothing to wait for
			got := landed.Call(t, s.Server, 1)
			j := delivery.Judge(r.Sent, r.End, got)
			// The second stream may have come too late to be opened.
			if j.Check(t, "rebound"); j.Count(delivery.Delivered) != 1 || j.Count(delivery.ReportedLost) < 1 {
				t.Errorf("%v", j)
			}
			// The kernel tells of the reset once: to the Write or to the Read. If a
			// Write takes it, the Read can find the end first.
			if !strings.Contains(end.Cause, "reset by peer") && !strings.Contains(end.Cause, "unexpected EOF") {
				t.Errorf("ended by %q, want the reset", end.Cause)
			}
		})
	}
}

// TestClosedOnDeadNetwork closes sessions whose last data the kernel has taken
// and nobody will carry.
func TestClosedOnDeadNetwork(t *testing.T) {
	for _, protocol := range []string{"h3", "h2", "ws"} {
		t.Run(protocol, func(t *testing.T) {
			s := newSite(t, netns.Topology{}, "", false)
			s.dialHaul(protocol)
			haul.Call(t, s.Client, haulArgs{Streams: 1, Bytes: 5000})
			landed.Call(t, s.Server, 1)
			s.Filter(t, dropAll)
			haul.Call(t, s.Client, haulArgs{Streams: 1, Bytes: 5000})
			r := endHaul.Call(t, s.Client, struct{}{})
			if r.End.Told != transport.ErrUnconfirmed.Error() || r.Took > 5*time.Second {
				t.Errorf("CloseWithError said %q after %v", r.End.Told, r.Took)
			}
			j := delivery.Judge(r.Sent, r.End, landed.Call(t, s.Server, 1))
			if j.Check(t, "closed"); j.Count(delivery.Delivered) != 1 || j.Count(delivery.ReportedLost) != 1 {
				t.Errorf("%v", j)
			}
		})
	}
}

// TestNetworkChangeMidDial moves the client to another address while nothing
// that it has sent has been answered.
func TestNetworkChangeMidDial(t *testing.T) {
	s := newSite(t, netns.Topology{}, dropAll, false)
	dialled := make(chan dialReport, 1)
	go func() { // ends with the dial's Timeout at the latest
		r, err := dial.Try(s.Client, dialArgs{URL: labURL(netns.ServerName4), Root: s.root, Timeout: 2 * time.Second})
		if err != nil {
			r.Err = err.Error()
		}
		dialled <- r
	}()
	for s.Dropped(t) < 2 { // packets that the dial has sent
	}
	s.Move(t)
	s.Filter(t, "")
	r := <-dialled
	t.Logf("dial: %s %s after %v", r.Text, r.Err, r.Took)
	if r.Err == "" {
		use.Call(t, s.Client, struct{}{})
	} else if r.Took > 4*time.Second || !strings.Contains(r.Err, "no way to") {
		t.Errorf("%q after %v, want a DialError within the dial's time", r.Err, r.Took)
	}
	again := s.dial(dialArgs{URL: labURL(netns.ServerName4)})
	if again.Err != "" || again.Memory != "nothing known" {
		t.Fatalf("dialed again: memory %q, error %q; want a session, and nothing kept of the other network", again.Memory, again.Err)
	}
	use.Call(t, s.Client, struct{}{})
}
