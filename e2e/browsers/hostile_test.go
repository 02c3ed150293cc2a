package browsers

import (
	"bufio"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/towpath-go/towpath/e2e/clients"
)

// What meet.mjs tells of a session.
type (
	pageError struct {
		Name, Message       string
		Source              *string
		StreamErrorCode     *int64
		IsWebTransportError bool
	}
	pageCall struct {
		Outcome string // pending, fulfilled, rejected
		Value   struct {
			CloseCode uint32
			Reason    string
		}
		Error pageError
	}
	meeting struct {
		Calls, After map[string]pageCall
		Seen         struct{ Incoming, Datagrams, Bytes int }
		Uncaught     []string
	}
)

func (e pageError) String() string {
	source, code := "null", "null"
	if e.Source != nil {
		source = *e.Source
	}
	if e.StreamErrorCode != nil {
		code = fmt.Sprint(*e.StreamErrorCode)
	}
	return fmt.Sprintf("%s(%q) source %s, streamErrorCode %s", e.Name, e.Message, source, code)
}

// check compares what both ends saw with what the case wants.
func (c hostileCase) check(t *testing.T, m meeting, v verdict) {
	t.Helper()
	if v.err != nil {
		t.Errorf("the script: %v", v.err)
	}
	if len(c.statuses) > 0 && !slices.Contains(c.statuses, v.status) {
		t.Errorf("the page's Close frame had status %d (%q), want %v", v.status, v.reason, c.statuses)
	}
	if len(v.reason) > 123 {
		t.Errorf("the page's Close frame had a reason of %d bytes", len(v.reason))
	}
	for _, u := range m.Uncaught {
		t.Errorf("nobody caught: %s", u)
	}
	closed := m.Calls["closed"]
	switch {
	case !c.failed && (closed.Outcome != "fulfilled" || closed.Value.CloseCode != c.code || closed.Value.Reason != c.reason):
		t.Errorf("closed is %s with code %d, reason %q, %v; want code %d, reason %q",
			closed.Outcome, closed.Value.CloseCode, closed.Value.Reason, closed.Error, c.code, c.reason)
	case c.failed && closed.Outcome != "rejected":
		t.Errorf("closed is %s with code %d, reason %q; want a rejection", closed.Outcome, closed.Value.CloseCode, closed.Value.Reason)
	case c.failed:
		c.checkError(t, "closed", closed.Error)
	}
	ready := m.Calls["ready"]
	if (ready.Outcome == "rejected") != c.notReady {
		t.Errorf("ready is %s (%v)", ready.Outcome, ready.Error)
	}
	if c.notReady {
		c.checkError(t, "ready", ready.Error)
	}
	for name, call := range m.Calls {
		switch {
		case call.Outcome == "pending":
			t.Errorf("%s: pending after the end", name)
		case call.Outcome == "rejected" && c.stream != nil && name == c.streamCall:
			if e := call.Error; !e.IsWebTransportError || e.Source == nil || *e.Source != "stream" ||
				e.StreamErrorCode == nil || *e.StreamErrorCode != int64(*c.stream) {
				t.Errorf("%s: %v, want source stream and code %d", name, e, *c.stream)
			}
		case call.Outcome == "rejected":
			c.checkError(t, name, call.Error)
		case c.stream != nil && name == c.streamCall:
			t.Errorf("%s: %s", name, call.Outcome)
		}
	}
	for name, call := range m.After {
		if call.Outcome != "rejected" {
			t.Errorf("%s after the end: %s", name, call.Outcome)
		}
	}
	if m.Seen.Incoming < c.incoming {
		t.Errorf("the page accepted %d streams, want %d", m.Seen.Incoming, c.incoming)
	}
}

// checkError wants the error of a session.
func (c hostileCase) checkError(t *testing.T, call string, e pageError) {
	t.Helper()
	if !e.IsWebTransportError || e.Source == nil || *e.Source != "session" || e.StreamErrorCode != nil || e.Message == "" {
		t.Errorf("%s: %v; want a WebTransportError of source session, with a message and without a code", call, e)
	}
}

// A visitor meets servers: in Node or in a browser.
type visitor interface {
	meet(ctx context.Context, url, how string) (meeting, error)
}

// meet has a page meet one case.
func (h *hostileServer) meet(t *testing.T, p visitor, c hostileCase) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*hostileTime)
	defer cancel()
	url, seen := h.play(c)
	m, err := p.meet(ctx, url, c.page)
	if err != nil {
		t.Fatalf("the page: %v", err)
	}
	select {
	case v := <-seen:
		c.check(t, m, v)
	case <-ctx.Done():
		t.Errorf("the script has not ended: %v", ctx.Err())
		c.check(t, m, verdict{})
	}
}

// nodePage is the package in Node, whose WebSocket is undici's.
type nodePage struct {
	in  io.Writer
	out *bufio.Scanner
}

func startNodePage(t *testing.T, h *hostileServer) *nodePage {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.cert.Leaf.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	module := filepath.Join(packageDir(t), "index.js")
	// Node takes a module from a directory that says so.
	if err := os.WriteFile(filepath.Join(filepath.Dir(module), "package.json"), []byte(`{"type":"module"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "--expose-gc", "--experimental-websocket", "hostile/node.mjs", module)
	cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+ca)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close() // which ends it
		kill := time.AfterFunc(clients.Patience, func() { cmd.Process.Kill() })
		defer kill.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("node: %v", err)
		}
	})
	p := &nodePage{in: in, out: bufio.NewScanner(out)}
	p.out.Buffer(nil, 8<<20)
	return p
}

// do gives one order. The answer is bounded in time by the page itself.
func (p *nodePage) do(order map[string]any, answer any) error {
	line, err := json.Marshal(order)
	if err != nil {
		return err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return err
	}
	if !p.out.Scan() {
		return errors.Join(errors.New("node has ended"), p.out.Err())
	}
	return json.Unmarshal(p.out.Bytes(), answer)
}

func (p *nodePage) meet(_ context.Context, url, how string) (m meeting, err error) {
	err = p.do(map[string]any{"op": "meet", "url": url, "how": how, "limit": pageTime.Milliseconds()}, &m)
	return m, err
}

// memory is what the process holds after its garbage was collected.
func (p *nodePage) memory() (m struct {
	Alive                            int
	HeapUsed, External, ArrayBuffers int64
}, err error) {
	err = p.do(map[string]any{"op": "memory"}, &m)
	return m, err
}

// TestHostileServerInNode has the package in Node meet every hostile server, and
// nothing of its sessions is left.
func TestHostileServerInNode(t *testing.T) {
	t.Parallel()
	clients.NodeReady(t)
	h := newHostileServer(t, nil)
	p := startNodePage(t, h)
	before, err := p.memory()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range hostileCases() {
		t.Run(c.name, func(t *testing.T) { h.meet(t, p, c) })
	}
	after, err := p.memory()
	if err != nil {
		t.Fatal(err)
	}
	// What Node's WebSocket holds is not told apart.
	const margin = 24 << 20
	if grown := after.HeapUsed + after.External - before.HeapUsed - before.External; grown > margin {
		t.Errorf("%d bytes are held after all sessions have ended", grown)
	}
	if after.Alive > 0 {
		t.Errorf("%d sessions are held by something", after.Alive)
	}
	t.Logf("%d cases: heap %d KiB before, %d KiB after",
		len(hostileCases()), before.HeapUsed>>10, after.HeapUsed>>10)
}
