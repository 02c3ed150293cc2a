package wswt

import (
	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

const (
	// maxKDraftControl is the longest value of a control capsule, in bytes:
	// that of WT_CLOSE_SESSION. Fields that do not fill it are the engine's to
	// refuse.
	maxKDraftControl = 4 + capsule.MaxCloseMessage
	// maxKDraftDatagram is the longest datagram that is skipped when it is too
	// long for Config.MaxDatagramSize. The browser build sends up to 16 KiB.
	maxKDraftDatagram = transport.DefaultMaxDatagramSize
)

// kdraftRecv turns messages into the capsule stream that the engine reads.
//
// A capsule needs its length before its value, and a message that arrives in
// pieces has none. So stream data becomes as many WT_STREAM capsules as there
// are pieces, FIN on the last of them, and is never gathered; other values are,
// up to the longest that their type can have.
type kdraftRecv struct {
	// deliver takes the next bytes of the capsule stream. It keeps none.
	deliver func(p []byte)
	// maxDatagram is the largest datagram that is delivered, in bytes.
	maxDatagram int
	// hold counts so many more bytes, or fewer if negative, as held; nil counts
	// nothing. It is told of whole pages.
	hold func(n int)

	state  kdraftState
	typ    capsule.Type
	number [8]byte // the integer that the last piece ended in
	filled int     // bytes of it
	id     uint64  // of WT_STREAM
	begun  bool    // a WT_STREAM capsule of this message was delivered
	size   int     // of the datagram so far
	pages  int     // of value, that hold was told of, in bytes
	value  []byte  // of a control capsule or a datagram so far
}

// faultShort is a message that is not even the beginning of a capsule.
var faultShort = malformed("message without a whole capsule")

// A kdraftState says what the next byte of the message belongs to.
type kdraftState uint8

const (
	kdraftType     kdraftState = iota // capsule type
	kdraftStreamID                    // Stream ID of WT_STREAM
	kdraftStream                      // stream data
	kdraftDatagram                    // payload of DATAGRAM
	kdraftControl                     // value with a fixed layout
	kdraftSkip                        // value of PADDING or of an unknown type
)

// message takes the next piece of the current message, split in any way; last
// says that the message ends with it. It keeps nothing of p. After an error,
// which is a *fault, it must not be called again.
func (d *kdraftRecv) message(p []byte, last bool) error {
	for d.state <= kdraftStreamID {
		v, n, ok := d.integer(p)
		p = p[n:]
		if !ok {
			if last {
				return faultShort
			}
			return nil
		}
		if d.state == kdraftStreamID {
			d.id = v
			d.state = kdraftStream
			break
		}
		d.begin(capsule.Type(v))
	}
	if err := d.body(p, last); err != nil || !last {
		return err
	}
	d.state, d.begun, d.size, d.value = kdraftType, false, 0, d.value[:0]
	return nil
}

// within reports whether a message has begun and not ended.
func (d *kdraftRecv) within() bool { return d.state != kdraftType || d.filled > 0 }

// begin chooses what to do with the value of the capsule whose type is known.
func (d *kdraftRecv) begin(t capsule.Type) {
	d.typ = t
	switch t {
	case capsule.TypeStream, capsule.TypeStreamFin:
		d.state = kdraftStreamID
	case capsule.TypeDatagram:
		d.state = kdraftDatagram
	case capsule.TypeResetStream, capsule.TypeStopSending,
		capsule.TypeMaxData, capsule.TypeMaxStreamData,
		capsule.TypeMaxStreamsBidi, capsule.TypeMaxStreamsUni,
		capsule.TypeDataBlocked, capsule.TypeStreamDataBlocked,
		capsule.TypeStreamsBlockedBidi, capsule.TypeStreamsBlockedUni,
		capsule.TypeCloseSession, capsule.TypeDrainSession:
		d.state = kdraftControl
	default:
		// The engine counts such a capsule and has no use for its value.
		d.state = kdraftSkip
		d.header(0)
	}
}

// body takes a piece of the value.
func (d *kdraftRecv) body(p []byte, last bool) error {
	switch d.state {
	case kdraftStream:
		d.stream(p, last)
	case kdraftDatagram:
		return d.datagram(p, last)
	case kdraftControl:
		if len(d.value)+len(p) > maxKDraftControl {
			return faultTooBig
		}
		d.gather(p)
		if last {
			d.header(uint64(len(d.value)))
			d.deliver(d.value)
		}
	}
	return nil
}

// stream delivers a piece of stream data.
func (d *kdraftRecv) stream(p []byte, last bool) {
	fin := last && d.typ == capsule.TypeStream
	if len(p) == 0 && !fin && (!last || d.begun) {
		return
	}
	var header [capsule.MaxStreamHeader]byte
	d.deliver(capsule.AppendStreamHeader(header[:0], fin, capsule.Legacy, d.id, uint64(len(p))))
	d.deliver(p)
	d.begun = true
}

// datagram gathers a datagram. Of one that is too long for the application only
// the length is delivered, so that the engine drops it and counts that.
func (d *kdraftRecv) datagram(p []byte, last bool) error {
	d.size += len(p)
	if d.size > max(d.maxDatagram, maxKDraftDatagram) {
		return faultTooBig
	}
	if d.size > d.maxDatagram {
		d.drop()
	} else {
		d.gather(p)
	}
	if !last {
		return nil
	}
	d.header(uint64(d.size))
	if d.size <= d.maxDatagram {
		d.deliver(d.value)
		d.drop() // not to be held for the next one
		return nil
	}
	for n := d.size; n > 0; n -= min(n, len(kdraftDropped)) {
		d.deliver(kdraftDropped[:min(n, len(kdraftDropped))])
	}
	return nil
}

// kdraftPage is the unit in which gathered bytes are counted.
const kdraftPage = 4 << 10

// gather appends to the value.
func (d *kdraftRecv) gather(p []byte) {
	d.value = append(d.value, p...)
	d.count()
}

// drop lets go of the value.
func (d *kdraftRecv) drop() {
	d.value = nil
	d.count()
}

// count tells what is held.
func (d *kdraftRecv) count() {
	if n := cap(d.value) / kdraftPage * kdraftPage; n != d.pages && d.hold != nil {
		change := n - d.pages
		d.pages = n
		d.hold(change)
	}
}

// kdraftDropped stands for the payload of a datagram that the engine drops
// unseen.
var kdraftDropped [4 << 10]byte

// header delivers a capsule's type and Length.
func (d *kdraftRecv) header(length uint64) {
	var b [16]byte
	d.deliver(capsule.AppendVarint(capsule.AppendVarint(b[:0], uint64(d.typ)), length))
}

// integer reads an integer that may have begun in an earlier piece, and returns
// how many bytes of p it took. Ok is false if p ended first.
func (d *kdraftRecv) integer(p []byte) (v uint64, n int, ok bool) {
	for n < len(p) {
		d.number[d.filled] = p[n]
		d.filled++
		n++
		if v, size := capsule.ParseVarint(d.number[:d.filled]); size > 0 {
			d.filled = 0
			return v, n, true
		}
	}
	return 0, n, false
}
