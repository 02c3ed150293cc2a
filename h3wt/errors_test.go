package h3wt

import (
	"testing"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/transport"
)

func TestStreamCodes(t *testing.T) {
	t.Run("H3-028 H3-030 vectors", func(t *testing.T) {
		for _, v := range []struct {
			code transport.StreamErrorCode
			wire quic.StreamErrorCode
		}{
			{0, 0x52e4a40fa8db},
			{1, 0x52e4a40fa8dc},
			{28, 0x52e4a40fa8f7},
			{29, 0x52e4a40fa8f8},
			{30, 0x52e4a40fa8fa},
			{59, 0x52e4a40fa917},
			{60, 0x52e4a40fa919},
			{255, 0x52e4a40fa9e2},
			{256, 0x52e4a40fa9e3},
			{65535, 0x52e4a410b162},
			{0xffffffff, 0x52e5ac983162},
		} {
			if got := streamCode(v.code); got != v.wire {
				t.Errorf("streamCode(%d) = %#x, want %#x", v.code, got, v.wire)
			}
			if got, ok := applicationCode(v.wire); !ok || got != v.code {
				t.Errorf("applicationCode(%#x) = %d, %v, want %d", v.wire, got, ok, v.code)
			}
		}
	})
	t.Run("H3-028 every code below 2^17 survives and avoids the reserved points", func(t *testing.T) {
		for n := range transport.StreamErrorCode(1 << 17) {
			wire := streamCode(n)
			if (wire-0x21)%31 == 0 {
				t.Fatalf("code %d maps to the reserved point %#x", n, wire)
			}
			if got, ok := applicationCode(wire); !ok || got != n {
				t.Fatalf("code %d came back as %d, %v", n, got, ok)
			}
		}
	})
	t.Run("H3-031 outside the range and on reserved points there is no code", func(t *testing.T) {
		for _, wire := range []quic.StreamErrorCode{
			0, 0x10c, codeSessionGone, codeBufferedStreamRejected,
			firstApplicationCode - 1, lastApplicationCode + 1,
			0x52e4a40fa8f9, 0x52e4a40fa918, 1<<62 - 1,
		} {
			if got, ok := applicationCode(wire); ok {
				t.Errorf("applicationCode(%#x) = %d, want none", wire, got)
			}
		}
	})
}
