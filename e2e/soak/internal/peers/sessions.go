package peers

import (
	"context"
	"net/http"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
	"github.com/towpath-go/towpath/transport"
)

// Sessions opens so many on one connection of their own, a WebSocket's having
// room for one, as a program without any settings does. End ends them.
func Sessions(ctx context.Context, b ledger.Begin, way string, n int) (all []transport.Session, end func(), err error) {
	d, err := newDialer(b)
	if err != nil {
		return nil, nil, err
	}
	d.url = "https://" + b.Address + "/echo"
	c, err := d.dial(ctx, Slot{Way: way, Sessions: n, Pooled: way != ledger.WS}, 1)
	if err != nil {
		return nil, nil, err
	}
	for range n {
		s, err := c.open(ctx, &transport.DialOptions{Header: http.Header{}})
		if err != nil {
			c.close()
			return nil, nil, err
		}
		all = append(all, s)
	}
	return all, func() { c.close(); d.Close() }, nil
}
