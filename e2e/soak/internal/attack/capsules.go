package attack

import (
	"context"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
)

// capsuleAttacks send the same kinds of capsules over and over, in one session over
// HTTP/2.
var capsuleAttacks = []Attack{
	{Name: "empty-streams", What: "empty WT_STREAM capsules on an open stream", Way: ledger.H2,
		run: inCapsules(func(b []byte, _ int) []byte { return appendStream(b, 0, false, nil) })},
	{Name: "padding", What: "PADDING capsules", Way: ledger.H2,
		run: inCapsules(func(b []byte, _ int) []byte { return appendCapsule(b, uint64(capsule.TypePadding), nil) })},
	{Name: "unknown-capsules", What: "capsules of unknown types", Way: ledger.H2,
		run: inCapsules(func(b []byte, i int) []byte { return appendCapsule(b, 0x1f*uint64(i%1000)+0x21, []byte("grease")) })},
	{Name: "max-data", What: "WT_MAX_DATA that repeat themselves", Way: ledger.H2,
		run: inCapsules(func(b []byte, _ int) []byte { return capsule.MaxData{MaximumData: 1 << 20}.Append(b) })},
	{Name: "datagrams", What: "datagrams of 100 bytes, which are echoed", Way: ledger.H2,
		run: inCapsules(func(b []byte, _ int) []byte {
			return append(capsule.AppendDatagramHeader(b, 100), make([]byte, 100)...)
		})},
	{Name: "tiny-datagrams", What: "empty datagrams", Way: ledger.H2,
		run: inCapsules(func(b []byte, _ int) []byte { return capsule.AppendDatagramHeader(b, 0) })},
	{Name: "reset-churn", What: "WebTransport streams opened and reset, as many as are allowed", Way: ledger.H2, run: inStreams(1, func(b []byte, i uint64) []byte {
		b = appendStream(b, 4*i+2, false, []byte("x"))
		return capsule.ResetStream{StreamID: 4*i + 2, ReliableSize: 1}.Append(b)
	})},
	{Name: "stop-churn", What: "streams opened and asked to stop, as many as are allowed", Way: ledger.H2, run: inStreams(0, func(b []byte, i uint64) []byte {
		b = appendStream(b, 4*i, true, []byte("x"))
		return capsule.StopSending{StreamID: 4 * i}.Append(b)
	})},
	{Name: "credit", What: "stream data beyond the credit", Way: ledger.H2,
		run: inCapsules(func(b []byte, _ int) []byte { return appendStream(b, 0, false, make([]byte, 1000)) })},
	{Name: "stream-limit", What: "streams beyond the limit", Way: ledger.H2,
		run: inCapsules(func(b []byte, i int) []byte { return appendStream(b, uint64(4*i), false, nil) })},
}

// capsules returns so many, for one write.
func capsules(n int, one func(b []byte, i int) []byte) []byte {
	var b []byte
	for i := range n {
		b = one(b, i)
	}
	return b
}

// appendStream appends stream data in the older reading of the types, which a
// server supposes of a client that it does not know.
func appendStream(b []byte, id uint64, fin bool, p []byte) []byte {
	return append(capsule.AppendStreamHeader(b, fin, capsule.Legacy, id, uint64(len(p))), p...)
}

func appendCapsule(b []byte, t uint64, value []byte) []byte {
	b = capsule.AppendVarint(b, t)
	b = capsule.AppendVarint(b, uint64(len(value)))
	return append(b, value...)
}

// inCapsules sends the same capsules over and over in a session.
func inCapsules(one func(b []byte, i int) []byte) func(context.Context, *Target) error {
	return func(ctx context.Context, t *Target) error {
		p := capsules(batch, one)
		return inSessionOf(ctx, t, func(c *h2) error {
			for {
				if err := c.data(1, batch, p); err != nil {
					return err
				}
			}
		})
	}
}

func inSessionOf(ctx context.Context, t *Target, f func(c *h2) error) error {
	c, err := dialH2(ctx, t, webTransport...)
	if err != nil {
		return err
	}
	defer c.close()
	go c.read() // ends with the connection
	stop := context.AfterFunc(ctx, func() { c.tc.NetConn().Close() })
	defer stop()
	if err := c.session(1); err != nil {
		return err
	}
	return f(c)
}

// inStreams sends capsules for one stream after the other, as many as the session
// allows.
func inStreams(kind int, one func(b []byte, i uint64) []byte) func(context.Context, *Target) error {
	const some = 25
	return func(ctx context.Context, t *Target) error {
		return inSessionOf(ctx, t, func(c *h2) error {
			for n := uint64(0); ; n += some {
				if err := c.allowed(kind, n+some); err != nil {
					return err
				}
				p := capsules(some, func(b []byte, i int) []byte { return one(b, n+uint64(i)) })
				if err := c.data(1, 2*some, p); err != nil {
					return err
				}
			}
		})
	}
}
