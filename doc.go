// Package towpath is the map of the module; it holds no code.
//
// Towpath carries WebTransport whichever way is open: HTTP/3 where UDP works,
// HTTP/2 over TLS and TCP where UDP is blocked, a WebSocket where only HTTP/1.1
// gets through. Programs use one [github.com/towpath-go/towpath/transport.Session]
// for all of them.
//
//	negotiate   Dialer (finds the open way) and Server (all ways on one port)
//	transport   the contract: Session, streams, datagrams, messages, errors
//	h2wt        WebTransport over HTTP/2, for programs that want only that
//	h3wt        WebTransport over HTTP/3, for programs that want only that
//	wswt        the same sessions over WebSocket, for programs that want only that
//	metrics     counts what servers and dialers do, for monitoring systems
//	qlog        a directory in which sessions write what they did
//	capsule     the capsule codec of both drafts, without I/O
//
// Package transport/transporttest is the conformance suite, for programs that
// implement Session themselves.
//
// The command cmd/hol, a module of its own, measures what a lost packet costs on
// each of these transports and on others (docs/hol.md).
//
// A client in five lines:
//
//	d := negotiate.Dialer{}
//	defer d.Close()
//	session, report, err := d.Dial(ctx, "https://example.com/chat", nil)
//	stream, err := session.OpenStream(ctx)
//	fmt.Fprintf(stream, "hello over %v", report.Winner)
package towpath
