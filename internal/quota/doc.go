// Package quota counts what each client of a server has open, and how fast it
// opens more. A client is known by its address: the whole of an IPv4 address, the
// first 64 bits of an IPv6 address, which is what a site gives to one network.
//
// A [Table] has a token bucket and a count for each client, and a count of
// everything. It is bounded in size whatever addresses come:
//
//  1. When it is full, clients are forgotten that have nothing open and whose
//     bucket is full again, so that they are as good as unknown. That is looked
//     for once a second at most.
//  2. A client that has something open is never forgotten.
//  3. Clients for whom there is no room share one bucket and one count, as if
//     they were one client.
//
// It does no I/O, starts nothing, and is told the time.
package quota
