package adapter

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
)

// send is what a hostile end sends.
func send(t *testing.T, c Channel, number uint32, flags chunkFlags, payload int) {
	t.Helper()
	message := binary.BigEndian.AppendUint32(nil, number)
	if err := c.Send(append(append(message, byte(flags)), make([]byte, payload)...)); err != nil {
		t.Fatal(err)
	}
}

func TestCallersPeerViolates(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, peer Channel)
	}{
		{"a response to no call", func(t *testing.T, peer Channel) { send(t, peer, 3, chunkEnd, 0) }},
		{"an abort of no call", func(t *testing.T, peer Channel) { send(t, peer, 3, chunkAbort, 0) }},
		{"two responses", func(t *testing.T, peer Channel) {
			send(t, peer, 1, chunkEnd, 0)
			send(t, peer, 1, chunkEnd, 0)
		}},
		{"no chunk", func(t *testing.T, peer Channel) { _ = peer.Send([]byte("x")) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := memoryChannels(2)
				c := newCaller(1, func(context.Context, int) (Channel, error) { return near, nil })
				defer c.Close()
				errs := make(chan error, 2)
				for range 2 {
					go func() {
						_, err := c.Call(t.Context(), 0, []byte("question"))
						errs <- err
					}()
				}
				for range 2 {
					if _, err := far.Receive(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				tt.do(t, far) // calls 1 and 2 wait
				synctest.Wait()
				violations := 0
				for range 2 {
					if err := <-errs; errors.Is(err, errCallsViolation) {
						violations++
					} else if err != nil {
						t.Error(err)
					}
				}
				if violations == 0 {
					t.Error("no call ended with a violation")
				}
				if _, err := far.Receive(t.Context()); err != io.EOF {
					t.Error("the channel is not closed:", err)
				}
			})
		})
	}
}

func TestAnswerersPeerViolates(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, peer Channel)
	}{
		{"a call again", func(t *testing.T, peer Channel) {
			send(t, peer, 1, chunkEnd, 1)
			send(t, peer, 1, chunkEnd, 1)
		}},
		{"an abort of no call", func(t *testing.T, peer Channel) { send(t, peer, 1, chunkAbort, 0) }},
		{"an abort after the end", func(t *testing.T, peer Channel) {
			send(t, peer, 1, chunkEnd, 1)
			send(t, peer, 1, chunkAbort, 0)
		}},
		{"one call more than may be", func(t *testing.T, peer Channel) {
			for number := range uint32(maxOpenCalls) {
				send(t, peer, number, 0, 1)
			}
			send(t, peer, maxOpenCalls-1, chunkAbort, 0) // makes room for one
			send(t, peer, maxOpenCalls, 0, 1)
			synctest.Wait()
			send(t, peer, maxOpenCalls, 0, 1) // it lives
			send(t, peer, maxOpenCalls+1, 0, 1)
		}},
		{"no chunk", func(t *testing.T, peer Channel) { _ = peer.Send(nil) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := memoryChannels(0)
				block := make(chan struct{})
				var logged bytes.Buffer
				a := answerCalls(far, func([]byte) []byte { <-block; return nil }, slog.New(slog.NewTextHandler(&logged, nil)))
				tt.do(t, near)
				if _, err := near.Receive(t.Context()); err != io.EOF {
					t.Error("the channel is not closed:", err)
				}
				close(block)
				_ = a.Close()
				if !strings.Contains(logged.String(), errCallsViolation.Error()) {
					t.Errorf("the log is %q", logged.String())
				}
			})
		})
	}
}
