package peers

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/towpath-go/towpath/e2e/soak/internal/endpoint"
	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
	"github.com/towpath-go/towpath/e2e/soak/internal/process"
	"github.com/towpath-go/towpath/e2e/soak/internal/watch"
)

// opening bounds the connections and sessions that are being opened at a time. Of
// 20,000 sessions some 300 end every second, so that there are fewer than there
// should be if opening one takes longer than a bound of 300 lets it.
const opening = 300

// Client is the client's process. It returns the exit status.
func Client(in io.Reader, out io.Writer) int {
	p := process.Start(ledger.Client, in, out)
	begin := p.Begin()
	slots, err := Mix(begin.Settings.Connections, begin.Settings.Sessions, begin.Settings.Transports)
	if err != nil {
		return p.Fail(err)
	}
	warmUp()
	before := watch.Begin()

	log := endpoint.NewLog(ledger.Client, p.Emit)
	d, err := newDialer(begin)
	if err != nil {
		return p.Fail(err)
	}
	traffic, quiet := context.WithCancel(context.Background())
	defer quiet()
	c := &client{Process: p, settings: begin.Settings, log: log, limits: endpoint.NewLimits(log, begin.Settings), dialer: d,
		traffic: traffic, opened: make(chan struct{}), gate: make(chan struct{}, opening), live: make(map[*connection]bool)}
	stop := p.Report(begin.Settings, log.Counts, nil)
	sessions := 0
	for _, s := range slots {
		sessions += s.Sessions
	}
	c.first.Add(sessions)
	c.busy.Add(sessions)
	for i, s := range slots {
		c.slots.Go(func() { c.keep(s, uint64(i)) }) // ends with the traffic and its sessions
	}
	var aside sync.WaitGroup
	aside.Go(func() { // ends once every session has been open
		c.first.Wait()
		close(c.opened)
		p.Emit(ledger.Message{Opened: true})
		c.chaos() // ends with the traffic
	})
	p.UntilStop()
	quiet()
	c.busy.Wait()
	p.Emit(ledger.Message{Quiet: true})
	c.slots.Wait()
	aside.Wait()
	d.Close()
	stop()
	finish(p, before, log, nil)
	return 0
}

type client struct {
	*process.Process
	settings ledger.Settings
	log      *endpoint.Log
	limits   *endpoint.Limits
	dialer   *dialer
	traffic  context.Context // ends when nothing more is to begin
	opened   chan struct{}   // closed when every session has been open: the traffic begins
	gate     chan struct{}   // who opens something has a place in it

	connections, sessions atomic.Uint64  // numbers given
	slots                 sync.WaitGroup // the goroutines that keep connections
	first                 sync.WaitGroup // sessions that have never been open
	busy                  sync.WaitGroup // sessions that have not come to wait for the server's end

	mu   sync.Mutex // guards the following
	live map[*connection]bool
}

// A seat is one session of a slot, which is opened anew all the time.
type seat struct {
	first, busy sync.Once
	rand        *rand.Rand
}

// keep keeps one connection open until the traffic ends.
func (c *client) keep(slot Slot, index uint64) {
	seats := make([]*seat, slot.Sessions)
	for i := range seats {
		seats[i] = &seat{rand: rand.New(rand.NewPCG(c.settings.Seed, index<<16|uint64(i)))}
	}
	defer func() {
		for _, s := range seats {
			s.first.Do(c.first.Done)
			s.busy.Do(c.busy.Done)
		}
	}()
	for c.traffic.Err() == nil {
		conn, err := c.dial(slot)
		if err != nil {
			c.pause()
			continue
		}
		var all sync.WaitGroup
		for _, s := range seats {
			all.Go(func() { c.sit(s, conn) }) // ends with the connection or the traffic
		}
		all.Wait()
		conn.close()
		if slot.Pooled {
			c.forget(conn)
			c.log.ConnectionEnded()
		}
	}
}

func (c *client) forget(conn *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.live, conn)
}

func (c *client) remember(conn *connection) {
	c.log.ConnectionOpened(conn.way)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live[conn] = true
}

// dial makes a connection, among a bounded number of others.
func (c *client) dial(slot Slot) (*connection, error) {
	number := c.connections.Add(1)
	if !slot.Pooled {
		return c.dialer.dial(c.traffic, slot, number)
	}
	leave, ok := c.enter()
	if !ok {
		return nil, context.Cause(c.traffic)
	}
	defer leave()
	ctx, cancel := context.WithTimeout(c.traffic, c.settings.Patience)
	defer cancel()
	conn, err := c.dialer.dial(ctx, slot, number)
	if err != nil {
		if c.traffic.Err() == nil {
			c.log.Violate(ledger.Violation{Way: slot.Way, Offset: -1, What: fmt.Sprintf("connection %d was not opened, and nothing was done to it: %v", number, err)})
		}
		return nil, err
	}
	c.remember(conn)
	return conn, nil
}

// enter waits for a place among those who open something. What takes long gives
// its place away, so that broken connections do not stop the others.
func (c *client) enter() (leave func(), ok bool) {
	select {
	case c.gate <- struct{}{}:
	case <-c.traffic.Done():
		return nil, false
	}
	var once sync.Once
	free := func() { once.Do(func() { <-c.gate }) }
	timer := time.AfterFunc(2*time.Second, free)
	return func() { timer.Stop(); free() }, true
}

func (c *client) pause() {
	select {
	case <-time.After(200 * time.Millisecond):
	case <-c.traffic.Done():
	}
}

// sit opens a session in a seat time and again, while the connection lives.
func (c *client) sit(s *seat, conn *connection) {
	defer func() {
		if c.traffic.Err() != nil {
			s.busy.Do(c.busy.Done) // others of the slot may still wait for the server
		}
	}()
	for c.traffic.Err() == nil {
		ok := c.session(s, conn)
		if conn.done == nil {
			return // a single one has ended with its session
		}
		select {
		case <-conn.done:
			return
		default:
		}
		if !ok {
			c.pause()
		}
	}
}

// session opens one session and lives it to its end.
func (c *client) session(s *seat, conn *connection) bool {
	id := c.sessions.Add(1)
	leave, ok := c.enter()
	if !ok {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.settings.Patience)
	session, err := conn.open(ctx, options(id, conn.way))
	cancel()
	leave()
	if err != nil {
		c.log.Ended(ledger.End{Session: id, Way: conn.way, Connection: conn.number, Refused: err.Error()})
		return false
	}
	single := conn.done == nil
	if single {
		c.remember(conn)
	}
	s.first.Do(c.first.Done)
	e := endpoint.New(session, id, conn.way, false, c.limits, c.settings.Seed)
	var parts sync.WaitGroup
	parts.Go(func() { e.Serve(conn.number) }) // ends with the session
	drive, stop := context.WithCancel(c.traffic)
	drove := make(chan struct{})
	parts.Go(func() { // ends with the session, or when stopped
		defer close(drove)
		select {
		case <-c.opened:
			e.Drive(drive)
		case <-drive.Done():
		case <-e.Done():
		}
	})
	c.life(s, e, stop, drove)
	stop()
	parts.Wait()
	if single {
		c.forget(conn)
		c.log.ConnectionEnded()
	}
	return true
}

// life waits for the end of one session's life, and ends it in one of many ways.
func (c *client) life(s *seat, e *endpoint.Endpoint, stop func(), drove <-chan struct{}) {
	select {
	case <-c.opened:
	case <-c.traffic.Done():
	case <-e.Done():
		return
	}
	timer := time.NewTimer(time.Duration(float64(c.settings.Lifetime) * min(s.rand.ExpFloat64(), 8)))
	defer timer.Stop()
	mode, code := s.rand.IntN(100), s.rand.Uint32N(1<<16)
	select {
	case <-e.Done():
		return
	case <-c.traffic.Done():
		<-drove
		c.last(s, e)
		return
	case <-timer.C:
	}
	if mode >= 80 { // in the middle of everything
		e.Close(code, endpoint.Reason(uint64(mode), code), false)
		return
	}
	stop()
	<-drove
	switch {
	case mode < 45:
		synced := e.Sync()
		e.Close(code, endpoint.Reason(uint64(mode), code), synced)
	case mode < 65:
		e.AskToClose(code)
	case mode < 75:
		e.AskToDrain()
		synced := e.Sync()
		e.Close(code, endpoint.Reason(uint64(mode), code), synced)
	default:
		e.Close(code, endpoint.Reason(uint64(mode), code), false)
	}
}

// last waits for the server to wind down, which it has to tell every session.
func (c *client) last(s *seat, e *endpoint.Endpoint) {
	synced := e.Sync()
	s.busy.Do(c.busy.Done)
	timer := time.NewTimer(4 * c.settings.Patience)
	defer timer.Stop()
	select {
	case <-e.Draining():
	case <-e.Done():
		return
	case <-timer.C:
		e.Undrained()
	}
	e.Close(7, "drained", synced)
}
