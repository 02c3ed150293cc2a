// Package measure has the benchmarks: what is done with a peer, how it is timed
// and counted, and in which order peers take turns.
//
// Both ends are in this process, so what a receiver got is known without asking
// it. A measurement makes a server and a client of its own, lets them do for a
// while what is measured, waits until nothing is under way, and only then begins
// to count. It fails if the receiver did not get every byte and the end of every
// stream.
package measure

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/towpath-go/towpath/e2e/bench/internal/peer"
	"github.com/towpath-go/towpath/e2e/internal/results"
)

// Options say how long a measurement takes.
type Options struct {
	Duration time.Duration // of what is counted
	Warmup   time.Duration // of the same before
	Idle     int           // connections or sessions of the idle benchmarks
	Settle   time.Duration // before memory is looked at
}

// A Result is what a measurement came to. What was not measured is 0.
type Result struct {
	// Value is the benchmark's, in its unit.
	Value float64 `json:"value"`
	// P99 is the 99th percentile where Value is a median.
	P99 float64 `json:"p99,omitempty"`
	// Lost is the share of datagrams that did not arrive.
	Lost float64 `json:"lost,omitempty"`
	// CPU is what both ends used: seconds for each GB where bytes are counted,
	// microseconds for each operation elsewhere.
	CPU float64 `json:"cpu,omitempty"`
	// Allocs are the allocations of both ends for each operation.
	Allocs float64 `json:"allocs"`
	// Goroutines are the server's for each connection or session.
	Goroutines float64 `json:"goroutines,omitempty"`
	// PerConn is how many pooled sessions or streams a connection had.
	PerConn int `json:"per_conn,omitempty"`
}

// A Bench is a benchmark.
type Bench struct {
	Name  string
	Title string
	Unit  string
	// Operation is what allocations, and CPU if it is not for each GB, are
	// divided by.
	Operation string
	PerGB     bool // CPU is for each GB
	Lower     bool // less is better
	Needs     []peer.Feature
	// Reference is the peer whose result in the same round the others are
	// divided by, and ReferenceBench what it does, "" for the same.
	Reference      string
	ReferenceBench string
	// Steady benchmarks do not depend on how fast the machine is at the moment:
	// the reference is measured once a round.
	Steady bool
	Run    func(ctx context.Context, p *peer.Peer, o Options) (Result, error)
}

// benches are all benchmarks in the order of the tables.
var benches = []*Bench{
	{Name: "up64k", Title: "Bulk from the client, writes of 64 KiB", Unit: "MB/s", Operation: "write", PerGB: true, Reference: "tls", Run: bulk{size: 64 << 10, streams: 1}.run},
	{Name: "down64k", Title: "Bulk from the server, writes of 64 KiB", Unit: "MB/s", Operation: "write", PerGB: true, Reference: "tls", Run: bulk{size: 64 << 10, streams: 1, down: true}.run},
	{Name: "up1k", Title: "Bulk from the client, writes of 1 KiB", Unit: "MB/s", Operation: "write", PerGB: true, Reference: "tls", Run: bulk{size: 1 << 10, streams: 1}.run},
	{Name: "down1k", Title: "Bulk from the server, writes of 1 KiB", Unit: "MB/s", Operation: "write", PerGB: true, Reference: "tls", Run: bulk{size: 1 << 10, streams: 1, down: true}.run},
	{Name: "streams16", Title: "16 streams of a connection from the client, writes of 64 KiB", Unit: "MB/s", Operation: "write", PerGB: true,
		Needs: []peer.Feature{peer.Streams}, Reference: "tls", ReferenceBench: "up64k", Run: bulk{size: 64 << 10, streams: 16}.run},
	{Name: "writes100", Title: "Writes of 100 bytes on one stream", Unit: "k/s", Operation: "write", Reference: "tls", Run: bulk{size: smallSize, streams: 1, count: true}.run},
	{Name: "echo", Title: "Echo of 100 bytes, median", Unit: "us", Operation: "echo", Lower: true, Reference: "tls", Run: echo},
	{Name: "churn1", Title: "Streams one after the other: 100 bytes there and back, and both ends", Unit: "/s", Operation: "stream",
		Needs: []peer.Feature{peer.Streams}, Reference: "quic-go", Run: churn{flight: 1}.run},
	{Name: "churn64", Title: "The same with 64 streams at a time", Unit: "/s", Operation: "stream",
		Needs: []peer.Feature{peer.Streams}, Reference: "quic-go", Run: churn{flight: 64}.run},
	{Name: "messages", Title: "Messages of 100 bytes, each on a unidirectional stream, 64 at a time", Unit: "k/s", Operation: "message",
		Needs: []peer.Feature{peer.Uni}, Reference: "quic-go", Run: messages},
	{Name: "datagrams", Title: "Datagrams of 100 bytes, as fast as they are taken", Unit: "k/s", Operation: "datagram",
		Needs: []peer.Feature{peer.Datagrams}, Reference: "quic-go", Run: datagrams{}.run},
	{Name: "datagrams16", Title: "The same with 16 datagrams at a time under way", Unit: "k/s", Operation: "datagram",
		Needs: []peer.Feature{peer.Datagrams}, Reference: "quic-go", Run: datagrams{flight: 16}.run},
	{Name: "dial", Title: "Dial until the first byte came back, median", Unit: "ms", Operation: "dial", Lower: true, Reference: "tls", Run: dial},
	{Name: "idle", Title: "Server's memory for an idle connection", Unit: "KiB", Operation: "connection", Lower: true, Reference: "tls", Steady: true, Run: idle{}.run},
	{Name: "pooled", Title: "Server's memory for an idle session or stream among others on connections", Unit: "KiB", Operation: "session", Lower: true,
		Needs: []peer.Feature{peer.Pool}, Reference: "quic-go", Steady: true, Run: idle{pooled: true}.run},
}

// All returns all benchmarks.
func All() []*Bench { return slices.Clone(benches) }

// Named returns the benchmark with a name, nil if there is none.
func Named(name string) *Bench {
	for _, b := range benches {
		if b.Name == name {
			return b
		}
	}
	return nil
}

// Select returns the benchmarks of a list with commas, in the order of the tables.
func Select(list string) ([]*Bench, error) {
	var chosen []*Bench
	for name := range strings.SplitSeq(list, ",") {
		b := Named(strings.TrimSpace(name))
		if b == nil {
			var names []string
			for _, b := range benches {
				names = append(names, b.Name)
			}
			return nil, fmt.Errorf("there is no benchmark %q: give some of %s, with commas", name, strings.Join(names, ", "))
		}
		chosen = append(chosen, b)
	}
	return slices.DeleteFunc(All(), func(b *Bench) bool { return !slices.Contains(chosen, b) }), nil
}

// Lacks says why a peer cannot do the benchmark, "" if it can.
func (b *Bench) Lacks(p *peer.Peer) string {
	for _, f := range b.Needs {
		if why, ok := p.Lacks[f]; ok {
			return why
		}
	}
	if len(p.Only) > 0 && !slices.Contains(p.Only, b.Name) {
		return "for comparison in " + strings.Join(p.Only, ", ") + " only"
	}
	return ""
}

// patience bounds what a measurement waits for besides its durations.
const patience = 30 * time.Second

// smallSize is the size of a small message, in bytes.
const smallSize = 100

// Measure runs the benchmark once.
func (b *Bench) Measure(ctx context.Context, p *peer.Peer, o Options) (Result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.Duration+o.Warmup+o.Settle+patience, fmt.Errorf("nothing more came within %v", patience))
	defer cancel()
	r, err := b.Run(ctx, p, o)
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w (%w)", cause, err)
	}
	if err != nil {
		return r, fmt.Errorf("%s of %s: %w", b.Name, p.Name, err)
	}
	return r, nil
}

// A pair is a server and a client's connection to it.
type pair struct {
	p      *peer.Peer
	server peer.Server
	conn   peer.Conn
	stop   func() bool
	once   sync.Once
	failed chan error // of 1: what went wrong at the server
}

// begin starts a server and dials it. When ctx ends before close the connection
// is closed, which ends every wait.
func begin(ctx context.Context, p *peer.Peer, h peer.Handler, failed chan error) (*pair, error) {
	c, err := peer.NewCredentials()
	if err != nil {
		return nil, err
	}
	conf, err := peer.ClientTLS(c.Certificate)
	if err != nil {
		return nil, err
	}
	server, err := p.Listen(peer.Config{TLS: c.Server(), Handler: h})
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	conn, err := p.Dial(ctx, server.Addr(), conf)
	if err != nil {
		_ = server.Close()
		return nil, fmt.Errorf("dial: %w", err)
	}
	q := &pair{p: p, server: server, conn: conn, failed: failed}
	q.stop = context.AfterFunc(ctx, q.closeConn)
	return q, nil
}

func (q *pair) closeConn() { q.once.Do(func() { _ = q.conn.Close() }) }

// end closes both ends. It returns err, or why ctx ended, or what went wrong at
// the server, whichever was first.
func (q *pair) end(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); !q.stop() && !errors.Is(err, cause) {
		err = cause
	}
	q.closeConn()
	closeErr := q.server.Close()
	select {
	case failed := <-q.failed:
		err = errors.Join(failed, err)
	default:
	}
	if err == nil && closeErr != nil {
		err = fmt.Errorf("close: %w", closeErr)
	}
	return err
}

// fail keeps the first error of a server's handlers.
func fail(failed chan<- error, err error) {
	select {
	case failed <- err:
	default:
	}
}

// A usage is what the process has used so far.
type usage struct {
	at     time.Time
	cpu    time.Duration
	allocs uint64
}

// start collects garbage, so that no measurement pays for another's, and begins
// to count.
func start() usage {
	runtime.GC()
	u := look()
	u.at, u.cpu = time.Now(), results.ProcessorTime() // without what looking costs
	return u
}

func look() usage {
	u := usage{at: time.Now(), cpu: results.ProcessorTime()}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.allocs = m.Mallocs
	return u
}

// since returns the time since u, and CPU, in microseconds, and allocations for
// each operation.
func (u usage) since(operations int64) (elapsed time.Duration, r Result) {
	return u.until(look(), operations)
}

// until is since for what v has seen.
func (u usage) until(v usage, operations int64) (elapsed time.Duration, r Result) {
	n := float64(max(operations, 1))
	r.CPU = (v.cpu - u.cpu).Seconds() * 1e6 / n
	r.Allocs = float64(v.allocs-u.allocs) / n
	return v.at.Sub(u.at), r
}
