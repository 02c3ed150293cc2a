package adapter

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"
)

// testBackpressure sends to a receiver that does not read. Before half of
// tooMuch is on the way the sender has to wait, and nothing is lost once the
// receiver reads. What does not wait drops, and holds little.
func testBackpressure(t *testing.T, p *pair) {
	const tooMuch = 256 << 20
	p.connect(1)
	d := p.open(1)[0]
	size := p.limit()
	var sent atomic.Int64
	messages := tooMuch / size
	if !p.a.Reliable {
		messages = 20_000
	}
	stop := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- func() error {
			message := make([]byte, size)
			for n := range messages {
				select {
				case <-stop:
					return nil
				default:
				}
				binary.BigEndian.PutUint32(message, uint32(n))
				if err := d.server.Send(message); err != nil {
					return fmt.Errorf("message %d: %w", n, err)
				}
				sent.Add(1)
			}
			return nil
		}()
	}()
	if !p.a.Reliable {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		awaitDrops(p)
		return
	}
	// Until it stands still. Should that be the machine's doing, less is tested.
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for before := int64(-1); ; {
		select {
		case err := <-done:
			t.Fatalf("%d MiB were taken though nobody reads (%v)", tooMuch>>20, err)
		case <-tick.C:
		}
		now := sent.Load()
		if now == before {
			break
		}
		before = now
	}
	if got := sent.Load() * int64(size); got > tooMuch/2 {
		t.Errorf("%d MiB were taken though nobody reads", got>>20)
	}
	close(stop)
	received := int64(0)
	for finished := false; !finished || received < sent.Load(); {
		if !finished {
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
				finished = true
				continue
			default:
			}
		}
		message, err := d.client.Receive(p.ctx)
		if err != nil || len(message) != size {
			t.Fatalf("Receive: %d bytes, %v", len(message), err)
		}
		if n := int64(binary.BigEndian.Uint32(message)); p.a.Ordered && n != received {
			t.Fatalf("message %d came as number %d", n, received)
		}
		received++
	}
}

// awaitDrops waits until a transport that counts what it drops says that it did.
func awaitDrops(p *pair) {
	client, counts := p.client.(Dropper)
	if !counts {
		return
	}
	server := p.server.(Dropper)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		sent, received := server.Drops(), client.Drops()
		if sent.Outgoing+received.Incoming > 0 {
			return
		}
		select {
		case <-tick.C:
		case <-p.ctx.Done():
			p.t.Fatalf("nothing was dropped: %+v at the sender, %+v at the receiver", sent, received)
		}
	}
}

// bulkMessages are so many of MaxMessage: 1 MiB. That a sender waits for its
// receiver and then goes on is what one that does not read shows.
const bulkMessages = 16

func bulkSend(c Channel) error {
	for n := range bulkMessages {
		if err := c.Send(numbered(n, MaxMessage)); err != nil {
			return fmt.Errorf("bulk: %w", err)
		}
	}
	return nil
}

func bulkReceive(p *pair, c Channel) error {
	for i := range bulkMessages {
		message, err := c.Receive(p.ctx)
		if err != nil {
			return fmt.Errorf("bulk: %w", err)
		}
		if n, err := number(message); err != nil || n != i || len(message) != MaxMessage {
			return fmt.Errorf("bulk: message %d of %d bytes came as number %d (%v)", n, len(message), i, err)
		}
	}
	return nil
}

func testBulk(t *testing.T, p *pair) {
	p.connect(1)
	d := p.bulk()
	p.parallel(
		func() error { return bulkSend(d.client) },
		func() error { return bulkSend(d.server) },
		func() error { return bulkReceive(p, d.client) },
		func() error { return bulkReceive(p, d.server) },
	)
	if err := d.client.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := d.server.Receive(p.ctx); err != io.EOF {
		t.Errorf("Receive after the peer's Close: %v, want EOF", err)
	}
}

// testBulkBeside has messages pass beside a transfer.
func testBulkBeside(t *testing.T, p *pair) {
	p.env.Priorities = true
	p.connect(1)
	d, b := p.open(1)[0], p.bulk()
	p.parallel(
		func() error { return bulkSend(b.server) },
		func() error { return bulkReceive(p, b.client) },
		func() error {
			if p.a.Reliable {
				return stream(p, d.server, d.client)
			}
			// With the queues full of bulk nothing says when it arrives.
			return d.server.Send(pattern(100, 1))
		},
	)
}
