// Package session is the capsule session engine: one transport.Session over one
// ordered stream of bytes, as draft-ietf-webtrans-http2 defines it.
package session
