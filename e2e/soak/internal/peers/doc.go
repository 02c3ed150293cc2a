// Package peers has the processes of a soak: a server, and a client that keeps a
// fixed number of connections with a fixed number of sessions each, all of which
// end and begin anew all the time. Each is told what to do by lines on its
// standard input, ends when that ends, and tells what happens on its standard
// output; see package ledger.
//
//	slot (one a connection) ─► connection ─► session, session, ...  ─► endpoint
//	chaos ─► a connection ─► the relay
package peers
