package session

import "sync"

// A buffer is a queue of bytes in chunks of three sizes. It holds at most two
// large chunks more than what is in it, at its ends, and an empty buffer holds
// nothing: an idle stream costs no buffer memory.
//
// The zero buffer is empty. It has no lock.
type buffer struct {
	head, tail *chunk
	n          int // bytes queued
	held       int // bytes of memory behind them
}

// The chunk sizes. A chunk is chosen by what is queued and what is coming, so
// that a peer that sends single bytes on many streams does not make each of
// them hold a large chunk.
const (
	chunkSmall  = 1 << 10
	chunkMedium = 4 << 10
	chunkLarge  = 16 << 10
)

type chunk struct {
	next *chunk
	r, w int // buf[r:w] is queued
	buf  []byte
}

var chunkPools = [...]sync.Pool{
	{New: func() any { return &chunk{buf: make([]byte, chunkSmall)} }},
	{New: func() any { return &chunk{buf: make([]byte, chunkMedium)} }},
	{New: func() any { return &chunk{buf: make([]byte, chunkLarge)} }},
}

func chunkPool(size int) *sync.Pool {
	switch {
	case size <= chunkSmall:
		return &chunkPools[0]
	case size <= chunkMedium:
		return &chunkPools[1]
	}
	return &chunkPools[2]
}

func getChunk(size int) *chunk { return chunkPool(size).Get().(*chunk) }

func putChunk(c *chunk) {
	c.next, c.r, c.w = nil, 0, 0
	chunkPool(len(c.buf)).Put(c)
}

// write appends a copy of p.
func (b *buffer) write(p []byte) {
	for len(p) > 0 {
		if b.tail == nil || b.tail.w == len(b.tail.buf) {
			c := getChunk(max(len(p), b.n))
			b.held += len(c.buf)
			if b.tail == nil {
				b.head = c
			} else {
				b.tail.next = c
			}
			b.tail = c
		}
		n := copy(b.tail.buf[b.tail.w:], p)
		b.tail.w += n
		b.n += n
		p = p[n:]
	}
}

// read moves up to len(p) bytes from the front into p.
func (b *buffer) read(p []byte) int {
	done := 0
	for done < len(p) && b.head != nil {
		c := b.head
		n := copy(p[done:], c.buf[c.r:c.w])
		c.r += n
		done += n
		if c.r == c.w {
			b.head = c.next
			if b.head == nil {
				b.tail = nil
			}
			b.held -= len(c.buf)
			putChunk(c)
		}
	}
	b.n -= done
	return done
}

// discard drops everything and returns how many bytes that was.
func (b *buffer) discard() int {
	n := b.n
	for c := b.head; c != nil; {
		next := c.next
		putChunk(c)
		c = next
	}
	*b = buffer{}
	return n
}
