// Package handshake holds the rules of a WebTransport request and its answer
// that are the same on every transport: the Origin check, the structured
// fields (RFC 9651), the URL of a session, which header fields an application
// may set, and how Upgrade finds its own ResponseWriter behind middleware.
//
// It does no I/O and keeps no state. What comes from the peer is bounded before
// it is parsed, by [MaxFieldSize] and [MaxMembers].
package handshake
