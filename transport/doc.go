// Package transport is the contract that every Towpath backend meets: a
// [Session] with streams, datagrams and messages, and the errors they return.
//
// A session comes from a dialer (negotiate, h2wt, h3wt) or from Upgrade in an
// http.Handler. It holds any number of streams, unidirectional or
// bidirectional, opened by either side, each with its own flow control and
// its own end; and datagrams, which are bounded, unordered with respect to
// streams, and may be dropped.
//
// # Messages
//
// A message is a byte string sent whole on a unidirectional stream of its own
// ([SendMessage], [ReceiveMessage]): the stream's end is the message's end, so it
// needs no length in front and is delivered complete or not at all. Messages are
// handed out in the order in which the session accepts their streams. They cannot be
// told from other unidirectional streams: a program uses one or the other in
// each direction.
//
// # What differs between the transports
//
//	                     HTTP/3                     HTTP/2 and WebSocket
//	datagrams            unreliable, path MTU       reliable once sent, up to Config.MaxDatagramSize;
//	                                                dropped before sending when the queue is full or MaxAge passed
//	one lost packet      delays its own stream      delays every stream of the connection
//	stream IDs           QUIC's, shared by the      dense, per session
//	                     connection's sessions
//	Priority             approximated: the ranks    exact: fair between groups, strict by Order
//	                     of live orders map to      within one, round-robin among equals
//	                     QUIC urgencies
//
// # ErrUnsupported
//
// [ErrUnsupported] is returned by: dialing HTTP/2 or a WebSocket with
// [DialOptions.RequireUnreliable] (TCP cannot lose a datagram); ExportKeyingMaterial
// of a session on a WebSocket whose TLS ends in a proxy in front of the server
// (wswt.Config.TLSTerminated); in package
// negotiate, dialing where the Dialer's settings, RequireUnreliable or a proxy
// leave no way, a Transport that is none of the three, and Listen for no
// transport that it knows.
package transport
