package capsule

// MaxVarint is the largest integer that the encoding of RFC 9000 section 16
// can carry.
const MaxVarint = 1<<62 - 1

// maxVarintLen is the longest encoding, in bytes.
const maxVarintLen = 8

// AppendVarint appends v in its shortest encoding (RFC 9000 section 16). A v
// above [MaxVarint] is a bug of the caller and panics.
func AppendVarint(b []byte, v uint64) []byte {
	switch {
	case v < 1<<6:
		return append(b, byte(v))
	case v < 1<<14:
		return append(b, 0x40|byte(v>>8), byte(v))
	case v < 1<<30:
		return append(b, 0x80|byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	case v <= MaxVarint:
		return append(b, 0xc0|byte(v>>56), byte(v>>48), byte(v>>40), byte(v>>32),
			byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	}
	panic("BUG: capsule: integer of more than 62 bits")
}

// VarintLen returns the length in bytes of what [AppendVarint] appends for v:
// 1, 2, 4 or 8. It panics as AppendVarint does.
func VarintLen(v uint64) int {
	switch {
	case v < 1<<6:
		return 1
	case v < 1<<14:
		return 2
	case v < 1<<30:
		return 4
	case v <= MaxVarint:
		return 8
	}
	panic("BUG: capsule: integer of more than 62 bits")
}

// ParseVarint reads the integer that b begins with and returns it with its
// length in bytes. The length is 0 if b ends before the integer does. Encodings
// that are longer than needed are as good as others: RFC 9000 section 16 asks
// for the shortest only in frame types, and RFC 9297 nowhere.
func ParseVarint(b []byte) (v uint64, n int) {
	if len(b) == 0 {
		return 0, 0
	}
	n = encodedLen(b[0])
	if len(b) < n {
		return 0, 0
	}
	v = uint64(b[0] & 0x3f)
	for _, c := range b[1:n] {
		v = v<<8 | uint64(c)
	}
	return v, n
}

// encodedLen returns the length of the encoding whose first byte is c.
func encodedLen(c byte) int { return 1 << (c >> 6) }
