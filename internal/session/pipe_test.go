package session

import (
	"crypto/sha256"
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// A pipe carries two sessions in memory, as a connection would: one goroutine a
// direction that asks one side for bytes and gives them to the other.
type pipe struct {
	ends [2]*pipeEnd
	stop chan struct{}
	wg   sync.WaitGroup
}

// A pipeEnd is the Carrier of one session of a pipe.
type pipeEnd struct {
	p       *pipe
	s       *Session
	peer    *pipeEnd
	wake    chan struct{} // 1 slot
	size    int           // of dst
	rtt     time.Duration // 0 is unknown
	gone    atomic.Bool   // reset or cancelled by either side
	resets  atomic.Int32  // calls of Reset
	cancels atomic.Int32  // calls of Cancel
}

func (e *pipeEnd) Wake() { signal(e.wake) }

func (e *pipeEnd) Reset(v transport.Violation) {
	e.resets.Add(1)
	e.abort()
}

func (e *pipeEnd) Cancel() {
	e.cancels.Add(1)
	e.abort()
}

func (e *pipeEnd) abort() {
	e.gone.Store(true)
	if !e.peer.gone.Swap(true) {
		e.peer.s.Lost(&transport.ResetError{Protocol: transport.HTTP2, Code: 8, Name: "CANCEL"})
	}
}

func (e *pipeEnd) RTT() (time.Duration, bool) { return e.rtt, e.rtt > 0 }

func (e *pipeEnd) ExportKeyingMaterial(label string, context []byte, length int) ([]byte, error) {
	var out []byte
	for i := byte(0); len(out) < length; i++ {
		h := sha256.Sum256(append(binary.BigEndian.AppendUint64([]byte(label), uint64(i)), context...))
		out = append(out, h[:]...)
	}
	return out[:length], nil
}

// run is the goroutine of one direction. It ends when the pipe stops.
func (e *pipeEnd) run() {
	defer e.p.wg.Done()
	dst := make([]byte, e.size)
	for {
		select {
		case <-e.wake:
		case <-e.p.stop:
			return
		}
		for {
			n, end := e.s.Fill(dst)
			if e.gone.Load() {
				break
			}
			if n > 0 {
				inBlocks(e.peer.s, dst[:n])
			}
			if end {
				e.peer.s.End()
			}
			if n == 0 {
				break
			}
		}
	}
}

// limitsOf is what a carrier publishes for a Config.
func limitsOf(c *transport.Config) InitialLimits {
	d := c.WithDefaults()
	return InitialLimits{
		MaxData:                 uint64(d.InitialSessionWindow),
		MaxStreamDataUni:        uint64(d.InitialStreamWindow),
		MaxStreamDataBidiLocal:  uint64(d.InitialStreamWindow),
		MaxStreamDataBidiRemote: uint64(d.InitialStreamWindow),
		MaxStreamsUni:           uint64(d.MaxIncomingUniStreams),
		MaxStreamsBidi:          uint64(d.MaxIncomingStreams),
	}
}

// newPipe connects two new sessions; ends[0] is the client's.
func newPipe(client, server *transport.Config, change func(i int, p *Params)) *pipe {
	p := &pipe{stop: make(chan struct{})}
	configs := [2]*transport.Config{client, server}
	addrs := [2]net.Addr{&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 443}}
	for i := range p.ends {
		p.ends[i] = &pipeEnd{p: p, wake: make(chan struct{}, 1), size: 16 << 10}
	}
	for i, e := range p.ends {
		e.peer = p.ends[1-i]
		params := Params{
			Client: i == 0,
			Config: configs[i],
			Local:  limitsOf(configs[i]),
			Peer:   limitsOf(configs[1-i]),
			Info: transport.Info{
				Protocol:  transport.HTTP2,
				LocalAddr: addrs[i], RemoteAddr: addrs[1-i],
				ID: 1,
			},
			Carrier: e,
			Dialect: transport.DialectDraft15,
		}
		if change != nil {
			change(i, &params)
		}
		e.s = New(params)
	}
	for _, e := range p.ends {
		p.wg.Add(1)
		go e.run() // ended by close(p.stop), waited for in close
		e.Wake()
	}
	return p
}

// close ends both sessions and waits for the goroutines.
func (p *pipe) close() {
	var wg sync.WaitGroup
	for _, e := range p.ends {
		wg.Go(func() { e.s.CloseWithError(0, "") })
	}
	wg.Wait()
	close(p.stop)
	p.wg.Wait()
}

func makePair(t testing.TB, client, server *transport.Config) (c, s transport.Session, stop func()) {
	p := newPipe(client, server, nil)
	return p.ends[0].s, p.ends[1].s, p.close
}
