package h3wt

import (
	"sync/atomic"

	"github.com/quic-go/quic-go/testutils/simnet"
)

// cutRouter loses all packets once it is cut.
type cutRouter struct {
	simnet.PerfectRouter
	cut atomic.Bool
}

func (r *cutRouter) SendPacket(p simnet.Packet) error {
	if r.cut.Load() {
		return nil
	}
	return r.PerfectRouter.SendPacket(p)
}
