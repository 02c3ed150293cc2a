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
// # Dialects
//
// Draft 15 gave the two types of WT_STREAM each other's meaning: which one ends a
// stream cannot be told from any setting or header field of a peer, and every
// deployed peer that was measured has the older reading. transport.Config.Dialect
// says what a session does about it: the Dialect of DialOptions.Config or
// UpgradeOptions.Config, else that of Config.Session. Which servers a client
// accepts at all depends on Config.Session's (and for each Dial on its own).
//
//	                        DialectAuto          DialectDraft15   DialectLegacy
//	a client accepts        WT_ENABLED > 0, or   WT_ENABLED = 1   as Auto
//	  (beside extended      not given and any
//	  CONNECT)              limit above 0
//	WT_ENABLED above 1      number of sessions   connection error number of sessions
//	no limit for bidi       the other side's     0                as Auto
//	  streams of the        holds for all
//	  receiver (0x2b66)
//	recognises Towpath      yes                  yes              no
//	WT-Protocol without     accepted if offered  absent           as Auto
//	  quotes
//	peer's stream IDs       learnt               the draft's      the draft's
//
// WT_ENABLED = 1 is what every server of draft 15 says and is not taken for the
// number one, but by DialectLegacy of a server without 0x2b66; a server that does
// count refuses a second session itself.
//
// Two endpoints of this package recognise each other: a client sends the key
// towpath=1 in WebTransport-Init, a server that saw it answers with the header
// field towpath: 1, and both speak draft 15 exactly. Others ignore the key. A
// client sends no capsule before the answer. Under DialectAuto, what has not been
// recognised is handled as follows.
//
//   - A server without WT_ENABLED = 1, a client with WT_ENABLED and without 0x2b66
//     in its SETTINGS, Firefox, and the client of fails-components show by this that they are older
//     than draft 15, and have its reading from the beginning.
//   - Of all others the older reading is supposed. What the peer does with a
//     stream proves it or disproves it; on proof the session switches, in both
//     directions. Until then the end of a stream is delayed by up to 100 ms, and
//     a session that finds out too late ends with a *transport.DialectError, or is
//     reset by the peer, to which a stream went on behind its end.
//   - Peers with the limits 0x2b61 to 0x2b65 and neither WT_ENABLED nor 0x2b66 are
//     taken for fails-components, whose client opens streams with odd IDs and
//     whose server those with even ones, unless the first stream that they open
//     shows the draft's parity. Its client has a field authority beside
//     :authority; it gets WT-Protocol without quotes, as it takes them for a part
//     of the name. Its Origin is only a host:
//     UpgradeOptions.AllowOriginWithoutScheme.
//
// Each session writes one line, "session dialect", at level Info to its
// Config.Logger, with the dialect, the reason (configured, recognised, announced
// by the peer, or prior: supposed), and the parity of stream IDs. docs/clients.md
// says what was measured with which peer.
//
// # Goroutines and locks
//
// Per connection two goroutines, those of internal/h2conn: the one that reads, which
// on a server is the goroutine that net/http gave, and while there is something to
// write the one that does. Besides, one per running handler, and
// none once it has returned; none per session or stream.
//
// Every mutex here guards the few fields below it, and is held during no
// callback, no I/O and no call into a session. What h2conn calls (Receiver,
// Source) never waits.
//
// # Bounds
//
// What a client can make a server hold, per connection: the bytes of its
// sessions and the headers they keep, Config.MaxConnectionMemory; of request
// bodies, WebSockets and undecided sessions, as much again and one connection
// window of 16 MiB; for each response 64 KiB written and not sent; and Config.MaxConcurrentStreams handlers, which count until they have
// returned, even if the client has reset their streams.
package h2wt
