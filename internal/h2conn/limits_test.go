package h2conn_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/transport"
)

// wantLimit fails unless err tells of the limit.
func wantLimit(t *testing.T, err error, want transport.Limit) {
	t.Helper()
	if got, _ := transport.ReachedLimit(err); got != want || err == nil {
		t.Errorf("ended for the limit %q, want %q: %v", got, want, err)
	}
}

// A connection that ends because a limit of ours was reached names it, and so does
// the end of each of its streams.
func TestLimitOfConnection(t *testing.T) {
	repeat := func(f func(s *server, i int)) func(s *server) {
		return func(s *server) {
			for i := 0; i < 200 && s.c.Err() == nil; i++ {
				f(s, i)
				synctest.Wait()
			}
		}
	}
	small := h2conn.Rate{Burst: 20, PerSecond: 1}
	for _, tt := range []struct {
		limit transport.Limit
		name  string
		cfg   h2conn.Config
		run   func(s *server)
	}{
		{transport.LimitFrames, "DS-05 PING", h2conn.Config{Glitches: small},
			repeat(func(s *server, _ int) { s.WritePing(false, [8]byte{}) })},
		{transport.LimitStreamResets, "DS-01 resets", h2conn.Config{Resets: small},
			repeat(func(s *server, i int) {
				s.WriteHeaders(uint32(2*i+3), true, get...)
				s.WriteRST(uint32(2*i+3), http2.ErrCodeCancel)
			})},
		{transport.LimitReplies, "DS-05 answers not read", h2conn.Config{MaxQueuedControl: 10, WriteTimeout: -1},
			func(s *server) {
				s.nc.StallWrites(true)
				for range 20 {
					s.WritePing(false, [8]byte{})
				}
				synctest.Wait()
				s.nc.StallWrites(false)
			}},
		{transport.LimitHeaderSize, "DS-03 CONTINUATION", h2conn.Config{MaxContinuations: 2},
			func(s *server) {
				s.WriteHeadersFrame(http2.HeadersFrameParam{StreamID: 3, BlockFragment: s.Encode(get...)})
				for range 3 {
					s.WriteContinuation(3, false, nil)
				}
			}},
		{transport.LimitHeaderSize, "DS-12 block", h2conn.Config{MaxHeaderListSize: 1000},
			func(s *server) {
				s.WriteHeadersFrame(http2.HeadersFrameParam{StreamID: 3, EndHeaders: true, BlockFragment: make([]byte, 2001)})
			}},
		{transport.LimitHeaderSize, "DS-12 string", h2conn.Config{MaxHeaderListSize: 1000},
			func(s *server) { s.WriteBytes([]byte("\x00\x00\x06\x01\x04\x00\x00\x00\x03\x00\x7f\x80\x80\x01x")) }},
		{transport.LimitHeaderTime, "DS-14 header", h2conn.Config{},
			func(s *server) {
				s.WriteHeadersFrame(http2.HeadersFrameParam{StreamID: 3, BlockFragment: s.Encode(get...)})
				time.Sleep(10 * time.Second)
			}},
		{transport.LimitPingTime, "DS-14 silence", h2conn.Config{},
			func(s *server) { time.Sleep(30 * time.Second) }},
		{transport.LimitWriteTime, "DS-10 a peer that does not read", h2conn.Config{KeepAlive: -1},
			func(s *server) {
				s.nc.StallWrites(true)
				s.WritePing(false, [8]byte{})
				time.Sleep(30 * time.Second)
			}},
		{transport.LimitFrameSize, "BP-002 SETTINGS too large", h2conn.Config{},
			func(s *server) { s.WriteRawFrame(http2.FrameSettings, 0, 0, make([]byte, 16386)) }},
		{transport.LimitFrameSize, "DS-08 entries", h2conn.Config{MaxSettings: 2},
			func(s *server) { s.WriteSettings(set(0x99, 1), set(0x98, 1), set(0x97, 1)) }},
		{transport.LimitFlowControl, "BP-019 connection window", h2conn.Config{ConnWindow: 65535, MaxConnWindow: 65535, StreamWindow: 1 << 20},
			func(s *server) {
				s.stream(1).st.HoldCredit()
				s.stream(1).keep = true
				for range 5 { // withheld: the receiver holds more than ReceiveBuffer
					s.WriteData(1, false, strings.Repeat("x", 16384))
				}
			}},
		{transport.LimitFlowControl, "BP-018 connection window above 2^31-1", h2conn.Config{},
			func(s *server) { s.WriteWindowUpdate(0, 1<<31-1) }},
		{transport.LimitFlowControl, "BP-005 a stream's window above 2^31-1", h2conn.Config{},
			func(s *server) {
				s.WriteWindowUpdate(1, 1<<30)
				s.WriteSettings(set(window, 1<<31-1))
			}},
		{transport.LimitRequests, "BP-029 PRIORITY_UPDATE beyond the stream limit", h2conn.Config{MaxConcurrentStreams: 3},
			func(s *server) {
				for i := range 4 {
					s.WritePriorityUpdate(uint32(3+2*i), "u=1")
				}
			}},
		{"", "BP-013 no limit: DATA on an idle stream", h2conn.Config{}, func(s *server) { s.WriteData(9, false, "x") }},
	} {
		t.Run(tt.name+": "+string(tt.limit), func(t *testing.T) {
			tt.cfg.ReceiveBuffer = 16384
			serverTest(t, &tt.cfg, func(t *testing.T, s *server) {
				s.AllowWriteErrors = true
				s.WriteHeaders(1, false, post...)
				r := s.stream(1)
				tt.run(s)
				<-s.c.Done()
				wantLimit(t, s.c.Err(), tt.limit)
				_, _, reset := r.snapshot()
				if reset == nil {
					t.Fatal("the owner of a stream was not told")
				}
				wantLimit(t, reset, tt.limit)
			})
		})
	}
	for _, tt := range []struct {
		name  string
		start func(s *server)
	}{
		{"DS-14 no preface: handshake-time", func(s *server) { s.Start() }},
		{"DS-14 no SETTINGS: handshake-time", func(s *server) { s.Start(); s.WriteBytes([]byte(http2.ClientPreface)) }},
		{"BP-009 no SETTINGS ACK: handshake-time", func(s *server) { s.Preface() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, nil)
				defer s.stop()
				tt.start(s)
				<-s.c.Done()
				wantLimit(t, s.c.Err(), transport.LimitHandshakeTime)
			})
		})
	}
	t.Run("DS-15 idle: connection-idle", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			<-s.c.Done()
			wantLimit(t, s.c.Err(), transport.LimitConnectionIdle)
			if _, err := s.done.Result(); err != nil {
				t.Errorf("Serve returned %v for an end that is no error", err)
			}
		})
	})
	t.Run("DS-15 a shutdown that is not about idling has no limit", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.c.GoAway()
			<-s.c.Done()
			wantLimit(t, s.c.Err(), "")
		})
	})
}

func TestLimitOfStream(t *testing.T) {
	for _, tt := range []struct {
		name  string
		limit transport.Limit
		run   func(s *server)
	}{
		{"BP-019 stream window", transport.LimitFlowControl, func(s *server) { s.WriteData(1, false, strings.Repeat("x", 101)) }},
		{"BP-018 stream window above 2^31-1", transport.LimitFlowControl, func(s *server) { s.WriteWindowUpdate(1, 1<<31-1) }},
		{"BP-002 frame too large", transport.LimitFrameSize, func(s *server) { s.WriteData(1, false, strings.Repeat("x", 16385)) }},
		{"BP-023 trailers too large", transport.LimitHeaderSize, func(s *server) { s.WriteHeaders(1, true, "a", strings.Repeat("x", 1000)) }},
		{"BP-024 no limit", "", func(s *server) { s.WriteHeaders(1, true, "A", "x") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			serverTest(t, &h2conn.Config{StreamWindow: 100, MaxStreamWindow: 100, MaxHeaderListSize: 1000}, func(t *testing.T, s *server) {
				s.WriteHeaders(1, false, post...)
				r := s.stream(1)
				tt.run(s)
				synctest.Wait()
				_, _, reset := r.snapshot()
				if reset == nil {
					t.Fatal("not reset")
				}
				wantLimit(t, reset, tt.limit)
				if err := s.c.Err(); err != nil {
					t.Errorf("the connection ended: %v", err)
				}
			})
		})
	}
	t.Run("BP-031 BP-023 BP-024 requests that the handler does not get", func(t *testing.T) {
		type refusal struct {
			protocol string
			status   int
			limit    transport.Limit
		}
		var got []refusal
		cfg := &h2conn.Config{MaxConcurrentStreams: 1, MaxHeaderListSize: 1000, ConnectProtocol: true,
			OnRefused: func(protocol string, status int, limit transport.Limit) {
				got = append(got, refusal{protocol, status, limit})
			}}
		serverTest(t, cfg, func(t *testing.T, s *server) {
			wt := with(connect, ":protocol", "webtransport")
			s.WriteHeaders(1, true, with(get, "a", strings.Repeat("x", 1000))...)
			synctest.Wait()
			s.WriteHeaders(3, false, with(wt, "a", strings.Repeat("x", 1000))...)
			synctest.Wait()
			s.WriteHeaders(5, false, with(wt, "A", "x")...)
			synctest.Wait()
			s.WriteHeaders(7, false, post...)
			synctest.Wait()
			s.WriteHeaders(9, false, wt...)
			synctest.Wait()
			s.WriteHeaders(11, false, get...)
			synctest.Wait()
			want := []refusal{{"", 431, transport.LimitHeaderSize}, {"webtransport", 431, transport.LimitHeaderSize},
				{"webtransport", 0, ""}, {"webtransport", 0, transport.LimitRequests}, {"", 0, transport.LimitRequests}}
			if len(got) != len(want) {
				t.Fatalf("got %v, want %v", got, want)
			}
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("got %v, want %v", got[i], want[i])
				}
			}
		})
	})
}

// An end is told once, before Done, on both sides.
func TestOnEnd(t *testing.T) {
	for _, server := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var ends []*h2conn.ConnError
			var done <-chan struct{}
			cfg := &h2conn.Config{OnEnd: func(e *h2conn.ConnError) {
				select {
				case <-done:
					t.Error("told after Done")
				default:
				}
				ends = append(ends, e)
			}}
			if server {
				s := newServer(t, cfg)
				done = s.c.Done()
				s.Greet()
				s.AllowWriteErrors = true
				s.WriteData(1, false, "x")
				<-done
				s.stop()
			} else {
				c := newClient(t, cfg)
				done = c.c.Done()
				c.Greet()
				c.AllowWriteErrors = true
				c.WriteData(1, false, "x")
				<-done
				c.stop()
			}
			if len(ends) != 1 || ends[0].Code != http2.ErrCodeProtocol {
				t.Errorf("server %v: told %v", server, ends)
			}
		})
	}
}
