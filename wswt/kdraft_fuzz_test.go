package wswt

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/towpath-go/towpath/capsule"
)

// FuzzKDraftRecv reads messages in two ways of cutting them into pieces: the
// result is the same, and nothing beyond the bounds is held.
func FuzzKDraftRecv(f *testing.F) {
	for _, v := range kdraftVectors {
		m := unhex(f, v.message)
		f.Add(m, uint8(1), uint16(64))
		f.Add(append(m, m...), uint8(len(m)), uint16(0))
	}
	f.Fuzz(func(t *testing.T, p []byte, n uint8, most uint16) {
		// The first half and the second are a message each.
		a, b := p[:len(p)/2], p[len(p)/2:]
		whole := kdraftRecv{maxDatagram: int(most)}
		events, err := read(&whole, 0, p, a, b)
		cut := kdraftRecv{maxDatagram: int(most)}
		again, errAgain := read(&cut, int(n), p, a, b)
		if !slices.Equal(events, again) || (err == nil) != (errAgain == nil) {
			t.Errorf("whole: %q, %v\nin pieces of %d: %q, %v", events, err, n, again, errAgain)
		}
		var se *capsule.SyntaxError
		if err != nil && err != faultShort && err != faultTooBig && !errors.As(err, &se) {
			t.Errorf("error of another kind: %v", err)
		}
		if held := cap(cut.value); held > 2*max(maxKDraftControl, int(most)) {
			t.Errorf("%d bytes held", held)
		}
	})
}

// FuzzKDraftRoundTrip sends a capsule stream as messages and reads them again.
func FuzzKDraftRoundTrip(f *testing.F) {
	for _, v := range kdraftVectors {
		c := unhex(f, v.capsules)
		f.Add(c, uint8(1), uint8(1))
		f.Add(append(c, c...), uint8(0), uint8(3))
	}
	f.Fuzz(func(t *testing.T, stream []byte, n, m uint8) {
		var direct capsuleLog
		decoder := capsule.Decoder{Dialect: capsule.Legacy}
		if decoder.Feed(stream, &direct) != nil || decoder.Partial() {
			return // not what an engine sends
		}
		var sent [][]byte
		for _, piece := range []int{0, int(n)} {
			out := messages(t, stream, piece)
			if sent != nil && !slices.EqualFunc(sent, out, bytes.Equal) {
				t.Errorf("whole %x, in pieces %x", sent, out)
			}
			sent = out
		}
		events, err := read(&kdraftRecv{maxDatagram: len(stream)}, int(m), sent...)
		if err != nil || !slices.Equal(events, direct.events) {
			t.Errorf("sent %q, read %q, %v", direct.events, events, err)
		}
	})
}
