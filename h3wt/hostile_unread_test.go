package h3wt

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/towpath-go/towpath/internal/hostile"
	"github.com/towpath-go/towpath/transport"
)

func TestHostileWindows(t *testing.T) {
	t.Run("DS-16 DS-19 streams that nobody reads, filled to the windows", func(t *testing.T) {
		var m *hostile.Meter
		cfg := (*Config)(nil).settled()
		onVictim(t, nil, pooledSettings, func(v *victim) {
			m = hostile.Start(t, hostile.Attack{
				Name: "100 streams that nobody reads, filled to the windows", Victim: "h3",
				Reaction: "QUIC's windows hold the peer back",
				// Received bytes, up to the connection's window, lie in buffers of a
				// packet's size, and at the sender until they are sent.
				Bytes:      processNoise + 2*cfg.connectionWindow() + transport.DefaultMaxIncomingStreams*(streamCost+32<<10),
				Goroutines: goroutineNoise + transport.DefaultMaxIncomingStreams, // the attacker's writers
			})
			var sent atomic.Int64
			for range transport.DefaultMaxIncomingStreams {
				u := v.conn.uniStream(varints(uniStreamType, 0))
				go func() {
					b := make([]byte, 32<<10)
					for {
						n, err := u.Write(b)
						sent.Add(int64(n))
						if err != nil {
							return
						}
					}
				}()
			}
			time.Sleep(10 * time.Second)
			m.Sample()
			if got := sent.Load(); got < cfg.connectionWindow()/2 {
				v.Errorf("the attacker could send only %d bytes", got)
			}
			v.conn.wantOpen()
		})
		m.End(nil)
	})
	t.Run("DS-16 DS-19 windows filled by frames of a byte", func(t *testing.T) {
		const window = 16 << 10
		var m *hostile.Meter
		limits := &transport.Config{InitialStreamWindow: window, MaxStreamWindow: window, InitialSessionWindow: window, MaxSessionWindow: window}
		onVictim(t, &Config{Session: limits}, pooledSettings, func(v *victim) {
			u := v.conn.uniStream(varints(uniStreamType, 0))
			m = hostile.Start(t, hostile.Attack{
				Name: "a window of 16 KiB filled by frames of a byte", Victim: "h3",
				Reaction: "QUIC's windows hold the peer back; each frame is kept apart until it is read",
				Bytes:    1<<20 + frameCost*window, Goroutines: goroutineNoise,
			})
			u.SetWriteDeadline(time.Now().Add(time.Hour))
			for range window - 1 {
				if _, err := u.Write([]byte{0}); err != nil {
					v.Fatal(err)
				}
				time.Sleep(time.Microsecond) // a packet of its own
			}
			time.Sleep(time.Second)
			m.Sample()
			v.conn.wantOpen()
		})
		m.End(nil)
	})
}

// frameCost is what quic-go holds at most for a STREAM frame of a byte that is not
// read, as the package documentation says.
const frameCost = 192

// A peer that reads nothing makes writers wait, and costs what QUIC has not had
// confirmed.
func TestHostileSlowReader(t *testing.T) {
	t.Run("DS-10 DS-04 a peer that stops reading while 90 streams write", func(t *testing.T) {
		settings := append([]uint64{settingInitialMaxData, 1 << 30, settingInitialMaxStreamsBidi, 100, settingInitialMaxStreamsUni, 100}, modernSettings...)
		var m *hostile.Meter
		onVictim(t, nil, settings, func(v *victim) {
			m = hostile.Start(t, hostile.Attack{
				Name: "a peer that reads nothing of 90 streams", Victim: "h3", Reaction: "Write waits, until its deadline",
				// The peer's own window, at its end, and Write's buffer of each stream.
				Bytes:      processNoise + 2*(768<<10) + 90*(streamCost+32<<10),
				Goroutines: goroutineNoise + 90, // the application's writers
			})
			results := make(chan error, 90)
			for range 90 {
				u, err := v.s.OpenUniStream(context.Background())
				if err != nil {
					v.Fatal(err)
				}
				u.SetWriteDeadline(time.Now().Add(10 * time.Second))
				go func() {
					b := make([]byte, 32<<10)
					for {
						if _, err := u.Write(b); err != nil {
							results <- err
							return
						}
					}
				}()
			}
			time.Sleep(5 * time.Second)
			m.Sample()
			for range 90 {
				if err := <-results; !errors.Is(err, os.ErrDeadlineExceeded) {
					v.Errorf("Write: %v", err)
				}
			}
			m.Sample()
		})
		m.End(nil)
	})
}
