package transport

import (
	"reflect"
	"testing"
	"time"
)

func TestWithDefaults(t *testing.T) {
	want := Config{
		MaxIncomingStreams: 100, MaxIncomingUniStreams: 100,
		InitialStreamWindow: 256 << 10, MaxStreamWindow: 4 << 20,
		InitialSessionWindow: 1 << 20, MaxSessionWindow: 16 << 20,
		StreamSendBuffer:      64 << 10,
		OutgoingDatagramQueue: 32, IncomingDatagramQueue: 128,
		MaxDatagramSize: 65535, CloseTimeout: time.Second,
	}
	t.Run("nil", func(t *testing.T) {
		if got := (*Config)(nil).WithDefaults(); !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
	t.Run("zero", func(t *testing.T) {
		if got := (&Config{}).WithDefaults(); !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
	t.Run("every number set is kept", func(t *testing.T) {
		c := Config{
			MaxIncomingStreams: 1, MaxIncomingUniStreams: 2,
			InitialStreamWindow: 3, MaxStreamWindow: 4, InitialSessionWindow: 5, MaxSessionWindow: 6,
			StreamSendBuffer: 7, OutgoingDatagramQueue: 8, IncomingDatagramQueue: 9, DatagramDrop: DropNewest,
			OutgoingMaxAge: 10, IncomingMaxAge: 11, MaxDatagramSize: 12, CloseTimeout: 13,
			Dialect: DialectLegacy,
		}
		if got := c.WithDefaults(); !reflect.DeepEqual(got, c) {
			t.Errorf("got %+v, want %+v", got, c)
		}
	})
	t.Run("negative is none", func(t *testing.T) {
		c := Config{
			MaxIncomingStreams: -1, MaxIncomingUniStreams: -1,
			InitialStreamWindow: -1, MaxStreamWindow: -1, InitialSessionWindow: -1, MaxSessionWindow: -1,
			StreamSendBuffer: -1, OutgoingDatagramQueue: -1, IncomingDatagramQueue: -1,
			MaxDatagramSize: -1, CloseTimeout: -1,
		}
		want := Config{StreamSendBuffer: 1} // a stream that could buffer nothing could never send
		if got := c.WithDefaults(); !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
	t.Run("a maximum is at least its initial value", func(t *testing.T) {
		c := Config{InitialStreamWindow: 64 << 20, InitialSessionWindow: 128 << 20, MaxStreamWindow: 1, MaxSessionWindow: 1}
		got := c.WithDefaults()
		if got.MaxStreamWindow != 64<<20 || got.MaxSessionWindow != 128<<20 {
			t.Errorf("maximums %d and %d", got.MaxStreamWindow, got.MaxSessionWindow)
		}
		if c.MaxStreamWindow != 1 {
			t.Error("WithDefaults changed its receiver")
		}
	})
}

func TestDialectString(t *testing.T) {
	for d, want := range map[Dialect]string{DialectAuto: "auto", DialectDraft15: "draft-15", DialectLegacy: "legacy", 9: "Dialect(9)"} {
		if got := d.String(); got != want {
			t.Errorf("%d is %q, want %q", d, got, want)
		}
	}
}
