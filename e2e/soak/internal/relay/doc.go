// Package relay stands between the client and the server of a soak, for TCP and
// UDP, and is the broken network: it does to a connection what it is told to,
// and UDP loses, doubles and reorders a few packets all the time.
//
//	client ── tcp ──► relay ── tcp ──► server      one pair of pumps a connection
//	client ── udp ──► relay ── udp ──► server      one socket towards the server a client
//
// What happens to the packets comes from a seed. What happens to a connection is
// ordered from outside, by the client's port.
package relay
