package session

import "testing"

// FuzzDialect has a peer that keeps to one of the readings, and a session that
// does not know which. Every stream arrives exactly, in both directions, or the
// session ends: with a DialectError, or because the peer saw what draft 15
// forbids before the session could know.
func FuzzDialect(f *testing.F) {
	fuzzPrograms(f, 2, 40, 10, holdParley)
}

func TestRandomParleys(t *testing.T) {
	withPrograms(t, 500, 10, 310, func(program []byte) { holdParley(t, program) })
}
