package h3wt

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// limits is a capsule.Handler that sees control capsules.
type limits func(capsule.Capsule)

func (limits) Stream(uint64, bool, uint64) error { return nil }

func (limits) StreamData([]byte, bool) error { return nil }

func (limits) Datagram(uint64) (bool, error) { return false, nil }

func (limits) DatagramData([]byte, bool) error { return nil }

func (limits) Skipped(capsule.Type, uint64) error { return nil }

func (f limits) Control(c capsule.Capsule) error { f(c); return nil }

// Whatever comes on a CONNECT stream, the session lives on or ends in an orderly
// way, and the connection is untouched.
func TestRandomCapsules(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	bubble(t, "H3-065 H3-068 random bytes", func(t *testing.T) {
		t.Logf("seed %d", seed)
		rnd := rand.New(rand.NewPCG(seed, 0))
		h, accepted := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, pooledSettings...)
		defer c.close()
		types := []capsule.Type{
			capsule.TypeDatagram, capsule.TypePadding, capsule.TypeStream, capsule.TypeResetStream, capsule.TypeMaxData,
			capsule.TypeMaxStreamData, capsule.TypeMaxStreamsBidi, capsule.TypeMaxStreamsUni, capsule.TypeDataBlocked,
			capsule.TypeStreamsBlockedUni, capsule.TypeCloseSession, capsule.TypeDrainSession, 0x4242,
		}
		for range 300 {
			str := c.accepted()
			s := <-accepted
			var b []byte
			for range rnd.IntN(10) {
				value := make([]byte, rnd.IntN(12))
				for i := range value {
					value[i] = byte(rnd.Uint32() >> (rnd.Uint32() % 32))
				}
				length := uint64(len(value))
				if rnd.IntN(8) == 0 {
					length = rnd.Uint64() >> (2 + rnd.Uint32()%62)
				}
				b = append(append(b, varints(uint64(types[rnd.IntN(len(types))]), length)...), value...)
			}
			for len(b) > 0 {
				n := 1 + rnd.IntN(len(b))
				if _, err := str.Write(dataFrame(b[:n])); err != nil {
					break
				}
				b = b[n:]
			}
			str.Close()
			<-s.Context().Done()
			if _, ok := errors.AsType[*transport.SessionError](context.Cause(s.Context())); !ok {
				t.Errorf("the session ended with %v", context.Cause(s.Context()))
			}
			io.Copy(io.Discard, str)
		}
		c.wantOpen()
	})
}
