package h3wt

import (
	"net/http"
	"slices"

	"github.com/dunglas/httpsfv"

	"github.com/towpath-go/towpath/transport"
)

// quic-go schedules streams by eight urgencies, strictly, and shares between
// those of equal urgency. A session's orders are ranked within their group and
// the ranks mapped onto the urgencies from the session's own one onwards: the
// highest order keeps it, so that no session takes from others what its own
// priorities give, and so that capsules, which on a client stay at the default,
// never wait behind data. Ranks beyond the last urgency share it.
const (
	defaultUrgency = 3
	lastUrgency    = 7
)

// ranks are the live orders of a session, highest first, for each group. It is
// used only once a stream has a priority other than zero.
type ranks struct {
	base   int8 // the session's urgency
	groups map[*transport.SendGroup][]rank
	// ranked are the streams in it.
	ranked map[*sendPart]struct{}
}

// A rank is one order and how many live streams have it.
type rank struct {
	order   int64
	streams int
}

// urgency returns the urgency of a stream with priority p.
func (r *ranks) urgency(p transport.Priority) int8 {
	i, _ := find(r.groups[p.Group], p.Order)
	return int8(min(int(r.base)+i, lastUrgency))
}

func find(list []rank, order int64) (int, bool) {
	return slices.BinarySearchFunc(list, order, func(r rank, o int64) int {
		switch {
		case r.order > o:
			return -1
		case r.order < o:
			return 1
		}
		return 0
	})
}

// sessionUrgency is the urgency that a request's Priority field (RFC 9218
// section 4) gives to the session: to the CONNECT stream by http3, to the streams
// of the session here. The incremental parameter has no use among a session's
// streams, which share anyway.
func sessionUrgency(h http.Header) int8 {
	d, err := httpsfv.UnmarshalDictionary(h["Priority"])
	if err != nil {
		return defaultUrgency
	}
	m, _ := d.Get("u")
	item, ok := m.(httpsfv.Item)
	if !ok {
		return defaultUrgency
	}
	if u, ok := item.Value.(int64); ok && u >= 0 && u <= lastUrgency {
		return int8(u)
	}
	return defaultUrgency
}

// add enters a stream. It reports whether the ranks of others have changed.
func (r *ranks) add(p transport.Priority) (changed bool) {
	list := r.groups[p.Group]
	i, found := find(list, p.Order)
	if found {
		list[i].streams++
		return false
	}
	r.groups[p.Group] = slices.Insert(list, i, rank{p.Order, 1})
	return true
}

// remove takes a stream out. It reports whether the ranks of others have changed.
func (r *ranks) remove(p transport.Priority) (changed bool) {
	list := r.groups[p.Group]
	i, found := find(list, p.Order)
	if !found {
		return false
	}
	list[i].streams--
	if list[i].streams > 0 {
		return false
	}
	list = slices.Delete(list, i, i+1)
	if len(list) == 0 {
		delete(r.groups, p.Group)
	} else {
		r.groups[p.Group] = list
	}
	return true
}

// rankedLocked reports whether a stream without a priority of its own has a rank.
func (s *Session) rankedLocked() bool {
	return s.ranks.groups != nil || s.ranks.base != defaultUrgency
}

// prioritize gives a stream its place among the session's.
func (s *Session) prioritize(p *sendPart, prio transport.Priority) {
	s.mu.Lock()
	r := &s.ranks
	changed := false
	if r.groups == nil {
		if prio == (transport.Priority{}) && p.priority == prio && r.base == defaultUrgency {
			s.mu.Unlock()
			return
		}
		// The first priority that is set: all live streams get a rank.
		r.groups = make(map[*transport.SendGroup][]rank)
		r.ranked = make(map[*sendPart]struct{})
		for _, d := range s.streams {
			if d.send != nil && !d.send.state.over() {
				r.ranked[d.send] = struct{}{}
				r.add(d.send.priority)
			}
		}
		changed = true
	}
	if p.state.over() || s.err != nil {
		s.mu.Unlock()
		return
	}
	if _, ok := r.ranked[p]; ok {
		if p.priority == prio && !changed {
			s.mu.Unlock()
			return
		}
		if r.remove(p.priority) {
			changed = true
		}
	}
	r.ranked[p] = struct{}{}
	p.priority = prio
	if r.add(prio) {
		changed = true
	}
	moves := s.rerankLocked(p, changed)
	s.mu.Unlock()
	s.applyUrgencies(moves)
}

// unrankLocked takes a stream out whose sending part is over. It returns the
// streams whose urgency has changed.
func (s *Session) unrankLocked(p *sendPart) []*sendPart {
	r := &s.ranks
	if _, ok := r.ranked[p]; !ok || !p.state.over() {
		return nil
	}
	delete(r.ranked, p)
	return s.rerankLocked(nil, r.remove(p.priority))
}

// rerankLocked returns the streams whose urgency has changed: all are looked at
// if changed is set, otherwise only p.
func (s *Session) rerankLocked(p *sendPart, changed bool) []*sendPart {
	var moves []*sendPart
	look := func(p *sendPart) {
		if u := s.ranks.urgency(p.priority); u != p.urgency {
			p.urgency = u
			moves = append(moves, p)
		}
	}
	if !changed {
		if p != nil {
			look(p)
		}
		return moves
	}
	for p := range s.ranks.ranked {
		look(p)
	}
	return moves
}

// applyUrgencies tells quic-go. When another call changed the urgency meanwhile,
// whose call to quic-go may have come first, it does so again.
func (s *Session) applyUrgencies(moves []*sendPart) {
	for _, p := range moves {
		for applied := int8(-1); ; {
			s.mu.Lock()
			u := p.urgency
			s.mu.Unlock()
			if u == applied {
				break
			}
			p.q.SetPriority(u, true)
			applied = u
		}
	}
}
