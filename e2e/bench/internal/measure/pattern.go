package measure

// fill writes the bytes that belong at an offset and after it. Nearby offsets do
// not look alike, so that what is lost, doubled or out of order shows.
func fill(p []byte, offset int) {
	for i := range p {
		p[i] = at(offset + i)
	}
}

func at(offset int) byte {
	x := uint32(offset) * 0x9e3779b1
	return byte(x>>24) ^ byte(x>>13)
}

// matches tells whether p is what belongs at an offset.
func matches(p []byte, offset int) bool {
	for i, b := range p {
		if b != at(offset+i) {
			return false
		}
	}
	return true
}
