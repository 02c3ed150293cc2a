package h2wt

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/internal/hostile"
	"github.com/towpath-go/towpath/transport"
)

// What a server may hold for one connection besides the bytes of its sessions and
// bodies, as the packages document it: the HTTP/2 connection with its buffers, 256
// KiB; TLS with a record of each direction and its buffers, on both ends of the
// script, 160 KiB; the network in memory, 128 KiB; and of the http.Server and its
// certificate 256 KiB.
const serverBytes = (256 + 160 + 128 + 256) << 10

// Besides handlers: the connection's two goroutines, and one each of the listener,
// its caller, the script's peer and the bubble; one more may be just ending.
const serverGoroutines = 7

// handlerBytes are of one stream with its handler: the stream, the request with a
// small header, and the stack.
const handlerBytes = 24 << 10

// An assault is an attack on a server of this package in a bubble.
type assault struct {
	hostile.Attack
	h     http.Handler // nil: it hangs, and heeds nothing until the script has ended
	keeps bool         // it is scene.accept instead
	cfg   Config
	set   []func(*http.Server)
	// run is the script. It returns what the victim ended the connection or the
	// session with, or nil.
	run func(t *testing.T, a *scene) error
}

// A scene is where an assault happens.
type scene struct {
	*testServer
	w       *watched
	m       *hostile.Meter
	hanging chan struct{} // what handlers hang on, closed by release
	once    sync.Once

	mu    sync.Mutex // guards the following
	read  []error    // what hang got from each body
	kept  []transport.Session
	ended error // the end of the last connection, if it ended with an error
}

// ConnectionEnded keeps the error.
func (a *scene) ConnectionEnded(p transport.Protocol, s transport.Side, err error) {
	a.ended = err
	a.w.ConnectionEnded(p, s, err)
}
func (a *scene) ConnectionOpened(p transport.Protocol, s transport.Side) { a.w.ConnectionOpened(p, s) }
func (a *scene) ConnectionRefused(p transport.Protocol, l transport.Limit) {
	a.w.ConnectionRefused(p, l)
}
func (a *scene) SessionOpened(transport.Session, transport.Side) {}
func (a *scene) SessionRefused(r transport.Refusal)              { a.w.SessionRefused(r) }
func (a *scene) Dialed(transport.Dialed)                         {}

func (x *assault) test(t *testing.T, id string) {
	t.Helper()
	t.Run(id+" "+x.Name, func(t *testing.T) {
		x.Victim = "h2"
		m := hostile.Start(t, x.Attack)
		var end error
		synctest.Test(t, func(t *testing.T) {
			a := &scene{w: new(watched), m: m, hanging: make(chan struct{})}
			x.cfg.Monitor = a
			h := x.h
			switch {
			case x.keeps:
				h = http.HandlerFunc(a.accept)
			case h == nil:
				h = http.HandlerFunc(a.hang)
			}
			a.testServer = newServer(t, h, &x.cfg, x.set...)
			end = x.run(t, a)
			a.release()
			a.stop()
		})
		m.End(end)
	})
}

// flooder connects a scripted client whose writes may fail, and which keeps
// nothing.
func (a *scene) flooder(settings ...http2.Setting) *h2test.Peer {
	p := h2test.NewClient(a.t, a.clientTLS())
	p.AnswerPings, p.AllowWriteErrors = true, true
	p.Greet(settings...)
	p.Discard()
	return p
}

// over waits for the connection's end and returns it.
func (a *scene) over(p *h2test.Peer) error {
	synctest.Wait()
	p.Close()
	synctest.Wait()
	return a.ended
}

// hang is a handler that heeds nothing until release, and reads its body then.
func (a *scene) hang(_ http.ResponseWriter, r *http.Request) {
	<-a.hanging
	_, err := io.Copy(io.Discard, r.Body)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.read = append(a.read, err)
}

// release ends the handlers that hang.
func (a *scene) release() {
	a.once.Do(func() { close(a.hanging) })
	synctest.Wait()
}

// accept is a handler that keeps every session.
func (a *scene) accept(w http.ResponseWriter, r *http.Request) {
	s, err := Upgrade(w, r, nil)
	if err != nil {
		return // the client has gone
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.kept = append(a.kept, s)
}

// until repeats a step until the connection has ended, and samples now and then.
func (a *scene) until(limit int, step func(i int)) {
	for i := 0; i < limit && a.ended == nil; i++ {
		step(i)
		synctest.Wait()
		if i&(i-1) == 0 {
			a.m.Sample()
		}
	}
}

var (
	getFields  = []string{":method", "GET", ":scheme", "https", ":authority", "example.com", ":path", "/"}
	postFields = []string{":method", "POST", ":scheme", "https", ":authority", "example.com", ":path", "/"}
)

func TestHostileRapidReset(t *testing.T) {
	for _, tt := range []struct {
		name     string
		fields   []string
		handlers int
	}{
		{"requests", postFields, DefaultMaxConcurrentStreams},
		{"sessions", connectFields(), DefaultMaxSessions},
		{"WebSockets", connectFields(":protocol", "websocket"), DefaultMaxConcurrentStreams},
	} {
		(&assault{
			Attack: hostile.Attack{
				Name: "rapid reset (CVE-2023-44487) of " + tt.name + ", handlers hang", Reaction: "ENHANCE_YOUR_CALM on the connection",
				Limit: transport.LimitStreamResets,
				// MaxConcurrentStreams handlers, or MaxSessions.
				Bytes: serverBytes + int64(tt.handlers)*handlerBytes, Goroutines: serverGoroutines + tt.handlers,
			},
			run: func(t *testing.T, a *scene) error {
				p := a.flooder(wtLimits(100)...)
				a.until(10_000, func(i int) {
					p.WriteHeaders(uint32(2*i+1), false, tt.fields...)
					p.WriteRST(uint32(2*i+1), http2.ErrCodeCancel)
				})
				return a.over(p)
			},
		}).test(t, "DS-01")
	}
}

func TestHostileMadeYouReset(t *testing.T) {
	for _, tt := range []struct {
		name  string
		bytes []byte
	}{
		{"malformed capsules", []byte("\x99\x0b\x4d\x3d\x00")}, // WT_MAX_DATA without a value
		{"streams in a wrong state", capsule.StopSending{StreamID: 1}.Append(nil)},
		{"stream data beyond the limit", capsule.AppendStreamHeader(nil, false, capsule.Draft15, 0, 1<<30)},
	} {
		(&assault{
			Attack: hostile.Attack{
				Name: "MadeYouReset (CVE-2025-8671) by sessions: " + tt.name, Reaction: "ENHANCE_YOUR_CALM on the connection",
				Limit: transport.LimitStreamResets,
				// A session that has ended leaves nothing but what the test's handler
				// keeps of it, 100 of them.
				Bytes: serverBytes + 100*handlerBytes, Goroutines: serverGoroutines + 2,
			},
			h: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if _, err := Upgrade(w, r, nil); err != nil && r.Context().Err() == nil {
					panic(err)
				}
			}),
			run: func(t *testing.T, a *scene) error {
				p := a.flooder(wtLimits(100)...)
				a.until(10_000, func(i int) {
					id := uint32(2*i + 1)
					p.WriteHeaders(id, false, connectFields()...)
					synctest.Wait()
					p.WriteData(id, false, string(tt.bytes))
				})
				return a.over(p)
			},
		}).test(t, "DS-02")
	}
}

// TestHostileSessions has clients open sessions and do nothing good with them.
func TestHostileSessions(t *testing.T) {
	accept := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = Upgrade(w, r, nil) // an error means that the client has gone
	})
	(&assault{
		Attack: hostile.Attack{
			Name: "sessions opened and abandoned", Reaction: "ENHANCE_YOUR_CALM on the connection", Limit: transport.LimitStreamResets,
			Bytes: serverBytes + DefaultMaxSessions*handlerBytes, Goroutines: serverGoroutines + 1,
		},
		h: accept,
		run: func(t *testing.T, a *scene) error {
			p := a.flooder(wtLimits(100)...)
			a.until(10_000, func(i int) {
				p.WriteHeaders(uint32(2*i+1), false, connectFields()...)
				synctest.Wait()
				p.WriteRST(uint32(2*i+1), http2.ErrCodeCancel)
			})
			return a.over(p)
		},
	}).test(t, "DS-01 H2-180")
	(&assault{
		Attack: hostile.Attack{
			Name: "sessions opened and kept", Reaction: "429 beyond MaxSessions", Limit: transport.LimitSessionsPerConnection,
			Bytes: serverBytes + DefaultMaxSessions*handlerBytes, Goroutines: serverGoroutines + 1,
		},
		h: accept,
		run: func(t *testing.T, a *scene) error {
			p, _ := a.peer(wtLimits(100)...)
			defer p.Close()
			for i := range DefaultMaxSessions {
				p.WriteHeaders(uint32(2*i+1), false, connectFields()...)
				wantStatus(t, p, uint32(2*i+1), "200", false)
			}
			a.m.Sample()
			a.w.take()
			p.WriteHeaders(1001, false, connectFields()...)
			wantReject(t, p, 1001, "429")
			a.w.want(t, "one too many", "session refused h2 429 sessions-per-connection")
			p.WriteHeaders(1003, true, getFields...)
			p.SkipUntil("others are served", func(f h2test.Frame) bool { h, ok := f.(h2test.Headers); return ok && h.StreamID == 1003 })
			return nil
		},
	}).test(t, "DS-20 H2-042")
	(&assault{
		Attack: hostile.Attack{
			Name: "early data of 100 undecided sessions", Reaction: "held up to the stream's window, 503 after UpgradeTimeout", Limit: transport.LimitUpgradeTime,
			// 256 KiB for each, in buffers that are up to a half larger, which
			// MaxConnectionMemory and a connection window allow.
			Bytes:      serverBytes + DefaultMaxSessions*(handlerBytes+(256+128)<<10),
			Goroutines: serverGoroutines + DefaultMaxSessions + 1,
		},
		run: func(t *testing.T, a *scene) error {
			p := a.flooder(wtLimits(100)...)
			defer p.Close()
			for i := range DefaultMaxSessions {
				p.WriteHeaders(uint32(2*i+1), false, connectFields()...)
				for range 256 << 10 / 16384 {
					p.WriteData(uint32(2*i+1), false, strings.Repeat("x", 16384))
					synctest.Wait()
				}
			}
			a.m.Sample()
			if n := a.held(); n != DefaultMaxSessions*256<<10 {
				t.Errorf("%d bytes are counted for the server", n)
			}
			a.w.take()
			time.Sleep(DefaultUpgradeTimeout)
			if got := a.w.take(); len(got) != DefaultMaxSessions || got[0] != "session refused h2 503 upgrade-time" {
				t.Errorf("the Monitor was told %q", got)
			}
			if n := a.held(); n != 0 {
				t.Errorf("%d bytes are held for refused sessions", n)
			}
			return nil
		},
	}).test(t, "DS-20 H2-035")
	(&assault{
		Attack: hostile.Attack{
			Name: "sessions with large headers", Reaction: "newest session ended with ENHANCE_YOUR_CALM", Limit: transport.LimitMemory,
			// What the account counts, and as much that the headers take in maps.
			Bytes: serverBytes + 2<<20, Goroutines: serverGoroutines + 2,
		},
		cfg:   Config{MaxConnectionMemory: 1 << 20},
		keeps: true,
		run: func(t *testing.T, a *scene) error {
			p := a.flooder(wtLimits(100)...)
			defer p.Close()
			var end error
			for i := 0; i < 40 && end == nil; i++ {
				id := uint32(2*i + 1)
				b := p.Encode(connectFields("x", strings.Repeat("x", 60_000))...)
				p.WriteHeadersFrame(http2.HeadersFrameParam{StreamID: id, BlockFragment: b[:16384]})
				for b = b[16384:]; len(b) > 0; b = b[min(len(b), 16384):] {
					p.WriteContinuation(id, len(b) <= 16384, b[:min(len(b), 16384)])
				}
				synctest.Wait()
				a.m.Sample()
				if n := a.held(); n > 1<<20 {
					t.Fatalf("%d bytes are held", n)
				}
				for j, s := range a.kept {
					if end = context.Cause(s.Context()); end != nil && j != len(a.kept)-1 {
						t.Errorf("session %d of %d ended, want the newest", j, len(a.kept))
					}
				}
			}
			if n := len(a.kept); n != 18 {
				t.Errorf("the session that ended is number %d, want the first for which there is no room in 1 MiB", n)
			}
			return end
		},
	}).test(t, "DS-19")
}

// held returns what the server's account holds.
func (a *scene) held() int64 { return a.srv.budget.Held() }

// active returns how many handlers and sessions there are.
func (a *scene) active() (n int) {
	a.srv.mu.Lock()
	defer a.srv.mu.Unlock()
	for c := range a.srv.conns {
		c.mu.Lock()
		n += c.active
		c.mu.Unlock()
	}
	return n
}
