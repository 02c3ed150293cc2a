package sessionstate

// A choice finds the share that has to go: among those that hold at least half of
// what the largest holds, the one registered last. Only shares that can be ended
// are in question. It has no lock.
//
// It is a binary tree of maxima over the shares in the order of their
// registration. A change and a choice take a number of steps that grows with the
// logarithm of the number of shares, so that a peer that opens many sessions and
// drives the budget to its cap does not make every capsule of everybody cost a
// walk over all of them.
type choice struct {
	leaves []*share // in order of registration, nil where one has left
	most   []int64  // most[i] is the larger of most[2*i] and most[2*i+1]; the leaves' half stands last
	live   int
}

// minLeaves is the number of leaves of the smallest tree.
const minLeaves = 2

// add appends a share, which holds nothing yet.
func (c *choice) add(s *share) {
	if len(c.leaves) == len(c.most)/2 {
		c.rebuild()
	}
	s.slot = len(c.leaves)
	c.leaves = append(c.leaves, s)
	c.live++
}

// rebuild closes the gaps and leaves as much room again as there are shares.
func (c *choice) rebuild() {
	size := minLeaves
	for size < 2*c.live {
		size *= 2
	}
	leaves := make([]*share, 0, size)
	most := make([]int64, 2*size)
	for _, s := range c.leaves {
		if s != nil {
			most[size+len(leaves)] = c.most[len(c.most)/2+s.slot]
			s.slot = len(leaves)
			leaves = append(leaves, s)
		}
	}
	for i := size - 1; i > 0; i-- {
		most[i] = max(most[2*i], most[2*i+1])
	}
	c.leaves, c.most = leaves, most
}

// remove takes a share out.
func (c *choice) remove(s *share) {
	c.set(s, 0)
	c.leaves[s.slot] = nil
	c.live--
}

// set says how much a share can give back: what it holds, or 0 if it is not in
// question.
func (c *choice) set(s *share, n int64) {
	i := len(c.most)/2 + s.slot
	c.most[i] = n
	for i /= 2; i > 0; i /= 2 {
		n := max(c.most[2*i], c.most[2*i+1])
		if c.most[i] == n {
			return
		}
		c.most[i] = n
	}
}

// newest returns the share that has to go, nil if none holds anything.
func (c *choice) newest() *share {
	if len(c.most) == 0 || c.most[1] == 0 {
		return nil
	}
	least := c.most[1] - c.most[1]/2
	i := 1
	for i < len(c.most)/2 {
		if i *= 2; c.most[i+1] >= least {
			i++
		}
	}
	return c.leaves[i-len(c.most)/2]
}
