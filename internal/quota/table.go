package quota

import (
	"net/netip"
	"sync"
	"time"
)

// DefaultClients is how many clients a Table knows unless Limits say otherwise.
const DefaultClients = 4096

// scanInterval is how often a full table looks for clients to forget, at most:
// the search costs as much as the table is large.
const scanInterval = time.Second

// Limits are those of a Table. A value of 0 or below means none.
type Limits struct {
	// Open bounds what all clients have open together, OpenPerClient what each
	// has.
	Open, OpenPerClient int
	// Rate bounds what a client opens per second, with bursts of Burst; 0 means
	// twice the Rate.
	Rate, Burst int
	// Clients bounds the clients that are known: 0 means [DefaultClients], or
	// twice Open if that is more, so that there is room for everybody who has
	// something open. Those for whom there is no room share one entry: without
	// Open they may be refused for what others of them have.
	Clients int
}

// A Verdict says whether a client may open one more.
type Verdict uint8

const (
	Granted Verdict = iota
	Full            // all clients together have as many open as they may
	TooMany         // the client has
	TooFast         // the client opened too many in a short time
)

// String returns the verdict in words.
func (v Verdict) String() string {
	switch v {
	case Granted:
		return "granted"
	case Full:
		return "full"
	case TooMany:
		return "too many"
	case TooFast:
		return "too fast"
	}
	return "unknown"
}

// A Table counts by client. Its methods may be called from any goroutine.
type Table struct {
	limits Limits // settled

	mu      sync.Mutex // guards the following, and the holds' entries
	open    int
	clients map[netip.Prefix]*entry
	rest    entry // of those for whom there was no room
	scanned time.Time
}

// An entry is what is known of a client.
type entry struct {
	open int
	used float64 // of the burst
	at   time.Time
}

// NewTable returns an empty table.
func NewTable(l Limits) *Table {
	if l.Burst <= 0 {
		l.Burst = 2 * l.Rate
	}
	if l.Clients <= 0 {
		l.Clients = max(DefaultClients, 2*l.Open)
	}
	return &Table{limits: l, clients: make(map[netip.Prefix]*entry)}
}

// Take asks to open one more for a client. If it is granted the Hold is what
// counts as open until it is released; otherwise the Hold is nil and nothing is
// counted.
func (t *Table) Take(client netip.Prefix, now time.Time) (*Hold, Verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.limits.Open > 0 && t.open >= t.limits.Open {
		return nil, Full // before the client takes room in the table
	}
	e := t.entryLocked(client, now)
	if v := t.takeLocked(e, now); v != Granted {
		return nil, v
	}
	t.open++
	e.open++
	return &Hold{table: t, entry: e}, Granted
}

// Ask returns what Take would say, and changes nothing: the client is not counted
// and takes no room in the table.
func (t *Table) Ask(client netip.Prefix, now time.Time) Verdict {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.clients[client]
	if e == nil {
		e = new(entry)
		if len(t.clients) >= t.limits.Clients {
			e = &t.rest
		}
	}
	copied := *e
	return t.takeLocked(&copied, now)
}

// takeLocked decides about one more of an entry, and charges the entry's bucket
// for it.
func (t *Table) takeLocked(e *entry, now time.Time) Verdict {
	switch {
	case t.limits.Open > 0 && t.open >= t.limits.Open:
		return Full
	case t.limits.OpenPerClient > 0 && e.open >= t.limits.OpenPerClient:
		return TooMany
	case t.limits.Rate > 0:
		e.refill(now, t.limits.Rate)
		if e.used+1 > float64(t.limits.Burst) {
			return TooFast
		}
		e.used++
	}
	return Granted
}

// Open returns what all clients have open.
func (t *Table) Open() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open
}

// entryLocked returns what is known of a client, or the entry that it shares.
func (t *Table) entryLocked(client netip.Prefix, now time.Time) *entry {
	if e := t.clients[client]; e != nil {
		return e
	}
	if len(t.clients) >= t.limits.Clients && now.Sub(t.scanned) >= scanInterval {
		t.forgetLocked(now)
	}
	if len(t.clients) >= t.limits.Clients {
		return &t.rest
	}
	e := &entry{at: now}
	t.clients[client] = e
	return e
}

// forgetLocked drops the clients that are as good as new.
func (t *Table) forgetLocked(now time.Time) {
	t.scanned = now
	for client, e := range t.clients {
		if e.refill(now, t.limits.Rate); e.used == 0 && e.open == 0 {
			delete(t.clients, client)
		}
	}
}

// refill gives back what the time brings. A clock that goes backwards brings
// nothing.
func (e *entry) refill(now time.Time, rate int) {
	if d := now.Sub(e.at); d > 0 {
		e.used = max(0, e.used-d.Seconds()*float64(rate))
		e.at = now
	}
}

// A Hold is one that is open.
type Hold struct {
	table *Table
	entry *entry // nil once it was released
}

// Release takes it back. Only the first call counts.
func (h *Hold) Release() {
	t := h.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if h.entry == nil {
		return
	}
	h.entry.open--
	h.entry = nil
	t.open--
}
