package h2test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Peer is one end of a connection. Its methods are called from the test's
// goroutine.
type Peer struct {
	// Ignore, if set, drops received frames for which it returns true. It runs on
	// the goroutine that reads; set it before Greet.
	Ignore func(Frame) bool
	// AnswerPings makes the peer acknowledge PINGs on arrival; those are not
	// reported then. Set it before Greet.
	AnswerPings bool
	// AllowWriteErrors makes writes to a closed connection no failure.
	AllowWriteErrors bool

	t      testing.TB
	client bool
	nc     net.Conn
	done   chan struct{} // closed when the reading goroutine has ended

	wmu    sync.Mutex // guards the following
	fr     *http2.Framer
	enc    *hpack.Encoder
	encBuf bytes.Buffer

	mu     sync.Mutex // guards the following
	queue  []Frame
	deaf   bool
	tables []uint32 // HEADER_TABLE_SIZE values sent and not acknowledged
}

// NewClient plays the client on nc, NewServer the server. The test's cleanup
// closes nc and waits for the peer's goroutine; a test that runs in a bubble must
// call Close before the bubble ends.
func NewClient(t testing.TB, nc net.Conn) *Peer { return newPeer(t, nc, true) }

// NewServer plays the server on nc.
func NewServer(t testing.TB, nc net.Conn) *Peer { return newPeer(t, nc, false) }

func newPeer(t testing.TB, nc net.Conn, client bool) *Peer {
	p := &Peer{t: t, client: client, nc: nc, done: make(chan struct{})}
	p.fr = http2.NewFramer(nc, nil)
	p.fr.AllowIllegalWrites = true
	p.enc = hpack.NewEncoder(&p.encBuf)
	return p
}

// Start begins reading frames. Greet and Preface call it.
func (p *Peer) Start() {
	// Ends when nc is closed or read to its end; Close waits for it.
	go p.readLoop()
}

// Preface starts the peer with its preface (for a client) and SETTINGS, and does
// not wait for anything.
func (p *Peer) Preface(s ...http2.Setting) {
	p.t.Helper()
	p.Start()
	if p.client {
		p.WriteBytes([]byte(http2.ClientPreface))
	}
	p.WriteSettings(s...)
}

// Greet exchanges SETTINGS and their acknowledgements, and returns what the other
// side sent. WINDOW_UPDATE frames for the connection are skipped meanwhile.
func (p *Peer) Greet(s ...http2.Setting) Settings {
	p.t.Helper()
	p.Preface(s...)
	f := p.wantNoUpdate("first frame is SETTINGS")
	got, ok := f.(Settings)
	if !ok || got.Ack {
		p.t.Fatalf("first frame is %v, want SETTINGS", f)
	}
	p.WriteSettingsAck()
	if f := p.wantNoUpdate("SETTINGS are acknowledged"); !same(f, Settings{Ack: true}) {
		p.t.Fatalf("got %v, want SETTINGS ACK", f)
	}
	p.skipUpdates()
	return got
}

func (p *Peer) wantNoUpdate(why string) Frame {
	p.t.Helper()
	for {
		f := p.Next(why)
		if u, ok := f.(WindowUpdate); !ok || u.StreamID != 0 {
			return f
		}
	}
}

func (p *Peer) skipUpdates() {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = slices.DeleteFunc(p.queue, func(f Frame) bool {
		u, ok := f.(WindowUpdate)
		return ok && u.StreamID == 0
	})
}

// Close closes the connection and waits for the peer's goroutine.
func (p *Peer) Close() {
	p.nc.Close()
	<-p.done
}

// Discard has the peer keep none of the frames that came and come.
func (p *Peer) Discard() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue, p.deaf = nil, true
}

// NetConn returns the peer's end.
func (p *Peer) NetConn() net.Conn { return p.nc }

// Next returns the next frame; if there is none once everything is blocked, the
// test fails, saying why one was wanted.
func (p *Peer) Next(why string) Frame {
	p.t.Helper()
	f, ok := p.Poll()
	if !ok {
		p.t.Fatalf("no frame came; wanted: %s", why)
	}
	return f
}

// Poll returns the next frame if one has come once everything is blocked.
func (p *Peer) Poll() (Frame, bool) {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 {
		return nil, false
	}
	f := p.queue[0]
	p.queue = p.queue[1:]
	return f, true
}

// Drain returns all frames that have come.
func (p *Peer) Drain() []Frame {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.queue
	p.queue = nil
	return q
}

func (p *Peer) readLoop() {
	defer close(p.done)
	br := bufio.NewReader(p.nc)
	if !p.client {
		var preface [len(http2.ClientPreface)]byte
		if _, err := io.ReadFull(br, preface[:]); err != nil || string(preface[:]) != http2.ClientPreface {
			p.push(Closed{Err: "no client preface"})
			return
		}
	}
	fr := http2.NewFramer(nil, br)
	fr.SetMaxReadFrameSize(1<<24 - 1)
	var block Headers
	dec := hpack.NewDecoder(4096, func(f hpack.HeaderField) {
		block.Fields = append(block.Fields, f.Name, f.Value)
		if f.Sensitive {
			block.Sensitive = append(block.Sensitive, f.Name)
		}
	})
	update := false // the next block must begin with a table size update
	fragment := func(b []byte, end bool) bool {
		block.Frames++
		if block.Frames == 1 && update {
			if update = false; len(b) == 0 || b[0]&0xe0 != 0x20 {
				p.push(Closed{Err: "no dynamic table size update"})
				return false
			}
		}
		if _, err := dec.Write(b); err != nil {
			p.push(Closed{Err: err.Error()})
			return false
		}
		if end {
			if err := dec.Close(); err != nil {
				p.push(Closed{Err: err.Error()})
				return false
			}
			p.push(block)
		}
		return true
	}
	for {
		f, err := fr.ReadFrame()
		switch {
		case errors.Is(err, io.EOF):
			p.push(Closed{})
			return
		case err != nil:
			p.push(Closed{Err: err.Error()})
			return
		}
		h := f.Header()
		switch f := f.(type) {
		case *http2.HeadersFrame:
			block = Headers{StreamID: h.StreamID, EndStream: f.StreamEnded()}
			if !fragment(f.HeaderBlockFragment(), f.HeadersEnded()) {
				return
			}
		case *http2.ContinuationFrame:
			if !fragment(f.HeaderBlockFragment(), f.HeadersEnded()) {
				return
			}
		case *http2.SettingsFrame:
			s := Settings{Ack: f.IsAck()}
			for i := range f.NumSettings() {
				s.Settings = append(s.Settings, f.Setting(i))
			}
			if s.Ack && p.shrink(dec) {
				update = true
			}
			p.push(s)
		case *http2.DataFrame:
			p.push(Data{StreamID: h.StreamID, EndStream: f.StreamEnded(), Data: string(f.Data()),
				Padding: int(h.Length) - len(f.Data())})
		case *http2.RSTStreamFrame:
			p.push(RSTStream{StreamID: h.StreamID, Code: f.ErrCode})
		case *http2.PingFrame:
			if p.AnswerPings && !f.IsAck() {
				p.write(func(fr *http2.Framer) error { return fr.WritePing(true, f.Data) })
				continue
			}
			p.push(Ping{Ack: f.IsAck(), Data: f.Data})
		case *http2.GoAwayFrame:
			p.push(GoAway{Last: f.LastStreamID, Code: f.ErrCode, Debug: string(f.DebugData())})
		case *http2.WindowUpdateFrame:
			p.push(WindowUpdate{StreamID: h.StreamID, Increment: f.Increment})
		case *http2.PriorityUpdateFrame:
			p.push(Unknown{Type: h.Type, StreamID: h.StreamID, Payload: f.Priority})
		case *http2.UnknownFrame:
			p.push(Unknown{Type: h.Type, Flags: h.Flags, StreamID: h.StreamID, Payload: string(f.Payload())})
		default:
			p.push(Unknown{Type: h.Type, Flags: h.Flags, StreamID: h.StreamID})
		}
	}
}

// shrink follows the acknowledgement of HEADER_TABLE_SIZE: entries that do not fit
// the smallest value are gone, and the other side must say so.
func (p *Peer) shrink(dec *hpack.Decoder) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.tables) == 0 {
		return false
	}
	dec.SetMaxDynamicTableSize(slices.Min(p.tables))
	dec.SetAllowedMaxDynamicTableSize(p.tables[len(p.tables)-1])
	less := slices.Min(p.tables) < 4096
	p.tables = nil
	return less
}

func (p *Peer) push(f Frame) {
	if p.Ignore != nil && p.Ignore(f) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.deaf {
		p.queue = append(p.queue, f)
	}
}
