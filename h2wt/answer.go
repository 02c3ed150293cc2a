package h2wt

import (
	"context"
	"net/http"

	"github.com/towpath-go/towpath/internal/h2conn"
)

// connectAnswer is what becomes of a client's CONNECT: whether it was written, and
// the final response to it.
type connectAnswer struct {
	written chan error // OnWrite's verdict; buffered
	final   chan *connectResponse
}

type connectResponse struct {
	status    int
	header    http.Header
	local     h2conn.Settings // ours, as the server knew them when it answered
	endStream bool
}

func newConnectAnswer() *connectAnswer {
	return &connectAnswer{written: make(chan error, 1), final: make(chan *connectResponse, 1)}
}

// received is called on the read goroutine for every response.
func (a *connectAnswer) received(h *h2conn.Header) {
	if h.Status < 200 {
		return
	}
	resp := &connectResponse{
		status:    h.Status,
		header:    make(http.Header, len(h.Fields)),
		local:     h.Local,
		endStream: h.EndStream,
	}
	for _, f := range h.Fields {
		key := http.CanonicalHeaderKey(f.Name)
		resp.header[key] = append(resp.header[key], f.Value)
	}
	a.final <- resp // never full: there is one final response
}

// wait waits for the final response; ended is closed, and cause says why, if the
// stream ends abruptly.
func (a *connectAnswer) wait(ctx context.Context, ended <-chan struct{}, cause func() error) (*connectResponse, error) {
	select {
	case err := <-a.written:
		if err != nil {
			return nil, err
		}
	case <-ended: // perhaps right behind the answer
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	select {
	case resp := <-a.final:
		return resp, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-ended:
	}
	select {
	case resp := <-a.final:
		return resp, nil
	default:
		return nil, dialError(cause())
	}
}
