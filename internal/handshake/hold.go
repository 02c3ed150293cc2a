package handshake

import (
	"context"
	"sync/atomic"
)

// holdKey is the key of what a request holds, in its context.
type holdKey struct{}

// A hold is what a request for a session holds of a quota outside of its
// transport. It is the session's once there is one.
type hold struct {
	release func()
	kept    atomic.Bool // by a session
}

// WithHold returns a context for a request that asks for a session, and a function
// to call when its handler has returned: it calls release unless a session was
// made of the request, see [Keep]. Release is called once.
func WithHold(ctx context.Context, release func()) (_ context.Context, returned func()) {
	h := &hold{release: release}
	return context.WithValue(ctx, holdKey{}, h), func() {
		if !h.kept.Swap(true) {
			h.release()
		}
	}
}

// Holds tells whether a request holds anything. A session's context is not free: it
// is made only for those who ask for it.
func Holds(request context.Context) bool { return request.Value(holdKey{}) != nil }

// Keep is called by each transport when it has made a session of a request: what
// the request holds, if anything, is released when the session ends and not when
// the handler returns. The contexts are the request's and the session's.
func Keep(request, session context.Context) {
	if h, ok := request.Value(holdKey{}).(*hold); ok && !h.kept.Swap(true) {
		context.AfterFunc(session, h.release)
	}
}
