package h2conn

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/gate"
)

// codeCalm is the code for abuse.
const codeCalm = http2.ErrCodeEnhanceYourCalm

// phase is the life of a connection. It only moves forward, through
// setPhaseLocked.
type phase uint8

const (
	phaseOpen     phase = iota // streams may be opened
	phaseDraining              // a server has said GOAWAY 2^31-1: new streams are still accepted
	phaseClosing               // no new streams; the connection ends with its last stream
	phaseEnding                // the reason is set: GOAWAY, then the end
)

// Conn is one HTTP/2 connection. Its methods may be called from any goroutine.
type Conn struct {
	nc      net.Conn
	cfg     Config // with defaults; not changed
	server  bool
	handler ServerHandler

	r reader // read goroutine only
	w writer // write goroutine only

	mu sync.Mutex // guards the following, and the fields of Stream marked so

	phase       phase
	hurryDue    bool       // see unlock
	started     bool       // the goroutines may run
	wrote       bool       // the write goroutine had something since timerWriter was set
	leave       bool       // it is to end, unless there is something to write
	peerSettled bool       // the peer's first SETTINGS came
	err         *ConnError // set once, with phaseEnding

	settingsIn gate.Event // the peer's first SETTINGS came
	done       gate.Event // both goroutines have ended

	// The write goroutine runs while there is something to write and a moment
	// longer, see wakeLocked.
	wake      chan struct{} // one slot: it has something to do; nil: it does not run
	readDone  chan struct{} // closed by the read goroutine as it ends; made with phaseEnding
	writeDone chan struct{} // closed by the write goroutine after the last frame; made with phaseEnding

	// Streams. charged counts a server's streams that have not ended or whose
	// owner has not called Done, lingering those of them that were reset.
	streams     map[uint32]*Stream
	charged     int
	lingering   int
	maxPeerID   uint32 // server: highest id that opened a stream or was refused
	nextID      uint32 // client: id of the next stream
	maxSentID   uint32 // client: highest id whose HEADERS were written
	closed      closedStreams
	waiters     []*waiter         // client: OpenStream calls waiting
	headersOut  []*headersOut     // header lists to write
	idlePrio    map[uint32]string // server: PRIORITY_UPDATE before its stream
	updates     []*Stream         // streams whose WINDOW_UPDATE is due
	probes      []*Stream         // streams to ask for END_STREAM only
	sched       scheduler
	send        sendWindow // connection
	sendInitial int64      // peer's INITIAL_WINDOW_SIZE
	recv        recvWindow // connection
	recvInitial int64      // window of a new stream
	unconsumed  int64      // bytes all Receivers hold
	withheld    int64      // connection credit kept back, see credit

	// Settings.
	local        Settings // ours, as sent last
	acked        Settings // ours, as the peer has acknowledged them
	settingsOut  [][]http2.Setting
	settingsSent []Settings    // ours after each frame that is not acknowledged
	peer         Settings      // the peer's, as received last
	peerAcked    Settings      // the peer's, as we have acknowledged them
	minTable     uint32        // smallest HEADER_TABLE_SIZE since the last ACK
	settingsTime time.Duration // when ours were written, as timers count; for the round-trip time

	// Frames to write that the peer caused.
	acksDue int
	pongs   [][8]byte
	rsts    []rstOut

	goAway goAwayState
	ping   pingState
	timers timers

	glitches     bucket
	resets       bucket
	toil         float64 // glitches and resets that the read goroutine has not paused for
	updateCredit float64 // WINDOW_UPDATE frames that our data has paid for
}

type rstOut struct {
	id   uint32
	code http2.ErrCode
}

// Server makes a server's connection of nc, on which nothing was read yet.
// Nothing happens until Serve. cfg is copied.
func Server(nc net.Conn, cfg *Config, h ServerHandler) *Conn {
	c := newConn(nc, cfg, true)
	c.handler = h
	return c
}

// Client makes a client's connection of nc and starts it. cfg is copied.
func Client(nc net.Conn, cfg *Config) *Conn {
	c := newConn(nc, cfg, false)
	c.start()
	// Ends when the peer closes, on an error, or by Abort or Close, which waits
	// for it.
	go c.run()
	return c
}

// Serve runs a server's connection: the read loop on the calling goroutine, the
// write loop on its own. It returns after both have ended, with the reason: a
// *ConnError, or nil if the connection ended without error. It is called once.
func (c *Conn) Serve() error {
	if !c.start() {
		return c.Err() // Close came first
	}
	c.run()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err.Code == http2.ErrCodeNo && c.err.Cause == nil {
		return nil
	}
	return c.err
}

func newConn(nc net.Conn, cfg *Config, server bool) *Conn {
	c := &Conn{
		nc:        nc,
		cfg:       cfg.withDefaults(server),
		server:    server,
		streams:   make(map[uint32]*Stream),
		nextID:    1,
		local:     defaultSettings(),
		acked:     defaultSettings(),
		peer:      defaultSettings(),
		peerAcked: defaultSettings(),
		minTable:  defaultTableSize,
	}
	c.timers.began = time.Now()
	c.glitches = newBucket(c.cfg.Glitches)
	c.resets = newBucket(c.cfg.Resets)
	c.send = defaultInitialWindow
	c.sendInitial = defaultInitialWindow
	c.recv = newRecvWindow(int64(c.cfg.ConnWindow), int64(c.cfg.MaxConnWindow))
	c.recvInitial = defaultInitialWindow
	c.r.init(c)
	c.w.init(c)
	return c
}

// start sets the first timers and queues our SETTINGS; false if the connection
// was closed before.
func (c *Conn) start() bool {
	c.mu.Lock()
	defer c.unlock()
	if c.phase == phaseEnding {
		return false
	}
	c.started = true
	c.queueSettingsLocked(c.localSettings())
	c.setTimerLocked(timerPreface, c.cfg.PrefaceTimeout)
	c.setTimerLocked(timerIdle, c.cfg.IdleTimeout)
	return true
}

// run runs the read loop and waits for the write loop, which is there by then, to
// end.
func (c *Conn) run() {
	c.readLoop()
	<-c.writeDone
	if c.cfg.OnEnd != nil {
		c.mu.Lock()
		err := c.err
		c.mu.Unlock()
		c.cfg.OnEnd(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done.Happen()
}

// unlock releases mu and then does what must not be done under it: if the
// connection has just begun to end, it wakes a goroutine blocked in I/O.
func (c *Conn) unlock() {
	hurry := c.hurryDue
	c.hurryDue = false
	c.mu.Unlock()
	if !hurry {
		return
	}
	c.nc.SetReadDeadline(time.Unix(1, 0))
	c.nc.SetWriteDeadline(time.Now().Add(c.cfg.GoAwayTimeout))
}

// wakeLocked has the write goroutine look for something to write, and starts it
// if it does not run: an idle connection has none.
func (c *Conn) wakeLocked() {
	if !c.started {
		return // start wakes it
	}
	c.wrote, c.leave = true, false
	if c.wake != nil {
		c.nudgeLocked()
		return
	}
	c.wake = make(chan struct{}, 1)
	c.setTimerLocked(timerWriter, writerRest)
	// Ends when there was nothing to write for a moment, after GOAWAY was written,
	// or when a write has failed; run waits for the last two.
	go c.writeLoop()
}

func (c *Conn) nudgeLocked() {
	select {
	case c.wake <- struct{}{}:
	default: // it is awake
	}
}

// restWriterLocked has the write goroutine end if it had nothing to do since it
// was last asked. To start it again costs as much as a small write.
func (c *Conn) restWriterLocked() {
	switch {
	case c.wake == nil:
	case c.wrote:
		c.wrote = false
		c.setTimerLocked(timerWriter, writerRest)
	default:
		c.leave = true
		c.nudgeLocked()
	}
}

// leaves tells whether the write goroutine is to end now. If it is, the next wake
// starts another.
func (c *Conn) leaves() bool {
	c.mu.Lock()
	defer c.unlock()
	if !c.leave {
		return false
	}
	c.leave, c.wake = false, nil
	return true
}

func (c *Conn) setPhaseLocked(p phase) {
	if p < c.phase {
		panic("BUG: h2conn: phase goes back")
	}
	c.phase = p
}

// endLocked begins the end of the connection; only the first reason counts. The
// write goroutine says GOAWAY and closes the socket, the read goroutine fails the
// streams.
func (c *Conn) endLocked(e *ConnError) {
	if c.phase == phaseEnding {
		return
	}
	c.setPhaseLocked(phaseEnding)
	c.err = e
	c.hurryDue = true
	c.readDone, c.writeDone = make(chan struct{}), make(chan struct{})
	c.timers.stop()
	c.failWaitersLocked()
	c.wakeLocked()
}

func (c *Conn) end(e *ConnError) {
	c.mu.Lock()
	defer c.unlock()
	c.endLocked(e)
}

// Abort ends the connection with GOAWAY and the given code. It does not wait and
// may be called from callbacks.
func (c *Conn) Abort(code http2.ErrCode, reason string) {
	c.end(&ConnError{Code: code, Reason: reason})
}

// Close ends the connection with GOAWAY NO_ERROR at once: open streams fail. It
// returns when both goroutines have ended and the net.Conn is closed, after at
// most GoAwayTimeout for each of one write and the peer's closing. It must not be
// called from callbacks.
func (c *Conn) Close() error {
	c.mu.Lock()
	started := c.started
	c.endLocked(&ConnError{Code: http2.ErrCodeNo, Reason: "closed"})
	c.unlock()
	if !started {
		return c.nc.Close()
	}
	<-c.Done()
	return nil
}

// Done is closed when the connection has ended and both goroutines with it.
func (c *Conn) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done.Done()
}

// Err returns why the connection ended or is ending: nil while it lives, then a
// *ConnError.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		return nil
	}
	return c.err
}

// Draining tells whether either side has said GOAWAY, or the connection ends.
func (c *Conn) Draining() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.phase != phaseOpen || c.goAway.received
}

// Streams returns the number of open streams.
func (c *Conn) Streams() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.streams)
}

// NetConn returns the connection underneath, for its addresses and TLS state.
func (c *Conn) NetConn() net.Conn { return c.nc }

// readLoop reads until the connection ends, fails the streams, and then gives the
// peer a moment to read our GOAWAY: closing a socket with unread bytes could
// destroy it on its way.
func (c *Conn) readLoop() {
	err := c.read()
	var ce *ConnError
	if errors.As(err, &ce) {
		c.end(ce)
	} else if !errors.Is(err, errEnding) {
		c.end(c.lost(err))
	}
	defer close(c.readDone)
	c.failStreams()
	if ce == nil && !errors.Is(err, errEnding) && !isTimeout(err) {
		return // the socket is at its end
	}
	c.nc.SetReadDeadline(time.Now().Add(c.cfg.GoAwayTimeout))
	io.CopyN(io.Discard, c.nc, maxDiscarded)
}

// maxDiscarded bounds what is read and dropped while the peer may take our
// GOAWAY: more than that is on its way only from one that goes on regardless.
const maxDiscarded = 1 << 20

// errEnding ends the read loop when another goroutine has ended the connection.
var errEnding = errors.New("h2conn: ending")

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// lost returns the reason for an end that came from the socket. If the peer has
// said GOAWAY with an error, that is it.
func (c *Conn) lost(err error) *ConnError {
	c.mu.Lock()
	defer c.mu.Unlock()
	if g := &c.goAway; g.received && g.peerCode != http2.ErrCodeNo {
		return &ConnError{Code: g.peerCode, Remote: true, Reason: g.peerDebug}
	}
	if errors.Is(err, io.EOF) && len(c.streams) == 0 && c.peerSettled {
		return &ConnError{Code: http2.ErrCodeNo, Remote: true, Reason: "peer closed"}
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return &ConnError{Code: http2.ErrCodeInternal, Remote: true, Reason: "connection lost", Cause: err}
}

// failStreams ends every stream with the connection. Read goroutine.
func (c *Conn) failStreams() {
	c.mu.Lock()
	cause := c.err
	failed := make([]*Stream, 0, len(c.streams))
	for _, s := range c.streams {
		s.unsent = s.state == streamIdle
		failed = append(failed, s)
	}
	for _, s := range failed {
		c.closeStreamLocked(s, closeByUs)
	}
	c.unlock()
	for _, s := range failed {
		c.reset(s, &StreamError{
			StreamID: s.id, Code: cause.Code, Remote: cause.Remote, NotProcessed: s.unsent, Cause: cause})
	}
}

// logStream logs an event of a stream; no lock is held.
func (c *Conn) logStream(msg string, id uint32, attrs ...slog.Attr) {
	if c.cfg.Logger.Enabled(context.Background(), slog.LevelDebug) {
		c.cfg.Logger.LogAttrs(context.Background(), slog.LevelDebug, msg, append(attrs, slog.Uint64("stream", uint64(id)))...)
	}
}
