package ledger

import (
	"fmt"
	"slices"
	"strings"
)

// An Ends compares what the two sides of each session were told about its end
// with what happened. Its methods are called by one goroutine at a time.
type Ends struct {
	violate func(Violation)
	// first has, for each session that one side has told of, what it told.
	first map[uint64]End
	// cut are the connections that something was done to that ends them.
	cut map[uint64]bool
	// Compared counts the sessions whose both ends were seen.
	Compared int64
	// Kinds counts the sessions by how they ended.
	Kinds map[string]int64
}

// NewEnds returns an Ends that reports to violate.
func NewEnds(violate func(Violation)) *Ends {
	return &Ends{violate: violate, first: make(map[uint64]End), cut: make(map[uint64]bool), Kinds: make(map[string]int64)}
}

// Cut notes that a connection is being cut. It is called before that is done, so
// that the server's end of a session, which comes after, finds it.
func (e *Ends) Cut(connection uint64) { e.cut[connection] = true }

// Add takes one side's end.
func (e *Ends) Add(end End) {
	other, ok := e.first[end.Session]
	if !ok {
		e.first[end.Session] = end
		return
	}
	if other.Side == end.Side {
		e.broken(end, "its end was told twice")
		return
	}
	delete(e.first, end.Session)
	client, server := end, other
	if end.Side == Server {
		client, server = other, end
	}
	e.compare(client, server)
}

// Finish reports the sessions whose end one side alone has told.
func (e *Ends) Finish() {
	for _, end := range e.first {
		switch {
		case end.Side == Client && end.Refused != "":
			e.Kinds["not opened"]++
			e.unfaulted(end, "the session was not opened: "+end.Refused)
		case end.Side == Client:
			e.broken(end, "the server never told of the session, nor of its end")
		default:
			e.broken(end, "the client never told of the session, nor of its end")
		}
	}
	clear(e.first)
}

func (e *Ends) broken(end End, what string) {
	e.violate(Violation{Side: end.Side, Way: end.Way, Session: end.Session, Offset: -1, What: what})
}

// unfaulted reports a loss that nobody has caused.
func (e *Ends) unfaulted(client End, what string) {
	if !e.cut[client.Connection] {
		e.broken(client, what+", and nothing was done to the connection")
	}
}

func (e *Ends) compare(client, server End) {
	e.Compared++
	if client.Refused != "" {
		// The server had accepted, and the answer did not come through.
		e.Kinds["answer lost"]++
		e.unfaulted(client, "the session was not opened though the server accepted it: "+client.Refused)
		if server.Told != nil && server.Told.Err == "" && server.Told.Remote && server.Told.Code != 0 {
			e.broken(server, fmt.Sprintf("was told code %d of a session that the client never had", server.Told.Code))
		}
		return
	}
	for _, pair := range [2][2]End{{client, server}, {server, client}} {
		end, other := pair[0], pair[1]
		e.one(end, other, client)
	}
	switch {
	case client.Told == nil || server.Told == nil: // reported by one
	case client.Told.Err != "" || server.Told.Err != "":
		e.Kinds["broken"]++
	case client.Closed != nil && server.Closed != nil:
		e.Kinds["closed by both"]++
	case client.Closed != nil:
		e.Kinds["closed by the client"]++
	default:
		e.Kinds["closed by the server"]++
	}
}

// one judges what end was told.
func (e *Ends) one(end, other, client End) {
	t := end.Told
	switch {
	case t == nil:
		e.broken(end, "the session's end was never told to the application")
		return
	case t.Err != "":
		e.unfaulted(client, fmt.Sprintf("%s was told that the session broke: %s", end.Side, t.Err))
		return
	case !t.Remote:
		c := end.Closed
		if c == nil {
			e.broken(end, fmt.Sprintf("was told that it closed the session with code %d, which it did not", t.Code))
		} else if c.Code != t.Code || c.Reason != t.Reason {
			e.broken(end, fmt.Sprintf("closed with code %d %.40q and was told %d %.40q", c.Code, c.Reason, t.Code, t.Reason))
		}
	default:
		c := other.Closed
		if c == nil {
			e.broken(end, fmt.Sprintf("was told that the other side closed with code %d %.40q, which it did not", t.Code, t.Reason))
		} else if c.Code != t.Code || c.Reason != t.Reason {
			e.broken(end, fmt.Sprintf("was told code %d %.40q; the other side closed with %d %.40q", t.Code, t.Reason, c.Code, c.Reason))
		}
	}
	if c := end.Closed; c != nil && c.Err != "" {
		e.unfaulted(client, fmt.Sprintf("%s: CloseWithError returned: %s", end.Side, c.Err))
	}
	e.datagrams(end, other)
}

// datagrams compares counters where nothing can be lost on the way: datagrams
// over TCP, of the side that closed, as the other side was told of it, which
// comes behind all of them.
func (e *Ends) datagrams(told, closer End) {
	if told.Way == H3 || !told.Told.Remote || closer.Closed == nil {
		return
	}
	if closer.DatagramsSent != told.DatagramsReceived {
		e.broken(told, fmt.Sprintf("counts %d datagrams received before the session was closed, of %d that the other side counts as sent",
			told.DatagramsReceived, closer.DatagramsSent))
	}
	if closer.Closed.Synced && closer.DatagramsAccepted < closer.DatagramsSent+closer.DatagramsDropped {
		e.broken(closer, fmt.Sprintf("counts %d datagrams sent and %d dropped, of %d that it accepted",
			closer.DatagramsSent, closer.DatagramsDropped, closer.DatagramsAccepted))
	}
}

// Ways sorts the ways that a run names, in the order of Ways.
func Sorted(ways []string) []string {
	ways = slices.Clone(ways)
	slices.SortFunc(ways, func(a, b string) int { return slices.Index(Ways, a) - slices.Index(Ways, b) })
	return slices.Compact(ways)
}

// Names joins names for a sentence.
func Names(names []string) string { return strings.Join(names, ", ") }
