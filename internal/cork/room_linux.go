package cork

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// unsentTime is how long bytes may wait in the kernel to be sent for the first
	// time, at the rate at which the peer acknowledges. They cannot be overtaken any
	// more. The kernel must have enough, though, until the writer has been woken
	// and has encrypted more.
	unsentTime = 4 * time.Millisecond
	// startRoom is what is assumed until there is a rate. The kernel sends about as
	// much at once to begin with.
	startRoom = 16 << 10
	// maxRoom is for a path that is faster than a wait would be noticed on: 16 MB/s.
	maxRoom = 64 << 10
	// leastSegments is what is handed over at least, so that packets are full.
	leastSegments = 2
	// unsentLimit is the most that TCP_NOTSENT_LOWAT is set to.
	unsentLimit = 32 << 10
	// maxRecord is what a TLS record has at most.
	maxRecord = 16 << 10
	// lookInterval is how often the rate is read.
	lookInterval = 5 * time.Millisecond
)

// A room says how much to hand to the kernel at a time. It is not safe for
// concurrent use.
type room struct {
	raw    syscall.RawConn
	record int // what TLS adds to each record, in bytes
	limit  int // bytes for each time
	left   int // of the last time
	lowat  int // as it was set last
	looked time.Time
	poll   [1]unix.PollFd
	taking bool // what check found

	// Methods, made once.
	ready       func(fd uintptr) bool
	look, check func(fd uintptr)
}

func newRoom(nc net.Conn, record int) *room {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	r := &room{raw: raw, record: record}
	r.ready, r.look = r.isReady, r.follow
	r.check = func(fd uintptr) { r.taking = r.isReady(fd) }
	r.update(time.Now())
	return r
}

// isReady asks whether the kernel takes more. To ask also has it say so later.
func (r *room) isReady(fd uintptr) bool {
	r.poll[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLOUT}
	for {
		n, err := unix.Poll(r.poll[:], 0)
		if err == unix.EINTR {
			continue
		}
		return n > 0 || err != nil // the write will say what is wrong
	}
}

// update reads the rate if that is due.
func (r *room) update(now time.Time) {
	if now.Sub(r.looked) < lookInterval {
		return
	}
	r.looked = now
	_ = r.raw.Control(r.look) // an error means that it is closed
}

// follow has the limits follow the rate. It is an optimisation: where the kernel
// tells nothing, or does not know the option, the limit is a fixed one.
func (r *room) follow(fd uintptr) {
	r.limit = startRoom
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err == nil && info.Delivery_rate > 0 {
		r.limit = roomAt(info.Delivery_rate, int(info.Snd_mss))
	}
	// The kernel says that it takes more once less than half of it waits: then
	// there is still a full packet, and what is written in the middle of one goes
	// out together with what comes next.
	lowat := min(2*r.limit, unsentLimit)
	if d := lowat - r.lowat; d > r.lowat/8 || -d > r.lowat/8 {
		r.lowat = lowat
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, lowat)
	}
}

// roomAt is how many bytes to hand over at a time, at a rate in bytes a second:
// whole packets, since TCP counts a packet with few bytes like a full one, so
// that many of them have it misjudge the path.
func roomAt(rate uint64, segment int) int {
	rate = min(rate, maxRoom*uint64(time.Second/unsentTime))
	n := int(rate * uint64(unsentTime/time.Microsecond) / 1e6)
	if segment > 0 && n < maxRoom {
		n = max(n/segment, leastSegments) * segment
	}
	return min(max(n, leastRoom), maxRoom)
}

// now returns how much the kernel takes without waiting, 0 for nothing.
func (r *room) now() int {
	r.update(time.Now())
	r.left = min(r.left, r.plain())
	if r.left < leastRoom {
		r.taking = true
		_ = r.raw.Control(r.check) // an error means that it is closed: the write will say so
		if !r.taking {
			return 0
		}
		r.left = r.plain()
	}
	return r.left
}

// await waits until the kernel takes more, and returns how much.
func (r *room) await() (int, error) {
	if err := r.raw.Write(r.ready); err != nil {
		return 0, err
	}
	r.update(time.Now())
	r.left = r.plain()
	return r.left, nil
}

// plain is how many bytes become limit bytes as TLS records.
func (r *room) plain() int { return r.limit - (r.limit+maxRecord-1)/maxRecord*r.record }

// used counts n bytes that were written.
func (r *room) used(n int) { r.left -= n }
