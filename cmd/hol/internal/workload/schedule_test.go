package workload

import (
	"testing"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

func TestSchedule(t *testing.T) {
	s := newSchedule(lab.Workload{
		Channels: 4, Interval: 20 * time.Millisecond, MinSize: 150, MaxSize: 250,
		Warmup: 10 * time.Millisecond, Duration: 45 * time.Millisecond,
	}, 7)
	t.Run("channels are staggered evenly", func(t *testing.T) {
		want := [][]time.Duration{
			{0, 20 * time.Millisecond, 40 * time.Millisecond},
			{5 * time.Millisecond, 25 * time.Millisecond, 45 * time.Millisecond},
			{10 * time.Millisecond, 30 * time.Millisecond, 50 * time.Millisecond},
			{15 * time.Millisecond, 35 * time.Millisecond}, // 55 ms is the end
		}
		for c, times := range want {
			if got := s.count(c); got != len(times) {
				t.Errorf("channel %d has %d messages, not %d", c, got, len(times))
			}
			for k, at := range times {
				if got := s.at(c, k); got != at {
					t.Errorf("message %d of channel %d at %v, not %v", k, c, got, at)
				}
			}
		}
	})
	t.Run("a channel that begins after the end has nothing", func(t *testing.T) {
		short := s
		short.total = 15 * time.Millisecond
		for c, want := range []int{1, 1, 1, 0} {
			if got := short.count(c); got != want {
				t.Errorf("channel %d has %d messages, not %d", c, got, want)
			}
		}
	})
	t.Run("sizes come from the seed", func(t *testing.T) {
		var got []int
		for k := range 3 {
			got = append(got, s.size(0, k), s.size(1, k))
		}
		same := newSchedule(lab.Workload{Channels: 8, MinSize: 150, MaxSize: 250}, 7)
		other := newSchedule(lab.Workload{Channels: 4, MinSize: 150, MaxSize: 250}, 8)
		differ := false
		for i, size := range got {
			if again := same.size(i%2, i/2); again != size {
				t.Errorf("size %d is %d and %d", i, size, again)
			}
			differ = differ || other.size(i%2, i/2) != size
		}
		if !differ {
			t.Errorf("sizes %v with another seed as well", got)
		}
	})
	t.Run("every size is as likely", func(t *testing.T) {
		counts := make(map[int]int)
		const n = 101 * 1000
		for k := range n / 4 {
			for c := range 4 {
				counts[s.size(c, k)]++
			}
		}
		// 1000 are expected of each; 6 standard deviations are 190.
		for size := 150; size <= 250; size++ {
			if c := counts[size]; c < 810 || c > 1190 {
				t.Errorf("%d messages of %d B", c, size)
			}
		}
		if len(counts) != 101 {
			t.Errorf("%d sizes, not 101", len(counts))
		}
	})
	t.Run("one size", func(t *testing.T) {
		one := schedule{min: 20, max: 20, seed: 1}
		for k := range 100 {
			if got := one.size(0, k); got != 20 {
				t.Fatalf("size %d, not 20", got)
			}
		}
	})
}

func TestMessage(t *testing.T) {
	h := header{kind: update, channel: 0x1234, sequence: 0x56789abc, scheduled: 0x123456789, answer: 0x10203}
	m := newMessage(100)
	h.put(m)
	t.Run("layout", func(t *testing.T) {
		want := "\xa7\x02\x12\x34\x56\x78\x9a\xbc\x00\x00\x00\x01\x23\x45\x67\x89\x00\x01\x02\x03"
		if got := string(m[:HeaderSize]); got != want {
			t.Errorf("%x, not %x", got, want)
		}
	})
	t.Run("read back", func(t *testing.T) {
		got, err := parse(m)
		if err != nil || got != h {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("every changed byte of the content is seen", func(t *testing.T) {
		for i := HeaderSize; i < len(m); i++ {
			m[i] ^= 1
			if _, err := parse(m); err != errContent {
				t.Errorf("byte %d: %v", i, err)
			}
			m[i] ^= 1
		}
	})
	t.Run("foreign", func(t *testing.T) {
		short := m[:HeaderSize-1]
		marked := append([]byte(nil), m...)
		marked[0]++
		long := append(newMessage(1<<20), 0)
		h.put(long)
		for _, b := range [][]byte{nil, short, marked, long} {
			if _, err := parse(b); err != errForeign {
				t.Errorf("%d bytes: %v", len(b), err)
			}
		}
	})
	t.Run("the content does not repeat", func(t *testing.T) {
		seen := make(map[string]bool)
		for b := content(); len(b) > 0; b = b[8:] {
			if seen[string(b[:8])] {
				t.Fatalf("%x twice", b[:8])
			}
			seen[string(b[:8])] = true
		}
	})
}
