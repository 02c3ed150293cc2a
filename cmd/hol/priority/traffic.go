package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// kinds of records on streams: length (4), kind (1), due (8), content.
const (
	kindHello byte = iota
	kindMessage
	kindBulk
	recordHeader = 13
)

var hello = record(kindHello, recordHeader)

func record(kind byte, size int) []byte {
	p := make([]byte, size)
	for i := recordHeader; i < size; i++ {
		p[i] = byte(i*i>>3) ^ byte(i)
	}
	binary.BigEndian.PutUint32(p, uint32(size))
	p[4] = kind
	return p
}

func stamp(p []byte, due time.Duration) { binary.BigEndian.PutUint64(p[5:], uint64(due)) }

// A parsed record.
type parsed struct {
	kind byte
	due  time.Duration
	size int
}

func parse(p []byte) (parsed, error) {
	if len(p) < recordHeader {
		return parsed{}, errors.New("a record is cut")
	}
	r := parsed{kind: p[4], due: time.Duration(binary.BigEndian.Uint64(p[5:])), size: int(binary.BigEndian.Uint32(p))}
	if r.kind > kindBulk || r.size < recordHeader || r.size > bulkSize {
		return parsed{}, fmt.Errorf("a record of kind %d with %d bytes", r.kind, r.size)
	}
	return r, nil
}

// A traffic is what one run counts.
type traffic struct {
	base     time.Time
	begin    time.Duration // of the measured time, by base
	finish   time.Duration
	unsent   []float64
	rtt      []float64
	bulk     atomic.Int64 // bytes in the measured time
	complete chan struct{}

	mu        sync.Mutex // guards the following
	expected  int        // -1 until all are sent
	latencies []float64
}

func (s *traffic) now() time.Duration { return time.Since(s.base) }

// transfer sends bulk and messages and waits for the messages.
func transfer(ctx context.Context, c *carried, sc *scene, seed uint64, long length) (Run, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var group sync.WaitGroup
	s := &traffic{base: time.Now(), begin: long.warmup, finish: long.warmup + long.duration, expected: -1, complete: make(chan struct{})}
	over := make(chan struct{})
	fail := func(err error) {
		select {
		case <-over:
		default:
			cancel(err)
		}
	}
	for _, r := range c.received {
		group.Go(func() { fail(s.receive(r)) })
	}
	if c.receiveDatagram != nil {
		group.Go(func() { fail(s.receiveDatagrams(ctx, c.receiveDatagram)) })
	}
	group.Go(func() {
		p := record(kindBulk, bulkSize)
		for ctx.Err() == nil {
			if _, err := c.bulk.Write(p); err != nil {
				fail(fmt.Errorf("bulk: %w", err))
			}
		}
	})
	sent := make(chan int, 1)
	group.Go(func() {
		n, err := s.sendMessages(ctx, c, sc, seed)
		if err != nil {
			fail(fmt.Errorf("messages: %w", err))
		}
		sent <- n
	})
	n := 0
	var err error
	select {
	case n = <-sent:
		last := time.NewTimer(drain)
		defer last.Stop()
		select {
		case <-s.complete:
		case <-last.C:
		case <-ctx.Done():
		}
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	close(over)
	cancel(errOver)
	sc.close() // ends what waits
	group.Wait()
	if err != nil {
		return Run{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	run := Run{Sent: n, Arrived: len(s.latencies), Bulk: float64(s.bulk.Load()) * 8 / long.duration.Seconds() / 1e6}
	run.P50, run.P99, run.Max = quantile(s.latencies, 0.5), quantile(s.latencies, 0.99), quantile(s.latencies, 1)
	run.Unsent50, run.Unsent99 = quantile(s.unsent, 0.5), quantile(s.unsent, 0.99)
	run.RTT50, run.RTT99 = quantile(s.rtt, 0.5), quantile(s.rtt, 0.99)
	return run, nil
}

var errOver = errors.New("the run is over")

// sendMessages sends a message at each of its times, and returns how many of the
// measured time there were. One that is late because the last one waited counts
// from when it was due.
func (s *traffic) sendMessages(ctx context.Context, c *carried, sc *scene, seed uint64) (int, error) {
	random := rand.New(rand.NewPCG(seed, 0))
	p := record(kindMessage, messageSize)
	n := 0
	for due := time.Duration(0); due < s.finish; due += least + time.Duration(random.Int64N(int64(spread))) {
		timer := time.NewTimer(due - s.now())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return n, nil
		}
		if due >= s.begin {
			n++
			if unsent, rtt, ok := look(sc.socket); ok {
				s.unsent, s.rtt = append(s.unsent, unsent), append(s.rtt, rtt)
			}
		}
		stamp(p, due)
		var err error
		if c.messages != nil {
			_, err = c.messages.Write(p)
		} else {
			err = c.sendDatagram(p)
		}
		if err != nil {
			return n, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expected = n
	if len(s.latencies) == n {
		close(s.complete)
	}
	return n, nil
}

// receive reads a stream's records.
func (s *traffic) receive(r io.Reader) error {
	p := make([]byte, bulkSize)
	for {
		if _, err := io.ReadFull(r, p[:recordHeader]); err != nil {
			return fmt.Errorf("receiving: %w", err)
		}
		h, err := parse(p[:recordHeader])
		if err != nil {
			return err
		}
		if _, err := io.ReadFull(r, p[recordHeader:h.size]); err != nil {
			return fmt.Errorf("receiving: %w", err)
		}
		s.arrived(h)
	}
}

func (s *traffic) receiveDatagrams(ctx context.Context, receive func(context.Context) ([]byte, error)) error {
	for {
		p, err := receive(ctx)
		if err != nil {
			return fmt.Errorf("receiving datagrams: %w", err)
		}
		h, err := parse(p)
		if err != nil {
			return err
		}
		s.arrived(h)
	}
}

func (s *traffic) arrived(h parsed) {
	now := s.now()
	switch h.kind {
	case kindBulk:
		if now >= s.begin && now < s.finish {
			s.bulk.Add(int64(h.size))
		}
	case kindMessage:
		if h.due < s.begin {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.latencies = append(s.latencies, milliseconds(now-h.due))
		if len(s.latencies) == s.expected {
			close(s.complete)
		}
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// quantile returns the least value that a share q of all does not exceed, 0 of
// none.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	i := int(float64(len(sorted))*q+0.999999) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}
