package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// line returns the next line of a server's output that begins with prefix.
func (s *served) line(t *testing.T, prefix string) string {
	t.Helper()
	for {
		line, err := s.rest.ReadString('\n')
		if err != nil {
			t.Fatalf("no line %q: %v", prefix, err)
		}
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			return strings.TrimSuffix(rest, "\n")
		}
	}
}

func TestServeMetrics(t *testing.T) {
	s := start(t, "--metrics", "127.0.0.1:0", "--session-rate", "1")
	at := s.line(t, "metrics ")
	if !regexp.MustCompile(`^http://127\.0\.0\.1:\d+/metrics$`).MatchString(at) {
		t.Fatalf("the metrics are at %q", at)
	}
	// The first two are a burst; the third is too many.
	for i, status := range []int{0, 0, 1} {
		if o := invoke(t, "x", "connect", "--transport", "h2", "--cert-hash", s.hash, s.url("/echo")); o.status != status {
			t.Fatalf("session %d: %+v", i, o)
		}
	}
	resp, err := http.Get(at)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/openmetrics-text") {
		t.Fatalf("%s, %v, %v", resp.Status, resp.Header, err)
	}
	for _, want := range []string{
		`towpath_connections_opened_total{transport="h2",side="server"} 3` + "\n",
		`limit="session-rate"`,
		"# EOF\n",
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("%q is missing in\n%s", want, body)
		}
	}
	if resp, err := http.Get(strings.TrimSuffix(at, "metrics")); err != nil || resp.StatusCode != 404 {
		t.Errorf("another path: %v, %v", resp, err)
	}
}

// Once a client is gone the server does not count it any more, although nobody
// tells it of a process that exits, on UDP.
func TestConnectLeavesTheCount(t *testing.T) {
	s := start(t, "--metrics", "127.0.0.1:0")
	at := s.line(t, "metrics ")
	const sample = `towpath_connections_open{transport="h3",side="server"} `
	for _, args := range [][]string{{}, {"--uni", "--wait", "0s"}} {
		if o := invoke(t, "x", append(append([]string{"connect", "--transport", "h3", "--cert-hash", s.hash}, args...), s.url("/echo"))...); o.status != 0 {
			t.Fatalf("%v: %+v", args, o)
		}
		// What the client sent last is at the server, which may still read it.
		for deadline := time.Now().Add(15 * time.Second); ; {
			resp, err := http.Get(at)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || !strings.Contains(string(body), sample) {
				t.Fatalf("%v, no sample of the count in\n%s", err, body)
			}
			if strings.Contains(string(body), sample+"0\n") {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%v: the client is in the count 15 s after its end, half of the idle timeout", args)
			}
		}
	}
}

func TestMetricsForEverybodyAreWarnedOf(t *testing.T) {
	for ip, warned := range map[string]bool{"127.0.0.1": false, "::1": false, "0.0.0.0": true, "::": true, "192.0.2.1": true} {
		var out, errs bytes.Buffer
		printMetrics(streams{nil, &out, &errs}, &net.TCPAddr{IP: net.ParseIP(ip), Port: 9464})
		if got := strings.Contains(errs.String(), "warning: whoever reaches"); got != warned {
			t.Errorf("%s: warned %v, want %v: %s", ip, got, warned, errs.String())
		}
		if n := strings.Count(out.String(), "\n"); n != 1 || !strings.HasPrefix(out.String(), "metrics http://") {
			t.Errorf("%s: %q", ip, out.String())
		}
	}
}

func TestQlog(t *testing.T) {
	server, client := filepath.Join(t.TempDir(), "server"), t.TempDir()
	s := start(t, "--qlog", server)
	ways := []string{"h3", "h2", "ws"}
	for _, way := range ways {
		if o := invoke(t, "x", "connect", "--qlog", client, "--transport", way, "--cert-hash", s.hash, s.url("/echo")); o.status != 0 || o.err != "" {
			t.Fatalf("%s: %+v", way, o)
		}
	}
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("serve: %v", err)
	}
	for dir, side := range map[string]string{server: "server", client: "client"} {
		for _, way := range ways {
			files, err := filepath.Glob(filepath.Join(dir, "*-"+side+"-"+way+"-*"))
			if err != nil || len(files) != 1 {
				t.Errorf("%s, %s: files %v, %v", side, way, files, err)
				continue
			}
			b, err := os.ReadFile(files[0])
			if err != nil || !bytes.Contains(b, []byte("session_started")) || !bytes.Contains(b, []byte("session_ended")) {
				t.Errorf("%s, %s: %v\n%s", side, way, err, b)
			}
		}
	}
}

func TestApplicationProtocols(t *testing.T) {
	s := start(t, "--protocol", "chat, v2", "--protocol", "chat")
	for _, way := range []string{"h3", "h2", "ws"} {
		for _, c := range []struct {
			offers []string
			says   string
		}{
			{[]string{"talk", "chat, v2"}, ` protocol="chat, v2"` + "\n"},
			{[]string{"chat"}, ` protocol="chat"` + "\n"},
			{[]string{"talk"}, ` protocol=""` + "\n"},
		} {
			args := []string{"connect", "-v", "--transport", way, "--cert-hash", s.hash, s.url("/echo")}
			for _, p := range c.offers {
				args = append(args, "--protocol", p)
			}
			if o := invoke(t, "x", args...); o.status != 0 || !strings.HasSuffix(o.err, c.says) {
				t.Errorf("%s, offers %q: %+v", way, c.offers, o)
			}
		}
	}
}

// Ctrl-C says what it waits for, and a second one does not wait.
func TestInterruptTwice(t *testing.T) {
	cmd := command(t, "serve", "--addr", "127.0.0.1:0", "--transport", "h2")
	errs, err := cmd.StderrPipe()
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
	s := newServed(t, cmd, out)
	client := command(t, "connect", "--cert-hash", s.hash, s.url("/echo"))
	in, err := client.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	back, err := client.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	defer client.Wait()
	defer in.Close()
	if _, err := io.WriteString(in, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(back, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	const want = "towpath: waiting up to 5s for 1 session to end; Ctrl-C again ends at once\n"
	line := make([]byte, len(want))
	if _, err := io.ReadFull(errs, line); err != nil || string(line) != want {
		t.Fatalf("%q, %v", line, err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGINT {
		t.Errorf("the second interrupt: %v", err)
	}
}

func TestTransportsAreListedOnce(t *testing.T) {
	cmd := &serveCmd{Addr: "127.0.0.1:0", Transport: []string{"ws", "h2", "ws"}}
	ps, names, _, err := cmd.check()
	if err != nil || strings.Join(names, ",") != "ws,h2" || len(ps) != 2 {
		t.Errorf("%v, %v, %v", ps, names, err)
	}
}

func TestPageLine(t *testing.T) {
	h3, h2, ws := transport.HTTP3, transport.HTTP2, transport.WebSocket
	for _, c := range []struct {
		ps   []transport.Protocol
		says string
	}{
		{nil, "open https://a:1/ in a browser"},
		{[]transport.Protocol{h2, ws}, "open https://a:1/ in a browser"},
		{[]transport.Protocol{h3, h2}, "open https://a:1/ in a browser"},
		{[]transport.Protocol{h3}, "so serve h2 or ws as well"},
		{[]transport.Protocol{h2}, "browsers need h3 or ws"},
	} {
		if got := pageLine(c.ps, "a:1"); !strings.Contains(got, c.says) {
			t.Errorf("%v: %q, want %q", c.ps, got, c.says)
		}
	}
}
