// Package h2wt is WebTransport over HTTP/2 (draft-ietf-webtrans-http2; the
// revision is pinned in package capsule), client and server, for programs that
// want only that. Package negotiate finds the open way by itself.
//
//	http.Handler <- exchange, response <-+
//	http.Handler <- bridge (WebSocket) <-+- serverConn -+
//	Session      <- session engine <- tunnel -----------+- h2conn <- tls.Conn
//	Session      <- session engine <- tunnel -+         |
//	net.Conn     <- websocketConn <-----------+- ClientConn
//
// A server is an http.Server with [ConfigureServer]; in any of its handlers
// [Upgrade] accepts a session:
//
//	hs := &http.Server{Addr: addr, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
//		session, err := h2wt.Upgrade(w, r, nil)
//		...
//	})}
//	err := h2wt.ConfigureServer(hs, nil)
//	err = hs.ListenAndServeTLS(certFile, keyFile)
//
// A client is one call, or a [ClientConn] for several sessions on a connection:
//
//	session, err := h2wt.Dial(ctx, "https://example.com/chat", nil, nil)
//
// # One connection for everything
//
// Sessions, ordinary requests and WebSockets live side by side on a connection,
// and reach the same http.Handler. A session arrives as a request with method
// CONNECT and Header[":protocol"] = "webtransport". A WebSocket over HTTP/2 (RFC
// 8441), which browsers use once extended CONNECT is announced, arrives as the
// HTTP/1.1 upgrade request that WebSocket packages expect, with a ResponseWriter
// that can be hijacked. Server push and h2c are not offered.
//
// # Goroutines and locks
//
// Per connection two goroutines, those of internal/h2conn; on a server one of
// them is the goroutine that net/http gave. Besides, one per running handler, and
// none once it has returned; none per session or stream.
//
// Every mutex here guards the few fields below it, and is held during no
// callback, no I/O and no call into a session. What h2conn calls (Receiver,
// Source) never waits.
//
// # Bounds
//
// What a client can make a server hold, per connection: the bytes of its
// sessions, Config.MaxConnectionMemory; of request bodies and undecided sessions,
// as much again and one connection window; for each response 64 KiB written and
// not sent; and Config.MaxConcurrentStreams handlers, which count until they have
// returned, even if the client has reset their streams.
package h2wt
