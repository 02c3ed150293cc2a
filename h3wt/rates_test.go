package h3wt

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// Without session flow control there is no credit to withhold: Read is paced.
func TestReadPace(t *testing.T) {
	const (
		burst = 128 << 10
		rate  = 1 << 20
	)
	paced := func(t *testing.T, name string, limits transport.Config, run func(t *testing.T, a, b transport.Session)) {
		limits.IncomingByteRate = transport.Rate{PerSecond: rate, Burst: burst}
		bubble(t, name, func(t *testing.T) {
			a, b, stop := connectPair(t, simulated(t), &Config{noFlowControl: true}, &Config{noFlowControl: true, Session: &limits})
			defer stop()
			run(t, a, b)
			a.CloseWithError(0, "")
			time.Sleep(time.Second) // what still reads or writes sees the end
		})
	}
	uniPair := func(t *testing.T, a, b transport.Session) (transport.SendStream, transport.ReceiveStream) {
		t.Helper()
		x, err := a.OpenUniStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		x.Write([]byte{0})
		y, err := b.AcceptUniStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		mustRead(t, y, make([]byte, 1))
		return x, y
	}
	paced(t, "DS-19 Read takes no more than the rate, of all streams together", transport.Config{}, func(t *testing.T, a, b transport.Session) {
		const streams, each = 4, (burst + 3*rate) / 4
		start := time.Now()
		var wg sync.WaitGroup
		for range streams {
			x, y := uniPair(t, a, b)
			wg.Go(func() { x.Write(make([]byte, each)); x.Close() })
			wg.Go(func() {
				if n, err := io.Copy(io.Discard, y); n != each || err != nil {
					t.Errorf("%d bytes, %v, want %d", n, err, each)
				}
			})
		}
		wg.Wait()
		if took := time.Since(start); took < 2900*time.Millisecond || took > 3200*time.Millisecond {
			t.Errorf("three seconds' worth above the burst took %v", took)
		}
		if st := b.Stats(); st.Throttled == 0 || st.BytesRead != streams*(each+1) {
			t.Errorf("%+v", st)
		}
	})
	paced(t, "H2-140 and QUIC's windows hold the peer back", transport.Config{InitialStreamWindow: 64 << 10, MaxStreamWindow: 64 << 10}, func(t *testing.T, a, b transport.Session) {
		x, y := uniPair(t, a, b)
		go x.Write(make([]byte, 16<<20))
		go io.Copy(io.Discard, y)
		time.Sleep(2 * time.Second)
		if sent, most := a.(*Session).c.qc.ConnectionStats().BytesSent, uint64(burst+2*rate+64<<10); sent > most+most/20 {
			t.Errorf("the peer has sent %d bytes, the rate and its window allow %d", sent, most)
		}
	})
	paced(t, "a Read that waits for data keeps nothing from others", transport.Config{}, func(t *testing.T, a, b transport.Session) {
		for range 20 {
			_, silent := uniPair(t, a, b)
			go silent.Read(make([]byte, 64<<10))
		}
		x, y := uniPair(t, a, b)
		start := time.Now()
		x.Write(make([]byte, burst/2))
		mustRead(t, y, make([]byte, burst/2))
		if took := time.Since(start); took > 200*time.Millisecond {
			t.Errorf("half the burst took %v", took)
		}
	})
	// exhausted leaves a stream with data and nothing that the rate allows.
	exhausted := func(t *testing.T, a, b transport.Session) transport.ReceiveStream {
		x, y := uniPair(t, a, b)
		go x.Write(make([]byte, 4<<20))
		for range 64 {
			mustRead(t, y, make([]byte, 4<<10))
		}
		time.Sleep(10 * time.Millisecond)
		return y
	}
	paced(t, "a deadline ends the wait for the rate", transport.Config{}, func(t *testing.T, a, b transport.Session) {
		y := exhausted(t, a, b)
		y.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		start := time.Now()
		for {
			n, err := y.Read(make([]byte, 1<<20))
			if err != nil {
				if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 5*time.Millisecond {
					t.Errorf("%d bytes, %v after %v", n, err, time.Since(start))
				}
				break
			}
		}
		y.SetReadDeadline(time.Time{})
		mustRead(t, y, make([]byte, 1000))
	})
	paced(t, "CancelRead and the session's end do too", transport.Config{}, func(t *testing.T, a, b transport.Session) {
		for _, end := range []func(transport.ReceiveStream){
			func(y transport.ReceiveStream) { y.CancelRead(1) },
			func(transport.ReceiveStream) { b.CloseWithError(0, "") },
		} {
			y := exhausted(t, a, b)
			done := make(chan error, 1)
			go func() {
				for {
					if _, err := y.Read(make([]byte, 1<<20)); err != nil {
						done <- err
						return
					}
				}
			}()
			synctest.Wait()
			start := time.Now()
			go end(y)
			err := <-done
			if _, ok := errors.AsType[*transport.StreamError](err); !ok && !errors.Is(err, net.ErrClosed) || time.Since(start) > time.Millisecond {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		}
	})
	bubble(t, "DS-14 a Write that takes long is traffic, a peer that reads nothing is none", func(t *testing.T) {
		a, b, stop := connectPair(t, simulated(t), &Config{noFlowControl: true, Session: &transport.Config{IdleTimeout: 2 * time.Second}},
			&Config{noFlowControl: true, Session: &transport.Config{IncomingByteRate: transport.Rate{PerSecond: 100 << 10}}})
		defer stop()
		x, y := uniPair(t, a, b)
		done := make(chan error, 1)
		go func() { _, err := x.Write(make([]byte, 2<<20)); done <- err }()
		if n, err := io.ReadFull(y, make([]byte, 2<<20-100<<10)); err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
		if err := a.Context().Err(); err != nil {
			t.Fatalf("ended with %v", context.Cause(a.Context()))
		}
		go x.Write(make([]byte, 64<<20))
		wantLimit(t, a, transport.LimitSessionIdle)
		<-done
	})
}
