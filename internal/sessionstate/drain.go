package sessionstate

// Drain is the drain side of a session. Draining is advice and changes nothing
// else, so it stands beside [Lifecycle]: streams, datagrams and new streams go
// on. The zero Drain is a session that nobody drains.
type Drain struct {
	local drainState
	peer  bool
}

// A drainState is how far the own WT_DRAIN_SESSION is.
type drainState uint8

const (
	drainIdle drainState = iota
	drainDue
	drainSent
)

// Ask makes the own WT_DRAIN_SESSION due. It reports whether this was the
// first time; later calls do nothing.
func (d *Drain) Ask() bool {
	if d.local != drainIdle {
		return false
	}
	d.local = drainDue
	return true
}

// TakeDue reports whether WT_DRAIN_SESSION has to be sent now, once.
func (d *Drain) TakeDue() bool {
	if d.local != drainDue {
		return false
	}
	d.local = drainSent
	return true
}

// Due reports what TakeDue would, and changes nothing.
func (d *Drain) Due() bool { return d.local == drainDue }

// PeerDraining reports whether PeerDrains was called.
func (d *Drain) PeerDraining() bool { return d.peer }

// PeerDrains notes the peer's WT_DRAIN_SESSION or the going away of its
// connection. It reports whether this was the first sign; only then there is an
// event for the application.
func (d *Drain) PeerDrains() bool {
	first := !d.peer
	d.peer = true
	return first
}
