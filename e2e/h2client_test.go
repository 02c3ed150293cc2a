package e2e_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// patience bounds waits for what does happen; how long it takes is not tested
// with it.
const patience = 30 * time.Second

// An h2Client is a small HTTP/2 client that does RFC 8441 extended CONNECT: the
// part of a browser that a WebSocket needs. It shares no code with Towpath.
type h2Client struct {
	conn net.Conn
	done chan struct{} // the read loop has ended

	wmu  sync.Mutex // serialises fr's writing half, enc and block
	fr   *http2.Framer
	enc  *hpack.Encoder
	blk  bytes.Buffer
	next uint32 // the next stream's ID

	mu          sync.Mutex // guards the following
	changed     *sync.Cond // something below changed
	streams     map[uint32]*h2Stream
	settings    map[http2.SettingID]uint32 // nil until received
	sendWindow  int64
	initialSend int64
	goAway      *http2.GoAwayFrame
	err         error // why the read loop ended
}

// An h2Stream is one stream of an h2Client: an io.ReadWriter of DATA.
type h2Stream struct {
	c  *h2Client
	id uint32

	// The following is guarded by c.mu.
	status     string
	header     map[string]string
	received   bytes.Buffer
	ended      bool           // END_STREAM arrived
	reset      *http2.ErrCode // RST_STREAM arrived
	sendWindow int64
}

// dialH2 connects to addr and waits for the server's SETTINGS. The caller closes
// the client.
func dialH2(addr string, conf *tls.Config) (*h2Client, error) {
	conf = conf.Clone()
	conf.NextProtos = []string{"h2"}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", addr, conf)
	if err != nil {
		return nil, err
	}
	if p := conn.ConnectionState().NegotiatedProtocol; p != "h2" {
		conn.Close()
		return nil, fmt.Errorf("ALPN %q, want h2", p)
	}
	conn.SetDeadline(time.Now().Add(2 * patience))
	c := &h2Client{
		conn: conn, done: make(chan struct{}), fr: http2.NewFramer(conn, conn), next: 1,
		streams: map[uint32]*h2Stream{}, sendWindow: 65535, initialSend: 65535,
	}
	c.changed = sync.NewCond(&c.mu)
	c.enc = hpack.NewEncoder(&c.blk)
	c.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	// The preface goes out before the read loop begins to answer.
	if _, err = io.WriteString(conn, http2.ClientPreface); err == nil {
		err = c.fr.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 0})
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	go c.readLoop() // ends with the connection
	c.mu.Lock()
	for c.settings == nil && c.err == nil {
		c.changed.Wait()
	}
	err = c.err
	c.mu.Unlock()
	if err != nil {
		c.close()
		return nil, fmt.Errorf("no SETTINGS from the server: %w", err)
	}
	return c, nil
}

func (c *h2Client) close() {
	c.conn.Close()
	<-c.done
}

// write runs f, which writes frames. A failure shows where it ends the reading.
func (c *h2Client) write(f func() error) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	return f()
}

func (c *h2Client) readLoop() {
	defer close(c.done)
	for {
		f, err := c.fr.ReadFrame()
		if err == nil {
			err = c.frame(f)
		}
		if err != nil {
			c.mu.Lock()
			c.err = err
			c.changed.Broadcast()
			c.mu.Unlock()
			return
		}
	}
}

// frame takes in one frame and answers it.
func (c *h2Client) frame(f http2.Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.changed.Broadcast()
	st := c.streams[f.Header().StreamID]
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			return nil
		}
		c.settings = map[http2.SettingID]uint32{}
		f.ForeachSetting(func(s http2.Setting) error {
			c.settings[s.ID] = s.Val
			if s.ID == http2.SettingInitialWindowSize {
				for _, st := range c.streams {
					st.sendWindow += int64(s.Val) - c.initialSend
				}
				c.initialSend = int64(s.Val)
			}
			return nil
		})
		return c.unlocked(func() error { return c.fr.WriteSettingsAck() })
	case *http2.PingFrame:
		if f.IsAck() {
			return nil
		}
		data := f.Data
		return c.unlocked(func() error { return c.fr.WritePing(true, data) })
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			c.sendWindow += int64(f.Increment)
		} else if st != nil {
			st.sendWindow += int64(f.Increment)
		}
	case *http2.MetaHeadersFrame:
		if st == nil {
			return fmt.Errorf("HEADERS on stream %d", f.StreamID)
		}
		st.status = f.PseudoValue("status")
		for _, field := range f.RegularFields() {
			st.header[field.Name] = field.Value
		}
		st.ended = st.ended || f.StreamEnded()
	case *http2.DataFrame:
		if st == nil {
			return fmt.Errorf("DATA on stream %d", f.StreamID)
		}
		st.received.Write(f.Data())
		st.ended = st.ended || f.StreamEnded()
		if n := f.Length; n > 0 {
			id, open := f.StreamID, !st.ended
			return c.unlocked(func() error {
				if open {
					if err := c.fr.WriteWindowUpdate(id, n); err != nil {
						return err
					}
				}
				return c.fr.WriteWindowUpdate(0, n)
			})
		}
	case *http2.RSTStreamFrame:
		if st != nil {
			st.reset = new(f.ErrCode)
		}
	case *http2.GoAwayFrame:
		c.goAway = f
	}
	return nil
}

// unlocked writes frames with c.mu, which the caller holds, given up.
func (c *h2Client) unlocked(f func() error) error {
	c.mu.Unlock()
	defer c.mu.Lock()
	return c.write(f)
}

// request sends a header section on a new stream and waits for the answer's.
// The fields are name and value in turn, pseudo-header fields first.
func (c *h2Client) request(end bool, fields ...string) (*h2Stream, error) {
	st := &h2Stream{c: c, header: map[string]string{}}
	err := c.write(func() error {
		st.id = c.next
		c.next += 2
		c.mu.Lock()
		st.sendWindow = c.initialSend
		c.streams[st.id] = st
		c.mu.Unlock()
		c.blk.Reset()
		for i := 0; i < len(fields); i += 2 {
			c.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}
		return c.fr.WriteHeaders(http2.HeadersFrameParam{
			StreamID: st.id, BlockFragment: c.blk.Bytes(), EndHeaders: true, EndStream: end,
		})
	})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for st.status == "" {
		if err := st.failedLocked(); err != nil {
			return nil, err
		}
		c.changed.Wait()
	}
	return st, nil
}

// failedLocked returns why nothing more will come from the stream, or nil.
func (st *h2Stream) failedLocked() error {
	if st.reset != nil {
		return http2.StreamError{StreamID: st.id, Code: *st.reset}
	}
	return st.c.err
}

// Read reads DATA. It returns io.EOF after END_STREAM.
func (st *h2Stream) Read(p []byte) (int, error) {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	for {
		if st.received.Len() > 0 {
			return st.received.Read(p)
		}
		if st.ended {
			return 0, io.EOF
		}
		if err := st.failedLocked(); err != nil {
			return 0, err
		}
		st.c.changed.Wait()
	}
}

// Write sends DATA as the windows allow.
func (st *h2Stream) Write(p []byte) (int, error) {
	sent := 0
	for sent < len(p) {
		n, err := st.reserve(len(p) - sent)
		if err != nil {
			return sent, err
		}
		if err := st.c.write(func() error { return st.c.fr.WriteData(st.id, false, p[sent:sent+n]) }); err != nil {
			return sent, err
		}
		sent += n
	}
	return sent, nil
}

// reserve waits for send windows and takes up to want bytes from them.
func (st *h2Stream) reserve(want int) (int, error) {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	for {
		if err := st.failedLocked(); err != nil {
			return 0, err
		}
		if n := min(int64(want), 16384, st.sendWindow, st.c.sendWindow); n > 0 {
			st.sendWindow -= n
			st.c.sendWindow -= n
			return int(n), nil
		}
		st.c.changed.Wait()
	}
}

// CloseWrite sends END_STREAM.
func (st *h2Stream) CloseWrite() error {
	return st.c.write(func() error { return st.c.fr.WriteData(st.id, true, nil) })
}

// cancelOpen sends RST_STREAM with code CANCEL, unless nothing more can come.
func (st *h2Stream) cancelOpen() {
	st.c.mu.Lock()
	open := !st.ended && st.failedLocked() == nil
	st.c.mu.Unlock()
	if open {
		st.c.write(func() error { return st.c.fr.WriteRSTStream(st.id, http2.ErrCodeCancel) })
	}
}

// setting returns a value of the server's last SETTINGS, 0 if it is not there.
func (c *h2Client) setting(id http2.SettingID) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.settings[id]
}
