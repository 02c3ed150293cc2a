// Package peer puts the libraries that the benchmark compares behind one small
// interface.
//
// Each file has one library, used as its documentation says, with its defaults
// but for the windows: StreamWindow and ConnWindow where they can be set. All run
// TLS 1.3 with the same cipher, which every handshake checks.
//
//	Dial ──► Conn ──► Open ──► Stream ◄──► Stream ──► Handler.Stream
//	client                                             server
package peer

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The receive windows of all peers that have any, in bytes.
const (
	StreamWindow = 4 << 20
	ConnWindow   = 16 << 20
)

// MaxWrite is the most bytes of one Write in a benchmark.
const MaxWrite = 64 << 10

// A Peer is a library, or one way to use it.
type Peer struct {
	Name   string // on the command line and in tables
	Module string // the module whose version counts, "" for the standard library
	// Lacks has what the library does not do, and why.
	Lacks map[Feature]string
	// Only, if not empty, are the benchmarks that the peer is for.
	Only []string
	// PerConn is how many sessions or streams the pooled ones of the idle
	// benchmark have on each connection.
	PerConn int
	// Sessions says that those are sessions, of which a dial makes the first.
	Sessions bool
	// Pooled, if not nil, takes the peer's place where sessions are pooled.
	Pooled *Peer
	// Note says what about the peer a reader of its results should know.
	Note string

	Listen func(Config) (Server, error)
	Dial   func(ctx context.Context, addr string, conf *tls.Config) (Conn, error)
}

// A Feature is something that not every library does.
type Feature string

const (
	Streams   Feature = "streams"    // several streams on one connection
	HalfClose Feature = "half-close" // one direction of a stream can end
	Uni       Feature = "uni"        // unidirectional streams
	Datagrams Feature = "datagrams"
	Pool      Feature = "pool" // several sessions or streams idle on one connection
)

// A Config is what a server needs.
type Config struct {
	TLS     *tls.Config
	Handler Handler
}

// A Handler has what a server does. A nil field is not served, and costs no
// goroutine.
type Handler struct {
	// Stream is called for each stream that a client opens, in a goroutine of the
	// stream's own. Its return ends what was written.
	Stream func(Stream)
	// Uni is called for each unidirectional stream that a client opens, one after
	// the other for one connection.
	Uni func(io.Reader)
	// Datagram is called for each datagram, one after the other for one
	// connection. It may keep the slice.
	Datagram func([]byte)
}

// A Server serves until it is closed.
type Server interface {
	// Addr is where clients dial: host and port on loopback.
	Addr() string
	// Close ends what is left, and returns when all goroutines of the server and
	// its handlers have ended. Clients are closed first.
	Close() error
}

// A Conn is a client's connection: to a program's eyes a session.
type Conn interface {
	// Open opens a stream. The server may learn of it with its first bytes only.
	// A library without feature Streams opens one.
	Open(ctx context.Context) (Stream, error)
	// OpenUni opens a unidirectional stream. Close ends it.
	OpenUni(ctx context.Context) (io.WriteCloser, error)
	// SendDatagram sends a datagram, and may lose it.
	SendDatagram(p []byte) error
	// OpenPooled makes one more of what idles on the connection: a session where
	// the library has several, a stream otherwise. The first is there from the
	// beginning if it is a session.
	OpenPooled(ctx context.Context) error
	// Close ends the connection and everything on it.
	Close() error
}

// A Stream is one end of a stream, or of all a connection has.
type Stream interface {
	io.Reader
	io.Writer
	// CloseWrite ends what is written. The other direction goes on, where the
	// library has feature HalfClose.
	CloseWrite() error
	// Close lets go of the stream when both directions have ended, or aborts it.
	Close() error
}

// EndWrite ends what is written to a client's stream, whose other direction is not
// needed any more.
func (p *Peer) EndWrite(s Stream) error {
	if _, ok := p.Lacks[HalfClose]; ok {
		return s.Close()
	}
	return s.CloseWrite()
}

// all are the peers in the order of the tables.
var all = []*Peer{&rawTLS, &rawTLS16, &h2wtPeer, &wswtPeer, &h3wtPeer, &webtransportGo, &quicGo, &xnet, &grpcGo, &hashicorpYamux, &goYamux, &xtaciSmux, &gorilla, &coder}

// All returns all peers.
func All() []*Peer { return slices.Clone(all) }

// Named returns the peer with a name, nil if there is none.
func Named(name string) *Peer {
	for _, p := range all {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// Names returns the names of all peers.
func Names() []string {
	var names []string
	for _, p := range all {
		names = append(names, p.Name)
	}
	return names
}

// Select returns the peers of a list with commas, in the order of the tables.
func Select(list string) ([]*Peer, error) {
	var chosen []*Peer
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		p := Named(name)
		if p == nil {
			return nil, fmt.Errorf("there is no peer %q: give some of %s, with commas", name, strings.Join(Names(), ", "))
		}
		chosen = append(chosen, p)
	}
	return slices.DeleteFunc(All(), func(p *Peer) bool { return !slices.Contains(chosen, p) }), nil
}
