package capsule

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestString(t *testing.T) {
	for _, c := range []struct {
		c    Capsule
		want string
	}{
		{ResetStream{StreamID: 1, ErrorCode: 2, ReliableSize: 3}, "WT_RESET_STREAM stream=1 code=2 size=3"},
		{ResetStream{StreamID: 1, ErrorCode: 2, SizeAbsent: true}, "WT_RESET_STREAM stream=1 code=2"},
		{StopSending{1, 2}, "WT_STOP_SENDING stream=1 code=2"},
		{MaxData{1}, "WT_MAX_DATA max=1"},
		{MaxStreamData{1, 2}, "WT_MAX_STREAM_DATA stream=1 max=2"},
		{MaxStreams{false, 1}, "WT_MAX_STREAMS(bidi) max=1"},
		{MaxStreams{true, 1}, "WT_MAX_STREAMS(uni) max=1"},
		{DataBlocked{1}, "WT_DATA_BLOCKED max=1"},
		{StreamDataBlocked{1, 2}, "WT_STREAM_DATA_BLOCKED stream=1 max=2"},
		{StreamsBlocked{false, 1}, "WT_STREAMS_BLOCKED(bidi) max=1"},
		{StreamsBlocked{true, 1}, "WT_STREAMS_BLOCKED(uni) max=1"},
		{CloseSession{1, "bye"}, `WT_CLOSE_SESSION code=1 message="bye"`},
		{DrainSession{}, "WT_DRAIN_SESSION"},
		{Padding{3}, "PADDING length=3"},
	} {
		if got := c.c.String(); got != c.want {
			t.Errorf("String() = %s, want %s", got, c.want)
		}
		if got := c.c.LogValue().String(); got != c.want {
			t.Errorf("LogValue() = %s, want %s", got, c.want)
		}
	}
	for typ, want := range map[Type]string{
		TypeDatagram:  "DATAGRAM",
		TypeStream:    "WT_STREAM(0x190b4d3c)",
		TypeStreamFin: "WT_STREAM(0x190b4d3b)",
		0x21:          "0x21",
	} {
		if got := typ.String(); got != want {
			t.Errorf("%d.String() = %s, want %s", uint64(typ), got, want)
		}
	}
}

func TestLogEscapes(t *testing.T) {
	t.Run("DS-21 a close message cannot write into the log", func(t *testing.T) {
		c := CloseSession{0, "a\n\x1b[2Jlevel=ERROR\u202e\xff"}
		var out bytes.Buffer
		slog.New(slog.NewTextHandler(&out, nil)).Info("got", "capsule", c)
		for what, s := range map[string]string{
			"String":   c.String(),
			"LogValue": c.LogValue().String(),
			"log line": strings.TrimSuffix(out.String(), "\n"),
		} {
			if strings.ContainsAny(s, "\n\x1b\u202e") || !utf8.ValidString(s) {
				t.Errorf("%s has control characters: %q", what, s)
			}
		}
	})
}
