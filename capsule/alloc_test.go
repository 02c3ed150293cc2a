package capsule

import "testing"

// counting is a Handler that only counts, so that allocations are the
// Decoder's own.
type counting struct {
	bytes, capsules int
}

func (c *counting) Stream(uint64, bool, uint64) error   { c.capsules++; return nil }
func (c *counting) StreamData(p []byte, _ bool) error   { c.bytes += len(p); return nil }
func (c *counting) Datagram(uint64) (bool, error)       { c.capsules++; return true, nil }
func (c *counting) DatagramData(p []byte, _ bool) error { c.bytes += len(p); return nil }
func (c *counting) Control(Capsule) error               { c.capsules++; return nil }
func (c *counting) Skipped(_ Type, n uint64) error      { c.bytes += int(n); return nil }
func wantAllocs(t *testing.T, what string, most float64, f func()) {
	t.Helper()
	if got := testing.AllocsPerRun(100, f); got > most {
		t.Errorf("%s: %.1f allocations, at most %.0f allowed", what, got, most)
	}
}

func TestAllocs(t *testing.T) {
	data := make([]byte, 1000)
	var b []byte
	for i := range uint64(10) {
		b = append(AppendStreamHeader(b, i == 9, Draft15, 4*i, uint64(len(data))), data...)
		b = append(AppendDatagramHeader(b, uint64(len(data))), data...)
		b = append(appendHeader(b, 0x21, uint64(len(data))), data...)
	}
	var d Decoder
	h := new(counting)
	wantAllocs(t, "decoding stream data, datagrams and unknown types", 0, func() {
		if err := d.Feed(b, h); err != nil {
			t.Fatal(err)
		}
	})
	wantAllocs(t, "decoding them in pieces", 0, func() {
		for rest := b; len(rest) > 0; {
			n := min(7, len(rest))
			if err := d.Feed(rest[:n], h); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
	})
	if h.bytes == 0 || h.capsules == 0 {
		t.Fatal("nothing was decoded")
	}
	limit := MaxStreamData{1 << 20, 1 << 40}.Append(nil)
	wantAllocs(t, "decoding a control capsule", 1, func() {
		if err := d.Feed(limit, h); err != nil {
			t.Fatal(err)
		}
	})
	wantAllocs(t, "decoding a control capsule in pieces", 1, func() {
		for i := range limit {
			if err := d.Feed(limit[i:i+1], h); err != nil {
				t.Fatal(err)
			}
		}
	})

	room := make([]byte, 0, 4096)
	wantAllocs(t, "appending", 0, func() {
		b := AppendStreamHeader(room, true, Draft15, 1<<40, uint64(len(data)))
		b = append(b, data...)
		b = AppendDatagramHeader(b, 5)
		b = ResetStream{StreamID: 1, ErrorCode: 2, ReliableSize: 3}.Append(b)
		b = StopSending{1, 2}.Append(b)
		b = MaxData{1 << 40}.Append(b)
		b = MaxStreamData{1, 1 << 40}.Append(b)
		b = MaxStreams{true, 1 << 40}.Append(b)
		b = DataBlocked{1}.Append(b)
		b = StreamDataBlocked{1, 2}.Append(b)
		b = StreamsBlocked{true, 5}.Append(b)
		b = CloseSession{1, "bye"}.Append(b)
		b = DrainSession{}.Append(b)
		b = Padding{100}.Append(b)
		if len(b) > cap(room) {
			t.Fatal("the room was too small")
		}
	})
}

func BenchmarkDecodeStream(b *testing.B) {
	data := make([]byte, 16<<10)
	in := append(AppendStreamHeader(nil, false, Draft15, 4, uint64(len(data))), data...)
	var d Decoder
	h := new(counting)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Feed(in, h); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeControl(b *testing.B) {
	in := MaxStreamData{1000, 1 << 20}.Append(nil)
	var d Decoder
	h := new(counting)
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Feed(in, h); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendStreamHeader(b *testing.B) {
	room := make([]byte, 0, MaxStreamHeader)
	b.ReportAllocs()
	for b.Loop() {
		AppendStreamHeader(room, false, Draft15, 4, 16<<10)
	}
}
