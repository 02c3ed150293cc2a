package transporttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/towpath-go/towpath/transport"
)

var datagramCases = append([]testCase{
	{name: "FW-10 FW-16 H2-170 datagrams of every size", run: func(e *env) {
		most := e.a.Info().MaxDatagramSize
		if most < 1000 {
			e.Fatalf("Info.MaxDatagramSize is %d", most)
		}
		for _, size := range []int{0, 1, 2, 1000, most} {
			e.wantDatagram(e.a, e.b, pattern(1, size))
		}
		e.wantDatagram(e.b, e.a, []byte("back"))
	}},
	{name: "FW-16 a datagram that is too large", run: func(e *env) {
		for _, more := range []int{1, 1000} {
			most := e.a.Info().MaxDatagramSize
			err := e.a.SendDatagram(make([]byte, most+more))
			if tooLarge, ok := errors.AsType[*transport.DatagramTooLargeError](err); !ok || tooLarge.Max != most {
				e.Fatalf("SendDatagram of %d bytes: %v, want *DatagramTooLargeError with Max %d", most+more, err, most)
			}
		}
		e.wantDatagram(e.a, e.b, []byte("fits"))
		e.wantAlive()
	}},
	{name: "Config.MaxDatagramSize bounds what is sent",
		a: transport.Config{MaxDatagramSize: 100}, skip: needsConfiguredSize,
		run: func(e *env) {
			if got := e.a.Info().MaxDatagramSize; got != 100 {
				e.Fatalf("Info.MaxDatagramSize is %d, the Config's 100", got)
			}
			e.wantDatagram(e.a, e.b, pattern(2, 100))
			if err := e.a.SendDatagram(make([]byte, 101)); !errors.As(err, new(*transport.DatagramTooLargeError)) {
				e.Fatalf("SendDatagram of 101 bytes: %v", err)
			}
		}},
	{name: "H2-171 Config.MaxDatagramSize bounds what is received",
		b: transport.Config{MaxDatagramSize: 100}, skip: needsConfiguredSize,
		run: func(e *env) {
			e.ok(e.a.SendDatagram(make([]byte, 101)), "SendDatagram")
			e.eventually("the datagram of 101 bytes is dropped and counted", func() bool {
				st := e.b.Stats()
				return st.DatagramsReceived == 1 && st.DatagramsDroppedIncoming == 1
			})
			e.wantDatagram(e.a, e.b, pattern(2, 100))
			e.wantAlive()
		}},
	{name: "datagrams keep their boundaries and order", run: func(e *env) {
		if !e.caps.ReliableDatagrams {
			e.Skip("Caps.ReliableDatagrams is not set: datagrams have no order")
		}
		for i := range 30 { // fewer than the outgoing queue holds
			e.ok(e.a.SendDatagram(pattern(3, i)), "SendDatagram")
		}
		for i := range 30 {
			got, err := e.b.ReceiveDatagram(e.Context())
			e.ok(err, "ReceiveDatagram")
			if !bytes.Equal(got, pattern(3, i)) {
				e.Fatalf("datagram %d has %d bytes", i, len(got))
			}
		}
	}},
	{name: "SendDatagram keeps no reference to its bytes", run: func(e *env) {
		want := pattern(4, 500)
		p := slices.Clone(want)
		e.eventually("the datagram arrives", func() bool {
			copy(p, want)
			e.ok(e.a.SendDatagram(p), "SendDatagram")
			clear(p)
			got, ok := e.receiveWithin(e.b, time.Second)
			if ok && !bytes.Equal(got, want) {
				e.Fatal("the datagram is not what SendDatagram was given")
			}
			return ok
		})
	}},
	{name: "a received datagram is the caller's", run: func(e *env) {
		e.wantDatagram(e.a, e.b, []byte("one"))
		e.ok(e.a.SendDatagram([]byte("two")), "SendDatagram")
		got, ok := e.receiveWithin(e.b, 5*time.Second)
		kept := slices.Clone(got)
		for range 10 { // which must not touch what was handed out
			e.wantDatagram(e.a, e.b, []byte("!!!"))
		}
		if ok && !bytes.Equal(got, kept) {
			e.Fatalf("a datagram changed from %q to %q", kept, got)
		}
	}},
	{name: "H2-155 datagrams need no credit of streams",
		a: transport.Config{InitialSessionWindow: -1, MaxSessionWindow: -1, InitialStreamWindow: -1, MaxStreamWindow: -1, MaxIncomingStreams: -1, MaxIncomingUniStreams: -1},
		b: transport.Config{InitialSessionWindow: -1, MaxSessionWindow: -1, InitialStreamWindow: -1, MaxStreamWindow: -1, MaxIncomingStreams: -1, MaxIncomingUniStreams: -1},
		run: func(e *env) {
			e.wantDatagram(e.a, e.b, []byte("through"))
			e.wantDatagram(e.b, e.a, []byte("and back"))
		}},
	{name: "datagrams pass streams that wait for credit", b: narrow, run: func(e *env) {
		x, _ := e.uniPair()
		e.fill(x, pattern(5, 4<<20))
		e.wantDatagram(e.a, e.b, []byte("through"))
	}},
	{name: "FW-17 no outgoing queue drops and counts", a: transport.Config{OutgoingDatagramQueue: -1}, run: func(e *env) {
		for range 3 {
			e.ok(e.a.SendDatagram([]byte("dropped")), "SendDatagram")
		}
		if st := e.a.Stats(); st.DatagramsDroppedOutgoing != 3 || st.DatagramsSent != 0 {
			e.Fatalf("%+v; want 3 dropped", st)
		}
		e.wantDatagram(e.b, e.a, []byte("the other direction works"))
	}},
	{name: "FW-17 no incoming queue drops and counts", b: transport.Config{IncomingDatagramQueue: -1}, run: func(e *env) {
		e.eventually("a datagram is dropped", func() bool {
			e.ok(e.a.SendDatagram([]byte("dropped")), "SendDatagram")
			e.settle()
			st := e.b.Stats()
			if st.DatagramsDroppedIncoming != st.DatagramsReceived {
				e.Fatalf("%+v; want all received ones dropped", st)
			}
			return st.DatagramsReceived > 0
		})
		if p, err := e.b.ReceiveDatagram(ended()); err == nil {
			e.Fatalf("received %q without a queue", p)
		}
		e.wantDatagram(e.b, e.a, []byte("the other direction works"))
	}},
	{name: "FW-17 old datagrams expire before they are received", b: transport.Config{IncomingMaxAge: time.Millisecond}, run: func(e *env) {
		e.eventually("a datagram arrives", func() bool {
			e.ok(e.a.SendDatagram([]byte("stale")), "SendDatagram")
			e.settle()
			return e.b.Stats().DatagramsReceived > 0
		})
		e.settle() // more than the age
		if p, err := e.b.ReceiveDatagram(ended()); err == nil {
			e.Fatalf("received %q after its age had passed", p)
		}
		if st := e.b.Stats(); st.DatagramsExpiredIncoming != st.DatagramsReceived || st.DatagramsDroppedIncoming != 0 {
			e.Fatalf("%+v; want all received ones expired", st)
		}
	}},
	{name: "an age that has not passed drops nothing",
		a: transport.Config{OutgoingMaxAge: time.Hour}, b: transport.Config{IncomingMaxAge: time.Hour},
		run: func(e *env) {
			e.eventually("a datagram arrives", func() bool {
				e.ok(e.a.SendDatagram([]byte("fresh")), "SendDatagram")
				e.settle()
				return e.b.Stats().DatagramsReceived > 0
			})
			if p, err := e.b.ReceiveDatagram(e.Context()); string(p) != "fresh" {
				e.Fatalf("ReceiveDatagram = %q, %v", p, err)
			}
		}},
	{name: "ReceiveDatagram is woken", run: func(e *env) {
		type datagram struct {
			p   []byte
			err error
		}
		got := async(e, func() datagram {
			p, err := e.b.ReceiveDatagram(e.Context())
			return datagram{p, err}
		})
		stillWaiting(e, got, "nothing was sent")
		e.eventually("the waiting call returns the datagram", func() bool {
			e.ok(e.a.SendDatagram([]byte("wake")), "SendDatagram")
			select {
			case d := <-got:
				if string(d.p) != "wake" {
					e.Fatalf("ReceiveDatagram = %q, %v", d.p, d.err)
				}
				return true
			case <-time.After(time.Second):
				return false
			}
		})
	}},
}, dropCases()...)

func needsConfiguredSize(caps Caps) string {
	if caps.ConfiguredDatagramSize {
		return ""
	}
	return "Caps.ConfiguredDatagramSize is not set: the path sets the largest datagram"
}

// dropCases show what a full incoming queue loses.
func dropCases() (cases []testCase) {
	const queue, sent = 4, 10
	for _, c := range []struct {
		name string
		drop transport.DropPolicy
		want []byte // the numbers that are left
	}{
		{"oldest", transport.DropOldest, []byte{6, 7, 8, 9}},
		{"newest", transport.DropNewest, []byte{0, 1, 2, 3}},
	} {
		cases = append(cases, testCase{
			name: fmt.Sprintf("FW-17 H2-171 a full queue drops the %s", c.name),
			b:    transport.Config{IncomingDatagramQueue: queue, DatagramDrop: c.drop},
			run: func(e *env) {
				for i := range byte(sent) {
					e.ok(e.a.SendDatagram([]byte{i}), "SendDatagram")
				}
				e.eventually("all datagrams arrive", func() bool {
					got := e.b.Stats().DatagramsReceived
					if got < sent && !e.caps.ReliableDatagrams {
						e.ok(e.a.SendDatagram([]byte{sent}), "SendDatagram")
						e.settle()
					}
					return got >= sent
				})
				e.settle()
				if st := e.b.Stats(); st.DatagramsDroppedIncoming != st.DatagramsReceived-queue {
					e.Fatalf("%+v; want all but %d dropped", st, queue)
				}
				var left []byte
				for {
					p, err := e.b.ReceiveDatagram(ended())
					if err != nil {
						break
					}
					left = append(left, p...)
				}
				if len(left) != queue || e.caps.ReliableDatagrams && !bytes.Equal(left, c.want) {
					e.Fatalf("datagrams %v are left, want %v", left, c.want)
				}
				e.wantDatagram(e.a, e.b, []byte("on"))
			},
		})
	}
	return cases
}

// receiveWithin waits for a datagram for so long.
func (e *env) receiveWithin(s transport.Session, d time.Duration) ([]byte, bool) {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.Context(), d)
	defer cancel()
	p, err := s.ReceiveDatagram(ctx)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		e.Fatalf("ReceiveDatagram: %v", err)
	}
	return p, err == nil
}

// wantDatagram sends p and expects it to arrive: the first time where datagrams
// are reliable, otherwise after as many attempts as it takes.
func (e *env) wantDatagram(from, to transport.Session, p []byte) {
	e.Helper()
	if e.caps.ReliableDatagrams {
		e.ok(from.SendDatagram(p), "SendDatagram")
		got, err := to.ReceiveDatagram(e.Context())
		if err != nil || !bytes.Equal(got, p) {
			e.Fatalf("ReceiveDatagram = %d bytes, %v; want the %d that were sent", len(got), err, len(p))
		}
		return
	}
	e.eventually(fmt.Sprintf("a datagram of %d bytes arrives", len(p)), func() bool {
		e.ok(from.SendDatagram(p), "SendDatagram")
		for {
			got, ok := e.receiveWithin(to, time.Second)
			if !ok || bytes.Equal(got, p) {
				return ok
			}
		}
	})
}
