package peer

import (
	"fmt"
	"io"
)

// ping is the first byte of a stream and its answer.
const ping = 0x70

// Ping has a stream's handler answer one byte.
func Ping(s Stream) error {
	b := []byte{ping}
	if _, err := s.Write(b); err != nil {
		return err
	}
	b[0] = 0
	if _, err := io.ReadFull(s, b); err != nil {
		return fmt.Errorf("the first byte's answer: %w", err)
	}
	if b[0] != ping {
		return fmt.Errorf("the answer to the first byte is %#x", b[0])
	}
	return nil
}

// Pong answers Ping.
func Pong(s Stream) error {
	var b [1]byte
	if _, err := io.ReadFull(s, b[:]); err != nil {
		return err
	}
	if b[0] != ping {
		return fmt.Errorf("the first byte is %#x", b[0])
	}
	_, err := s.Write(b[:])
	return err
}
