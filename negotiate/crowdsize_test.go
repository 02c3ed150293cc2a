//go:build !race

package negotiate

// crowdShare divides the crowds of hostile tests, and the limits that they run
// into.
const crowdShare = 1
