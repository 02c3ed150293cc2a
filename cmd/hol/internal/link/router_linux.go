package link

import (
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

const (
	// readBatch bounds how many packets of one device are read before due packets
	// are sent again, and the other way round.
	readBatch = 32
	// heartbeat is how long the router sleeps at most. A stall in its sleep is
	// noticed by the time that it was to wake at, also when nothing was under way,
	// and then to within this.
	heartbeat = 2 * time.Millisecond
)

// router moves packets between two devices on a thread of its own.
type router struct {
	epoch   time.Time
	sides   [2]side // of packets from the client (up), and from the server (down)
	stop    int     // eventfd
	done    chan struct{}
	scratch []byte // for packets that there is no room for; the thread's

	mu sync.Mutex // guards the following, and the sides' models
	report
	err error // that ended the router, if one did
}

// side is the way from one device to the other.
type side struct {
	direction lab.Direction
	from, to  int // descriptors of the devices
	model     *model
	flight    *flight // the thread's
}

// report is what the router counts besides the models.
type report struct {
	lateness         histogram
	drops            []Drop
	forgotten        int64
	overflow, failed int64
	tid              int           // of the thread while it runs, or 0
	began            time.Duration // the thread's processor time when it became the router
	cpu              time.Duration // of the router when it ended
	realtime         bool
}

// startRouter starts the thread. It runs until halt; it does not close the
// devices.
func startRouter(client, server int, want lab.Link, seed uint64, realtime bool) (*router, error) {
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("link: eventfd: %w", err)
	}
	r := &router{epoch: time.Now(), stop: stop, done: make(chan struct{}), scratch: make([]byte, want.MTU)}
	for i, s := range []side{{direction: lab.Up, from: client, to: server}, {direction: lab.Down, from: server, to: client}} {
		s.model, s.flight = newModel(want, seed, s.direction), newFlight(want.MTU)
		r.sides[i] = s
	}
	ready := make(chan struct{})
	go func() { // halt stops it and waits for it
		defer close(r.done)
		// Never unlocked: the thread, with its priority, ends with the goroutine.
		runtime.LockOSThread()
		r.begin(realtime)
		close(ready)
		err := r.run()
		r.end(err)
	}()
	<-ready
	return r, nil
}

// begin prepares the thread.
func (r *router) begin(realtime bool) {
	// Wake-ups may be put off by 50 us otherwise; it is not an error if they are.
	unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	if realtime {
		realtime = setPolicy(unix.Gettid(), unix.SCHED_RR, routerPriority) == nil
	}
	var now unix.Timespec
	unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tid, r.began, r.realtime = unix.Gettid(), time.Duration(now.Nano()), realtime
}

func (r *router) end(err error) {
	var now unix.Timespec
	unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tid, r.cpu, r.err = 0, time.Duration(now.Nano())-r.began, err
	if err != nil {
		r.failed++ // no packet passes any more
	}
}

// halt stops the thread and waits for it. It returns the error that had stopped
// it before, if any.
func (r *router) halt() error {
	one := [8]byte{1} // of either byte order, not 0
	if _, err := unix.Write(r.stop, one[:]); err != nil {
		return fmt.Errorf("link: stopping the router: %w", err)
	}
	<-r.done
	unix.Close(r.stop)
	return r.err
}

func (r *router) run() error {
	fds := []unix.PollFd{
		{Fd: int32(r.sides[0].from), Events: unix.POLLIN},
		{Fd: int32(r.sides[1].from), Events: unix.POLLIN},
		{Fd: int32(r.stop), Events: unix.POLLIN},
	}
	woken := time.Since(r.epoch)
	for {
		due, ok := r.send()
		now := time.Since(r.epoch)
		busy := now - woken
		wake := now + heartbeat
		if ok {
			wake = min(wake, max(now, due))
		}
		timeout := unix.NsecToTimespec(int64(wake - now))
		_, err := unix.Ppoll(fds, &timeout, nil)
		woken = time.Since(r.epoch)
		r.woke(max(woken-wake, busy))
		if err == unix.EINTR {
			continue
		} else if err != nil {
			return fmt.Errorf("link: router: ppoll: %w", err)
		}
		if fds[2].Revents != 0 {
			return nil
		}
		for i := range r.sides {
			if fds[i].Revents == 0 {
				continue
			}
			if err := r.read(&r.sides[i]); err != nil {
				return err
			}
		}
	}
}

// woke notes by how much the router overslept, or, if that was longer, how long
// it was awake before: what came meanwhile waited to be read.
func (r *router) woke(late time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lateness.stall(late)
}

// send writes what is due, and returns when the next packet will be.
func (r *router) send() (time.Duration, bool) {
	for sent := 0; ; sent++ {
		s := &r.sides[0]
		at, ok := s.flight.next()
		if other, otherOK := r.sides[1].flight.next(); otherOK && (!ok || other < at) {
			s, at, ok = &r.sides[1], other, true
		}
		now := time.Since(r.epoch)
		// Reading must go on too, or the devices' own queues overflow.
		if !ok || at > now || sent == readBatch {
			return at, ok
		}
		p := s.flight.take()
		_, err := unix.Write(s.to, p.bytes)
		r.mu.Lock()
		r.lateness.add(now - at)
		s.model.passage.Reordered = s.flight.reordered
		if err != nil {
			r.failed++
		}
		r.mu.Unlock()
	}
}

// read takes what the device has, at most readBatch packets.
func (r *router) read(s *side) error {
	for range readBatch {
		slot := s.flight.room()
		full := slot == nil
		if full {
			slot = r.scratch
		}
		n, err := unix.Read(s.from, slot)
		if err == unix.EAGAIN || err == unix.EINTR {
			return nil
		} else if err != nil {
			return fmt.Errorf("link: router: reading packets: %w", err)
		}
		r.offer(s, slot[:n], full)
	}
	return nil
}

func (r *router) offer(s *side, packet []byte, full bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Since(r.epoch)
	number := uint64(s.model.passage.Packets)
	at, cause := s.model.offer(now, len(packet), protocolOf(packet))
	if cause == Sent && full {
		cause = Overflow
		r.overflow++
	}
	if cause == Sent {
		s.flight.send(at, number, len(packet))
		return
	}
	if len(r.drops) == MaxDrops {
		r.forgotten++
		return
	}
	r.drops = append(r.drops, Drop{Direction: s.direction, At: r.epoch.Add(now), Bytes: len(packet), Cause: cause})
}

// protocolOf returns the number of an IP packet's protocol, 0 if it has none.
func protocolOf(packet []byte) byte {
	switch {
	case len(packet) >= 20 && packet[0]>>4 == 4:
		return packet[9]
	case len(packet) >= 40 && packet[0]>>4 == 6:
		return packet[6]
	}
	return 0
}

// snapshot fills in what the router knows.
func (r *router) snapshot() Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	cpu := r.cpu
	if r.tid != 0 {
		var now unix.Timespec
		if unix.ClockGettime(threadClock(r.tid), &now) == nil {
			cpu = time.Duration(now.Nano()) - r.began
		}
	}
	return Report{
		Up: r.sides[0].model.passage, Down: r.sides[1].model.passage,
		Lateness: r.lateness.lateness(), RouterCPU: cpu, Realtime: r.realtime,
		Overflow: r.overflow, Failed: r.failed, DropsForgotten: r.forgotten,
	}
}

// threadClock is the clock of a thread's processor time; see pthread_getcpuclockid(3).
func threadClock(tid int) int32 { return int32(^tid)<<3 | 6 }
