package h2conn_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/internal/hostile"
	"github.com/towpath-go/towpath/transport"
)

// TestHostileHPACK has header blocks that are small on the wire and large in
// memory. The list is not kept beyond its limit, and the answer is 431.
func TestHostileHPACK(t *testing.T) {
	// A value that Huffman coding makes five bits a byte.
	huffman := func(n int) string {
		b := []byte(getBlock)
		b = append(b, 0x00, 0x01, 'a', 0xff) // literal, Huffman-coded value of n bytes
		length := n - 127
		for ; length >= 128; length >>= 7 {
			b = append(b, byte(length)|0x80)
		}
		b = append(b, byte(length))
		return string(append(b, make([]byte, n)...)) // code 00000 is '0'
	}
	// An entry of 4,000 bytes in the table, and references to it.
	entry := "\x40\x01a\x7f\xa1\x1e" + strings.Repeat("x", 4000)
	for _, tt := range []struct {
		id, name string
		blocks   func(i int) string
		answers  bool // with 431; otherwise it is within the limits
	}{
		{"DS-12 BP-023", "HPACK bomb: references to a large entry", func(i int) string {
			if i == 0 {
				return getBlock + entry
			}
			return getBlock + strings.Repeat("\xbe", 16000)
		}, true},
		{"DS-12 BP-023", "HPACK bomb: Huffman coding", func(int) string { return huffman(15000) }, false},
		{"DS-12 DS-09 BP-023", "HPACK bomb: many fields", func(int) string { return bombBlock(16000) }, true},
		{"DS-12", "HPACK table size updates", func(int) string {
			return strings.Repeat("\x20\x3f\xe1\x1f", 2000) + getBlock // 0, then 4096
		}, false},
		{"DS-12", "HPACK entries that evict each other", func(int) string {
			b := getBlock
			for range 4 {
				b += entry[:6] + strings.Repeat("y", 4000)
			}
			return b
		}, false},
	} {
		t.Run(tt.id+" "+tt.name, func(t *testing.T) {
			reaction := "answered"
			if tt.answers {
				reaction = "431"
			}
			var limit transport.Limit
			if tt.answers {
				limit = transport.LimitHeaderSize
			}
			m := hostile.Start(t, hostile.Attack{Name: tt.name, Victim: "h2", Reaction: reaction, Limit: limit,
				Bytes: boundBytes, Goroutines: boundGoroutines})
			var refusal error
			// Each request is answered before the next one comes.
			attack := func(t *testing.T, n int, sample bool) {
				cfg := &h2conn.Config{Glitches: free, OnRefused: func(_ string, status int, l transport.Limit) {
					if status == 431 {
						refusal = &transport.ProtocolError{Limit: l}
					}
				}}
				s := newServer(t, cfg)
				defer s.stop()
				s.Greet()
				seen := 0
				s.accept = func(r *stream) bool {
					seen++
					r.st.WriteHeaders(ok200, true, nil)
					r.st.Done()
					return true
				}
				s.forget = true
				s.Discard()
				var b []byte
				for i := range n {
					b = frame(b[:0], http2.FrameHeaders, endHeaders|endStream, uint32(2*i+1), tt.blocks(i))
					s.WriteBytes(b)
					synctest.Wait()
					if sample && i&(i-1) == 0 {
						m.Sample()
					}
				}
				if err := s.c.Err(); err != nil {
					t.Fatalf("the connection ended: %v", err)
				}
				if want := n; !tt.answers && seen != want || tt.answers && seen > 1 {
					t.Errorf("the handler got %d of %d requests", seen, want)
				}
			}
			synctest.Test(t, func(t *testing.T) { attack(t, 100, true) })
			m.Cost(50, func(n int) { synctest.Test(t, func(t *testing.T) { attack(t, n, false) }) })
			if tt.answers && refusal == nil {
				t.Error("nothing was refused")
			}
			m.End(refusal)
		})
	}
	for _, a := range []flooding{
		{id: "DS-12 BP-022", name: "HPACK string of a gigabyte", limit: transport.LimitHeaderSize, steps: 1,
			frames: always(frame(nil, http2.FrameHeaders, 0, 3, "\x00\x7f\x80\x80\x80\x80\x04x"))},
		{id: "DS-12 BP-022", name: "HPACK string that dribbles in", limit: transport.LimitHeaderSize, steps: 200_000,
			cfg:    h2conn.Config{MaxContinuations: 1 << 30},
			open:   func(s *server) { s.WriteBytes(frame(nil, http2.FrameHeaders, 0, 1, "\x00\x01a\x7f\xff\xff\x07")) },
			frames: always(frame(nil, http2.FrameContinuation, 0, 1, "x")), burst: 100},
	} {
		a.run(t)
	}
	(&flooding{id: "DS-12 BP-022", name: "HPACK table larger than announced", limit: "", steps: 1,
		reaction: "connection ended with COMPRESSION_ERROR", code: http2.ErrCodeCompression,
		frames: always(frame(nil, http2.FrameHeaders, endHeaders, 3, "\x3f\xff\xff\xff\x07"+getBlock))}).run(t)
}
