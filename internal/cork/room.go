package cork

// leastRoom is what AwaitRoom and Room allow at least, about: less is not worth
// a system call.
const leastRoom = 2 << 10

// What TLS adds to a record with AES-GCM: its header, the tag and, in TLS 1.3, the
// type or, in TLS 1.2, a nonce.
const (
	recordTLS13 = 5 + 1 + 16
	recordTLS12 = 5 + 8 + 16
)

// Room returns how many bytes to write now, at most as many as most: what the
// kernel takes without keeping it for long, so that what is written next can
// still be chosen later. 0 means that it has enough. On a connection that is not
// TCP, and other systems than Linux, there is always room. It belongs to the
// writer, as AwaitRoom does.
func (c TLSConn) Room(most int) int {
	if c.room == nil {
		return most
	}
	return min(most, c.room.now())
}

// AwaitRoom waits until there is room, or the write deadline has passed, and
// returns how much, at least about 2 KiB or most.
func (c TLSConn) AwaitRoom(most int) (int, error) {
	if n := c.Room(most); n > 0 {
		return n, nil
	}
	n, err := c.room.await()
	if err != nil {
		return most, err
	}
	return min(most, n), nil
}
