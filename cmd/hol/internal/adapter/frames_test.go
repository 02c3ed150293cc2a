package adapter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func TestFrames(t *testing.T) {
	sizes := []int{1, 2, 127, 128, 4096, 16383, 16384, MaxMessage - 1, MaxMessage, 3, MaxMessage, 1}
	var wire []byte
	for n, size := range sizes {
		wire = appendFrame(wire, pattern(size, uint64(n)))
	}
	for _, r := range []struct {
		name string
		wrap func(io.Reader) io.Reader
	}{
		{"whole", func(r io.Reader) io.Reader { return r }},
		{"halves", iotest.HalfReader},
		{"bytes", iotest.OneByteReader},
		{"end with data", iotest.DataErrReader},
	} {
		t.Run(r.name, func(t *testing.T) {
			f := &frameReader{r: r.wrap(bytes.NewReader(wire))}
			for n, size := range sizes {
				message, err := f.next()
				if err != nil || !bytes.Equal(message, pattern(size, uint64(n))) {
					t.Fatalf("message %d: %d bytes, %v, want the %d sent", n, len(message), err, size)
				}
			}
			for range 2 {
				if _, err := f.next(); err != io.EOF {
					t.Errorf("behind the last message: %v, want EOF", err)
				}
			}
			if len(f.buf) > framePrefix+MaxMessage {
				t.Errorf("the buffer has %d bytes, want at most %d", len(f.buf), framePrefix+MaxMessage)
			}
		})
	}
}

func TestFramesMalformed(t *testing.T) {
	for _, c := range []struct {
		name string
		wire []byte
		want error
	}{
		{"an empty message", []byte{0}, errFrame},
		{"one byte beyond the bound", binary.AppendUvarint(nil, MaxMessage+1), errFrame},
		{"a length that goes on", []byte{0x80, 0x80, 0x80}, errFrame},
		{"the largest length", binary.AppendUvarint(nil, 1<<64-1), errFrame},
		{"an end within a length", []byte{0x80}, io.ErrUnexpectedEOF},
		{"an end within a message", []byte{2, 'a'}, io.ErrUnexpectedEOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &frameReader{r: iotest.OneByteReader(bytes.NewReader(append(appendFrame(nil, []byte("first")), c.wire...)))}
			if message, err := f.next(); err != nil || string(message) != "first" {
				t.Fatalf("the message before: %q, %v", message, err)
			}
			if _, err := f.next(); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if len(f.buf) > firstBuffer {
				t.Errorf("the buffer has %d bytes by a length alone", len(f.buf))
			}
		})
	}
}

func TestFramesGoOnAfterAnError(t *testing.T) {
	wire := appendFrame(nil, pattern(300, 1))
	f := &frameReader{r: iotest.TimeoutReader(iotest.HalfReader(io.MultiReader(bytes.NewReader(wire[:10]), bytes.NewReader(wire[10:]))))}
	if _, err := f.next(); err != iotest.ErrTimeout {
		t.Fatalf("got %v, want the stream's error", err)
	}
	if message, err := f.next(); err != nil || !bytes.Equal(message, pattern(300, 1)) {
		t.Errorf("the message after it: %d bytes, %v", len(message), err)
	}
}

func TestFramesReadAll(t *testing.T) {
	for size := range 4 {
		f := &frameReader{r: bytes.NewReader(append([]byte{7}, make([]byte, size)...))}
		if kind, err := f.readByte(); kind != 7 || err != nil {
			t.Fatalf("first byte: %d, %v", kind, err)
		}
		all, err := f.readAll(2)
		if size <= 2 && (err != nil || len(all) != size) || size > 2 && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%d bytes with a bound of 2: %d, %v", size, len(all), err)
		}
	}
	f := &frameReader{r: bytes.NewReader(make([]byte, 10*firstBuffer))}
	_, _ = f.readByte()
	if all, err := f.readAll(10*firstBuffer - 1); err != nil || len(all) != 10*firstBuffer-1 {
		t.Errorf("behind a full buffer: %d bytes, %v", len(all), err)
	}
}
