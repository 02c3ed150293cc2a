package e2e_test

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"testing"
)

// Opcodes of RFC 6455 section 5.2.
const (
	wsContinuation = 0x0
	wsText         = 0x1
	wsBinary       = 0x2
	wsClose        = 0x8
	wsPing         = 0x9
	wsPong         = 0xa
)

// A wsFrame is one frame of RFC 6455.
type wsFrame struct {
	fin     bool
	opcode  byte
	payload []byte
}

// sendWS sends a frame as a client does, masked.
func sendWS(w io.Writer, f wsFrame) error {
	b := []byte{f.opcode, 0x80}
	if f.fin {
		b[0] |= 0x80
	}
	switch n := len(f.payload); {
	case n < 126:
		b[1] |= byte(n)
	case n < 1<<16:
		b[1] |= 126
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b[1] |= 127
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	var key [4]byte
	rand.Read(key[:])
	b = append(b, key[:]...)
	for i, x := range f.payload {
		b = append(b, x^key[i%4])
	}
	_, err := w.Write(b)
	return err
}

// readWS receives a frame of a server, which must not be masked.
func readWS(r io.Reader) (wsFrame, error) {
	var head [10]byte
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return wsFrame{}, err
	}
	f := wsFrame{fin: head[0]&0x80 != 0, opcode: head[0] & 0x0f}
	if head[0]&0x70 != 0 || head[1]&0x80 != 0 {
		return f, fmt.Errorf("frame header %x has reserved bits or a mask", head[:2])
	}
	n := uint64(head[1] & 0x7f)
	switch n {
	case 126:
		if _, err := io.ReadFull(r, head[:2]); err != nil {
			return f, err
		}
		n = uint64(binary.BigEndian.Uint16(head[:2]))
	case 127:
		if _, err := io.ReadFull(r, head[:8]); err != nil {
			return f, err
		}
		n = binary.BigEndian.Uint64(head[:8])
	}
	if n > 8<<20 {
		return f, fmt.Errorf("frame of %d bytes", n)
	}
	f.payload = make([]byte, n)
	_, err := io.ReadFull(r, f.payload)
	return f, err
}

// expectWS receives a message, in as many frames as it comes, and compares it.
func expectWS(r io.Reader, opcode byte, payload []byte) error {
	var got []byte
	for want := opcode; ; want = wsContinuation {
		f, err := readWS(r)
		if err != nil {
			return fmt.Errorf("reading a WebSocket frame: %w", err)
		}
		if f.opcode != want {
			return fmt.Errorf("frame with opcode %#x and %d bytes, want opcode %#x", f.opcode, len(f.payload), want)
		}
		got = append(got, f.payload...)
		if f.fin {
			break
		}
	}
	if string(got) != string(payload) {
		return fmt.Errorf("message of %d bytes, %.40q; want %d bytes, %.40q", len(got), got, len(payload), payload)
	}
	return nil
}

// writeWS is sendWS for the test's own goroutine.
func writeWS(t testing.TB, w io.Writer, f wsFrame) {
	t.Helper()
	if err := sendWS(w, f); err != nil {
		t.Fatalf("writing a WebSocket frame: %v", err)
	}
}

// wantWS is expectWS for the test's own goroutine.
func wantWS(t testing.TB, r io.Reader, opcode byte, payload []byte) {
	t.Helper()
	if err := expectWS(r, opcode, payload); err != nil {
		t.Fatal(err)
	}
}

// closePayload is a Close frame's payload.
func closePayload(code uint16, reason string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, code), reason...)
}
