// Package wswt carries WebTransport sessions on WebSockets (RFC 6455), client and
// server: for browsers and networks that offer neither HTTP/3 nor WebTransport
// over HTTP/2. Package negotiate finds the open way by itself.
//
//	Session <- session engine <- mapping <- conn -+- frameReader <-+- tls.Conn, or a
//	                                              +- frameWriter ->+  stream of HTTP/2
//
// A session is one WebSocket with the subprotocol [Subprotocol]: the stream of
// capsules of draft-ietf-webtrans-http2 in binary messages, split anywhere.
// docs/websocket.md specifies it for clients in other languages. A server accepts
// sessions in any handler of an http.Server:
//
//	session, err := wswt.Upgrade(w, r, nil)
//
// over HTTP/1.1, and over HTTP/2 (RFC 8441) where package h2wt serves, whose
// bridge shows such a request as an HTTP/1.1 one. [Server] bounds the sessions of
// a process and ends them. A client is one call, [Dial]; [DialConn] and
// [DialHTTP2] use a connection that is there. Info.ID of a session is the ID of
// its HTTP/2 stream, by which ExportKeyingMaterial tells sessions apart that share
// a connection, and 0 over HTTP/1.1.
//
// # Pages with fails-components
//
// The browser build of @fails-components/webtransport falls back to a WebSocket
// of its own kind where a browser has no WebTransport or UDP is blocked, with the
// subprotocols webtransport_kDraft1 and webtransport_kDraft2, each also followed
// by "_" and an application protocol. A Server accepts them as well, unless
// Config.RefuseKDraft is set or the client offers [Subprotocol] too; nothing in a
// handler differs. A message is then one capsule without its Length, FIN is
// 0x190b4d3c, the client opens odd stream IDs, and there is no credit before the
// first capsules. What a user may notice:
//
//   - The request's path has a second slash in front, which http.ServeMux answers
//     by a redirection that no WebSocket follows. See the example ServeMux.
//   - Streams that the client opens are 100 of each kind at the start, whatever
//     Config.Session says: it does not wait to be allowed any.
//   - A message may have more than Config.MaxMessageSize, up to
//     MaxStreamWindow of stream data. It is passed on as it comes.
//   - A datagram is gathered before the engine sees it, so that a session can
//     hold up to twice MaxDatagramSize more. It counts, but for less than 4 KiB.
//   - The client reports the code and reason of its own close from the answering
//     Close frame, whose reason has "CODE:TEXT", as much of it as 123 bytes hold.
//
// # Goroutines and locks
//
// Two goroutines per session, one reading and one writing, none left when the
// connection has ended. No timers but one while TLS says goodbye: what is bounded
// in time are reads and writes, by the connection's deadlines. Each mutex here
// guards the few fields below it and is held during no I/O, no callback and no
// call into a session.
//
// # Bounds
//
// A Server has Config.MaxSessions, and of each client address
// MaxSessionsPerAddress and SessionRate; behind a proxy that ends TLS all clients
// have its address, so that there is no bound for each. Requests before that are
// the http.Server's: give it a ReadHeaderTimeout and MaxHeaderBytes, as package
// negotiate does.
//
// What a client can make a server hold, per session: the bytes counted by
// Config.MaxConnectionMemory and MaxServerMemory, the request's header that Info
// keeps among them; the state that package internal/session documents; 512 bytes to
// read from, and 16 KiB more while a long frame comes in; 17 KiB while something is
// being written. Nothing is sized by a length from the peer: a frame is judged by
// its header, and its payload is passed on as it comes. Of pings only the newest is
// answered. Control frames, empty ones and short fragments are budgeted: 1,000 at
// once and 100 a second, more for data.
//
// Whoever runs into a bound is told by the status of the Close frame: 1009 for a
// message that is too long, 1008 for everything else, capsules included. The
// session's error and the Monitor name it: transport.ReachedLimit.
//
// A session that is idle holds about 13 KiB, goroutines included, besides what
// crypto/tls does: about as much, and 22 KiB more once it has received a record of
// full size.
//
// # Time
//
// The opening handshake has Config.HandshakeTimeout, one write
// Config.WriteTimeout. A peer that sends nothing for Config.KeepAlive is asked by a
// ping and has Config.PingTimeout; pings while data comes in measure the
// round-trip time, by which receive windows grow. The closing handshake has
// transport.Config.CloseTimeout for each of its steps: the last bytes, the peer's
// Close frame, the end of the connection.
//
// # Late binding
//
// What goes out is chosen message by message, of at most 16 KiB, when the
// connection can take it, and on Linux the kernel is told to keep a short queue. So
// a byte of high priority waits for the message that is being written and that
// queue; over HTTP/2 also for what the stream has buffered, at most 64 KiB.
package wswt
