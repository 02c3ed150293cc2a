// Command bench measures Towpath beside the libraries that a Go program would use
// in its place.
//
//	go run -C e2e ./bench                                   everything; most of an hour
//	go run -C e2e ./bench -peers h2wt,go-yamux -bench echo  a part
//	go run -C e2e ./bench -list                             what there is
//
// Both ends are in one process, on loopback and two processors, with TLS 1.3, the
// same cipher and the same receive windows. Everything else is the libraries'
// default, Towpath's limits included. A peer's data is checked byte by byte before
// anything is timed; what is timed is counted where it arrives.
//
// The speed of a machine changes from second to second when others share it. So
// peers take turns, beginning with another one in each round, and crypto/tls (or
// quic-go, for what crypto/tls cannot do) is measured between any two of them: the
// ratio of a result to the mean of those right before and after it is steadier
// than the result. Tables have the medians of all rounds, the least and the most.
//
// Idle memory is that of a server in a process of its own, with the clients in
// another: what the heap's spans in use and the stacks have grown by, once all
// connections are there and nothing happens any more.
//
// docs/performance.md has the results; command document, beside this one, makes
// its tables.
package main
