package session

import "github.com/towpath-go/towpath/transport"

// quantum is how many bytes a stream sends before its turn passes to the next
// one of equal order.
const quantum = maxStreamCapsule

// A sched decides which stream's bytes go next. It holds the streams that have
// something to send, and nothing about why.
//
// Groups share by bytes: each has a virtual time, the bytes it was served, and
// the group furthest behind is next. A group that was idle resumes at the
// present, so that it neither lost nor saved up anything by its silence. One
// whose last stream has ended is remembered while others wait: a group of many
// short streams would else be new, and first, with each of them.
// Within a group the highest Order is next; equal orders take turns of quantum
// bytes.
//
// Both levels are binary heaps. Neither allocates once its slice has grown.
type sched struct {
	groups map[*transport.SendGroup]*schedGroup
	none   *schedGroup   // the nil group, kept since most streams are in it
	active []*schedGroup // heap: those with a ready stream
	left   []*schedGroup // those that lost their last member, less than maxLeft
	now    uint64        // virtual time of the group served last
	turn   uint64        // orders arrivals, of groups and of streams
}

// maxLeft bounds the groups that are remembered without a member.
const maxLeft = 256

// A schedGroup lives as long as a stream belongs to it, and in sched.left.
type schedGroup struct {
	key    *transport.SendGroup
	refs   int
	left   bool        // in sched.left, even if it has members again
	served uint64      // virtual time
	since  uint64      // breaks ties: when it became active
	index  int         // in sched.active, -1 if not
	ready  []*schedEnt // heap
}

// A schedEnt is one stream's entry; it is embedded in the stream.
type schedEnt struct {
	st    *stream
	group *schedGroup
	order int64
	turn  uint64 // position among equals
	spent int    // of the present turn
	index int    // in group.ready, -1 if not
}

// join makes e a member of the group that p names. It must not be a member yet.
func (c *sched) join(e *schedEnt, p transport.Priority) {
	g := c.none
	if p.Group != nil {
		g = c.groups[p.Group]
	}
	if g == nil {
		g = &schedGroup{key: p.Group, index: -1}
		switch {
		case p.Group == nil:
			c.none = g
		case c.groups == nil:
			c.groups = map[*transport.SendGroup]*schedGroup{p.Group: g}
		default:
			c.groups[p.Group] = g
		}
	}
	g.refs++
	e.group, e.order, e.index = g, p.Order, -1
}

// leave ends e's membership, and its readiness.
func (c *sched) leave(e *schedEnt) {
	if e.group == nil {
		return
	}
	c.remove(e)
	g := e.group
	e.group = nil
	g.refs--
	if g.refs == 0 && g != c.none && !g.left {
		g.left = true
		c.left = append(c.left, g)
	}
	if len(c.active) == 0 || len(c.left) == maxLeft {
		c.forget()
	}
}

// forget drops the groups without a member.
func (c *sched) forget() {
	for _, g := range c.left {
		g.left = false
		if g.refs == 0 {
			delete(c.groups, g.key)
		}
	}
	clear(c.left)
	c.left = c.left[:0]
}

// move changes e's priority and keeps its readiness.
func (c *sched) move(e *schedEnt, p transport.Priority) {
	ready := e.index >= 0
	c.leave(e)
	c.join(e, p)
	if ready {
		c.add(e)
	}
}

// add makes e ready. It goes behind its equals.
func (c *sched) add(e *schedEnt) {
	if e.index >= 0 {
		return
	}
	g := e.group
	c.turn++
	e.turn, e.spent = c.turn, 0
	e.index = len(g.ready)
	g.ready = append(g.ready, e)
	up(g, e.index)
	if g.index < 0 {
		g.served = max(g.served, c.now)
		g.since = c.turn
		g.index = len(c.active)
		c.active = append(c.active, g)
		up(c, g.index)
	}
}

// remove makes e not ready.
func (c *sched) remove(e *schedEnt) {
	i := e.index
	if i < 0 {
		return
	}
	g := e.group
	last := len(g.ready) - 1
	if i != last {
		g.swap(i, last)
	}
	g.ready[last] = nil
	g.ready = g.ready[:last]
	e.index = -1
	if i < last {
		fix(g, i)
	}
	if last == 0 {
		c.retire(g)
	}
}

// next returns the entry that goes next, nil if none is ready.
func (c *sched) next() *schedEnt {
	if len(c.active) == 0 {
		return nil
	}
	return c.active[0].ready[0]
}

// charge says that e, the entry next returned, sent n bytes. The caller removes
// e afterwards if it has nothing more.
func (c *sched) charge(e *schedEnt, n int) {
	g := e.group
	c.now = g.served
	g.served += uint64(n)
	down(c, g.index)
	e.spent += n
	if e.spent >= quantum {
		c.turn++
		e.turn, e.spent = c.turn, 0
		down(g, e.index)
	}
}

func (c *sched) retire(g *schedGroup) {
	i, last := g.index, len(c.active)-1
	if i != last {
		c.swap(i, last)
	}
	c.active[last] = nil
	c.active = c.active[:last]
	g.index = -1
	if i < last {
		fix(c, i)
	}
}

func (c *sched) size() int { return len(c.active) }

func (c *sched) less(i, j int) bool {
	a, b := c.active[i], c.active[j]
	if a.served != b.served {
		return a.served < b.served
	}
	return a.since < b.since
}

func (c *sched) swap(i, j int) {
	c.active[i], c.active[j] = c.active[j], c.active[i]
	c.active[i].index, c.active[j].index = i, j
}

func (g *schedGroup) less(i, j int) bool {
	a, b := g.ready[i], g.ready[j]
	if a.order != b.order {
		return a.order > b.order
	}
	return a.turn < b.turn
}

func (g *schedGroup) swap(i, j int) {
	g.ready[i], g.ready[j] = g.ready[j], g.ready[i]
	g.ready[i].index, g.ready[j].index = i, j
}

func (g *schedGroup) size() int { return len(g.ready) }

// A schedHeap is a binary heap whose entries know their index. It is not one of
// package container/heap, which takes and gives entries as any.
type schedHeap interface {
	size() int
	less(i, j int) bool
	swap(i, j int)
}

// fix moves the entry at i, whose place may have changed, to where it belongs.
func fix[H schedHeap](h H, i int) {
	up(h, i)
	down(h, i)
}

func up[H schedHeap](h H, i int) {
	for i > 0 && h.less(i, (i-1)/2) {
		h.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func down[H schedHeap](h H, i int) {
	for {
		l := 2*i + 1
		if l >= h.size() {
			return
		}
		if r := l + 1; r < h.size() && h.less(r, l) {
			l = r
		}
		if !h.less(l, i) {
			return
		}
		h.swap(i, l)
		i = l
	}
}
