package negotiate

import (
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// A socket outlives its connection for three probe timeouts (RFC 9000 section
// 10.2), but not for as long as a peer that delays its acknowledgements likes.
func TestClosingTime(t *testing.T) {
	for _, c := range []struct {
		stats quic.ConnectionStats
		want  time.Duration
	}{
		{quic.ConnectionStats{}, 3 * time.Second},
		{quic.ConnectionStats{SmoothedRTT: 100 * time.Millisecond, MeanDeviation: 10 * time.Millisecond}, 495 * time.Millisecond},
		{quic.ConnectionStats{SmoothedRTT: 3 * time.Second, MeanDeviation: time.Second}, 10 * time.Second},
		{quic.ConnectionStats{SmoothedRTT: time.Hour}, 10 * time.Second},
	} {
		if got := closingTime(c.stats); got != c.want {
			t.Errorf("RTT %v, deviation %v: %v, want %v", c.stats.SmoothedRTT, c.stats.MeanDeviation, got, c.want)
		}
	}
}
