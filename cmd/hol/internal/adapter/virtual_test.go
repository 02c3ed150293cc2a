package adapter

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
)

// memoryPipe is one end of a pipe in memory that holds a few messages.
type memoryPipe struct {
	out, in chan []byte
	done    chan struct{} // closed by Close
}

func newMemoryPipe(capacity int) (a, b *memoryPipe) {
	x, y := make(chan []byte, capacity), make(chan []byte, capacity)
	return &memoryPipe{x, y, make(chan struct{})}, &memoryPipe{y, x, make(chan struct{})}
}

func (p *memoryPipe) Send(message []byte) error {
	select {
	case p.out <- bytes.Clone(message):
		return nil
	case <-p.done:
		return net.ErrClosed
	}
}

func (p *memoryPipe) Receive(ctx context.Context) ([]byte, error) {
	select {
	case message, ok := <-p.in:
		if !ok {
			return nil, io.EOF
		}
		return message, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (p *memoryPipe) Close() error {
	close(p.done)
	return nil
}

func accept(t *testing.T, v *virtual) Channel {
	t.Helper()
	c, err := v.AcceptChannel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func open(t *testing.T, v *virtual) Channel {
	t.Helper()
	c, err := v.OpenChannel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestVirtualChannelsAreSeparate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newMemoryPipe(16)
		client, server := newVirtual(a, false, true, MaxMessage), newVirtual(b, true, true, MaxMessage)
		defer client.Close()
		defer server.Close()
		bulk := func(c Channel, err error) Channel {
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		for i, ends := range [][2]Channel{
			{open(t, client), accept(t, server)},
			{open(t, client), accept(t, server)},
			{open(t, server), accept(t, client)},
			{bulk(client.OpenBulk(t.Context())), bulk(server.AcceptBulk(t.Context()))},
			{bulk(server.OpenBulk(t.Context())), bulk(client.AcceptBulk(t.Context()))},
		} {
			for _, way := range [][2]Channel{ends, {ends[1], ends[0]}} {
				for size := range 3 {
					message := pattern(size+1, uint64(i))
					if err := way[0].Send(message); err != nil {
						t.Fatalf("channel %d: %v", i, err)
					}
					if err := receive(t.Context(), way[1], message); err != nil {
						t.Fatalf("channel %d: %v", i, err)
					}
				}
			}
			if err := ends[0].Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := ends[1].Receive(t.Context()); err != io.EOF {
				t.Errorf("channel %d: %v after the peer's Close, want EOF", i, err)
			}
			if err := ends[0].Send([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("channel %d: Send after Close: %v", i, err)
			}
		}
	})
}

func TestVirtualBounds(t *testing.T) {
	// raw has the peer write to the pipe itself.
	raw := func(t *testing.T, reliable bool, f func(t *testing.T, peer *memoryPipe, v *virtual)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			a, b := newMemoryPipe(0)
			v := newVirtual(b, true, reliable, MaxDatagram)
			defer v.Close()
			f(t, a, v)
		})
	}
	data := func(number, kind uint64, size int) []byte {
		return append(binary.AppendUvarint(nil, number<<4|kind<<1), make([]byte, size)...)
	}

	malformed := []struct {
		name    string
		message []byte
	}{
		{"nothing", nil},
		{"a number that goes on", []byte{0x80}},
		{"the channel beyond the last", data(maxVirtual, 0, 1)},
		{"the largest number", binary.AppendUvarint(nil, 1<<64-1)},
		{"no payload", data(0, 0, 0)},
		{"payload beyond the bound", data(0, 0, MaxDatagram+1)},
		{"an end with payload", []byte{1, 0}},
	}
	for _, m := range malformed {
		t.Run("a reliable pipe ends by "+m.name, func(t *testing.T) {
			raw(t, true, func(t *testing.T, peer *memoryPipe, v *virtual) {
				c := accept(t, v)
				if err := peer.Send(m.message); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Receive(t.Context()); !errors.Is(err, errVirtual) {
					t.Errorf("Receive: %v, want errVirtual", err)
				}
				if _, err := v.OpenChannel(t.Context()); !errors.Is(err, errVirtual) {
					t.Errorf("OpenChannel: %v, want errVirtual", err)
				}
			})
		})
		t.Run("a lossy pipe drops "+m.name, func(t *testing.T) {
			raw(t, false, func(t *testing.T, peer *memoryPipe, v *virtual) {
				c := accept(t, v)
				for _, message := range [][]byte{m.message, data(0, 0, MaxDatagram)} {
					if err := peer.Send(message); err != nil {
						t.Fatal(err)
					}
				}
				if got, err := c.Receive(t.Context()); err != nil || len(got) != MaxDatagram {
					t.Errorf("Receive of what came next: %d bytes, %v", len(got), err)
				}
				if n := v.Dropped(); n != 1 {
					t.Errorf("%d dropped, want 1", n)
				}
			})
		})
	}

	t.Run("the last channel", func(t *testing.T) {
		raw(t, true, func(t *testing.T, peer *memoryPipe, v *virtual) {
			var last Channel
			for range maxVirtual {
				last = accept(t, v)
			}
			if _, err := v.AcceptChannel(t.Context()); err == nil {
				t.Error("one more channel was accepted")
			}
			if err := peer.Send(data(maxVirtual-1, 0, 3)); err != nil {
				t.Fatal(err)
			}
			if err := receive(t.Context(), last, make([]byte, 3)); err != nil {
				t.Error(err)
			}
		})
	})

	t.Run("a full queue drops the oldest", func(t *testing.T) {
		raw(t, false, func(t *testing.T, peer *memoryPipe, v *virtual) {
			c := accept(t, v)
			for n := range maxQueued + 1 {
				if err := peer.Send(append(data(0, 0, 0), numbered(n, 10)...)); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			for n := 1; n <= maxQueued; n++ {
				if err := receive(t.Context(), c, numbered(n, 10)); err != nil {
					t.Fatalf("message %d: %v", n, err)
				}
			}
			if n := v.Dropped(); n != 1 {
				t.Errorf("%d dropped, want 1", n)
			}
		})
	})

	t.Run("a lossy pipe holds a bounded amount", func(t *testing.T) {
		raw(t, false, func(t *testing.T, peer *memoryPipe, v *virtual) {
			const cost = MaxDatagram + messageCost
			full := uint64(maxHeld / cost)
			for n := range full + 1 {
				if err := peer.Send(data(n/maxQueued, 0, MaxDatagram)); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			if n := v.Dropped(); n != 1 {
				t.Errorf("%d dropped, want 1", n)
			}
			if v.held > maxHeld {
				t.Errorf("%d bytes held, want at most %d", v.held, maxHeld)
			}
		})
	})

	t.Run("a reliable pipe stops", func(t *testing.T) {
		raw(t, true, func(t *testing.T, peer *memoryPipe, v *virtual) {
			const cost = MaxDatagram + messageCost
			full := maxHeld / cost
			first, second := accept(t, v), accept(t, v)
			sent := make(chan error, 1)
			go func() {
				var err error
				for n := 0; n < full+2 && err == nil; n++ {
					err = peer.Send(data(uint64(n%2), 0, MaxDatagram))
				}
				sent <- err
			}()
			synctest.Wait()
			select {
			case <-sent:
				t.Fatal("everything was taken though nobody receives")
			default:
			}
			for n := range full + 2 {
				c := first
				if n%2 == 1 {
					c = second
				}
				if err := receive(t.Context(), c, make([]byte, MaxDatagram)); err != nil {
					t.Fatalf("message %d: %v", n, err)
				}
			}
			if err := <-sent; err != nil {
				t.Error(err)
			}
			if v.held != 0 || v.Dropped() != 0 {
				t.Errorf("%d bytes are held and %d were dropped when all were received", v.held, v.Dropped())
			}
		})
	})

	t.Run("a channel that is closed here holds up nobody", func(t *testing.T) {
		raw(t, true, func(t *testing.T, peer *memoryPipe, v *virtual) {
			first, second := accept(t, v), accept(t, v)
			closed := make(chan error, 1)
			go func() { closed <- first.Close() }()
			if end, err := peer.Receive(t.Context()); err != nil || !bytes.Equal(end, []byte{1}) {
				t.Fatalf("the peer received %x (%v), want the end", end, err)
			}
			if err := <-closed; err != nil {
				t.Fatal(err)
			}
			for range maxHeld/MaxDatagram + 1 {
				if err := peer.Send(data(0, 0, MaxDatagram)); err != nil {
					t.Fatal(err)
				}
			}
			if err := peer.Send(data(1, 0, 5)); err != nil {
				t.Fatal(err)
			}
			if err := receive(t.Context(), second, make([]byte, 5)); err != nil {
				t.Error(err)
			}
		})
	})

	t.Run("the pipe's end is the channels'", func(t *testing.T) {
		raw(t, true, func(t *testing.T, peer *memoryPipe, v *virtual) {
			c := accept(t, v)
			if err := peer.Send(data(0, 0, 7)); err != nil {
				t.Fatal(err)
			}
			close(peer.out)
			if err := receive(t.Context(), c, make([]byte, 7)); err != nil {
				t.Error(err)
			}
			if _, err := c.Receive(t.Context()); err != io.EOF {
				t.Errorf("Receive: %v, want EOF", err)
			}
		})
	})
}
