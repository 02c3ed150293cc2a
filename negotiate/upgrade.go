package negotiate

import (
	"context"
	"net/http"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/h3wt"
	"github.com/towpath-go/towpath/internal/handshake"
	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/wswt"
)

// Upgrade accepts the session that a request asks for, whichever way it came:
// WebTransport over HTTP/3 or HTTP/2, or a WebSocket that offers a subprotocol of
// package wswt, over HTTP/1.1 or HTTP/2. It works in any http.Handler of a
// [Server], and of servers set up with packages h2wt, h3wt or wswt, behind
// middleware that wraps w if r's context comes from the original's. A nil opts is
// the zero UpgradeOptions.
//
// The session outlives the handler, and does not depend on r.Context(). On error
// the status has been written: 403 for an Origin that is not allowed, 400 for
// malformed fields and if no application protocol fits a requirement, 405 if
// the request does not ask for a session, or asks for one by a way that the
// Server does not serve.
func Upgrade(w http.ResponseWriter, r *http.Request, opts *transport.UpgradeOptions) (transport.Session, error) {
	switch {
	case r.ProtoMajor == 3:
		return h3wt.Upgrade(w, r, opts)
	case isWebSocket(r):
		return wswt.Upgrade(hijackable(w, r), r, opts)
	}
	return h2wt.Upgrade(w, r, opts)
}

// IsUpgrade reports whether a request asks for a session, so that a handler can
// answer others in its own way: an extended CONNECT, or a WebSocket handshake that
// offers a subprotocol of package wswt where the Server serves those. Only Upgrade
// tells whether the request is well-formed.
func IsUpgrade(r *http.Request) bool {
	return r.Method == http.MethodConnect || isWebSocket(r)
}

func isWebSocket(r *http.Request) bool {
	return wswt.IsUpgrade(r) && r.Context().Value(noWebSocket{}) == nil
}

// writerKey is the key of the ResponseWriter that a Server gave to its handler
// for a WebSocket.
type writerKey struct{}

// keepWriter lets Upgrade find the original ResponseWriter of a WebSocket.
func keepWriter(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isWebSocket(r) {
			r = r.WithContext(context.WithValue(r.Context(), writerKey{}, w))
		}
		next.ServeHTTP(w, r)
	})
}

// hijackable returns w, or the original of one that hides how to take over the
// connection.
func hijackable(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
	if _, ok := handshake.Find[http.Hijacker](w); ok {
		return w
	}
	if original, ok := r.Context().Value(writerKey{}).(http.ResponseWriter); ok {
		return original
	}
	return w
}

// noWebSocket is the key of a context whose server takes no sessions over
// WebSocket.
type noWebSocket struct{}

func withoutWebSocket(ctx context.Context) context.Context {
	return context.WithValue(ctx, noWebSocket{}, true)
}
