package adapter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// scriptStream is a stream of which a test has written the peer's part. It keeps
// what the end under test writes, and how.
type scriptStream struct {
	io.Reader
	writes    [][]byte
	ended     bool // by CloseWrite
	aborted   bool
	finished  bool
	cleanOnly bool // finished, and in order
}

func (s *scriptStream) Write(p []byte) (int, error) {
	if s.ended {
		return 0, errors.New("a Write after CloseWrite")
	}
	s.writes = append(s.writes, bytes.Clone(p))
	return len(p), nil
}

func (s *scriptStream) CloseWrite() error   { s.ended = true; return nil }
func (s *scriptStream) Abort()              { s.aborted = true }
func (s *scriptStream) Finished(clean bool) { s.finished, s.cleanOnly = true, clean }

// frame is one frame with a mask, if any, of constant bytes.
func frame(first byte, masked bool, payload string) []byte {
	b := []byte{first}
	mask := byte(0)
	if masked {
		mask = 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, mask|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, mask|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, mask|127), uint64(n))
	}
	if !masked {
		return append(b, payload...)
	}
	key := [4]byte{1, 2, 3, 4}
	b = append(b, key[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i%4])
	}
	return b
}

// First bytes of frames (RFC 6455 section 5.2).
const (
	fin          = 0x80
	continuation = 0x0
	text         = 0x1
	binaryData   = 0x2
	closeFrame   = 0x8
	ping         = 0x9
	pong         = 0xa
)

func closeBody(code uint16, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, code)) + reason
}

// sides are a server and a client under test.
var sides = []struct {
	name   string
	client bool
}{{"server", false}, {"client", true}}

// script is an end under test whose peer sends the frames and then nothing more.
func script(client bool, frames ...[]byte) (*framed, *scriptStream) {
	s := &scriptStream{Reader: bytes.NewReader(bytes.Join(frames, nil))}
	return newFramed(s, client, MaxMessage), s
}

// unmasked returns the frame in b as a server would have sent it, and whether it
// was masked.
func unmasked(t *testing.T, b []byte) ([]byte, bool) {
	t.Helper()
	r := bytes.NewReader(b)
	h, err := ws.ReadHeader(r)
	if err != nil || h.Length != int64(r.Len()) {
		t.Fatalf("the frame %x: %+v, %v", b[:min(len(b), 20)], h, err)
	}
	payload, _ := io.ReadAll(r)
	if h.Masked {
		ws.Cipher(payload, h.Mask, 0)
	}
	return frame(h.Rsv<<4|byte(h.OpCode)|map[bool]byte{true: fin}[h.Fin], false, string(payload)), h.Masked
}

func TestFramedFragments(t *testing.T) {
	for _, side := range sides {
		t.Run(side.name, func(t *testing.T) {
			m := !side.client // what the peer has to do
			f, s := script(side.client,
				frame(binaryData, m, "ab"),
				frame(fin|ping, m, "between"),
				frame(continuation, m, ""),
				frame(fin|pong, m, "unasked"),
				frame(fin|continuation, m, "c"),
				frame(fin|binaryData, m, "next"),
				frame(fin|closeFrame, m, closeBody(1000, "")),
			)
			buf := make([]byte, 0, 10)
			for _, want := range []string{"abc", "next"} {
				got, err := f.read(buf)
				if err != nil || string(got) != want {
					t.Fatalf("read %q, %v; want %q", got, err, want)
				}
			}
			if _, err := f.read(buf); err != io.EOF {
				t.Fatalf("after Close: %v, want EOF", err)
			}
			want := [][]byte{frame(fin|pong, false, "between"), frame(fin|closeFrame, false, closeBody(1000, ""))}
			if len(s.writes) != len(want) {
				t.Fatalf("%d frames were sent, want %d", len(s.writes), len(want))
			}
			for i := range want {
				if got, masked := unmasked(t, s.writes[i]); !bytes.Equal(got, want[i]) || masked != side.client {
					t.Errorf("frame %d is %x (masked %v), want %x", i, got, masked, want[i])
				}
			}
			if !s.ended {
				t.Error("the stream did not end with the Close frame")
			}
		})
	}
}

// TestFramedWrites shows that each message is one frame and one Write, masked by
// clients alone, with masks that nobody can foresee.
func TestFramedWrites(t *testing.T) {
	for _, side := range sides {
		t.Run(side.name, func(t *testing.T) {
			masks := map[string]bool{}
			for _, size := range []int{1, 125, 126, 127, 65535, 65536} {
				f, s := script(side.client)
				message := string(pattern(size, 1))
				if err := f.write([]byte(message)); err != nil {
					t.Fatal(err)
				}
				if len(s.writes) != 1 {
					t.Fatalf("%d bytes: %d writes", size, len(s.writes))
				}
				got, masked := unmasked(t, s.writes[0])
				if !bytes.Equal(got, frame(fin|binaryData, false, message)) || masked != side.client {
					t.Errorf("%d bytes: a wrong frame, masked %v", size, masked)
				}
				if side.client {
					overhead := len(s.writes[0]) - size
					masks[string(s.writes[0][overhead-4:overhead])] = true
				}
			}
			if side.client && len(masks) != 6 {
				t.Errorf("%d different masks in 6 frames", len(masks))
			}
		})
	}
}

func TestFramedClose(t *testing.T) {
	for _, tt := range []struct {
		name   string
		body   string
		answer string
		eof    bool
	}{
		{"normal", closeBody(1000, "bye"), closeBody(1000, ""), true},
		{"going away", closeBody(1001, ""), closeBody(1001, ""), true},
		{"without a code", "", "", true},
		{"of the application", closeBody(3000, "why"), closeBody(3000, ""), false},
	} {
		for _, side := range sides {
			t.Run(tt.name+" at the "+side.name, func(t *testing.T) {
				f, s := script(side.client, frame(fin|closeFrame, !side.client, tt.body))
				if _, err := f.read(nil); err == nil || tt.eof != (err == io.EOF) {
					t.Fatalf("read: %v", err)
				}
				if len(s.writes) != 1 || !s.ended {
					t.Fatalf("%d frames, ended %v; want one and the end", len(s.writes), s.ended)
				}
				if got, _ := unmasked(t, s.writes[0]); !bytes.Equal(got, frame(fin|closeFrame, false, tt.answer)) {
					t.Errorf("the answer is %x", got)
				}
				if err := f.write([]byte("late")); !errors.Is(err, net.ErrClosed) {
					t.Errorf("write after Close: %v", err)
				}
			})
		}
	}
}

func TestFramedViolations(t *testing.T) {
	long := strings.Repeat("x", MaxMessage)
	length := func(n uint64) []byte { // a header that promises
		return binary.BigEndian.AppendUint64([]byte{fin | binaryData, 127}, n)
	}
	for _, tt := range []struct {
		name   string
		frames func(masked bool) [][]byte
		code   ws.StatusCode
	}{
		{"a mask where none belongs, or none", func(m bool) [][]byte { return [][]byte{frame(fin|binaryData, !m, "x")} }, 1002},
		{"a reserved opcode", func(m bool) [][]byte { return [][]byte{frame(fin|3, m, "x")} }, 1002},
		{"a reserved control opcode", func(m bool) [][]byte { return [][]byte{frame(fin|11, m, "x")} }, 1002},
		{"a reserved bit", func(m bool) [][]byte { return [][]byte{frame(fin|0x40|binaryData, m, "x")} }, 1002},
		{"a ping in fragments", func(m bool) [][]byte { return [][]byte{frame(ping, m, "x")} }, 1002},
		{"a ping of 126 bytes", func(m bool) [][]byte { return [][]byte{frame(fin|ping, m, long[:126])} }, 1002},
		{"a continuation of nothing", func(m bool) [][]byte { return [][]byte{frame(fin|continuation, m, "x")} }, 1002},
		{"a message within another", func(m bool) [][]byte {
			return [][]byte{frame(binaryData, m, "x"), frame(fin|binaryData, m, "y")}
		}, 1002},
		{"text", func(m bool) [][]byte { return [][]byte{frame(fin|text, m, "x")} }, 1003},
		{"a byte beyond the limit", func(m bool) [][]byte { return [][]byte{frame(fin|binaryData, m, long+"x")} }, 1009},
		{"a byte beyond the limit in fragments", func(m bool) [][]byte {
			return [][]byte{frame(binaryData, m, long[:100]), frame(fin|continuation, m, long[:MaxMessage-99])}
		}, 1009},
		{"a promise of nearly 2^63 bytes", func(m bool) [][]byte {
			b := length(1<<63 - 1)
			if m {
				b = append(b, 0, 0, 0, 0)
				b[1] |= 0x80
			}
			return [][]byte{b}
		}, 1009},
		{"a promise of 2^63 bytes", func(bool) [][]byte { return [][]byte{length(1 << 63)} }, 1002},
		{"a Close of one byte", func(m bool) [][]byte { return [][]byte{frame(fin|closeFrame, m, "x")} }, 1002},
		{"a Close with a code that is not sent", func(m bool) [][]byte {
			return [][]byte{frame(fin|closeFrame, m, closeBody(1005, ""))}
		}, 1002},
		{"a Close whose reason is not UTF-8", func(m bool) [][]byte {
			return [][]byte{frame(fin|closeFrame, m, closeBody(1000, "\xff"))}
		}, 1002},
	} {
		for _, side := range sides {
			t.Run(tt.name+" to the "+side.name, func(t *testing.T) {
				f, s := script(side.client, tt.frames(!side.client)...)
				_, err := f.read(nil)
				if failure, ok := errors.AsType[*closeError](err); !ok || failure.code != tt.code {
					t.Fatalf("read: %v, want %d", err, tt.code)
				}
				if len(s.writes) != 1 || !s.ended {
					t.Fatalf("%d frames, ended %v; want one and the end", len(s.writes), s.ended)
				}
				if got, _ := unmasked(t, s.writes[0]); !bytes.Equal(got, frame(fin|closeFrame, false, closeBody(uint16(tt.code), ""))) {
					t.Errorf("the peer was told %x", got)
				}
				f.finish(false)
				if !s.aborted || !s.finished || s.cleanOnly {
					t.Error("the stream ended as if in order")
				}
			})
		}
	}
	t.Run("at the limit", func(t *testing.T) {
		f, _ := script(true, frame(binaryData, false, long[:100]), frame(fin|continuation, false, long[100:]), frame(fin|binaryData, false, long))
		for range 2 {
			if got, err := f.read(nil); err != nil || string(got) != long {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		}
	})
}

// TestFramedTruncated ends the stream after every byte: without a Close it is
// never an orderly end.
func TestFramedTruncated(t *testing.T) {
	whole := bytes.Join([][]byte{
		frame(binaryData, true, "abc"), frame(fin|ping, true, "p"), frame(fin|continuation, true, strings.Repeat("x", 126)),
		frame(fin|closeFrame, true, closeBody(1000, "")),
	}, nil)
	for n := range len(whole) {
		f, _ := script(false, whole[:n])
		_, err := f.read(nil)
		if err == nil {
			_, err = f.read(nil)
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("after %d of %d bytes: %v", n, len(whole), err)
		}
	}
}

// FuzzFramed reads anything: no panic, no message beyond the limit, an end.
func FuzzFramed(f *testing.F) {
	f.Add(true, bytes.Join([][]byte{frame(binaryData, false, "ab"), frame(fin|ping, false, ""), frame(fin|continuation, false, "c")}, nil))
	f.Add(false, frame(fin|closeFrame, true, closeBody(1000, "x")))
	f.Add(false, frame(fin|binaryData, true, strings.Repeat("x", 300)))
	f.Add(true, []byte{fin | binaryData, 127, 0, 0, 0, 0, 0, 1, 0, 1})
	f.Fuzz(func(t *testing.T, client bool, data []byte) {
		const limit = 200
		s := &scriptStream{Reader: bytes.NewReader(data)}
		w := newFramed(s, client, limit)
		for {
			message, err := w.read(nil)
			if err != nil {
				break
			}
			if len(message) > limit || len(message) > len(data) {
				t.Fatalf("a message of %d bytes in %d", len(message), len(data))
			}
		}
		for _, b := range s.writes {
			if _, masked := unmasked(t, b); masked != client {
				t.Errorf("masked %v at client %v", masked, client)
			}
		}
	})
}
