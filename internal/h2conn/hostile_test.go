package h2conn_test

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/internal/hostile"
	"github.com/towpath-go/towpath/transport"
)

// What a connection with the default Config may hold, as the package documents it.
const (
	// WriteBuffer, and as much again while it grows; one frame of MaxFrameSize;
	// one header list of MaxHeaderListSize, of which half a field may be in the
	// decoder; the HPACK tables, the closed stream ids, and the read buffer.
	connectionBytes = 2*64<<10 + 16<<10 + 2*64<<10 + 32<<10
	// Both directions of the network in memory, and the script's own buffers.
	networkBytes = 2*64<<10 + 64<<10
	// MaxConcurrentStreams streams and twice as many owners that are not Done.
	streamBytes = 200 * 4 << 10
	// MaxQueuedControl replies, in slices that may be twice as long.
	replyBytes = 2 * 1000 * 16

	// boundBytes is for attacks that keep neither streams nor replies.
	boundBytes = connectionBytes + networkBytes
	// The read and the write goroutine; one each for the script's peer, the
	// server's caller and the bubble.
	boundGoroutines = 5
)

// calm is the reaction to most floods.
const calm = "connection ended with ENHANCE_YOUR_CALM"

// A flooding is an attack of frames on a connection.
type flooding struct {
	id       string // of the requirements it shows, for the subtest's name
	name     string
	reaction string // "" is calm
	code     http2.ErrCode
	limit    transport.Limit
	cfg      h2conn.Config
	settings []http2.Setting
	// more is what the victim may hold besides boundBytes.
	more int64
	// open is done first, on stream 1 and on what else the flood needs.
	open func(s *server)
	// frames appends the frames of one step; ids of new streams are 2*i+3.
	frames func(b []byte, i int) []byte
	// steps bound how often it is done; the connection has to end before.
	steps int
	// burst is how many steps are written at once. Default 1.
	burst int
	// free, if set, is a Config that lets the flood go on, to measure its cost.
	free *h2conn.Config
	// costs is how many steps are measured; four times as many come too.
	costs int
	// during, if set, is called when the connection has taken some of it.
	during func(t *testing.T, s *server)
}

func (a *flooding) run(t *testing.T) {
	reaction, code := a.reaction, a.code
	if reaction == "" {
		reaction, code = calm, http2.ErrCodeEnhanceYourCalm
	}
	t.Run(a.id+" "+a.name, func(t *testing.T) {
		m := hostile.Start(t, hostile.Attack{
			Name: a.name, Victim: "h2", Reaction: reaction, Limit: a.limit,
			Bytes: boundBytes + a.more, Goroutines: boundGoroutines,
		})
		var end error
		synctest.Test(t, func(t *testing.T) {
			s := a.start(t, &a.cfg)
			defer s.stop()
			a.write(s, a.steps, func(i int) {
				if i&(i-1) == 0 { // at powers of two
					m.Sample()
					if a.during != nil {
						a.during(t, s)
					}
				}
			})
			m.Sample()
			if end = s.c.Err(); end == nil {
				t.Fatalf("the connection bears %d steps", a.steps)
			}
			var ce *h2conn.ConnError
			if !errors.As(end, &ce) || ce.Code != code {
				t.Errorf("ended with %v, want %v", end, code)
			}
		})
		if a.free != nil {
			m.Cost(a.costs, func(frames int) {
				synctest.Test(t, func(t *testing.T) {
					s := a.start(t, a.free)
					defer s.stop()
					a.write(s, frames, func(int) {})
					synctest.Wait()
					if err := s.c.Err(); err != nil {
						t.Fatalf("ended, although nothing stops it: %v", err)
					}
				})
			})
		}
		m.End(end)
	})
}

func (a *flooding) start(t *testing.T, cfg *h2conn.Config) *server {
	s := newServer(t, cfg)
	// What comes back is not kept.
	s.Greet(a.settings...)
	s.Discard()
	s.AllowWriteErrors = true
	if a.open != nil {
		a.open(s)
	}
	return s
}

// write floods the connection until it ends.
func (a *flooding) write(s *server, steps int, each func(i int)) {
	var b []byte
	burst := max(a.burst, 1)
	for i := 0; i < steps && s.c.Err() == nil; i += burst {
		b = b[:0]
		for j := range burst {
			b = a.frames(b, i+j)
		}
		s.WriteBytes(b)
		synctest.Wait()
		each(i)
	}
}

// frame appends a frame.
func frame(b []byte, typ http2.FrameType, flags http2.Flags, id uint32, payload string) []byte {
	n := len(payload)
	b = append(b, byte(n>>16), byte(n>>8), byte(n), byte(typ), byte(flags))
	b = binary.BigEndian.AppendUint32(b, id)
	return append(b, payload...)
}

// Header blocks that use no dynamic table, so that they can be sent again and
// again.
const (
	getBlock  = "\x82\x87\x84\x01\x09a.example" // GET https://a.example/
	postBlock = "\x83\x87\x84\x01\x09a.example"
	badBlock  = "\x00\x01A\x00" // a name in upper case, and nothing else
)

const (
	endHeaders = http2.FlagHeadersEndHeaders
	endStream  = http2.FlagHeadersEndStream
)

// always returns frames that are the same each time.
func always(f []byte) func(b []byte, _ int) []byte {
	return func(b []byte, _ int) []byte { return append(b, f...) }
}

// onNew returns frames that open a stream and do something to it.
func onNew(flags http2.Flags, block string, then func(b []byte, id uint32) []byte) func(b []byte, i int) []byte {
	return func(b []byte, i int) []byte {
		id := uint32(2*i + 3)
		return then(frame(b, http2.FrameHeaders, flags|endHeaders, id, block), id)
	}
}

func number(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

func post1(s *server) {
	s.WriteHeaders(1, false, post...)
	s.stream(1)
}

// small has budgets that are used up soon, free has none.
var (
	small = h2conn.Rate{Burst: 500, PerSecond: 1}
	free  = h2conn.Rate{Burst: -1}
)

func TestHostileRapidReset(t *testing.T) {
	cancel := func(b []byte, id uint32) []byte {
		return frame(b, http2.FrameRSTStream, 0, id, number(uint32(http2.ErrCodeCancel)))
	}
	started := 0
	for _, a := range []flooding{
		{
			id: "DS-01", name: "rapid reset (CVE-2023-44487), handlers hang", limit: transport.LimitStreamResets, more: streamBytes,
			open:   func(s *server) { s.accept = func(*stream) bool { started++; return true } },
			frames: onNew(endStream, getBlock, cancel), steps: 100_000,
			during: func(t *testing.T, _ *server) {
				if started > 100 {
					t.Errorf("%d handlers were started, the limit is 100", started)
				}
			},
		},
		{
			id: "DS-01", name: "rapid reset (CVE-2023-44487), handlers end", limit: transport.LimitStreamResets, more: streamBytes,
			open: func(s *server) {
				s.accept = func(r *stream) bool { r.st.Done(); return true }
				s.forget = true
			},
			frames: onNew(endStream, getBlock, cancel), steps: 100_000,
			free: &h2conn.Config{Resets: free}, costs: 2000,
		},
		{
			id: "DS-01 BP-031", name: "streams beyond the limit", limit: transport.LimitStreamResets, more: streamBytes,
			frames: onNew(endStream, getBlock, func(b []byte, _ uint32) []byte { return b }), steps: 100_000,
			free: &h2conn.Config{Resets: free}, costs: 2000,
		},
	} {
		a.run(t)
	}
}

func TestHostileMadeYouReset(t *testing.T) {
	triggers := []struct {
		name string
		then func(b []byte, id uint32) []byte
	}{
		{"WINDOW_UPDATE of 0", func(b []byte, id uint32) []byte {
			return frame(b, http2.FrameWindowUpdate, 0, id, number(0))
		}},
		{"WINDOW_UPDATE beyond 2^31-1", func(b []byte, id uint32) []byte {
			return frame(b, http2.FrameWindowUpdate, 0, id, number(1<<31-1))
		}},
		{"DATA after END_STREAM", func(b []byte, id uint32) []byte {
			b = frame(b, http2.FrameData, http2.FlagDataEndStream, id, "")
			return frame(b, http2.FrameData, 0, id, "x")
		}},
		{"PRIORITY of 4 bytes", func(b []byte, id uint32) []byte {
			return frame(b, http2.FramePriority, 0, id, "abcd")
		}},
		{"a stream that depends on itself", func(b []byte, id uint32) []byte {
			return frame(b, http2.FramePriority, 0, id, number(id)+"\x01")
		}},
		{"DATA beyond the stream's window", func(b []byte, id uint32) []byte {
			return frame(b, http2.FrameData, 0, id, "a hundred bytes and more: the window of a stream is a hundred bytes for this test, and this is longer")
		}},
		{"trailers without END_STREAM", func(b []byte, id uint32) []byte {
			return frame(b, http2.FrameHeaders, endHeaders, id, getBlock)
		}},
		{"malformed trailers", func(b []byte, id uint32) []byte {
			return frame(b, http2.FrameHeaders, endHeaders|endStream, id, badBlock)
		}},
	}
	for _, tt := range triggers {
		(&flooding{
			id: "DS-02", name: "MadeYouReset (CVE-2025-8671): " + tt.name, limit: transport.LimitStreamResets, more: streamBytes,
			cfg:    h2conn.Config{StreamWindow: 100, MaxStreamWindow: 100},
			open:   func(s *server) { s.forget = true },
			frames: onNew(0, postBlock, tt.then), steps: 100_000,
			free: &h2conn.Config{StreamWindow: 100, MaxStreamWindow: 100, Resets: free, Glitches: free}, costs: 2000,
		}).run(t)
	}
	(&flooding{
		id: "DS-07 BP-032", name: "malformed requests", limit: transport.LimitStreamResets, more: streamBytes,
		frames: onNew(endStream, badBlock, func(b []byte, _ uint32) []byte { return b }), steps: 100_000,
		free: &h2conn.Config{Resets: free}, costs: 2000,
	}).run(t)
}

func TestHostileContinuation(t *testing.T) {
	begin := func(s *server) { s.WriteBytes(frame(nil, http2.FrameHeaders, 0, 1, "")) }
	for _, a := range []flooding{
		{
			id: "DS-03 BP-023", name: "CONTINUATION flood (CVE-2024-27316)", limit: transport.LimitHeaderSize,
			open:   begin,
			frames: always(frame(nil, http2.FrameContinuation, 0, 1, "\x00\x01a\x01b")), steps: 100_000,
			free: &h2conn.Config{MaxContinuations: 1 << 30, MaxHeaderListSize: 16 << 20}, costs: 2000,
		},
		{
			id: "DS-03 BP-023", name: "CONTINUATION frames of full size", limit: transport.LimitHeaderSize,
			cfg: h2conn.Config{MaxContinuations: 1 << 30}, open: begin,
			frames: func(b []byte, _ int) []byte {
				return frame(b, http2.FrameContinuation, 0, 1, strings.Repeat("\x90", 16384)) // accept-encoding
			}, steps: 1000,
		},
		{
			id: "DS-03 DS-11", name: "empty CONTINUATION flood", limit: transport.LimitHeaderSize,
			open:   begin,
			frames: always(frame(nil, http2.FrameContinuation, 0, 1, "")), steps: 100_000,
			free: &h2conn.Config{MaxContinuations: 1 << 30, Glitches: free}, costs: 2000,
		},
	} {
		a.run(t)
	}
}

func TestHostileFrames(t *testing.T) {
	settings := ""
	for i := range 100 {
		settings += string(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, uint16(0x1000+i)), 1))
	}
	for _, a := range []flooding{
		{id: "DS-08", name: "SETTINGS flood (CVE-2019-9515)", frames: always(frame(nil, http2.FrameSettings, 0, 0, ""))},
		{id: "DS-08", name: "SETTINGS flood of 100 entries each", frames: always(frame(nil, http2.FrameSettings, 0, 0, settings))},
		{id: "DS-05", name: "PING flood (CVE-2019-9512)", frames: always(frame(nil, http2.FramePing, 0, 0, "12345678"))},
		{id: "DS-05", name: "PING answers that nobody asked for", frames: always(frame(nil, http2.FramePing, http2.FlagPingAck, 0, "12345678"))},
		{id: "DS-11", name: "empty DATA flood (CVE-2019-9518)", open: post1, frames: always(frame(nil, http2.FrameData, 0, 1, ""))},
		{id: "DS-11", name: "DATA of padding alone", open: post1, frames: always(frame(nil, http2.FrameData, http2.FlagDataPadded, 1, "\x04\x00\x00\x00\x00"))},
		{id: "DS-11 BP-015", name: "frames on streams that were reset", open: func(s *server) {
			post1(s)
			s.stream(1).st.Reset(http2.ErrCodeCancel)
		}, frames: always(frame(nil, http2.FrameData, 0, 1, ""))},
		{id: "DS-06", name: "PRIORITY flood (CVE-2019-9513)", open: post1, frames: always(frame(nil, http2.FramePriority, 0, 1, number(3)+"\x01"))},
		{id: "DS-06", name: "PRIORITY_UPDATE flood", open: post1, frames: always(frame(nil, http2.FramePriorityUpdate, 0, 0, number(1)+"u=1"))},
		{id: "DS-06 BP-029", name: "PRIORITY_UPDATE flood for streams to come", open: post1, frames: func(b []byte, i int) []byte {
			return frame(b, http2.FramePriorityUpdate, 0, 0, number(uint32(3+2*(i%90)))+"u=1")
		}},
		{id: "DS-11 BP-007", name: "flood of frames of an unknown type", frames: always(frame(nil, 0xf0, 0, 0, "12345678"))},
		{id: "DS-04", name: "WINDOW_UPDATE flood on the connection", frames: always(frame(nil, http2.FrameWindowUpdate, 0, 0, number(1)))},
		{id: "DS-04", name: "WINDOW_UPDATE flood on a stream", open: post1, frames: always(frame(nil, http2.FrameWindowUpdate, 0, 1, number(1)))},
		{id: "DS-04", name: "data dribble: windows of one byte (CVE-2019-9511)",
			settings: []http2.Setting{set(window, 0)},
			open: func(s *server) {
				s.WriteHeaders(1, true, get...)
				r := s.stream(1)
				r.endless = 'x'
				if err := r.st.WriteHeaders(ok200, false, nil); err != nil {
					panic(err)
				}
				r.st.SetSource(source{r})
			},
			frames: always(frame(nil, http2.FrameWindowUpdate, 0, 1, number(1)))},
		{id: "DS-11", name: "requests with a header that is too large", frames: func(b []byte, i int) []byte {
			return frame(b, http2.FrameHeaders, endHeaders|endStream, uint32(2*i+3), bombBlock(600))
		}},
	} {
		a.limit, a.cfg.Glitches, a.steps = transport.LimitFrames, small, 100_000
		a.free, a.costs = &h2conn.Config{Glitches: free, Resets: free}, 2000
		a.run(t)
	}
	for _, a := range []flooding{
		{id: "DS-13 BP-018", name: "window overflow on the connection", limit: transport.LimitFlowControl,
			frames: always(frame(nil, http2.FrameWindowUpdate, 0, 0, number(1<<30)))},
		{id: "DS-13 BP-005", name: "window overflow by SETTINGS", limit: transport.LimitFlowControl, open: func(s *server) {
			post1(s)
			s.WriteWindowUpdate(1, 1<<30)
		}, frames: always(frame(nil, http2.FrameSettings, 0, 0, "\x00\x04\x7f\xff\xff\xff"))},
		{id: "DS-13 BP-019", name: "data beyond the connection's window", limit: transport.LimitFlowControl,
			cfg: h2conn.Config{ReceiveBuffer: 16384, ConnWindow: 65535, MaxConnWindow: 65535, StreamWindow: 1 << 20},
			open: func(s *server) {
				post1(s)
				s.stream(1).keep = true
			},
			frames: always(frame(nil, http2.FrameData, 0, 1, string(make([]byte, 16384))))},
	} {
		a.reaction, a.code, a.steps = "connection ended with FLOW_CONTROL_ERROR", http2.ErrCodeFlowControl, 1000
		a.run(t)
	}
}

// bombBlock is a request whose list has n fields of the static table, of 46 bytes
// each with the overhead, for one byte.
func bombBlock(n int) string {
	return getBlock + strings.Repeat("\x8f", n) // accept-charset, without a value
}
