package measure

import (
	"bytes"
	"sync"

	"github.com/towpath-go/towpath/e2e/bench/internal/peer"
)

// pattern is the bytes of a stream by their position: what is lost, doubled or out
// of order shows.
var pattern = sync.OnceValue(func() []byte {
	p := make([]byte, verifyBytes+peer.MaxWrite)
	x := uint32(1)
	for i := range p {
		x = x*1664525 + 1013904223
		p[i] = byte(x >> 24)
	}
	return p
})

// fill writes the bytes that belong at an offset and after it. Offsets end with
// the pattern.
func fill(p []byte, offset int) { copy(p, pattern()[offset:]) }

// matches tells whether p is what belongs at an offset.
func matches(p []byte, offset int) bool {
	all := pattern()
	return offset+len(p) <= len(all) && bytes.Equal(p, all[offset:offset+len(p)])
}
