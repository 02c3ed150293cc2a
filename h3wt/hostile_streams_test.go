package h3wt

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/internal/hostile"
	"github.com/towpath-go/towpath/transport"
)

// closedFor waits for the victim's server to close the connection for a limit, and
// returns what the session ended with.
func (v *victim) closedFor(limit transport.Limit) error {
	v.Helper()
	v.conn.wantClosed(0x107)
	wantLimit(v, v.s, limit)
	return context.Cause(v.s.Context())
}

// acceptAll takes and reads the streams of a session until it ends.
func acceptAll(s transport.Session) {
	go func() {
		for {
			st, err := s.AcceptUniStream(context.Background())
			if err != nil {
				return
			}
			go io.Copy(io.Discard, st)
		}
	}()
	for {
		st, err := s.AcceptStream(context.Background())
		if err != nil {
			return
		}
		go func() {
			io.Copy(io.Discard, st)
			st.Close()
		}()
	}
}

func TestHostileEarlyStreams(t *testing.T) {
	t.Run("H3-034 H3-035 H3-036 streams for sessions that never come", func(t *testing.T) {
		var m *hostile.Meter
		onVictim(t, nil, pooledSettings, func(v *victim) {
			m = hostile.Start(t, hostile.Attack{
				Name: "streams for sessions that never come", Victim: "h3", Limit: transport.LimitEarlyStreams,
				Reaction: "64 wait for 5 s, more are reset with WT_BUFFERED_STREAM_REJECTED",
				Bytes:    processNoise + DefaultMaxEarlyStreams*(streamCost+2<<10), Goroutines: goroutineNoise,
			})
			var waiting, rejected []*quic.SendStream
			for i := range 2 * DefaultMaxEarlyStreams {
				u := v.conn.uniStream(varints(uniStreamType, uint64(400+4*i)), make([]byte, 1<<10))
				if i < DefaultMaxEarlyStreams {
					waiting = append(waiting, u)
				} else {
					rejected = append(rejected, u)
				}
			}
			for _, u := range rejected {
				v.conn.wantStopped(u, codeBufferedStreamRejected)
			}
			m.Sample()
			for i, u := range waiting {
				if u.Context().Err() != nil {
					v.Errorf("stream %d was rejected", i)
				}
			}
			time.Sleep(DefaultEarlyTimeout)
			for _, u := range waiting {
				v.conn.wantStopped(u, codeBufferedStreamRejected)
			}
			m.Sample()
			v.conn.wantOpen()
		})
		m.End(nil)
	})
	flood := func(v *victim, times int) {
		for range times {
			u, err := v.conn.OpenUniStreamSync(context.Background())
			if err != nil {
				return
			}
			u.Write(varints(uniStreamType, 4000))
			u.Close()
		}
	}
	t.Run("H3-036 H3-068 streams for sessions that never come, without end", func(t *testing.T) {
		var m *hostile.Meter
		var reached error
		onVictim(t, nil, pooledSettings, func(v *victim) {
			m = hostile.Start(t, hostile.Attack{
				Name: "streams for sessions that never come, without end", Victim: "h3", Limit: transport.LimitStreamResets,
				Reaction: "the connection is closed with H3_EXCESSIVE_LOAD",
				Bytes:    processNoise + (2*transport.DefaultMaxIncomingStreams+DefaultMaxEarlyStreams)*streamCost, Goroutines: goroutineNoise,
			})
			flood(v, floodBound-1)
			m.Sample()
			v.conn.wantOpen()
			flood(v, 5000)
			reached = v.closedFor(transport.LimitStreamResets)
		})
		m.Cost(2000, func(frames int) {
			onVictim(t, &Config{Session: &transport.Config{Floods: off}}, pooledSettings, func(v *victim) {
				flood(v, frames)
				time.Sleep(2 * DefaultEarlyTimeout)
				v.conn.wantOpen()
			})
		})
		m.End(reached)
	})
}

// silentStreams is how many streams a client may leave without a header.
func silentStreams() (bidi, uni int) {
	q := (*Config)(nil).settled().quicConfig(nil, true)
	return int(q.MaxIncomingStreams), int(q.MaxIncomingUniStreams)
}

func (c *Config) settled() *Config {
	d := c.settle()
	return &d
}

func TestHostileHeaders(t *testing.T) {
	for _, a := range []struct {
		name    string
		dribble []byte // a byte at a time
	}{
		{"H3-035 H3-068 DS-14 streams without a header", nil},
		{"H3-035 H3-068 DS-14 stream headers a byte at a time", []byte{0xc0, 0, 0}},
	} {
		t.Run(a.name, func(t *testing.T) {
			var m *hostile.Meter
			most, mostUni := silentStreams()
			onVictim(t, nil, pooledSettings, func(v *victim) {
				m = hostile.Start(t, hostile.Attack{
					Name: a.name[len("H3-035 H3-068 DS-14 "):], Victim: "h3",
					Reaction: "each is reset after 5 s, but for 8 unidirectional ones", Limit: transport.LimitEarlyStreams,
					// One goroutine for each stream whose header is late.
					Bytes: processNoise + int64(most+mostUni)*streamCost, Goroutines: most + mostUni + goroutineNoise,
				})
				// A stream shows with its first byte, or when a later one does: the
				// last one of each kind shows all.
				var bidi []*quic.Stream
				var uni []*quic.SendStream
				for {
					str, err := v.conn.OpenStream()
					if err != nil {
						break
					}
					bidi = append(bidi, str)
				}
				for {
					str, err := v.conn.OpenUniStream()
					if err != nil {
						break
					}
					uni = append(uni, str)
				}
				if len(bidi) < most-10 || len(uni) < mostUni-10 {
					v.Fatalf("only %d and %d streams could be opened", len(bidi), len(uni))
				}
				bidi[len(bidi)-1].Write([]byte{0xc0})
				uni[len(uni)-1].Write([]byte{0xc0})
				for _, b := range a.dribble {
					for _, str := range bidi {
						str.Write([]byte{b})
					}
					for _, str := range uni[criticalStreams:] {
						str.Write([]byte{b})
					}
					time.Sleep(DefaultEarlyTimeout / 5)
				}
				time.Sleep(time.Second)
				m.Sample()
				time.Sleep(2 * DefaultEarlyTimeout)
				for _, str := range bidi {
					v.conn.wantStopped(str, codeBufferedStreamRejected)
				}
				for _, str := range uni[criticalStreams:] {
					v.conn.wantStopped(str, codeBufferedStreamRejected)
				}
				m.Sample()
				v.conn.wantOpen()
				if v.s.Context().Err() != nil {
					v.Errorf("the session ended: %v", context.Cause(v.s.Context()))
				}
			})
			m.End(nil)
		})
	}
}

func TestHostileStreamChurn(t *testing.T) {
	// churn opens streams and resets them. With a header, the reset is one that
	// delivers it, so that the stream reaches the session.
	churn := func(v *victim, times int, header []byte) {
		for range times {
			u, err := v.conn.OpenUniStreamSync(context.Background())
			if err != nil || v.s.Context().Err() != nil {
				break
			}
			if header != nil {
				u.Write(header)
				u.SetReliableBoundary()
			}
			u.CancelWrite(quic.StreamErrorCode(firstApplicationCode))
		}
	}
	bytes := int64(processNoise + 2*(2*transport.DefaultMaxIncomingStreams+criticalStreams)*streamCost)
	t.Run("DS-01 H3-068 streams reset before their header", func(t *testing.T) {
		var m *hostile.Meter
		var reached error
		onVictim(t, nil, pooledSettings, func(v *victim) {
			m = hostile.Start(t, hostile.Attack{
				Name: "streams opened and reset, without a header", Victim: "h3", Limit: transport.LimitStreamResets,
				Reaction: "the connection is closed with H3_EXCESSIVE_LOAD", Bytes: bytes, Goroutines: goroutineNoise,
			})
			churn(v, floodBound-1, nil)
			m.Sample()
			v.conn.wantOpen()
			churn(v, 5000, nil)
			reached = v.closedFor(transport.LimitStreamResets)
		})
		m.Cost(2000, func(frames int) {
			onVictim(t, &Config{Session: &transport.Config{Floods: off}}, pooledSettings, func(v *victim) {
				churn(v, frames, nil)
				time.Sleep(time.Second)
				v.conn.wantOpen()
			})
		})
		m.End(reached)
	})
	t.Run("DS-01 H3-068 streams of a session reset", func(t *testing.T) {
		var m *hostile.Meter
		var reached error
		// Without flow control: otherwise WT_MAX_STREAMS bounds it further.
		onVictim(t, nil, modernSettings, func(v *victim) {
			go acceptAll(v.s)
			m = hostile.Start(t, hostile.Attack{
				Name: "a session's streams opened and reset", Victim: "h3", Limit: transport.LimitAborts,
				Reaction: "the session ends with H3_EXCESSIVE_LOAD", Bytes: bytes,
				Goroutines: goroutineNoise + transport.DefaultMaxIncomingStreams, // the application's readers
			})
			churn(v, floodBound-1, varints(uniStreamType, 0))
			m.Sample()
			if v.s.Context().Err() != nil {
				v.Errorf("ended below the bound: %v", context.Cause(v.s.Context()))
			}
			churn(v, 5000, varints(uniStreamType, 0))
			wantLimit(v, v.s, transport.LimitAborts)
			v.conn.wantStopped(v.str, 0x107)
			reached = context.Cause(v.s.Context())
			v.conn.wantOpen()
		})
		m.Cost(2000, func(frames int) {
			onVictim(t, &Config{Session: &transport.Config{Floods: off}}, modernSettings, func(v *victim) {
				go acceptAll(v.s)
				churn(v, frames, varints(uniStreamType, 0))
				time.Sleep(time.Second)
				if v.s.Context().Err() != nil {
					v.Errorf("ended without limits: %v", context.Cause(v.s.Context()))
				}
			})
		})
		m.End(reached)
	})
	t.Run("DS-18 STOP_SENDING for each stream opened here", func(t *testing.T) {
		var m *hostile.Meter
		var reached error
		onVictim(t, nil, modernSettings, func(v *victim) {
			// An application that answers each message on a stream of its own.
			for range 50 {
				go func() {
					for {
						u, err := v.s.OpenUniStream(context.Background())
						if err != nil {
							return
						}
						for {
							if _, err := u.Write([]byte("answer")); err != nil {
								break
							}
							time.Sleep(time.Millisecond)
						}
					}
				}()
			}
			m = hostile.Start(t, hostile.Attack{
				Name: "every stream is answered with STOP_SENDING", Victim: "h3", Limit: transport.LimitAborts,
				Reaction: "the session ends with H3_EXCESSIVE_LOAD", Bytes: bytes, Goroutines: goroutineNoise,
			})
			for n := 0; v.s.Context().Err() == nil && n < 5000; n++ {
				if n == floodBound-1 {
					m.Sample()
				}
				u, err := v.conn.AcceptUniStream(context.Background())
				if err != nil {
					break
				}
				u.CancelRead(quic.StreamErrorCode(firstApplicationCode))
			}
			if limit, _ := transport.ReachedLimit(context.Cause(v.s.Context())); limit != transport.LimitAborts {
				v.Fatalf("the session ended with %v", context.Cause(v.s.Context()))
			}
			reached = context.Cause(v.s.Context())
		})
		m.End(reached)
	})
}
