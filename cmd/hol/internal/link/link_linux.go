package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// Addresses of the hosts, in namespaces in which nothing else is.
var (
	clientAddr = netip.MustParsePrefix("10.77.0.1/30")
	serverAddr = netip.MustParsePrefix("10.77.0.2/30")
)

// Link is an emulated link between two hosts. It is safe for concurrent use.
type Link struct {
	cc             string
	client, server *Host
	router         *router
	realtime       bool // it was acquired
	ctx            context.Context
	cancel         context.CancelFunc // at Close
	uses           sync.WaitGroup     // of namespaces; added to under mu while not closed

	closeOnce sync.Once // guards the following
	closeErr  error
	final     Report

	mu     sync.Mutex // guards the following
	closed bool
	ccs    []string // that the kernel reported, sorted
}

// Open makes a link, whose clock begins now. Close removes it. The error of an
// impossible lab.Link is a *RangeError; one of a machine that cannot have a link
// is one line with the remedy, as that of Check.
func Open(want lab.Link, seed uint64, o Options) (*Link, error) {
	if err := Validate(want); err != nil {
		return nil, err
	}
	l := &Link{cc: o.CC}
	if l.cc == "" {
		l.cc = DefaultCC
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	if err := l.open(want, seed, o); err != nil {
		l.cancel()
		return nil, err
	}
	return l, nil
}

func (l *Link) open(want lab.Link, seed uint64, o Options) error {
	client, err := newNamespace(clientAddr, want.MTU)
	if err != nil {
		return err
	}
	server, err := newNamespace(serverAddr, want.MTU)
	if err != nil {
		return errors.Join(err, client.close())
	}
	err = client.do(func() error { return tryCC(l.cc) })
	if err != nil {
		return errors.Join(err, client.close(), server.close())
	}
	acquireProcessors()
	l.realtime = o.Realtime && acquireRealtime()
	l.router, err = startRouter(client.tun, server.tun, want, seed, l.realtime)
	if err != nil {
		return errors.Join(err, client.close(), server.close(), l.releaseProcess())
	}
	l.client = &Host{link: l, ns: client, addr: clientAddr.Addr()}
	l.server = &Host{link: l, ns: server, addr: serverAddr.Addr()}
	return nil
}

// Client and Server are the two ends. Packets from the client travel up, and
// those from the server down.
func (l *Link) Client() *Host { return l.client }
func (l *Link) Server() *Host { return l.server }

// Drops are the packets that the router dropped so far, in order, at most
// MaxDrops.
func (l *Link) Drops() []Drop {
	l.router.mu.Lock()
	defer l.router.mu.Unlock()
	return slices.Clone(l.router.drops)
}

// Report says what happened so far, or until Close.
func (l *Link) Report() Report {
	if l.enter() {
		defer l.uses.Done()
		return l.report(l.dropped())
	}
	l.closeOnce.Do(l.shut) // waits for it
	return l.final
}

// dropped is how many packets the devices dropped before the router. It is
// called while they are there.
func (l *Link) dropped() int64 {
	var sum int64
	for _, h := range []*Host{l.client, l.server} {
		err := h.ns.do(func() error {
			n, err := h.ns.dropped()
			sum += n
			return err
		})
		if err != nil {
			sum++ // what cannot be counted must not be overlooked
		}
	}
	return sum
}

func (l *Link) report(dropped int64) Report {
	r := l.router.snapshot()
	r.Overflow += dropped
	l.mu.Lock()
	defer l.mu.Unlock()
	r.CC = strings.Join(l.ccs, ",")
	return r
}

// Close removes the devices, ends the router and waits for it. A namespace goes
// with its last socket; connections still open find the link dead. Calls after
// the first wait for it and return its error.
func (l *Link) Close() error {
	l.closeOnce.Do(l.shut)
	return l.closeErr
}

func (l *Link) shut() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.cancel()
	l.uses.Wait()
	dropped := l.dropped()
	errs := []error{l.router.halt()}
	l.final = l.report(dropped)
	errs = append(errs, l.client.ns.close(), l.server.ns.close())
	errs = append(errs, l.releaseProcess())
	if err := errors.Join(errs...); err != nil {
		l.closeErr = fmt.Errorf("link: closing: %w", err)
	}
}

// releaseProcess gives back what the link changed for the whole process.
func (l *Link) releaseProcess() error {
	releaseProcessors()
	if l.realtime {
		return releaseRealtime()
	}
	return nil
}

// enter begins a use of the namespaces, which uses.Done ends; false if the link
// is closed.
func (l *Link) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.uses.Add(1)
	}
	return !l.closed
}

func (l *Link) noteCC(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i, found := slices.BinarySearch(l.ccs, name); !found {
		l.ccs = slices.Insert(l.ccs, i, name)
	}
}

func maskOf(p netip.Prefix) net.IPMask { return net.CIDRMask(p.Bits(), p.Addr().BitLen()) }
