// Package block has the memory that received bytes travel in: whoever reads them
// from a connection gives the memory on with them, so that they are not copied on
// their way to who keeps them.
package block

import "sync"

// Size is that of a block: the most that a frame of HTTP/2 and a record of TLS
// carry unless more was agreed on.
const Size = 16 << 10

// A Block is memory for received bytes. It has one owner.
type Block [Size]byte

var pool = sync.Pool{New: func() any { return new(Block) }}

// Get returns a block of the caller's. What is in it is left from its last use.
func Get() *Block { return pool.Get().(*Block) }

// Put gives a block back. The caller must not use it any more.
func Put(b *Block) { pool.Put(b) }

// Offset returns where in b the bytes p begin, which is a slice of b up to its
// end in capacity.
func (b *Block) Offset(p []byte) int { return Size - cap(p) }
