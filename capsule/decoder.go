package capsule

// A Handler receives what a [Decoder] reads. A method that returns an error
// ends the decoding: Feed returns that error unchanged, and so does every later
// Feed. The methods are called on Feed's goroutine and must not call Feed.
type Handler interface {
	// Stream is called for the header of a WT_STREAM capsule; size bytes of
	// stream data follow. Fin takes effect once all of them have come.
	Stream(id uint64, fin bool, size uint64) error
	// StreamData is called with the data of that capsule, piece by piece. Last
	// is true exactly once, with the last piece, which is empty only if size
	// was 0. P is valid during the call.
	StreamData(p []byte, last bool) error
	// Datagram is called for the header of a DATAGRAM capsule with a payload
	// of size bytes. If accept is false, the payload is skipped unseen.
	Datagram(size uint64) (accept bool, err error)
	// DatagramData is for an accepted datagram what StreamData is for a stream.
	DatagramData(p []byte, last bool) error
	// Control is called with every complete capsule that has a fixed layout.
	Control(c Capsule) error
	// Skipped is called for capsules of unknown type and for PADDING: once
	// with n == 0 for each header, then with n > 0 for the bytes of the value
	// as they pass. So calls with n == 0 count capsules.
	Skipped(t Type, n uint64) error
}

// A Decoder reads capsules from a stream of bytes that is given to Feed in
// pieces of any size. The zero Decoder is ready, reads the draft-15 dialect and
// knows the capsules of WebTransport over HTTP/2.
type Decoder struct {
	// Dialect is the reading of WT_STREAM's types. It may be changed between
	// calls of Feed and by a Handler's method; it is looked at when a header
	// is complete.
	Dialect Dialect
	// HTTP3 leaves out the capsules that only WebTransport over HTTP/2 has and
	// whose arrival draft-ietf-webtrans-http3 does not forbid: WT_STREAM,
	// WT_RESET_STREAM and WT_STOP_SENDING are then unknown types.
	HTTP3 bool

	state  decodeState
	typ    Type
	left   uint64             // bytes of the value that have not come
	header [maxVarintLen]byte // the integer that the last Feed ended in
	filled int                // bytes of it
	value  []byte             // value of a fixed-layout capsule so far, at most 1028 bytes
	err    error              // sticky
	unread int                // bytes of the last Feed behind the error
}

// A decodeState says what the next byte belongs to.
type decodeState uint8

const (
	decodeType     decodeState = iota // capsule type
	decodeLength                      // Length
	decodeStreamID                    // Stream ID of WT_STREAM
	decodeStream                      // stream data
	decodeDatagram                    // payload of an accepted datagram
	decodeControl                     // value with a fixed layout
	decodeRefused                     // payload of a refused datagram
	decodeSkip                        // value of PADDING or of an unknown type
)

// Feed reads p to its end and calls h for what is in it. It keeps nothing of p.
// It returns a [*SyntaxError] for a capsule that cannot be decoded, and any
// error of h. After an error the Decoder is of no more use: every further Feed
// returns the same error.
//
// Stream data and datagrams are decoded without allocation; a control capsule
// costs at most its own value.
func (d *Decoder) Feed(p []byte, h Handler) error {
	if d.err != nil {
		d.unread = len(p)
		return d.err
	}
	for len(p) > 0 {
		n, err := d.step(p, h)
		p = p[n:]
		if err != nil {
			d.err = err
			break
		}
	}
	d.unread = len(p)
	return d.err
}

// Unread returns how many bytes at the end of the last Feed were not looked at
// because it returned an error. It is how a Handler that ends the decoding with
// WT_CLOSE_SESSION learns how much came behind it.
func (d *Decoder) Unread() int { return d.unread }

// Partial reports whether the bytes so far end inside a capsule. If the stream
// ends there, the message is malformed (RFC 9297 section 3.3).
func (d *Decoder) Partial() bool { return d.state != decodeType || d.filled > 0 }

// step reads one integer or one piece of a value and returns its length, which
// is at least 1.
func (d *Decoder) step(p []byte, h Handler) (int, error) {
	switch d.state {
	case decodeType:
		v, n, ok := d.varint(p)
		if ok {
			d.typ = Type(v)
			d.state = decodeLength
		}
		return n, nil
	case decodeLength:
		v, n, ok := d.varint(p)
		if !ok {
			return n, nil
		}
		d.left = v
		return n, d.begin(h)
	case decodeStreamID:
		return d.streamID(p, h)
	}
	return d.body(p, h)
}

// begin chooses what to do with the value of the capsule whose header is
// complete.
func (d *Decoder) begin(h Handler) error {
	switch {
	case d.HTTP3 && d.typ.http2Only():
	case d.typ == TypeStream || d.typ == TypeStreamFin:
		if d.left == 0 {
			return &SyntaxError{Type: d.typ, Reason: "Length 0, no room for the Stream ID"}
		}
		d.state = decodeStreamID
		return nil
	case d.typ == TypeDatagram:
		accept, err := h.Datagram(d.left)
		switch {
		case err != nil:
			return err
		case !accept:
			d.enter(decodeRefused)
			return nil
		}
		d.enter(decodeDatagram)
		if d.left == 0 {
			return h.DatagramData(nil, true)
		}
		return nil
	default:
		if _, _, fixed := d.typ.valueRange(); !fixed {
			break
		}
		if err := checkLength(d.typ, d.left); err != nil && !(d.legacyReset() && d.left == legacyResetLen) {
			return err
		}
		d.enter(decodeControl)
		if d.left == 0 {
			return d.control(nil, h)
		}
		return nil
	}
	d.enter(decodeSkip)
	return h.Skipped(d.typ, 0)
}

// enter sets the state for a value, or for the next capsule if it is empty.
func (d *Decoder) enter(s decodeState) {
	if d.left == 0 {
		s = decodeType
	}
	d.state = s
}

// streamID reads WT_STREAM's Stream ID, which must not be longer than the value.
func (d *Decoder) streamID(p []byte, h Handler) (int, error) {
	if d.filled == 0 && uint64(encodedLen(p[0])) > d.left {
		return 1, &SyntaxError{Type: d.typ, Reason: "value ends inside the Stream ID"}
	}
	id, n, ok := d.varint(p)
	d.left -= uint64(n)
	if !ok {
		return n, nil
	}
	size := d.left
	d.enter(decodeStream)
	if err := h.Stream(id, d.typ == d.Dialect.streamType(true), size); err != nil {
		return n, err
	}
	if size == 0 {
		return n, h.StreamData(nil, true)
	}
	return n, nil
}

// body reads a piece of the value.
func (d *Decoder) body(p []byte, h Handler) (int, error) {
	n := len(p)
	if uint64(n) > d.left {
		n = int(d.left)
	}
	p = p[:n]
	state := d.state
	d.left -= uint64(n)
	d.enter(state)
	last := d.left == 0
	switch state {
	case decodeStream:
		return n, h.StreamData(p, last)
	case decodeDatagram:
		return n, h.DatagramData(p, last)
	case decodeSkip:
		return n, h.Skipped(d.typ, uint64(n))
	case decodeControl:
		if last && len(d.value) == 0 {
			return n, d.control(p, h)
		}
		// checkLength bounds what can gather here.
		d.value = append(d.value, p...)
		if last {
			v := d.value
			d.value = d.value[:0]
			return n, d.control(v, h)
		}
	}
	return n, nil
}

// control delivers a complete value.
func (d *Decoder) control(value []byte, h Handler) error {
	if d.legacyReset() {
		if c, ok := parseLegacyReset(value); ok {
			return h.Control(c)
		}
	}
	c, err := Parse(d.typ, value)
	if err != nil {
		return err
	}
	return h.Control(c)
}

// legacyReset reports whether the capsule is a WT_RESET_STREAM that may lack the
// Reliable Size.
func (d *Decoder) legacyReset() bool { return d.typ == TypeResetStream && d.Dialect == Legacy }

// varint reads an integer that may have begun in an earlier Feed. It returns
// how many bytes of p it took; ok is false if p ended first.
func (d *Decoder) varint(p []byte) (v uint64, n int, ok bool) {
	if d.filled == 0 {
		if v, n = ParseVarint(p); n > 0 {
			return v, n, true
		}
	}
	for n < len(p) {
		d.header[d.filled] = p[n]
		d.filled++
		n++
		if d.filled == encodedLen(d.header[0]) {
			v, _ = ParseVarint(d.header[:d.filled])
			d.filled = 0
			return v, n, true
		}
	}
	return 0, n, false
}

// http2Only reports whether WebTransport over HTTP/3 knows nothing of the type.
func (t Type) http2Only() bool {
	switch t {
	case TypeStream, TypeStreamFin, TypeResetStream, TypeStopSending:
		return true
	}
	return false
}
