package session

import (
	"sync"

	"github.com/towpath-go/towpath/internal/block"
)

// A buffer is a queue of bytes in chunks of three sizes. It holds at most two
// large chunks and seven quarters of what is in it, and an empty buffer holds
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
	chunkLarge  = block.Size
)

// keepRest is how little of a block may be without use for it to become a chunk as
// it is.
const keepRest = chunkLarge / 16

type chunk struct {
	next  *chunk
	r, w  int // buf[r:w] is queued
	buf   []byte
	block *block.Block // what buf is; nil in the chunks that are not large
}

// chunkPools have the chunks; those of large ones are without their blocks.
var chunkPools = [...]sync.Pool{
	{New: func() any { return &chunk{buf: make([]byte, chunkSmall)} }},
	{New: func() any { return &chunk{buf: make([]byte, chunkMedium)} }},
	{New: func() any { return new(chunk) }},
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

func getChunk(size int) *chunk {
	c := chunkPool(size).Get().(*chunk)
	if c.buf == nil {
		c.own(block.Get())
	}
	return c
}

func (c *chunk) own(b *block.Block) { c.block, c.buf = b, b[:] }

func putChunk(c *chunk) {
	pool := chunkPool(len(c.buf))
	if c.block != nil {
		block.Put(c.block)
		c.block, c.buf = nil, nil
	}
	c.next, c.r, c.w = nil, 0, 0
	pool.Put(c)
}

// write appends a copy of p.
func (b *buffer) write(p []byte) {
	for len(p) > 0 {
		if b.tail == nil || b.tail.w == len(b.tail.buf) {
			b.push(getChunk(max(len(p), b.n)))
		}
		n := copy(b.tail.buf[b.tail.w:], p)
		b.tail.w += n
		b.n += n
		p = p[n:]
	}
}

// push appends a chunk.
func (b *buffer) push(c *chunk) {
	b.held += len(c.buf)
	if b.tail == nil {
		b.head = c
	} else {
		b.tail.next = c
	}
	b.tail = c
}

// keep appends p, which is a part of owned, without copying it: owned becomes the
// buffer's. It does nothing and returns false if p is too short for that.
func (b *buffer) keep(owned *block.Block, p []byte) bool {
	if len(p) < block.Size-keepRest {
		return false
	}
	b.shrink()
	c := chunkPool(chunkLarge).Get().(*chunk)
	c.own(owned)
	c.r = owned.Offset(p)
	c.w = c.r + len(p)
	b.push(c)
	b.n += len(p)
	return true
}

// shrink moves what is at the tail into a chunk that is no larger than it must be,
// if that is worth it: nothing will be appended there any more.
func (b *buffer) shrink() {
	t := b.tail
	if t == nil || t.block == nil || t.w-t.r > chunkMedium {
		return
	}
	c := getChunk(t.w - t.r)
	b.held += len(c.buf) - len(t.buf)
	c.w = copy(c.buf, t.buf[t.r:t.w])
	t.buf, c.buf = c.buf, t.buf
	t.block, c.block = c.block, t.block
	t.r, t.w = c.r, c.w
	putChunk(c)
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
