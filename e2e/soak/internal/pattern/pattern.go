// Package pattern makes and checks the bytes of the streams and datagrams of a
// soak: each byte depends on the session, on the stream and on its position, so
// that one that is lost, doubled, moved, or another stream's, is found, and
// where.
package pattern

import "encoding/binary"

// A Key is the origin of all bytes of one stream or datagram.
type Key uint64

// mix spreads x over all bits (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// NewKey returns the key of what has a serial number in a session. Server says
// which side numbered it.
func NewKey(session, serial uint64, server bool) Key {
	k := mix(session*0x9e3779b97f4a7c15 + 1)
	k = mix(k ^ serial*0xd1342543de82ef95 + 2)
	if server {
		k = ^k
	}
	return Key(k)
}

func (k Key) word(i uint64) uint64 { return mix(uint64(k) + i*0x9e3779b97f4a7c15) }

// Fill writes the bytes from offset on into p.
func (k Key) Fill(p []byte, offset uint64) {
	i := 0
	for ; i < len(p) && (offset+uint64(i))%8 != 0; i++ {
		p[i] = k.at(offset + uint64(i))
	}
	for ; i+8 <= len(p); i += 8 {
		binary.LittleEndian.PutUint64(p[i:], k.word((offset+uint64(i))/8))
	}
	for ; i < len(p); i++ {
		p[i] = k.at(offset + uint64(i))
	}
}

func (k Key) at(offset uint64) byte { return byte(k.word(offset/8) >> (8 * (offset % 8))) }

// Check returns the index of the first byte of p that is not the one at offset
// plus that index, and whether there is one.
func (k Key) Check(p []byte, offset uint64) (index int, wrong bool) {
	i := 0
	for ; i < len(p) && (offset+uint64(i))%8 != 0; i++ {
		if p[i] != k.at(offset+uint64(i)) {
			return i, true
		}
	}
	for ; i+8 <= len(p) && binary.LittleEndian.Uint64(p[i:]) == k.word((offset+uint64(i))/8); i += 8 {
	}
	for ; i < len(p); i++ {
		if p[i] != k.at(offset+uint64(i)) {
			return i, true
		}
	}
	return 0, false
}
