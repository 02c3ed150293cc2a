package quota

import (
	"context"
	"sync/atomic"
)

// holdKey is the key of the Hold in a request's context.
type holdKey struct{}

// A requestHold is the Hold of a request for a session. It is the session's once
// there is one.
type requestHold struct {
	*Hold
	kept atomic.Bool // by a session
}

// WithHold returns a context for a request that asks for a session, and a function
// to call when its handler has returned: it releases h unless a session was made
// of the request, see [Keep].
func WithHold(ctx context.Context, h *Hold) (_ context.Context, returned func()) {
	r := &requestHold{Hold: h}
	return context.WithValue(ctx, holdKey{}, r), func() {
		if !r.kept.Load() {
			h.Release()
		}
	}
}

// Keep is called by each transport when it has made a session of a request: what
// the request holds, if anything, is released when the session ends and not when
// the handler returns. The contexts are the request's and the session's.
func Keep(request, session context.Context) {
	r, ok := request.Value(holdKey{}).(*requestHold)
	if !ok {
		return
	}
	if !r.kept.Swap(true) { // of one request there is one session
		context.AfterFunc(session, r.Release)
	}
}
