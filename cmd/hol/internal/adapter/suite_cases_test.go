package adapter

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// testSizes sends messages of all sizes over 8 channels at once; the server
// sends each of them back.
func testSizes(t *testing.T, p *pair) {
	const channels = 8
	p.connect(channels)
	sizes := []int{1, 2, 63, 64, 125, 126, 127, 128, 200, 1000, MaxDatagram - 1, MaxDatagram}
	if p.limit() > MaxDatagram {
		sizes = append(sizes, MaxDatagram+1, 1500, 4096, 16<<10-1, 16<<10, 16<<10+1, p.limit()-1, p.limit())
	}
	var functions []func() error
	for i, d := range p.open(channels) {
		functions = append(functions, func() error {
			for range sizes {
				message, err := d.server.Receive(p.ctx)
				if err == nil {
					err = d.server.Send(message)
				}
				if err != nil {
					return fmt.Errorf("server, channel %d: %w", i, err)
				}
			}
			return nil
		}, func() error {
			for n, size := range sizes {
				message := pattern(size, uint64(i*len(sizes)+n))
				if err := d.client.Send(message); err != nil {
					return fmt.Errorf("client, channel %d: %w", i, err)
				}
				if err := receive(p.ctx, d.client, message); err != nil {
					return fmt.Errorf("client, channel %d: %w", i, err)
				}
			}
			return nil
		})
	}
	p.parallel(functions...)
}

// testMany sends many messages both ways over 4 channels: without a pause where
// every one has to arrive, otherwise few at a time, of which most have to.
func testMany(t *testing.T, p *pair) {
	const channels = 4
	p.connect(channels)
	var functions []func() error
	for _, d := range p.open(channels) {
		if p.a.Reliable {
			functions = append(functions,
				func() error { return stream(p, d.client, d.server) },
				func() error { return stream(p, d.server, d.client) })
		} else {
			functions = append(functions, func() error { return volleys(p, d) })
		}
	}
	p.parallel(functions...)
}

// stream sends messages one way at once, and all have to arrive.
func stream(p *pair, from, to Channel) error {
	const messages = 1000
	var sent error
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := range messages {
			if sent = from.Send(numbered(n, 4+n%600)); sent != nil {
				return
			}
		}
	})
	seen := make([]bool, messages)
	received := func() error {
		for i := range messages {
			message, err := to.Receive(p.ctx)
			if err != nil {
				return fmt.Errorf("message %d: %w", i, err)
			}
			n, err := number(message)
			switch {
			case err != nil:
				return err
			case n >= messages || seen[n]:
				return fmt.Errorf("message %d came twice, or was never sent", n)
			case p.a.Ordered && n != i:
				return fmt.Errorf("message %d came as number %d", n, i)
			}
			seen[n] = true
		}
		return nil
	}()
	wg.Wait()
	return errors.Join(sent, received)
}

// volleys sends a few messages at a time from the client, which the server sends
// back, and wants nine in ten of them.
func volleys(p *pair, d duplex) error {
	const rounds, volley = 50, 4
	ctx, cancel := context.WithCancel(p.ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			message, err := d.server.Receive(ctx)
			if err != nil || d.server.Send(message) != nil {
				return
			}
		}
	})
	defer wg.Wait()
	defer cancel()
	arrived, last := 0, -1
	seen := make([]bool, rounds*volley)
	for round := range rounds {
		for i := range volley {
			if err := d.client.Send(numbered(round*volley+i, 200)); err != nil {
				return err
			}
		}
		for range volley {
			ctx, cancel := context.WithTimeout(p.ctx, 2*time.Second) // one was lost
			message, err := d.client.Receive(ctx)
			cancel()
			if errors.Is(err, context.DeadlineExceeded) && p.ctx.Err() == nil {
				break
			}
			if err != nil {
				return err
			}
			n, err := number(message)
			switch {
			case err != nil:
				return err
			case n >= len(seen) || seen[n]:
				return fmt.Errorf("message %d came twice, or was never sent", n)
			case p.a.Ordered && n <= last:
				return fmt.Errorf("message %d came after %d", n, last)
			}
			seen[n] = true
			last = n
			arrived++
		}
	}
	if arrived < rounds*volley*9/10 {
		return fmt.Errorf("%d of %d messages came back over a link without loss", arrived, rounds*volley)
	}
	return nil
}

func testTooLarge(t *testing.T, p *pair) {
	p.connect(1)
	d := p.open(1)[0]
	if err := d.client.Send(make([]byte, p.limit()+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("client's Send of %d bytes: %v, want ErrTooLarge", p.limit()+1, err)
	}
	if err := d.server.Send(make([]byte, p.limit()+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("server's Send of %d bytes: %v, want ErrTooLarge", p.limit()+1, err)
	}
	// Nothing of it was sent, and the channel goes on.
	p.parallel(
		func() error { return d.client.Send([]byte("up")) },
		func() error { return receive(p.ctx, d.server, []byte("up")) },
		func() error { return d.server.Send([]byte("down")) },
		func() error { return receive(p.ctx, d.client, []byte("down")) },
	)
}

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
	tick := time.NewTicker(500 * time.Millisecond)
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

const bulkMessages = 128 // of MaxMessage

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

func testServerOpens(t *testing.T, p *pair) {
	p.connect(2)
	if !p.a.ServerOpens {
		if _, err := p.server.OpenChannel(p.ctx); !errors.Is(err, ErrUnsupported) {
			t.Fatalf("OpenChannel: %v, want ErrUnsupported", err)
		}
		return
	}
	// Beside one of the client's, with which it must not be confused.
	other := p.open(1)[0]
	s, err := p.server.OpenChannel(p.ctx)
	if err != nil {
		t.Fatalf("OpenChannel: %v", err)
	}
	p.parallel(
		func() error { return s.Send([]byte("hello")) },
		func() error {
			c, err := p.client.AcceptChannel(p.ctx)
			if err != nil {
				return fmt.Errorf("AcceptChannel: %w", err)
			}
			if err := receive(p.ctx, c, []byte("hello")); err != nil {
				return err
			}
			return c.Send([]byte("answer"))
		},
		func() error { return receive(p.ctx, s, []byte("answer")) },
		func() error { return other.server.Send([]byte("other")) },
		func() error { return receive(p.ctx, other.client, []byte("other")) },
	)
}

// testCalls makes many calls at once, of responses of up to MaxCall.
func testCalls(t *testing.T, p *pair) {
	const callers, calls = 16, 8
	p.env.Handle = func(request []byte) []byte {
		return pattern(int(binary.BigEndian.Uint32(request)), uint64(len(request)))
	}
	p.connect(8)
	if !p.a.Calls {
		if _, err := p.client.Call(p.ctx, 0, []byte("1234")); !errors.Is(err, ErrUnsupported) {
			t.Fatalf("Call: %v, want ErrUnsupported", err)
		}
		return
	}
	call := func(n, requestSize, responseSize int) error {
		request := pattern(requestSize, uint64(n))
		binary.BigEndian.PutUint32(request, uint32(responseSize))
		response, err := p.client.Call(p.ctx, n, request)
		if err != nil {
			return fmt.Errorf("call %d: %w", n, err)
		}
		if want := pattern(responseSize, uint64(requestSize)); string(response) != string(want) {
			return fmt.Errorf("call %d: %d bytes came that are not the %d of the response", n, len(response), responseSize)
		}
		return nil
	}
	var functions []func() error
	for caller := range callers {
		functions = append(functions, func() error {
			for i := range calls {
				n := caller*calls + i
				response := 1 + n*97%5000
				if n%16 == 0 {
					response = MaxCall - n
				}
				if err := call(n, 4+n*13%3000, response); err != nil {
					return err
				}
			}
			return nil
		})
	}
	p.parallel(functions...)
	p.parallel(func() error { return call(callers*calls, MaxCall, 1) })
	p.parallel(func() error { return call(callers*calls+1, 4, MaxCall) })
}

// testCallTooLarge shows that calls beyond the bound fail, and others go on.
func testCallTooLarge(t *testing.T, p *pair) {
	p.env.Handle = func(request []byte) []byte {
		return make([]byte, int(binary.BigEndian.Uint32(request)))
	}
	p.connect(1)
	if !p.a.Calls {
		return // as testCalls says
	}
	if _, err := p.client.Call(p.ctx, 0, make([]byte, MaxCall+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a request of %d bytes: %v, want ErrTooLarge", MaxCall+1, err)
	}
	if _, err := p.client.Call(p.ctx, 1, binary.BigEndian.AppendUint32(nil, MaxCall+1)); err == nil {
		t.Errorf("a response of %d bytes came", MaxCall+1)
	}
	response, err := p.client.Call(p.ctx, 2, binary.BigEndian.AppendUint32(nil, 10))
	if err != nil || len(response) != 10 {
		t.Errorf("the next call: %d bytes, %v", len(response), err)
	}
}

// testManyChannels has more channels than there are streams by default.
func testManyChannels(t *testing.T, p *pair) {
	const channels = 120
	p.connect(channels)
	for i, d := range p.open(channels) {
		p.parallel(
			func() error { return d.server.Send(numbered(i, 50)) },
			func() error { return receive(p.ctx, d.client, numbered(i, 50)) },
		)
	}
}

// testManyCalls makes more calls at once than there are streams by default.
func testManyCalls(t *testing.T, p *pair) {
	const calls = 300
	p.connect(8)
	if !p.a.Calls {
		return // as testCalls says
	}
	var functions []func() error
	for n := range calls {
		functions = append(functions, func() error {
			response, err := p.client.Call(p.ctx, n, numbered(n, 100))
			if err != nil {
				return fmt.Errorf("call %d: %w", n, err)
			}
			if got, err := number(response); err != nil || got != n {
				return fmt.Errorf("call %d had the response of %d (%v)", n, got, err)
			}
			return nil
		})
	}
	p.parallel(functions...)
}

// testSecondClient shows that a server has one client, which another one does
// not disturb.
func testSecondClient(t *testing.T, p *pair) {
	p.connect(1)
	d := p.open(1)[0]
	ctx, cancel := context.WithTimeout(p.ctx, 5*time.Second) // some servers do not answer another
	defer cancel()
	if second, err := p.host.Dial(ctx); err == nil {
		if err := second.Close(); err != nil {
			t.Logf("Close of the second client: %v", err)
		}
	}
	p.parallel(
		func() error { return d.client.Send([]byte("still here")) },
		func() error { return receive(p.ctx, d.server, []byte("still here")) },
	)
}

func testEnd(t *testing.T, p *pair) {
	p.connect(2)
	for i, d := range p.open(2) {
		from, to := d.client, d.server
		if i == 1 {
			from, to = to, from
		}
		for n := range 3 {
			if err := from.Send(numbered(n, 100)); err != nil {
				t.Fatal(err)
			}
			if !p.a.Reliable {
				p.want(to, numbered(n, 100))
			}
		}
		if err := from.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		for range 3 {
			if !p.a.Reliable {
				break
			}
			message, err := to.Receive(p.ctx)
			if err == nil {
				_, err = number(message)
			}
			if err != nil {
				t.Fatalf("Receive of what was sent before Close: %v", err)
			}
		}
		for range 2 {
			if _, err := to.Receive(p.ctx); err != io.EOF {
				t.Errorf("Receive after the peer's Close: %v, want EOF", err)
			}
		}
		if err := to.Close(); err != nil {
			t.Errorf("Close after the peer's: %v", err)
		}
	}
}

// testContext shows that a context bounds its call alone.
func testContext(t *testing.T, p *pair) {
	p.connect(1)
	d := p.open(1)[0]
	for _, end := range []struct {
		name     string
		from, to Channel
	}{{"server", d.client, d.server}, {"client", d.server, d.client}} {
		for n := range 3 {
			ctx, cancel := context.WithCancel(p.ctx)
			failed := make(chan error, 1)
			go func() {
				_, err := end.to.Receive(ctx)
				failed <- err
			}()
			cancel()
			if err := <-failed; !errors.Is(err, context.Canceled) {
				t.Fatalf("%s's Receive with a context that ended: %v", end.name, err)
			}
			p.parallel(
				func() error { return end.from.Send(numbered(n, 1000)) },
				func() error { return receive(p.ctx, end.to, numbered(n, 1000)) },
			)
		}
	}
}

// testCloseWaiting shows that closing an end ends what waits there.
func testCloseWaiting(t *testing.T, p *pair) {
	p.connect(1)
	d := p.open(1)[0]
	for _, end := range []struct {
		conn    Conn
		channel Channel
	}{{p.client, d.client}, {p.server, d.server}} {
		failed := make(chan error, 1)
		go func() {
			_, err := end.channel.Receive(p.ctx)
			failed <- err
		}()
		if err := end.conn.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-failed; err == nil || p.ctx.Err() != nil {
			t.Errorf("Receive while its end closes: %v", err)
		}
		if err := end.channel.Send([]byte("late")); err == nil {
			t.Errorf("Send after its end was closed succeeded")
		}
	}
}
