package adapter

import (
	"encoding/binary"
	"errors"
	"io"
)

// On a stream of bytes a message is its length, as a uvarint, and its bytes.

const (
	// framePrefix is the longest length: that of MaxMessage.
	framePrefix = 3
	// firstBuffer is what a frameReader begins with, in bytes.
	firstBuffer = 4 << 10
)

var errFrame = errors.New("malformed length of a message")

// appendFrame appends a message with its length to b.
func appendFrame(b, message []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(message))), message...)
}

// checkMessage says whether a message may be sent on a stream.
func checkMessage(message []byte) error {
	switch {
	case len(message) > MaxMessage:
		return ErrTooLarge
	case len(message) == 0:
		return errors.New("an empty message")
	}
	return nil
}

// frameReader cuts a stream of bytes into messages. It holds at most one message
// of MaxMessage with its length, and grows to that with what arrives. An error of
// the stream loses nothing: next may be called again.
type frameReader struct {
	r          io.Reader
	buf        []byte
	start, end int // of what is in buf and not consumed
}

// next returns the next message, valid until the following call, or io.EOF where
// the stream ends between two messages.
func (f *frameReader) next() ([]byte, error) {
	for {
		message, err := f.buffered()
		if message != nil || err != nil {
			return message, err
		}
		if err := f.fill(); err != nil {
			if err == io.EOF && f.end > f.start {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// buffered returns the next message if it has arrived, otherwise nil.
func (f *frameReader) buffered() ([]byte, error) {
	length, n := binary.Uvarint(f.buf[f.start:f.end])
	switch {
	case n == 0 && f.end-f.start < framePrefix:
		return nil, nil
	case n <= 0 || n > framePrefix || length == 0 || length > MaxMessage:
		return nil, errFrame
	case f.end-f.start-n < int(length):
		return nil, nil
	}
	message := f.buf[f.start+n : f.start+n+int(length)]
	f.start += n + int(length)
	return message, nil
}

// readByte returns the stream's next byte.
func (f *frameReader) readByte() (byte, error) {
	for f.start == f.end {
		if err := f.fill(); err != nil {
			return 0, err
		}
	}
	f.start++
	return f.buf[f.start-1], nil
}

// readAll returns what is left of the stream, and ErrTooLarge beyond limit bytes.
func (f *frameReader) readAll(limit int) ([]byte, error) {
	rest, err := io.ReadAll(io.LimitReader(f.r, int64(limit-(f.end-f.start)+1)))
	if err != nil {
		return nil, err
	}
	all := append(f.buf[f.start:f.end:f.end], rest...)
	if len(all) > limit {
		return nil, ErrTooLarge
	}
	return all, nil
}

// fill reads once more behind what is in the buffer.
func (f *frameReader) fill() error {
	if f.start == f.end {
		f.start, f.end = 0, 0
	}
	if f.end == len(f.buf) {
		switch size := len(f.buf); {
		case f.start > 0:
			f.end = copy(f.buf, f.buf[f.start:f.end])
			f.start = 0
		case size == 0:
			f.buf = make([]byte, firstBuffer)
		default:
			// It is full of one message that is not complete.
			f.buf = append(make([]byte, 0, min(2*size, framePrefix+MaxMessage)), f.buf...)
			f.buf = f.buf[:cap(f.buf)]
		}
	}
	n, err := f.r.Read(f.buf[f.end:])
	f.end += n
	if n > 0 {
		return nil // an error will come again
	}
	return err
}
