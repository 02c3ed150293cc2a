package adapter

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/loopback"
)

// patience bounds every wait of the suite. Nothing is measured by it.
const patience = 2 * time.Minute

// TestAdapters holds every transport to what adapter.go promises, over sockets
// of the loopback interface.
func TestAdapters(t *testing.T) {
	for _, a := range slices.Concat(All(), Extra()) {
		t.Run(a.Name, func(t *testing.T) {
			for _, c := range []suiteCase{
				{"sizes both ways", testSizes},
				{"many messages", testMany},
				{"beyond the bound", testTooLarge},
				{"a receiver that does not read", testBackpressure},
				{"bulk", testBulk},
				{"bulk beside messages with priorities", testBulkBeside},
				{"channels of the server", testServerOpens},
				{"calls", testCalls},
				{"calls beyond the bound", testCallTooLarge},
				{"many channels", testManyChannels},
				{"many calls at once", testManyCalls},
				{"a second client", testSecondClient},
				{"end of a channel", testEnd},
				{"a context that ends", testContext},
				{"close while waiting", testCloseWaiting},
			} {
				t.Run(c.name, func(t *testing.T) { c.run(t, &pair{t: t, a: a}) })
			}
		})
	}
}

type suiteCase struct {
	name string
	run  func(t *testing.T, p *pair)
}

// pair is a transport under test, and its two ends once it is connected.
type pair struct {
	t      *testing.T
	a      Adapter
	ctx    context.Context
	env    Env
	host   Server // both ends' maker
	client Conn
	server Conn
}

// limit is the largest message of the transport's channels.
func (p *pair) limit() int {
	if p.a.Reliable {
		return MaxMessage
	}
	return MaxDatagram
}

// connect makes both ends, for channels of that number, on the loopback interface
// unless env has hosts. At the test's end it closes them, which must leave no
// goroutine.
func (p *pair) connect(channels int) {
	p.t.Helper()
	if p.env.Client == nil {
		p.env.Client, p.env.Server = loopback.Host{}, loopback.Host{}
	}
	certificate, err := NewCertificate(p.env.Server.Addr())
	if err != nil {
		p.t.Fatal(err)
	}
	p.env.Certificate, p.env.Channels = certificate, channels
	if p.env.Handle == nil {
		p.env.Handle = func(request []byte) []byte { return request }
	}
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	p.ctx = ctx
	s, err := p.a.Listen(ctx, p.env)
	if err != nil {
		cancel()
		p.t.Fatalf("Listen: %v", err)
	}
	p.host = s
	p.t.Cleanup(func() {
		for _, c := range []Conn{p.client, p.server} {
			if c != nil {
				if err := c.Close(); err != nil {
					p.t.Errorf("Close of a connection: %v", err)
				}
			}
		}
		if err := s.Close(); err != nil {
			p.t.Errorf("Close of the server: %v", err)
		}
		cancel()
		awaitGoroutines(p.t, before)
	})
	accepted := make(chan error, 1)
	var server Conn
	go func() {
		var err error
		server, err = s.Accept(ctx)
		accepted <- err
	}()
	client, dialErr := s.Dial(ctx)
	if dialErr != nil {
		cancel()
	}
	acceptErr := <-accepted
	if acceptErr == nil {
		p.server = server
	}
	if dialErr == nil {
		p.client = client
	}
	if dialErr != nil || acceptErr != nil {
		p.t.Fatalf("Dial: %v; Accept: %v", dialErr, acceptErr)
	}
}

// awaitGoroutines waits until no more than n are left. Libraries may end theirs
// a moment after they said so.
func awaitGoroutines(t *testing.T, n int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > n; <-tick.C {
		if time.Now().After(deadline) {
			stack := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), n, stack[:runtime.Stack(stack, true)])
		}
	}
}

// duplex is one channel's two ends.
type duplex struct{ client, server Channel }

// open has the client open n channels and pairs them with what the server
// accepts, by a first message with the channel's number.
func (p *pair) open(n int) []duplex {
	p.t.Helper()
	pairs := make([]duplex, n)
	accept := func() {
		s, err := p.server.AcceptChannel(p.ctx)
		if err != nil {
			p.t.Fatalf("AcceptChannel: %v", err)
		}
		first, err := s.Receive(p.ctx)
		if err != nil || len(first) != 1 || int(first[0]) >= n {
			p.t.Fatalf("first Receive: %x, %v", first, err)
		}
		if pairs[first[0]].server != nil {
			p.t.Fatalf("channel %d was accepted twice", first[0])
		}
		pairs[first[0]].server = s
	}
	for i := range pairs {
		c, err := p.client.OpenChannel(p.ctx)
		if err != nil {
			p.t.Fatalf("OpenChannel %d: %v", i, err)
		}
		if err := c.Send([]byte{byte(i)}); err != nil {
			p.t.Fatalf("first Send on channel %d: %v", i, err)
		}
		pairs[i].client = c
		if !p.a.Reliable {
			accept() // a queue may drop the first message of many
		}
	}
	if p.a.Reliable {
		for range pairs {
			accept()
		}
	}
	return pairs
}

// bulk opens the channel of a bulk transfer.
func (p *pair) bulk() duplex {
	p.t.Helper()
	c, err := p.client.OpenBulk(p.ctx)
	if err != nil {
		p.t.Fatalf("OpenBulk: %v", err)
	}
	if err := c.Send([]byte("bulk")); err != nil {
		p.t.Fatalf("first Send of bulk: %v", err)
	}
	s, err := p.server.AcceptBulk(p.ctx)
	if err != nil {
		p.t.Fatalf("AcceptBulk: %v", err)
	}
	p.want(s, []byte("bulk"))
	return duplex{c, s}
}

// want receives one message and compares it.
func (p *pair) want(c Channel, message []byte) {
	p.t.Helper()
	if err := receive(p.ctx, c, message); err != nil {
		p.t.Fatal(err)
	}
}

func receive(ctx context.Context, c Channel, message []byte) error {
	got, err := c.Receive(ctx)
	if err != nil {
		return fmt.Errorf("Receive of %d bytes: %w", len(message), err)
	}
	if !bytes.Equal(got, message) {
		return fmt.Errorf("received %d bytes that are not the %d sent", len(got), len(message))
	}
	return nil
}

// parallel runs functions at once and waits for all.
func (p *pair) parallel(functions ...func() error) {
	p.t.Helper()
	var wg sync.WaitGroup
	for _, f := range functions {
		wg.Go(func() {
			if err := f(); err != nil {
				p.t.Error(err)
			}
		})
	}
	wg.Wait()
	if p.t.Failed() {
		p.t.FailNow()
	}
}

// patterns is how many different ones there are of a size, a prime.
const patterns = 65_521

// noise is what they are cut from, so that making and comparing one is a copy and
// a comparison: the race detector looks at every other step.
var noise = sync.OnceValue(func() []byte {
	b := make([]byte, MaxCall+patterns)
	rand.NewChaCha8([32]byte{}).Read(b) // it never fails
	return b
})

// pattern is a message of size bytes, of MaxCall at most, that depends on seed.
func pattern(size int, seed uint64) []byte {
	from := int(seed % patterns)
	return bytes.Clone(noise()[from : from+size])
}

// numbered is a message that begins with its number; number reads it.
func numbered(n, size int) []byte {
	message := pattern(size, uint64(n))
	binary.BigEndian.PutUint32(message, uint32(n))
	return message
}

func number(message []byte) (int, error) {
	if len(message) < 4 {
		return 0, fmt.Errorf("a message of %d bytes, want a number of 4", len(message))
	}
	n := int(binary.BigEndian.Uint32(message))
	if want := numbered(n, len(message)); !bytes.Equal(want, message) {
		return 0, fmt.Errorf("message %d of %d bytes came damaged", n, len(message))
	}
	return n, nil
}
