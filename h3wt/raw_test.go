package h3wt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// The raw peers write HTTP/3 byte by byte on a QUIC connection, so that they can
// break every rule. They know just enough QPACK: literals, and status 200.

// bubble runs a test in a synctest bubble of its own, beside others of the same
// parent. Hostile tests, which measure the process, have bubbles of another kind.
func bubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, test)
	})
}

func varints(v ...uint64) (b []byte) {
	for _, v := range v {
		b = capsule.AppendVarint(b, v)
	}
	return b
}

// h3frame is an HTTP/3 frame.
func h3frame(typ uint64, payload []byte) []byte {
	return append(varints(typ, uint64(len(payload))), payload...)
}

func dataFrame(payload []byte) []byte { return h3frame(0, payload) }

// headersFrame is a HEADERS frame of literal fields: name, value, name, value.
func headersFrame(fields ...string) []byte {
	prefixed := func(b []byte, first byte, bits int, s string) []byte {
		most := 1<<bits - 1
		if len(s) < most {
			return append(append(b, first|byte(len(s))), s...)
		}
		b = append(b, first|byte(most))
		n := len(s) - most
		for ; n >= 128; n /= 128 {
			b = append(b, byte(n%128)|128)
		}
		return append(append(b, byte(n)), s...)
	}
	block := []byte{0, 0}
	for i := 0; i < len(fields); i += 2 {
		block = prefixed(block, 0x20, 3, fields[i])
		block = prefixed(block, 0, 7, fields[i+1])
	}
	return h3frame(1, block)
}

// connectHeaders is the CONNECT request of a session.
func connectHeaders(protocol string, more ...string) []byte {
	return headersFrame(append([]string{
		":method", "CONNECT", ":protocol", protocol, ":scheme", "https",
		":authority", "example.com", ":path", "/session",
	}, more...)...)
}

// settingsFrame is a SETTINGS frame: id, value, id, value.
func settingsFrame(pairs ...uint64) []byte { return h3frame(4, varints(pairs...)) }

var (
	// modernSettings are a client's of draft 16, without flow control.
	modernSettings = []uint64{0x33, 1, settingEnabled, 1}
	// pooledSettings turn flow control on: 10 streams of each kind, 1000 bytes.
	pooledSettings = append([]uint64{settingInitialMaxData, 1000, settingInitialMaxStreamsBidi, 10, settingInitialMaxStreamsUni, 10}, modernSettings...)
	// serverSettings and pooledServerSettings are the same of a server.
	serverSettings       = append([]uint64{0x8, 1}, modernSettings...)
	pooledServerSettings = append([]uint64{0x8, 1}, pooledSettings...)
)

// rawConn is the raw end of a connection.
type rawConn struct {
	testing.TB
	*quic.Conn
}

var fullQUIC = &quic.Config{EnableDatagrams: true, EnableStreamResetPartialDelivery: true}

// rawDial connects a raw client to a server of ours and sends the settings, if
// there are any.
func (h *harness) rawDial(conf *quic.Config, settings ...uint64) *rawConn {
	h.Helper()
	c := &rawConn{h.TB, h.dialQUIC(conf)}
	if settings != nil {
		c.control(settings...)
	}
	return c
}

// control opens the control stream with SETTINGS.
func (c *rawConn) control(settings ...uint64) *quic.SendStream {
	c.Helper()
	str, err := c.OpenUniStream()
	if err != nil {
		c.Fatal(err)
	}
	str.Write(append([]byte{0}, settingsFrame(settings...)...))
	return str
}

// request opens a bidirectional stream and writes to it.
func (c *rawConn) request(parts ...[]byte) *quic.Stream {
	c.Helper()
	str, err := c.OpenStreamSync(context.Background())
	if err != nil {
		c.Fatal(err)
	}
	str.Write(bytes.Join(parts, nil))
	return str
}

// uniStream opens a unidirectional stream and writes to it.
func (c *rawConn) uniStream(parts ...[]byte) *quic.SendStream {
	c.Helper()
	str, err := c.OpenUniStreamSync(context.Background())
	if err != nil {
		c.Fatal(err)
	}
	str.Write(bytes.Join(parts, nil))
	return str
}

// readFrame reads an HTTP/3 frame.
func (c *rawConn) readFrame(r io.Reader) (typ uint64, payload []byte) {
	c.Helper()
	typ = c.readVarint(r)
	payload = make([]byte, c.readVarint(r))
	if _, err := io.ReadFull(r, payload); err != nil {
		c.Fatalf("reading a frame of type %#x: %v", typ, err)
	}
	return typ, payload
}

func (c *rawConn) readVarint(r io.Reader) uint64 {
	c.Helper()
	var b []byte
	for {
		var one [1]byte
		if _, err := io.ReadFull(r, one[:]); err != nil {
			c.Fatalf("reading an integer: %v", err)
		}
		b = append(b, one[0])
		if v, n := capsule.ParseVarint(b); n > 0 {
			return v
		}
	}
}

// statuses are what quic-go writes for :status: entries of QPACK's static table,
// or Huffman code.
var statuses = map[int]string{
	200: "\xd9",
	403: "\xff\x05",
	429: "\x5f\x09\x83\x68\x4f\xff",
	501: "\x5f\x09\x82\x6c\x01",
}

// wantStatus reads a HEADERS frame.
func (c *rawConn) wantStatus(r io.Reader, want int) {
	c.Helper()
	typ, block := c.readFrame(r)
	if typ != 1 || !bytes.HasPrefix(block, []byte("\x00\x00"+statuses[want])) {
		c.Fatalf("frame of type %#x: %x, want HEADERS with status %d", typ, block, want)
	}
}

// accepted sends a CONNECT and waits for the 200.
func (c *rawConn) accepted(more ...[]byte) *quic.Stream {
	c.Helper()
	str := c.request(append([][]byte{connectHeaders(protocolH3)}, more...)...)
	c.wantStatus(str, 200)
	return str
}

// capsules writes capsules in a DATA frame.
func (c *rawConn) capsules(str io.Writer, list ...capsule.Capsule) {
	c.Helper()
	var b []byte
	for _, one := range list {
		b = one.Append(b)
	}
	if _, err := str.Write(dataFrame(b)); err != nil {
		c.Fatalf("writing capsules: %v", err)
	}
}

// wantReset expects the peer to reset what we read.
func (c *rawConn) wantReset(r io.Reader, code uint64) {
	c.Helper()
	_, err := io.Copy(io.Discard, r)
	e, ok := errors.AsType[*quic.StreamError](err)
	if !ok || !e.Remote || uint64(e.ErrorCode) != code {
		c.Fatalf("the stream ended with %v, want a reset with %#x (%s)", err, code, codeName(code))
	}
}

// wantStopped expects the peer to stop what we write.
func (c *rawConn) wantStopped(str interface{ Context() context.Context }, code uint64) {
	c.Helper()
	<-str.Context().Done()
	err := context.Cause(str.Context())
	e, ok := errors.AsType[*quic.StreamError](err)
	if !ok || !e.Remote || uint64(e.ErrorCode) != code {
		c.Fatalf("sending ended with %v, want STOP_SENDING with %#x (%s)", err, code, codeName(code))
	}
}

// wantAborted expects both directions of a stream to be aborted with a code.
func (c *rawConn) wantAborted(str *quic.Stream, code uint64) {
	c.Helper()
	c.wantStopped(str, code)
	c.wantReset(str, code)
}

// wantClosed expects the peer to close the connection.
func (c *rawConn) wantClosed(code uint64) {
	c.Helper()
	<-c.Conn.Context().Done()
	err := context.Cause(c.Conn.Context())
	e, ok := errors.AsType[*quic.ApplicationError](err)
	if !ok || !e.Remote || uint64(e.ErrorCode) != code {
		c.Fatalf("the connection ended with %v, want %#x (%s)", err, code, codeName(code))
	}
	if e.ErrorMessage != "" {
		c.Errorf("the peer tells its reason: %q", e.ErrorMessage)
	}
}

// wantOpen expects the connection to live on.
func (c *rawConn) wantOpen() {
	c.Helper()
	synctest.Wait()
	if err := context.Cause(c.Conn.Context()); err != nil {
		c.Fatalf("the connection ended: %v", err)
	}
}

// close ends the raw end.
func (c *rawConn) close() { c.CloseWithError(0x100, "") }

// wantCapsule reads DATA frames until a capsule is complete, and compares it.
func (c *rawConn) wantCapsule(r io.Reader, want capsule.Capsule) {
	c.Helper()
	var got []byte
	full := want.Append(nil)
	for len(got) < len(full) {
		typ, p := c.readFrame(r)
		if typ != 0 {
			c.Fatalf("frame of type %#x, want DATA", typ)
		}
		got = append(got, p...)
	}
	if !bytes.Equal(got, full) {
		c.Fatalf("read %x, want %v (%x)", got, want, full)
	}
}

// wantEnd expects the clean end of what we read, and nothing before it.
func (c *rawConn) wantEnd(r io.Reader) {
	c.Helper()
	if b, err := io.ReadAll(r); err != nil || len(b) > 0 {
		c.Fatalf("read %x, %v, want the end", b, err)
	}
}

// wantSessionEnd expects a session of ours to end in a way.
func wantSessionEnd(t testing.TB, s transport.Session, want transport.SessionError) {
	t.Helper()
	<-s.Context().Done()
	got, ok := errors.AsType[*transport.SessionError](context.Cause(s.Context()))
	if !ok || got.Code != want.Code || got.Reason != want.Reason || got.Remote != want.Remote || (got.Err == nil) != (want.Err == nil) {
		t.Fatalf("the session ended with %+v, want %+v", got, want)
	}
}

// wantViolation expects a session of ours to end because the peer broke a rule.
func wantViolation(t testing.TB, s transport.Session, want transport.Violation) {
	t.Helper()
	<-s.Context().Done()
	got, ok := errors.AsType[*transport.ProtocolError](context.Cause(s.Context()))
	if !ok || got.Violation != want {
		t.Fatalf("the session ended with %v, want %v", context.Cause(s.Context()), want)
	}
}

// wantLimit expects a session to have ended for a limit.
func wantLimit(t testing.TB, s transport.Session, want transport.Limit) {
	t.Helper()
	<-s.Context().Done()
	if got, _ := transport.ReachedLimit(context.Cause(s.Context())); got != want {
		t.Fatalf("the session ended for limit %q, want %q: %v", got, want, context.Cause(s.Context()))
	}
}

// without returns the settings without one.
func without(settings []uint64, id uint64) []uint64 {
	for i := 0; i < len(settings); i += 2 {
		if settings[i] == id {
			return append(slices.Clone(settings[:i]), settings[i+2:]...)
		}
	}
	return settings
}

// receivedSettings waits for a server's SETTINGS at a raw client.
func receivedSettings(t testing.TB, qc *quic.Conn) *http3.Settings {
	t.Helper()
	tr := &http3.Transport{EnableDatagrams: true, AdditionalSettings: map[uint64]uint64{settingEnabled: 1}}
	raw := tr.NewRawClientConn(qc)
	go func() {
		for {
			str, err := qc.AcceptUniStream(context.Background())
			if err != nil {
				return
			}
			go raw.HandleUnidirectionalStream(str)
		}
	}()
	select {
	case <-raw.ReceivedSettings():
	case <-time.After(time.Minute):
		t.Fatal("no SETTINGS")
	}
	return raw.Settings()
}

// serveRaw starts a server with a handler that accepts all sessions, in a bubble.
func serveRaw(t testing.TB, cfg *Config, opts *transport.UpgradeOptions) (*harness, chan transport.Session) {
	handler, accepted := sessions(t, opts)
	return serve(t, simulated(t), &Server{Handler: handler, Config: cfg}), accepted
}
