// Package h3wt is WebTransport over HTTP/3 (draft-ietf-webtrans-http3-16) on
// quic-go: a session layer of its own on the public API of quic-go's http3
// package. Its sessions implement transport.Session. Peers of older drafts, 02
// and up, are accepted and dialed like others; docs/http3-drafts.md has a table
// of what differs, and Config.MinDraft leaves them out.
//
//	negotiate, application
//	      │ Server, Upgrade            │ Dial, ClientConn
//	┌─────▼────────────────────────────▼─────┐
//	│ Session: streams, datagrams, capsules  │ capsule, sessionstate
//	├────────────────────────────────────────┤
//	│ conn: the sessions of a QUIC           │ handshake
//	│ connection, streams that wait for one  │
//	└──────┬───────────────────────────┬─────┘
//	  quic-go/http3: requests,    quic.Conn: streams
//	  SETTINGS, datagrams
//
// A server in a few lines:
//
//	srv := &h3wt.Server{TLSConfig: tlsConf, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
//		if s, err := h3wt.Upgrade(w, r, nil); err == nil {
//			go serve(s)
//		}
//	})}
//	err := srv.Serve(udpConn)
//
// # Concurrency
//
// Everything may be called from any goroutine. A connection has 6 goroutines at
// either end: 2 of quic-go, 2 for what http3 reads (the control stream, datagrams)
// and 2 that accept streams. A session has 2: the reader of its CONNECT stream,
// and one that takes datagrams from http3, which keeps only a few. A stream has
// none, but while its header is late, or its reset waits for what quic-go keeps of
// it; a request has one from its first bytes to the return of its handler. No
// writer has one: capsules are written by whoever causes them, and by a goroutine
// only while the peer gives no credit, as are datagrams while there are any. So a
// peer causes at most as many goroutines in a connection as QUIC allows it streams.
//
// There are two mutexes, the connection's and the session's, which its streams
// share. They are never held together, nor while quic-go, http3 or the
// application is called: quic-go itself asks a session for credit under locks
// of its own.
//
// # Limits
//
// What a peer can cause is bounded per connection: streams, by QUIC's limits
// (twice the session's, and on a server MaxSessions and MaxRequests besides);
// sessions, by MaxSessions and SessionRate; streams without a session, by
// MaxEarlyStreams and EarlyTimeout; received and unread bytes, by the QUIC
// windows (at first the first session's window, 64 KiB for each further one and
// 256 KiB; at most MaxConnectionMemory); datagrams, by the session's queues and
// 32 in http3; capsules, by 1,028 bytes, a DATAGRAM capsule by MaxDatagramSize,
// and by their rate; capsules to be sent, by one of each kind.
//
// What costs work and brings nothing is counted by the buckets of
// transport.Floods. Glitches: PADDING, unknown and repeated capsules, flow-control
// capsules without flow control, empty DATA frames. Control: flow-control
// capsules. TinyDatagrams: DATAGRAM capsules; those in QUIC datagrams are not
// counted, since quic-go and http3 drop what they cannot hand over. Resets: for a
// session the peer's resets of its streams, and requests to stop, once the
// application meets them; for a connection, in a bucket of the same size by
// Config.Session, the streams that were opened for nothing: reset before their
// header, for a session that does not come, requests and sessions that the client
// resets or has reset. More of those close the connection with H3_EXCESSIVE_LOAD.
// Frames of unknown type, and the rest of skipped capsules, cost what it takes to
// receive them, and are not counted.
//
// Handshakes with clients whose address is not verified are bounded by
// UnverifiedHandshakes; one that has not got beyond its first packet costs up to
// 64 KiB, and is given up after 5 s.
//
// QUIC's windows bound bytes, and quic-go keeps each STREAM frame apart until it is
// read: a frame of one byte holds up to 192, one of 128 bytes a buffer of 1,452. A
// peer that fills the windows with such frames, of streams that the application
// does not read, makes this side hold as many times more than MaxConnectionMemory:
// at the default windows some 600 MB a connection of which nothing was read yet.
// Reading such streams ahead would give the peer QUIC's credit back, and is no way
// out. Where that matters, give sessions small windows, and bound the connections.
//
// Session flow control is on if the peer wants it; then several sessions can
// share the connection. Each gets its windows out of the connection's, so that
// unread data of one never stops another, nor the capsules of any. Without it a
// connection has one session.
//
// # What quic-go does not offer
//
//   - A server cannot send GOAWAY. Shutdown asks every session to drain and
//     refuses new ones. A client has no event for GOAWAY and looks for it once
//     a second.
//   - Frame type 0x41 inside a request stream is skipped by http3 as unknown,
//     where draft-ietf-webtrans-http3 asks for H3_FRAME_ERROR.
//   - Datagrams for a session whose CONNECT has not arrived are dropped by
//     http3.
//   - The scheme of a CONNECT request is not told to a server.
//   - Received bytes are known when they are read, or when the end of their
//     stream has arrived: so do Stats count them, so late is data beyond the
//     session's limit found out, and only then is it traffic for IdleTimeout.
//     QUIC's own limits hold all the same.
//   - Without session flow control there is no credit to withhold for
//     IncomingByteRate. Read then takes no more than the rate allows, and QUIC's
//     windows hold the peer back. What is discarded unread is not counted.
//   - Streams that were finished stay readable after the session's end, but not
//     after the connection's, nor once further sessions need their room: with
//     the open sessions no more than MaxSessions have unread streams.
//   - What quic-go keeps of small Writes, up to 4,200 bytes of a stream, it cannot
//     drop. CancelWrite on a stream that was opened here has these bytes sent
//     first, before those of other streams. If they have not gone out by the time
//     in which a lost packet is repeated, the peer is told to read all of the
//     stream before the reset.
//   - Priorities are approximated by eight urgencies, of which data uses those
//     from the session's own one on; streams of one urgency share, whatever
//     their group. A client's CONNECT stream stays at the default urgency.
//
// 0-RTT is not used.
package h3wt
