package adapter

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
)

// pipeStream is a stream in memory, without room.
type pipeStream struct {
	*io.PipeReader
	*io.PipeWriter
}

func (s pipeStream) CloseWrite() error { return s.PipeWriter.Close() }
func (s pipeStream) Finished(bool)     {}
func (s pipeStream) Abort() {
	_ = s.PipeReader.CloseWithError(net.ErrClosed)
	_ = s.PipeWriter.CloseWithError(io.ErrUnexpectedEOF)
}
func (s pipeStream) Close() error { return nil } // neither's

func pipeStreams() (a, b pipeStream) {
	ar, bw := io.Pipe()
	br, aw := io.Pipe()
	return pipeStream{ar, aw}, pipeStream{br, bw}
}

// TestFramedTurns has a pong wait for a frame that is being written, not come into
// it.
func TestFramedTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := pipeStreams()
		c := newSocketChannel(newFramed(near, false, MaxMessage), MaxMessage)
		sent := make(chan error, 1)
		go func() { sent <- c.Send(bytes.Repeat([]byte("m"), 300)) }()
		synctest.Wait() // it waits for room
		if _, err := far.Write(frame(fin|ping, true, "now")); err != nil {
			t.Fatal(err)
		}
		want := append(frame(fin|binaryData, false, strings.Repeat("m", 300)), frame(fin|pong, false, "now")...)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("read %x, %v", got, err)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		c.end()
	})
}

// TestFramedChannels lets two ends talk and close in every order.
func TestFramedChannels(t *testing.T) {
	for _, first := range []string{"client", "server", "both"} {
		t.Run(first+" closes", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := pipeStreams()
				client := newSocketChannel(newFramed(near, true, MaxMessage), MaxMessage)
				server := newSocketChannel(newFramed(far, false, MaxMessage), MaxMessage)
				for i, ends := range [][2]*socketChannel{{client, server}, {server, client}} {
					for n := range 3 {
						if err := ends[0].Send(numbered(n, 1000)); err != nil {
							t.Fatal(i, err)
						}
					}
					for n := range 3 {
						if err := receive(t.Context(), ends[1], numbered(n, 1000)); err != nil {
							t.Fatal(i, err)
						}
					}
				}
				closing, other := client, server
				if first == "server" {
					closing, other = server, client
				}
				_ = closing.Close()
				if first == "both" {
					_ = other.Close()
				} else {
					if _, err := other.Receive(t.Context()); err != io.EOF {
						t.Errorf("Receive after the peer's Close: %v", err)
					}
				}
				// Nothing has to be forced.
				client.wg.Wait()
				server.wg.Wait()
				for _, c := range []*socketChannel{closing, other} {
					if err := c.Send([]byte("late")); !errors.Is(err, net.ErrClosed) {
						t.Errorf("Send after the end: %v", err)
					}
				}
				if _, err := closing.Receive(t.Context()); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Receive after Close: %v", err)
				}
			})
		})
	}
	t.Run("what comes after Close is dropped", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			near, far := pipeStreams()
			client := newSocketChannel(newFramed(near, true, MaxMessage), MaxMessage)
			server := newSocketChannel(newFramed(far, false, MaxMessage), MaxMessage)
			sent := make(chan error, 1)
			go func() {
				for n := range 100 {
					if err := server.Send(numbered(n, MaxMessage)); err != nil {
						sent <- fmt.Errorf("message %d: %w", n, err)
						return
					}
				}
				sent <- nil
			}()
			synctest.Wait() // nobody receives
			_ = client.Close()
			// The server answers Close when it has read it, in the middle of its messages.
			if err := <-sent; err != nil && !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
			client.wg.Wait()
			server.wg.Wait()
		})
	})
}
