//go:build race

package negotiate

// crowdShare divides the crowds of hostile tests, and the limits that they run
// into: the race detector takes several times the memory of what it watches.
const crowdShare = 10
