package negotiate

import (
	"container/list"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Times of the memory.
const (
	brokenFirst = time.Minute    // the first mark
	brokenMax   = 24 * time.Hour // where doubling ends
	// storeSize bounds the default Store; what was used longest ago is forgotten.
	storeSize = 1024
)

// A Store keeps what a Dialer remembers about UDP to a server, by "host:port".
// Its methods may be called from any goroutine and should not block for long; a
// Dialer calls them without holding a lock. A Store may forget at any time.
type Store interface {
	Load(hostport string) (Entry, bool)
	Save(hostport string, e Entry)
	Delete(hostport string)
}

// An Entry is what is remembered about one server, seen from one network.
type Entry struct {
	// Network is the fingerprint of the network the entry belongs to. On any
	// other network the entry counts for nothing.
	Network string
	// Failures is how often in a row UDP was found broken, 0 if it works.
	Failures int
	// BrokenUntil is when the mark ends.
	BrokenUntil time.Time
	// RTT is the smoothed round-trip time of the latest connection, 0 if unknown.
	RTT time.Duration
}

// NewStore returns the default Store: in memory, bounded to 1,024 servers.
// Several Dialers may share it.
func NewStore() Store {
	return &memoryStore{entries: make(map[string]*list.Element), order: list.New()}
}

type memoryStore struct {
	mu      sync.Mutex // guards the following
	entries map[string]*list.Element
	order   *list.List // of storeItem, most recently used first
}

type storeItem struct {
	key   string
	entry Entry
}

func (s *memoryStore) Load(key string) (Entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	el, ok := s.entries[key]
	if !ok {
		return Entry{}, false
	}
	s.order.MoveToFront(el)
	return el.Value.(storeItem).entry, true
}

func (s *memoryStore) Save(key string, e Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if el, ok := s.entries[key]; ok {
		el.Value = storeItem{key, e}
		s.order.MoveToFront(el)
		return
	}
	s.entries[key] = s.order.PushFront(storeItem{key, e})
	if len(s.entries) > storeSize {
		last := s.order.Back()
		delete(s.entries, last.Value.(storeItem).key)
		s.order.Remove(last)
	}
}

func (s *memoryStore) Delete(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if el, ok := s.entries[key]; ok {
		delete(s.entries, key)
		s.order.Remove(el)
	}
}

// A target is what the memory knows servers by.
type target struct{ network, host, port string }

func (t target) key() string { return net.JoinHostPort(t.host, t.port) }

// The memory decides, before a dial, whether UDP is worth waiting for. It has
// no timers: marks expire by being looked at.
type memory struct {
	store  Store
	jitter func() float64 // in [0, 1); tests replace it

	mu sync.Mutex // guards the following; not held while the store is called
	// pending counts the races per target whose QUIC outcome is not known yet
	// although TCP has won.
	pending map[target]int
	// probing holds the targets that a background probe is under way for.
	probing map[target]bool
}

func newMemory(s Store) *memory {
	return &memory{store: s, jitter: rand.Float64, pending: make(map[target]int), probing: make(map[target]bool)}
}

// A decision is what the memory tells a dial.
type decision struct {
	memory Memory
	until  time.Time
	rtt    time.Duration // 0: not known
	// probe says that the caller must probe QUIC in the background, and call
	// probed when that ended.
	probe bool
}

// decide is called at the start of each dial. An entry of another network is
// forgotten: the network changed, so every mark is void.
func (m *memory) decide(t target) decision {
	e, ok := m.load(t)
	marked := ok && e.Failures > 0
	if marked && time.Now().Before(e.BrokenUntil) {
		return decision{memory: MemoryBroken, until: e.BrokenUntil, rtt: e.RTT}
	}

	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case marked:
		d := decision{memory: MemoryExpired, until: e.BrokenUntil, rtt: e.RTT, probe: !m.probing[t]}
		m.probing[t] = true
		return d
	case m.pending[t] > 0:
		return decision{memory: MemoryPending, rtt: e.RTT}
	case ok:
		return decision{memory: MemoryWorks, rtt: e.RTT}
	}
	return decision{memory: MemoryNone}
}

// A load and the save that follows are not one step. Two that cross come from
// the same old entry and to the same new one, so a mark never doubles twice.
func (m *memory) load(t target) (Entry, bool) {
	e, ok := m.store.Load(t.key())
	if ok && e.Network != t.network {
		m.store.Delete(t.key())
		return Entry{}, false
	}
	return e, ok
}

// works clears a mark: QUIC reached the server. rtt 0 keeps the one known.
func (m *memory) works(t target, rtt time.Duration) {
	e, _ := m.load(t)
	if rtt <= 0 {
		rtt = e.RTT
	}
	m.store.Save(t.key(), Entry{Network: t.network, RTT: rtt})
}

// broken sets a mark: 60 s the first time, doubling up to 24 h, each with a
// jitter of 20 % either way. While a mark stands, another finding adds nothing.
func (m *memory) broken(t target) (until time.Time) {
	now := time.Now()
	e, _ := m.load(t)
	if e.Failures > 0 && now.Before(e.BrokenUntil) {
		return e.BrokenUntil
	}
	d := brokenFirst
	for range e.Failures {
		if d *= 2; d >= brokenMax {
			d = brokenMax
			break
		}
	}
	d = time.Duration(float64(d) * (0.8 + 0.4*m.jitter()))
	e.Network = t.network
	e.Failures++
	e.BrokenUntil = now.Add(d)
	m.store.Save(t.key(), e)
	return e.BrokenUntil
}

// begin and end bracket the time in which a QUIC outcome is pending.
func (m *memory) begin(t target) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pending[t]++
}

func (m *memory) end(t target) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pending[t]--; m.pending[t] <= 0 {
		delete(m.pending, t)
	}
}

// probed ends what decide began with decision.probe.
func (m *memory) probed(t target) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.probing, t)
}

// forget drops what is known of a server.
func (m *memory) forget(host, port string) {
	m.store.Delete(target{host: host, port: port}.key())
}
