// Package negotiate finds the open way to a WebTransport server, and serves all
// ways on one port.
//
// A [Dialer] races HTTP/3 against HTTP/2, with a WebSocket as the last resort, and
// returns one [transport.Session] for any of them, with a [Report] of how that
// went. QUIC has a head start; TCP begins earlier if the network refuses UDP, or if
// nothing comes back. Where UDP turned out to be broken the Dialer remembers it for
// a while, per network, host and port, and goes to TCP at once.
//
//	d := &negotiate.Dialer{}
//	defer d.Close()
//	session, report, err := d.Dial(ctx, "https://example.com/chat", nil)
//
// A [Server] listens for UDP and TCP on one port. Sessions and ordinary requests
// reach the same http.Handler, whichever HTTP version they come by; [Upgrade]
// accepts a session in it.
//
//	handler
//	   ▲ ▲
//	   │ └────────── HTTP/3 (h3wt, QUIC) ◄──── UDP ┐
//	   └─ HTTP/2 (h2wt), HTTP/1.1 ◄── TLS ◄─── TCP ┴ one port
//	      WebSockets over either (wswt)
//
// # How a dial goes
//
//   - The name is resolved once. QUIC is tried over IPv6, and over IPv4 50 ms
//     later or when IPv6 failed.
//   - TCP starts after the head start (250 ms, or 1.5 times the known round-trip
//     time within 100 ms and 2 s); at half of it if no UDP packet came back at
//     all; at once if every family was refused (ICMP, a local filter, packets
//     too large).
//   - The ways race up to the server's WebTransport settings. The first that is
//     ready carries the session request. Another gets it too only if the first
//     stays unanswered for max(1 s, 4 round trips). A server that takes its time
//     may so be asked twice, but never has more than two requests of a dial to
//     answer at a time; the first acceptance counts, the other request is reset,
//     and closed with code 0 if it was accepted late.
//   - What the server answers is returned: a status that is not 2xx, a refused
//     certificate. Statuses 501 and 421, a refused stream, and a server without
//     WebTransport lead to the other way.
//   - WebSocket stands below HTTP/2. Where ALPN gives HTTP/1.1, or nothing, it takes
//     the TLS connection over: no second dial. Where HTTP/2 was reached and takes no
//     session (no WebTransport in the SETTINGS, none at all within max(3 s, 4 times
//     the TLS handshake), or the CONNECT refused as above or reset) it gets a
//     connection that offers HTTP/1.1 alone; if the server refuses that, a WebSocket
//     over HTTP/2 (RFC 8441). So it does where the TLS handshake for HTTP/2 was cut
//     off without a word, and beside a CONNECT that stays unanswered for max(3 s,
//     12 round trips), unless one over HTTP/3 does so too: something on the way may
//     collect whole requests, and that one has no end. The CONNECT goes on, since
//     the server may only be slow.
//   - What a server answers to a WebSocket may come from one that does not know what
//     it was asked for. It counts once QUIC has failed, or has not come up within
//     500 ms; then the [DialError] says what every way came to.
//   - A path that dies after the handshake loses: within max(3 s, 4 probe
//     timeouts) of the request without any acknowledgement while Dial waits,
//     and after it the session ends with [ErrPathBroken].
//   - Behind a proxy everything goes over TCP. Where unreliable delivery is
//     required nothing does.
//
// # What is remembered
//
// If TCP won and QUIC failed on every family, also within another 500 ms, UDP to
// the server is marked broken for a minute, doubled each time up to a day, 20 %
// more or less. A success clears the mark, a change of network voids it, and
// [Dialer.Forget] drops it. The first dial after its end goes to TCP as well and
// probes QUIC beside it.
//
// # Concurrency
//
// All methods may be called from any goroutine. A Dial uses a few goroutines
// that end with it or, where a losing way lingers, at most a few seconds later;
// [Dialer.Close] waits for them. A session has none of its own here.
//
// # Limits
//
// HTTP/3 does not pass proxies. A WebSocket carries one session: Dialer.Pool does
// not hold for it. Something that takes every request and never answers holds a
// dial up until its end: nothing tells it from a slow server. A session never moves
// from one way to another: when its path breaks, dial again. Load balancers may lead
// the UDP and the TCP of one client to different machines. docs/networks.md has what
// each broken network comes to.
package negotiate
