package h3wt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/hostile"
	"github.com/towpath-go/towpath/transport"
)

// onServer runs a script of a raw client against a server in a bubble.
func onServer(t *testing.T, cfg *Config, handler http.Handler, settings []uint64, script func(t *testing.T, h *harness, c *rawConn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Second) // for goroutines of the script that see the end
		h := serve(t, simulated(t), &Server{Handler: handler, Config: cfg})
		defer h.stop()
		c := h.rawDial(fullQUIC, settings...)
		defer c.close()
		time.Sleep(time.Second)
		script(t, h, c)
	})
}

// undecided is a handler that takes no decision until its request ends.
var undecided = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })

// told returns how often the Monitor was told a line.
func (w *watched) told(line string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.lines {
		if l == line {
			n++
		}
	}
	return n
}

// beside calls f so many times, from several goroutines, until it returns false.
func beside(goroutines, times int, f func() bool) {
	var wg sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(times))
	for range goroutines {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if !f() {
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestHostileRequests(t *testing.T) {
	// The state of requests that are being read or handled.
	cfg := (*Config)(nil).settled()
	running := cfg.MaxRequests + 2*cfg.MaxSessions
	bidi, uni := silentStreams()
	requests := int64(processNoise + (bidi+uni)*2*streamCost)

	t.Run("H3-047 DS-20 CONNECT floods", func(t *testing.T) {
		flood := func(c *rawConn, times int) (answers map[string]int) {
			answers = make(map[string]int)
			for range times {
				str, err := c.OpenStreamSync(context.Background())
				if err != nil {
					break
				}
				str.Write(connectHeaders(protocolH3))
				str.Close()
				b, err := io.ReadAll(str)
				reset, ok := errors.AsType[*quic.StreamError](err)
				switch {
				case ok && reset.Remote:
					answers[codeName(uint64(reset.ErrorCode))]++
				case bytes.Contains(b, []byte(statuses[429])):
					answers["429"]++
				case bytes.Contains(b, []byte(statuses[200])):
					answers["200"]++
				default:
					answers["other"]++
				}
			}
			return answers
		}
		var m *hostile.Meter
		w := &watched{}
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s, err := Upgrade(w, r, nil); err == nil {
				s.CloseWithError(0, "")
			}
		})
		onServer(t, &Config{SessionRate: 10, Monitor: w}, handler, pooledSettings, func(t *testing.T, h *harness, c *rawConn) {
			m = hostile.Start(t, hostile.Attack{
				Name: "CONNECT requests without end", Victim: "h3", Limit: transport.LimitSessionRate,
				Reaction: "429 with Retry-After", Bytes: requests, Goroutines: goroutineNoise,
			})
			answers := flood(c, 1000)
			m.Sample()
			// The client has ended its half: a close beside that may give way to a reset.
			granted := answers["200"] + answers["WT_SESSION_GONE"]
			if answers["429"] < 500 || granted < 20 || granted+answers["429"] != 1000 {
				t.Errorf("answers: %v", answers)
			}
			if n := w.told("h3 session refused 429 session-rate"); n != answers["429"] {
				t.Errorf("the Monitor was told of %d refusals, there were %d", n, answers["429"])
			}
			c.wantOpen()
		})
		m.Cost(500, func(frames int) {
			onServer(t, &Config{SessionRate: 1}, handler, pooledSettings, func(_ *testing.T, _ *harness, c *rawConn) { flood(c, frames) })
		})
		m.End(nil)
	})
	t.Run("DS-20 sessions opened and abandoned", func(t *testing.T) {
		abandon := func(c *rawConn, times int) {
			beside(20, times, func() bool {
				str, err := c.OpenStreamSync(context.Background())
				if err != nil {
					return false
				}
				str.Write(connectHeaders(protocolH3))
				if _, err := str.Read(make([]byte, 1)); err != nil {
					return false
				}
				str.CancelWrite(0x10c)
				str.CancelRead(0x10c)
				return true
			})
		}
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { Upgrade(w, r, nil) })
		var m *hostile.Meter
		w := &watched{}
		onServer(t, &Config{SessionRate: -1, Monitor: w}, handler, pooledSettings, func(t *testing.T, h *harness, c *rawConn) {
			m = hostile.Start(t, hostile.Attack{
				Name: "sessions opened and abandoned", Victim: "h3", Limit: transport.LimitStreamResets,
				Reaction: "the connection is closed with H3_EXCESSIVE_LOAD", Bytes: requests,
				Goroutines: goroutineNoise + cfg.MaxSessions*goroutinesPerSession,
			})
			abandon(c, floodBound-1)
			m.Sample()
			c.wantOpen()
			abandon(c, 10_000)
			c.wantClosed(0x107)
			time.Sleep(2 * time.Second)
			if w.told("server h3 connection ended with an error stream-resets") != 1 {
				t.Errorf("the Monitor was told %q", w.lines[len(w.lines)-3:])
			}
		})
		m.Cost(300, func(frames int) {
			onServer(t, &Config{SessionRate: -1, Session: &transport.Config{Floods: off}}, handler, pooledSettings, func(_ *testing.T, _ *harness, c *rawConn) {
				abandon(c, frames)
				time.Sleep(2 * time.Second)
			})
		})
		m.End(nil)
	})
	t.Run("DS-01 H3-068 rapid reset", func(t *testing.T) {
		reset := func(c *rawConn, times int) {
			request := headersFrame(":method", "GET", ":scheme", "https", ":authority", "example.com", ":path", "/")
			for range times {
				str, err := c.OpenStreamSync(context.Background())
				if err != nil {
					return
				}
				str.Write(request)
				str.SetReliableBoundary()
				str.CancelWrite(0x10c)
				str.CancelRead(0x10c)
			}
		}
		var m *hostile.Meter
		w := &watched{}
		onServer(t, &Config{Monitor: w}, undecided, modernSettings, func(t *testing.T, h *harness, c *rawConn) {
			m = hostile.Start(t, hostile.Attack{
				Name: "rapid reset (CVE-2023-44487)", Victim: "h3", Limit: transport.LimitStreamResets,
				Reaction: "the connection is closed with H3_EXCESSIVE_LOAD", Bytes: requests, Goroutines: goroutineNoise + 2*running,
			})
			reset(c, floodBound-1)
			m.Sample()
			c.wantOpen()
			reset(c, 20_000)
			c.wantClosed(0x107)
			time.Sleep(time.Second)
			if w.told("server h3 connection ended with an error stream-resets") != 1 {
				t.Errorf("the Monitor was told %q", w.lines)
			}
		})
		m.Cost(1000, func(frames int) {
			onServer(t, &Config{Session: &transport.Config{Floods: off}}, undecided, modernSettings, func(_ *testing.T, _ *harness, c *rawConn) {
				reset(c, frames)
				time.Sleep(time.Second)
			})
		})
		m.End(nil)
	})
	t.Run("DS-02 requests that make us reset them", func(t *testing.T) {
		malformed := func(c *rawConn, times int) {
			request := headersFrame(":method", "GET", ":scheme", "https", ":path", "/", "Upper", "case")
			beside(50, times, func() bool {
				str, err := c.OpenStreamSync(context.Background())
				if err != nil {
					return false
				}
				str.Write(request)
				str.Close()
				io.Copy(io.Discard, str)
				return true
			})
		}
		var m *hostile.Meter
		onServer(t, nil, undecided, modernSettings, func(t *testing.T, h *harness, c *rawConn) {
			m = hostile.Start(t, hostile.Attack{
				Name: "requests that make the server reset them (MadeYouReset)", Victim: "h3", Limit: transport.LimitStreamResets,
				Reaction: "the connection is closed with H3_EXCESSIVE_LOAD", Bytes: requests, Goroutines: goroutineNoise + 2*running,
			})
			malformed(c, floodBound-1)
			m.Sample()
			c.wantOpen()
			malformed(c, 20_000)
			c.wantClosed(0x107)
		})
		m.Cost(500, func(frames int) {
			onServer(t, &Config{Session: &transport.Config{Floods: off}}, undecided, modernSettings, func(_ *testing.T, _ *harness, c *rawConn) {
				malformed(c, frames)
				time.Sleep(time.Second)
			})
		})
		m.End(nil)
	})
	t.Run("DS-14 requests whose header never ends", func(t *testing.T) {
		var m *hostile.Meter
		onServer(t, nil, undecided, modernSettings, func(t *testing.T, h *harness, c *rawConn) {
			m = hostile.Start(t, hostile.Attack{
				Name: "requests whose header never ends", Victim: "h3", Limit: transport.LimitHeaderTime,
				Reaction: "each is reset after 5 s",
				// A header begins in a buffer of 8 KiB; one goroutine reads it.
				Bytes: requests + int64(running)*8<<10, Goroutines: goroutineNoise + bidi,
			})
			var slow []*quic.Stream
			for range running {
				str, err := c.OpenStream()
				if err != nil {
					t.Fatal(err)
				}
				str.Write(varints(1, 8<<10))
				slow = append(slow, str)
			}
			for range 4 {
				time.Sleep(time.Second)
				for _, str := range slow {
					str.Write([]byte{0})
				}
			}
			m.Sample()
			time.Sleep(2 * time.Second)
			for _, str := range slow {
				c.wantStopped(str, 0x10d)
			}
			m.Sample()
			c.wantOpen()
		})
		m.End(nil)
	})
	// bomb sends a request and returns what it was answered.
	bomb := func(c *rawConn, request []byte) string {
		str := c.request(request)
		str.Close()
		b, err := io.ReadAll(str)
		if reset, ok := errors.AsType[*quic.StreamError](err); ok {
			return codeName(uint64(reset.ErrorCode))
		}
		if len(b) > 6 {
			return "answered"
		}
		return "nothing"
	}
	for _, a := range []struct {
		name    string
		request []byte
	}{
		{"DS-12 a header of endless length", varints(1, 1<<61)},
		{"DS-12 a header of one byte more than the limit", varints(1, DefaultMaxHeaderBytes+1)},
		{"DS-12 DS-22 a field that is larger than the limit", headersFrame(":method", "GET", ":scheme", "https", ":authority", "example.com", ":path", "/", "x", strings.Repeat("x", DefaultMaxHeaderBytes-100))},
		{"DS-12 DS-09 a header of many indexed fields", h3frame(1, append([]byte{0, 0}, bytes.Repeat([]byte{0xc0 | 46}, DefaultMaxHeaderBytes-100)...))},
		{"DS-09 a header of many empty fields", h3frame(1, append([]byte{0, 0}, bytes.Repeat([]byte{0x21, 'x', 0}, (DefaultMaxHeaderBytes-100)/3)...))},
	} {
		t.Run(a.name, func(t *testing.T) {
			_, name, _ := strings.Cut(a.name, " a ")
			var m *hostile.Meter
			onServer(t, nil, undecided, modernSettings, func(t *testing.T, h *harness, c *rawConn) {
				m = hostile.Start(t, hostile.Attack{
					Name: "header bomb: a " + name, Victim: "h3", Limit: transport.LimitHeaderSize,
					Reaction: "431, or the request is reset",
					// The block as received, and the list as far as it was decoded.
					Bytes: processNoise + 3*DefaultMaxHeaderBytes, Goroutines: goroutineNoise,
				})
				for range 50 {
					if got := bomb(c, a.request); got != "answered" && got != "H3_MESSAGE_ERROR" {
						t.Fatalf("the answer was %q", got)
					}
				}
				m.Sample()
				c.wantOpen()
			})
			m.Cost(50, func(frames int) {
				onServer(t, nil, undecided, modernSettings, func(_ *testing.T, _ *harness, c *rawConn) {
					for range frames {
						bomb(c, a.request)
					}
				})
			})
			m.End(nil)
		})
	}
	t.Run("DS-20 sessions that nobody decides on", func(t *testing.T) {
		var m *hostile.Meter
		w := &watched{}
		onServer(t, &Config{Monitor: w, UpgradeTimeout: 10 * time.Second}, undecided, pooledSettings, func(t *testing.T, h *harness, c *rawConn) {
			m = hostile.Start(t, hostile.Attack{
				Name: "requests for sessions that the handler does not decide on", Victim: "h3", Limit: transport.LimitUpgradeTime,
				Reaction: "32 wait for UpgradeTimeout, more are reset with H3_REQUEST_REJECTED", Bytes: requests,
				Goroutines: goroutineNoise + 2*cfg.MaxSessions,
			})
			var waiting []*quic.Stream
			for range cfg.MaxSessions {
				waiting = append(waiting, c.request(connectHeaders(protocolH3)))
			}
			time.Sleep(time.Second)
			c.wantAborted(c.request(connectHeaders(protocolH3)), 0x10b)
			if n := w.told("h3 session refused reset sessions-per-connection"); n != 1 {
				t.Errorf("the Monitor was told %q", w.lines)
			}
			m.Sample()
			for _, str := range waiting {
				c.wantAborted(str, 0x107)
			}
			if n := w.told("h3 session refused reset upgrade-time"); n != cfg.MaxSessions {
				t.Errorf("the Monitor was told of %d requests", n)
			}
			m.Sample()
		})
		m.End(nil)
	})
	t.Run("DS-14 closes that are never answered", func(t *testing.T) {
		var m *hostile.Meter
		onVictim(t, nil, pooledSettings, func(v *victim) {
			m = hostile.Start(t, hostile.Attack{
				Name: "a close that the peer never answers", Victim: "h3", Reaction: "the stream is given up after CloseTimeout",
				Bytes: processNoise, Goroutines: goroutineNoise,
			})
			start := time.Now()
			v.s.CloseWithError(1, "bye")
			if d := time.Since(start); d < transport.DefaultCloseTimeout || d > transport.DefaultCloseTimeout+time.Second {
				v.Errorf("CloseWithError returned after %v", d)
			}
			v.conn.wantStopped(v.str, codeSessionGone)
			m.Sample()
			if n := v.s.(*Session).c; len(n.sessions) != 0 || n.slots != 0 {
				v.Errorf("%d sessions and %d places are left", len(n.sessions), n.slots)
			}
		})
		m.End(nil)
	})
	t.Run("DS-17 data after the close", func(t *testing.T) {
		var m *hostile.Meter
		onVictim(t, nil, pooledSettings, func(v *victim) {
			m = hostile.Start(t, hostile.Attack{
				Name: "data after WT_CLOSE_SESSION", Victim: "h3", Reaction: "the stream is reset with H3_MESSAGE_ERROR",
				Bytes: processNoise, Goroutines: goroutineNoise,
			})
			v.conn.capsules(v.str, capsule.CloseSession{})
			for range 1000 {
				if _, err := v.str.Write(dataFrame(make([]byte, 1000))); err != nil {
					break
				}
				time.Sleep(time.Millisecond)
			}
			v.conn.wantStopped(v.str, 0x10e)
			m.Sample()
			v.conn.wantOpen()
		})
		m.End(nil)
	})
}
