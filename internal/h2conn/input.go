package h2conn

import (
	"io"
	"sync"
)

const (
	// smallInput is read ahead of the Framer while little comes: a frame header
	// and what a short message has behind it.
	smallInput = 128
	// largeInput is read ahead while more comes than that: small frames cost one
	// read together.
	largeInput = 8 << 10
	// directInput is asked for at least by a read that bypasses the buffers.
	directInput = 1 << 10
)

var largeInputs = sync.Pool{New: func() any { return new([largeInput]byte) }}

// An input reads ahead of the Framer. It waits for bytes with its small buffer, and
// has a large one only as long as reads fill what they are given: a connection
// on which nothing arrives keeps none. Read goroutine only.
type input struct {
	nc    io.Reader
	large *[largeInput]byte // nil: small is used
	r, w  int               // buffered()[r:w] is unread
	more  bool              // the last read filled the buffer: there is more
	err   error             // what the last read said; told when the buffer is empty
	small [smallInput]byte
}

func (in *input) buffered() []byte {
	if in.large != nil {
		return in.large[:]
	}
	return in.small[:]
}

// fill waits for bytes; the buffer is empty.
func (in *input) fill() {
	if in.err != nil {
		return
	}
	switch {
	case in.more && in.large == nil:
		in.large = largeInputs.Get().(*[largeInput]byte)
	case !in.more:
		in.release()
	}
	b := in.buffered()
	in.r = 0
	in.w, in.err = in.nc.Read(b)
	in.more = in.w == len(b)
}

// release gives the large buffer back; it is empty.
func (in *input) release() {
	if in.large != nil {
		largeInputs.Put(in.large)
		in.large = nil
	}
}

// await returns once there is something to read, or an error to be told by the
// next Read. It stands near the bottom of the stack of a goroutine that waits here
// for most of its life: the memory of a stack that is used up to a quarter is
// given back by half.
func (in *input) await() {
	for in.r == in.w && in.err == nil {
		in.fill()
	}
}

// Read implements io.Reader.
func (in *input) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for in.r == in.w {
		if in.err != nil {
			return 0, in.err
		}
		if len(p) >= directInput {
			in.more = false
			return in.nc.Read(p)
		}
		in.fill()
	}
	n := copy(p, in.buffered()[in.r:in.w])
	in.r += n
	return n, nil
}

// discard drops n bytes.
func (in *input) discard(n int) error {
	for n > 0 {
		if in.await(); in.r == in.w {
			return in.err
		}
		m := min(n, in.w-in.r)
		in.r += m
		n -= m
	}
	return nil
}
