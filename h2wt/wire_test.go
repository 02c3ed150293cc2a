package h2wt

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/transport"
)

// wire is the CONNECT stream of a session on a scripted peer, as bytes.
type wire struct {
	t  testing.TB
	p  *h2test.Peer
	id uint32
}

// write sends bytes, one DATA frame for each string. They are hexadecimal digits,
// and text in quotes.
func (w *wire) write(frames ...string) {
	w.t.Helper()
	for _, f := range frames {
		w.p.WriteData(w.id, false, unhex(w.t, f))
	}
}

// end sends the same with END_STREAM on the last frame.
func (w *wire) end(frames ...string) {
	w.t.Helper()
	w.write(frames...)
	w.p.WriteData(w.id, true, "")
}

// want compares what has come with bytes written like write's, all DATA frames
// together; a last "END_STREAM" or "RST_STREAM x" stands for itself. Credit and
// PING are left out.
func (w *wire) want(why string, parts ...string) {
	w.t.Helper()
	var want []string
	data := ""
	for _, p := range parts {
		if strings.HasPrefix(p, "END_STREAM") || strings.HasPrefix(p, "RST_STREAM") {
			want = append(want, p)
			continue
		}
		data += unhex(w.t, p)
	}
	got, events := w.read()
	if got != data || !slices.Equal(events, want) {
		w.t.Fatalf("%s:\n got % x %q\nwant % x %q", why, got, events, data, want)
	}
}

// read returns the bytes that have come, and what else happened on the stream.
func (w *wire) read() (data string, events []string) {
	w.t.Helper()
	for _, f := range w.p.Drain() {
		switch f := f.(type) {
		case h2test.WindowUpdate, h2test.Ping:
		case h2test.Data:
			data += f.Data
			if f.EndStream {
				events = append(events, "END_STREAM")
			}
		case h2test.RSTStream:
			events = append(events, fmt.Sprintf("RST_STREAM %v", f.Code))
		default:
			events = append(events, f.String())
		}
	}
	return data, events
}

// unhex reads hexadecimal digits, white space, and "text".
func unhex(t testing.TB, s string) string {
	t.Helper()
	var out []byte
	for i, part := range strings.Split(s, `"`) {
		if i%2 == 1 {
			out = append(out, part...)
			continue
		}
		b, err := hex.DecodeString(strings.Join(strings.Fields(part), ""))
		if err != nil {
			t.Fatalf("BUG: %q: %v", s, err)
		}
		out = append(out, b...)
	}
	return string(out)
}

// A logBook keeps what a slog.Logger writes.
type logBook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBook) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// lines returns the lines with a message, once everything is blocked.
func (b *logBook) lines(msg string) []string {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []string
	for line := range strings.Lines(b.buf.String()) {
		if strings.Contains(line, fmt.Sprintf("msg=%q ", msg)) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// want wants one line about the session's dialect, and that it says this.
func (b *logBook) want(t testing.TB, dialect transport.Dialect, reason agreementReason, parity string) {
	t.Helper()
	want := fmt.Sprintf(`level=INFO msg="session dialect" session=1 dialect=%v reason=%s parity=%s`, dialect, reason, parity)
	if got := b.lines("session dialect"); len(got) != 1 || got[0] != want {
		t.Errorf("log %q, want %s", got, want)
	}
}

// tap connects a client of this package to a server through somebody who sees the
// frames in the clear.
type tap struct {
	mu       sync.Mutex
	up, down bytes.Buffer
	done     sync.WaitGroup
}

// dial returns the client's connection.
func (p *tap) dial(t testing.TB, srv *testServer) *tls.Conn {
	t.Helper()
	server := srv.clientTLS()
	cn, pn := net.Pipe()
	client := tls.Server(pn, srv.cert.ServerConfig("h2"))
	p.done.Add(2)
	pass := func(dst, src net.Conn, seen *bytes.Buffer) {
		defer p.done.Done()
		defer dst.Close()
		b := make([]byte, 64<<10)
		for {
			n, err := src.Read(b)
			p.mu.Lock()
			seen.Write(b[:n])
			p.mu.Unlock()
			if _, werr := dst.Write(b[:n]); werr != nil || err != nil {
				return
			}
		}
	}
	go pass(server, client, &p.up) // both end when the client closes, or the server
	go pass(client, server, &p.down)
	return tls.Client(cn, srv.cert.ClientConfig("example.com", "h2"))
}

// data returns the bytes of all DATA frames of a direction.
func (p *tap) data(t testing.TB, up bool) string {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := bytes.NewReader(p.down.Bytes())
	if up {
		seen = bytes.NewReader(p.up.Bytes()[len(http2.ClientPreface):])
	}
	fr := http2.NewFramer(io.Discard, seen)
	data := ""
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return data
		}
		if d, ok := f.(*http2.DataFrame); ok {
			data += string(d.Data())
		}
	}
}
