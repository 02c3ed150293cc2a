package link

import (
	"encoding/binary"
	"errors"
	"math"
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// headers are IP's and UDP's, in bytes.
const headers = 28

// arrival is a probe that arrived.
type arrival struct {
	number uint32
	took   time.Duration // since it was handed to the kernel
}

// probe sends n datagrams with size bytes of payload from the server to the
// client, the n-th not before n intervals, and returns those that arrive, in
// order of arrival. It waits until the router has seen and sent all. Nothing
// travelled down before.
func probe(t *testing.T, l *Link, n, size int, interval time.Duration) []arrival {
	t.Helper()
	from, err := l.Server().ListenUDP(0)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := l.Client().ListenUDP(0)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	sent := make([]time.Time, n) // read by the receiver for probes that came
	var list []arrival
	received := make(chan struct{})
	go func() { // ends with the socket
		defer close(received)
		b := make([]byte, MaxMTU)
		for {
			got, err := to.Read(b)
			if err != nil {
				return
			}
			now := time.Now()
			if got != size {
				t.Errorf("%d bytes arrived of %d", got, size)
				return
			}
			list = append(list, arrival{binary.BigEndian.Uint32(b), time.Duration(now.UnixNano())})
		}
	}()
	target := addrOf(to)
	payload := make([]byte, size)
	var tick *time.Ticker
	if interval > 0 {
		tick = time.NewTicker(interval)
		defer tick.Stop()
	}
	for i := range n {
		if tick != nil {
			<-tick.C
		}
		binary.BigEndian.PutUint32(payload, uint32(i))
		sent[i] = time.Now()
		if _, err := from.WriteToUDPAddrPort(payload, target); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "all probes to be sent or dropped", func() bool {
		r := l.Report()
		dropped := r.Down.Lost + r.Down.Burst + r.Down.Tail + r.Down.Blocked
		return r.Overflow+r.Failed > 0 || r.Down.Packets == int64(n) && l.forwarded() == r.Up.Packets+r.Down.Packets-dropped
	})
	// What the router wrote is in the socket's buffer: read it all.
	to.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	<-received
	for i, a := range list {
		if a.number >= uint32(n) {
			t.Fatalf("probe %d arrived of %d", a.number, n)
		}
		list[i].took = a.took - time.Duration(sent[a.number].UnixNano())
	}
	if r := l.Report(); r.Overflow+r.Failed != 0 {
		t.Fatalf("the machine was too slow: %+v", r)
	}
	return list
}

// forwarded is how many packets the router handed to the receiving devices.
func (l *Link) forwarded() int64 {
	l.router.mu.Lock()
	defer l.router.mu.Unlock()
	return l.router.lateness.n
}

func numbers(list []arrival) []uint32 {
	var n []uint32
	for _, a := range list {
		n = append(n, a.number)
	}
	return n
}

func TestDelay(t *testing.T) {
	want := clean()
	want.Delay = 20 * time.Millisecond
	l := open(t, want, 1, Options{})
	list := probe(t, l, 300, 200, time.Millisecond)
	if len(list) != 300 {
		t.Fatalf("%d arrived", len(list))
	}
	for i, a := range list {
		if a.number != uint32(i) {
			t.Fatalf("probe %d arrived in place of %d", a.number, i)
		}
		if a.took < want.Delay {
			t.Errorf("probe %d took %v", i, a.took)
		}
	}
	if r := l.Report(); r.Down.Bytes != 300*(200+headers) || r.Down.UDP != 300 || r.Down.Reordered != 0 {
		t.Errorf("%+v", r.Down)
	}
}

func TestLoss(t *testing.T) {
	want := clean()
	want.Loss = 0.1
	l := open(t, want, 77, Options{})
	const n = 2000
	list := probe(t, l, n, 100, 0)
	m := newModel(want, 77, lab.Down)
	var expected []uint32
	for i := range uint64(n) {
		if draw(m.seed, m.way, streamLoss, i) >= want.Loss {
			expected = append(expected, uint32(i))
		}
	}
	if !slices.Equal(numbers(list), expected) {
		t.Errorf("%d arrived, and %d should have, which are others", len(list), len(expected))
	}
	if lost := n - len(list); math.Abs(float64(lost)-n*want.Loss) > 5*math.Sqrt(n*0.1*0.9) {
		t.Errorf("%d of %d lost", lost, n)
	}
	drops := l.Drops()
	if r := l.Report(); r.Down.Lost != int64(n-len(list)) || int(r.Down.Lost) != len(drops) || r.DropsForgotten != 0 {
		t.Errorf("%+v, %d drops", r.Down, len(drops))
	}
	for i, d := range drops {
		if d.Direction != lab.Down || d.Bytes != 100+headers || d.Cause != Lost || i > 0 && d.At.Before(drops[i-1].At) || time.Since(d.At) < 0 {
			t.Errorf("drop %d: %+v", i, d)
		}
	}
}

func TestDropsBounded(t *testing.T) {
	want := clean()
	want.Loss = 1
	m := &router{epoch: time.Now()}
	s := &side{direction: lab.Down, model: newModel(want, 1, lab.Down), flight: newFlight(want.MTU)}
	for range MaxDrops + 1 {
		m.offer(s, make([]byte, 20), false)
	}
	if len(m.drops) != MaxDrops || m.forgotten != 1 || s.model.passage.Lost != MaxDrops+1 {
		t.Errorf("%d drops, %d forgotten, %+v", len(m.drops), m.forgotten, s.model.passage)
	}
}

func TestOverflow(t *testing.T) {
	want := clean()
	m := &router{epoch: time.Now()}
	s := &side{direction: lab.Down, model: newModel(want, 1, lab.Down), flight: newFlight(want.MTU)}
	m.offer(s, make([]byte, 20), true) // no room
	if len(m.drops) != 1 || m.drops[0].Cause != Overflow || m.overflow != 1 || len(s.flight.heap) != 0 {
		t.Errorf("%+v, %d overflows, %d under way", m.drops, m.overflow, len(s.flight.heap))
	}
}

func TestBursts(t *testing.T) {
	want := clean()
	want.Burst = lab.Burst{Good: 50 * time.Millisecond, Bad: 50 * time.Millisecond, Loss: 1}
	const seed = 4
	l := open(t, want, seed, Options{})
	list := probe(t, l, 1000, 100, time.Millisecond)
	p := newPeriods(want.Burst, seed)
	for _, d := range l.Drops() {
		if at := d.At.Sub(l.router.epoch); d.Cause != Burst || !p.bad(at) {
			t.Errorf("%v drops after %v, which is in a good period", d.Cause, at)
		}
	}
	// A bad second of twenty periods is not to be had; of a thousand probes some
	// hundred meet each kind, however slow the machine is.
	if r := l.Report(); int(r.Down.Burst) != 1000-len(list) || r.Down.Burst < 100 || r.Down.Burst > 900 || r.Down.Lost != 0 {
		t.Errorf("%d arrived: %+v", len(list), r.Down)
	}
}

func TestJitterOnTheWire(t *testing.T) {
	want := clean()
	want.Jitter = 2 * time.Millisecond
	for _, want.Reorder = range []bool{false, true} {
		l := open(t, want, 5, Options{})
		const n = 1000
		list := probe(t, l, n, 100, 0)
		if len(list) != n {
			t.Fatalf("%d arrived", len(list))
		}
		// RFC 4737: reordered is what comes after one with a greater number.
		var reordered int64
		var next uint32
		for _, a := range list {
			if a.number < next {
				reordered++
			} else {
				next = a.number + 1
			}
			if a.took < max(0, want.Delay-3*want.Jitter) {
				t.Errorf("probe %d took %v", a.number, a.took)
			}
		}
		if r := l.Report(); r.Down.Reordered != reordered || want.Reorder != (reordered > 0) {
			t.Errorf("reorder %v: counted %d, came %d", want.Reorder, r.Down.Reordered, reordered)
		}
	}
}

func TestRateAndQueue(t *testing.T) {
	want := clean()
	want.Rate, want.Queue = 4_000_000, 30_000
	l := open(t, want, 1, Options{})
	const n, size = 300, 1000 // each takes 2 ms
	begin := time.Now()
	list := probe(t, l, n, size-headers, 0)
	took := time.Since(begin)
	r := l.Report()
	if int64(len(list)) != n-r.Down.Tail || r.Down.Lost != 0 {
		t.Errorf("%d arrived: %+v", len(list), r.Down)
	}
	// One in transmission and 30 that wait fit at once; no more than the rate
	// allows came besides, in all the time that it took.
	if len(list) < 31 || len(list) > 32+int(took/(2*time.Millisecond)) {
		t.Errorf("%d arrived in %v", len(list), took)
	}
	if r.Down.Tail == 0 {
		t.Errorf("no tail drops: %+v", r.Down)
	}
	for i, a := range list[:31] {
		// The first ones find room.
		if a.number != uint32(i) {
			t.Fatalf("probe %d arrived in place of %d", a.number, i)
		}
	}
	if least := time.Duration(len(list)) * 2 * time.Millisecond; took < least {
		t.Errorf("%d arrived in %v, which is faster than the rate", len(list), took)
	}
}

func TestUDPBlocked(t *testing.T) {
	want := clean()
	want.BlockUDP = true
	l := open(t, want, 1, Options{})
	if list := probe(t, l, 50, 100, 0); len(list) != 0 {
		t.Errorf("%d arrived", len(list))
	}
	if r := l.Report(); r.Down.Blocked != 50 || r.Down.UDP != 50 || r.Down.Realised() != 0 {
		t.Errorf("%+v", r.Down)
	}
	client, server := connect(t, l)
	client.Write([]byte("x"))
	server.SetReadDeadline(time.Now().Add(patience))
	if _, err := server.Read(make([]byte, 1)); err != nil {
		t.Errorf("TCP: %v", err)
	}
}

func TestMTU(t *testing.T) {
	for _, mtu := range []int{MinMTU, 1500, 9000, MaxMTU} {
		want := clean()
		want.MTU = mtu
		l := open(t, want, 1, Options{})
		largest := mtu - headers
		if list := probe(t, l, 3, largest, 0); len(list) != 3 {
			t.Errorf("MTU %d: %d of 3 arrived", mtu, len(list))
		}
		if r := l.Report(); r.Down.Packets != 3 || r.Down.Bytes != 3*int64(mtu) {
			t.Errorf("MTU %d: %+v", mtu, r.Down)
		}
		if mtu == MaxMTU {
			continue // nothing is larger
		}
		c, err := l.Client().ListenUDP(0)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		raw, err := c.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
		})
		if err != nil {
			t.Fatal(err)
		}
		to := &net.UDPAddr{IP: l.Server().Addr().AsSlice(), Port: 9}
		if _, err := c.WriteTo(make([]byte, largest+1), to); !errors.Is(err, unix.EMSGSIZE) {
			t.Errorf("MTU %d: a packet of one byte more: %v", mtu, err)
		}
		client, server := connect(t, l)
		go func() { // ends with the transfer
			server.Write(make([]byte, 200_000))
			server.Close()
		}()
		n, largestRead := 0, make([]byte, 300_000)
		for {
			got, err := client.Read(largestRead)
			if n += got; err != nil {
				break
			}
		}
		// TCP fills packets: as many as a full size needs, and few more.
		if r := l.Report(); n != 200_000 || r.Down.TCP < int64(200_000/mtu) || r.Down.TCP > int64(200_000/(mtu-100))*3/2+20 {
			t.Errorf("MTU %d: %d bytes in %d packets", mtu, n, r.Down.TCP)
		}
	}
}

// UDP's segmentation by the kernel (GSO), which QUIC uses, leaves the host as
// packets.
func TestSegmentation(t *testing.T) {
	l := open(t, clean(), 1, Options{})
	c, err := l.Client().ListenUDP(0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, 1200) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.WriteTo(make([]byte, 6140), &net.UDPAddr{IP: l.Server().Addr().AsSlice(), Port: 9}); err != nil {
		t.Fatal(err)
	}
	await(t, "the packets", func() bool { return l.Report().Up.Packets >= 6 })
	if r := l.Report(); r.Up.UDP != 6 || r.Up.Bytes != 6140+6*headers {
		t.Errorf("%+v", r.Up)
	}
}
