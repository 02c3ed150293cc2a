package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport/transporttest"
)

// asCommand makes the test binary be the command.
const asCommand = "TOWPATH_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	transporttest.SetParallel()
	os.Exit(m.Run())
}

// command prepares a run of the command. Proxies of the environment would get
// in the way.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, exe, args...)
	for _, e := range os.Environ() {
		if !strings.Contains(strings.ToUpper(e), "_PROXY=") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	// Under the race detector a process waits a second before it exits.
	cmd.Env = append(cmd.Env, asCommand+"=1", "GORACE=atexit_sleep_ms=0")
	return cmd
}

type outcome struct {
	out, err string
	status   int
}

// invoke runs the command to its end.
func invoke(t *testing.T, in string, args ...string) outcome {
	t.Helper()
	cmd := command(t, args...)
	cmd.Stdin = strings.NewReader(in)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if _, ok := err.(*exec.ExitError); !ok {
			t.Fatal(err)
		}
	}
	return outcome{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// converse runs the command, ends its input once it has put out want, and
// returns what it says then.
func converse(t *testing.T, in, want string, args ...string) outcome {
	t.Helper()
	if want == "" {
		return invoke(t, in, args...)
	}
	cmd := command(t, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	w, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go io.WriteString(w, in) // ends with the pipe
	out := make([]byte, len(want))
	n, _ := io.ReadFull(r, out)
	_ = w.Close()
	rest, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its status says more
	return outcome{string(out[:n]) + string(rest), errs.String(), cmd.ProcessState.ExitCode()}
}

// A served is a running `towpath serve`.
type served struct {
	cmd  *exec.Cmd
	addr string
	hash string
	rest *bufio.Reader // of its output
}

func (s *served) url(path string) string { return "https://" + s.addr + path }

var listeningLine = regexp.MustCompile(`^listening addr=(\S+) cert-sha256=([0-9a-f]{64}) transports=(\S+)\n$`)

// start runs `towpath serve` on a free port until the test ends.
func start(t *testing.T, args ...string) *served {
	t.Helper()
	cmd := command(t, append([]string{"serve", "--addr", "127.0.0.1:0"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return newServed(t, cmd, out)
}

// newServed reads the first line of a server that was started.
func newServed(t *testing.T, cmd *exec.Cmd, out io.Reader) *served {
	t.Helper()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	r := bufio.NewReader(out)
	line, err := r.ReadString('\n')
	m := listeningLine.FindStringSubmatch(line)
	if m == nil {
		t.Fatalf("first line %q, %v", line, err)
	}
	return &served{cmd: cmd, addr: m[1], hash: m[2], rest: r}
}

func TestUsage(t *testing.T) {
	cert := writeCert(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	const hash = "0000000000000000000000000000000000000000000000000000000000000000"
	for _, c := range []struct {
		args   string
		status int
		says   string
	}{
		{"frobnicate", 2, "towpath --help"},
		{"demo --fast", 2, "towpath demo --help"},
		{"connect", 2, "towpath connect --help"},
		{"connect example.com", 2, "write https://example.com"},
		{"connect http://example.com/x?y", 2, "write https://example.com/x?y"},
		{"connect https:///echo", 2, "https://HOST:PORT/PATH"},
		{"connect https://example.com/#top", 2, "leave out #top"},
		{"connect https://me@example.com/", 2, "leave out me@"},
		{"connect https://exa%mple/", 2, "not a URL"},
		{"connect https://example.com:70000/", 2, "1 to 65535"},
		{"connect https://example.com:0/", 2, "1 to 65535"},
		{"connect --transport h1 https://example.com/", 2, "auto"},
		{"connect --cert-hash 12 https://example.com/", 2, "64 digits"},
		{"connect --cert-hash " + hash + " --ca " + cert.cert + " https://example.com/", 2, "exclude"},
		{"connect --uni --datagram https://example.com/", 2, "--uni"},
		{"connect --timeout 0s https://example.com/", 2, "10s"},
		{"connect --timeout soon https://example.com/", 2, "duration"},
		{"probe --timeout=-1s https://example.com/", 2, "10s"},
		{"probe ftp://example.com/", 2, "https"},
		{"serve --addr here", 2, "127.0.0.1:4433"},
		{"serve --addr 127.0.0.1:70000", 2, "65535"},
		{"serve --addr 127.0.0.1:", 2, "65535"},
		{"serve --transport h1", 2, "h3, h2 or ws"},
		{"serve --transport ws,h4", 2, "h3, h2 or ws"},
		{"serve --transport=", 2, "h3, h2 or ws"},
		{"connect --transport= https://example.com/", 2, "auto"},
		{"serve --addr 127.0.0.1:0 --origin [", 2, "*.example.com"},
		{"serve --cert " + cert.cert, 2, "--key"},
		{"serve --key " + cert.key, 2, "--cert"},
		{"serve --metrics 9464", 2, "write 127.0.0.1:9464"},
		{"serve --metrics 127.0.0.1:x", 2, "--metrics \"127.0.0.1:x\": the port"},
		{"serve --max-sessions 0", 2, `--max-sessions: "0" is no limit: write a number from 1`},
		{"serve --max-sessions-per-address=-5", 2, "write a number from 1"},
		{"serve --session-rate fast", 2, "write a number from 1"},
		{"serve --session-rate 9999999999", 2, "to 2147483647"},
		{"serve --protocol=", 2, "1 to 512"},
		{"serve --protocol a --protocol a", 2, "twice"},
		{"connect --protocol \x01 https://example.com/", 2, "printable ASCII"},
		{"connect --protocol= https://example.com/", 2, "1 to 512"},

		{"serve --addr 127.0.0.1:0 --cert /does/not/exist --key " + cert.key, 1, "no file /does/not/exist"},
		{"serve --addr 127.0.0.1:0 --cert " + text + " --key " + cert.key, 1, "PEM"},
		{"serve --addr 127.0.0.1:0 --cert " + cert.cert + " --key " + cert.cert, 1, "PEM"},
		{"serve --addr 127.0.0.1:0 --root /does/not/exist", 1, "no directory /does/not/exist"},
		{"serve --addr " + taken.Addr().String(), 1, "is in use: choose another port with --addr"},
		{"serve --addr 127.0.0.1:0 --metrics " + taken.Addr().String(), 1, "is in use: choose another port with --metrics"},
		{"serve --addr 127.0.0.1:0 --qlog " + text, 1, "--qlog: no files can be made in"},
		{"connect --qlog " + text + " https://127.0.0.1:1/", 1, "--qlog: no files can be made in"},
		{"connect --ca /does/not/exist https://127.0.0.1:1/", 1, "no file /does/not/exist"},
		{"connect --ca " + text + " https://127.0.0.1:1/", 1, "no PEM certificate"},
		{"connect --origin", 2, "--origin has no value: write --origin=ORIGIN (see towpath connect --help)"},
		{"connect --origin --uni https://example.com/", 2, "--origin has no value before --uni: write --origin=ORIGIN (see"},
		{"connect https://example.com/ --timeout", 2, "--timeout has no value: write --timeout=TIME (see"},
		{"connect --timeout -5s https://example.com/", 2, "--timeout has no value before -5s: write --timeout=TIME (see"},
		{"connect --protocol", 2, "--protocol has no value: write --protocol=NAME (see"},
		{"serve --max-sessions", 2, "--max-sessions has no value: write --max-sessions="},
		{"serve --protocol --metrics 127.0.0.1:0", 2, "--protocol has no value"},
		{"connect https://127.0.0.1:1/", 1, "no way to 127.0.0.1:1 is open"},
	} {
		t.Run(strings.NewReplacer(cert.cert, "CERT", cert.key, "KEY", text, "TEXT", taken.Addr().String(), "TAKEN", "/", "|").Replace(c.args), func(t *testing.T) {
			o := invoke(t, "", strings.Fields(c.args)...)
			if o.status != c.status || !strings.Contains(o.err, c.says) {
				t.Errorf("status %d, want %d, and %q in %q", o.status, c.status, c.says, o.err)
			}
			if o.out != "" || strings.Count(o.err, "\n") != 1 || !strings.HasPrefix(o.err, "towpath: ") {
				t.Errorf("not one line: %q, %q", o.out, o.err)
			}
		})
	}
}

func TestHelpFitsTheTerminal(t *testing.T) {
	for _, args := range [][]string{{}, {"--help"}, {"demo", "--help"}, {"serve", "--help"}, {"connect", "--help"}, {"probe", "--help"}} {
		o := invoke(t, "", args...)
		if o.status != 0 || o.err != "" || !strings.HasPrefix(o.out, "Usage: towpath") {
			t.Errorf("%v: status %d, %q", args, o.status, o.err)
		}
		wantWidth(t, o.out)
	}
	if o := invoke(t, "", "--version"); o.status != 0 || !strings.HasPrefix(o.out, "towpath ") {
		t.Errorf("version: %+v", o)
	}
}

func wantWidth(t *testing.T, s string) {
	t.Helper()
	for line := range strings.Lines(s) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 80 {
			t.Errorf("a line of %d columns: %s", n, line)
		}
	}
}

var connectedLine = regexp.MustCompile(`\nconnected transport=(h3|h2|ws) ms=\d+\n$`)

func TestServeAndConnect(t *testing.T) {
	s := start(t)
	trust := "--cert-hash=" + s.hash
	big := strings.Repeat("a line of text\n", 50_000)
	for _, c := range []struct {
		name string
		in   string
		args []string
		want string // of the output
		way  string
	}{
		{"auto finds HTTP/3", "hello\n", nil, "hello\n", "h3"},
		{"HTTP/3", big, []string{"--transport=h3"}, big, "h3"},
		{"HTTP/2", big, []string{"--transport=h2"}, big, "h2"},
		{"unidirectional over HTTP/3", "hello\n", []string{"--uni", "--transport=h3", "--wait=0s"}, "hello\n", "h3"},
		{"unidirectional over HTTP/2", "hello\n", []string{"--uni", "--transport=h2", "--wait=0s"}, "hello\n", "h2"},
		{"datagrams over HTTP/3", "one\ntwo\n", []string{"--datagram", "--transport=h3", "--wait=0s"}, "one\ntwo\n", "h3"},
		{"datagrams over HTTP/2", "one\ntwo\n", []string{"--datagram", "--transport=h2", "--wait=0s"}, "one\ntwo\n", "h2"},
		{"WebSocket", big, []string{"--transport=ws"}, big, "ws"},
		{"unidirectional over WebSocket", "hello\n", []string{"--uni", "--transport=ws", "--wait=0s"}, "hello\n", "ws"},
		{"datagrams over WebSocket", "one\ntwo\n", []string{"--datagram", "--transport=ws", "--wait=0s"}, "one\ntwo\n", "ws"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // a process that has closed a session over HTTP/3 takes its time to end
			o := converse(t, c.in, c.want, append([]string{"connect", "-v", trust, s.url("/echo")}, c.args...)...)
			if o.status != 0 || o.out != c.want {
				t.Errorf("status %d, %d bytes out, want %d; %s", o.status, len(o.out), len(c.want), o.err)
			}
			if m := connectedLine.FindStringSubmatch(o.err); m == nil || m[1] != c.way {
				t.Errorf("report %q", o.err)
			}
		})
	}
	t.Run("quiet without -v", func(t *testing.T) {
		if o := invoke(t, "x", "connect", trust, s.url("//echo")); o.status != 0 || o.out != "x" || o.err != "" {
			t.Errorf("%+v", o)
		}
	})
	for _, way := range []string{"h3", "h2", "ws"} {
		for _, c := range []struct {
			name, path, in string
			args           []string
			status         int
			out, says      string
		}{
			{"more than fits, to a client that does not read it", "/source?bytes=30000000", "x", nil, 0, "", ""},
			{"what the server sends", "/source?bytes=100000", "", []string{"--uni", "--wait=0s"}, 0, strings.Repeat("\x00", 100000), ""},
			{"the server's own streams", "/echo?srv=1", "", []string{"--uni", "--wait=0s"}, 0, "hello from server uni", ""},
			{"nothing comes back", "/discard", "into the void", nil, 0, "", ""},
			{"nothing comes back, with a doubled slash", "//discard", "into the void", nil, 0, "", ""},
			{"what the server sends, with a doubled slash", "//source?bytes=1", "", []string{"--uni", "--wait=0s"}, 0, "\x00", ""},
			{"a reset", "/echo?reset=7", "x", nil, 1, "", "code 7"},
			{"closed with a code", "/echo?close=5&after=50", "", []string{"--uni", "--wait=20s"}, 1, "", `code 5 "server bye"`},
			{"closed without", "/echo?close=0&reason=&after=50", "", []string{"--uni", "--wait=20s"}, 0, "", ""},
			{"a bad query", "/echo?close=x", "", nil, 1, "", "400"},
			{"no such resource", "/nothing", "", nil, 1, "", "; there is no WebTransport at this path"},
			{"another origin", "/echo", "", []string{"--origin=https://page.example"}, 1, "", "403"},
			{"the same origin", "/echo", "x", []string{"--origin=https://" + s.addr}, 0, "x", ""},
		} {
			t.Run(c.name+" over "+way, func(t *testing.T) {
				t.Parallel()
				o := converse(t, c.in, c.out, append([]string{"connect", trust, "--transport=" + way, s.url(c.path)}, c.args...)...)
				if o.status != c.status || o.out != c.out || !strings.Contains(o.err, c.says) || strings.Count(o.err, "\n") > 1 {
					t.Errorf("status %d, %d bytes, %q; want %d, %d bytes, %q", o.status, len(o.out), o.err, c.status, len(c.out), c.says)
				}
			})
		}
	}
	t.Run("trust", func(t *testing.T) {
		o := invoke(t, "", "connect", s.url("/echo"))
		if o.status != 1 || !strings.Contains(o.err, "use --cert-hash or --ca") {
			t.Errorf("no trust: %+v", o)
		}
		o = invoke(t, "", "connect", "--cert-hash="+strings.Repeat("0", 64), s.url("/echo"))
		if o.status != 1 || !strings.Contains(o.err, "is --cert-hash the one that the running server printed?") {
			t.Errorf("wrong hash: %+v", o)
		}
	})
	t.Run("probe", func(t *testing.T) {
		o := invoke(t, "", "probe", trust, s.url("/echo"))
		for _, want := range []string{"UDP is open\n", "h3  udp4", "h2  tcp ", "ws  tcp ", "ws tcp: towpath.capsule.v1", "draft-ietf-webtrans-http3, drafts 15 to 16", "WT_ENABLED"} {
			if !strings.Contains(o.out, want) {
				t.Errorf("%q is missing in\n%s", want, o.out)
			}
		}
		wantWidth(t, o.out)
		o = invoke(t, "", "probe", trust, s.url("/nothing"))
		if !strings.Contains(o.out, "status 404") || !strings.Contains(o.out, "\n  only a path that takes sessions shows") || o.status != 0 {
			t.Errorf("no resource there: %+v", o)
		}
		wantWidth(t, o.out)
		o = invoke(t, "", "probe", "--json", trust, s.url("/echo"))
		var r struct {
			UDP  string
			Ways []struct {
				Transport, Draft string
				Open             bool
				Handshake        float64 `json:"handshake_ms"`
				Settings         map[string]uint64
			}
		}
		if err := json.Unmarshal([]byte(o.out), &r); err != nil || o.status != 0 {
			t.Fatalf("%v: %+v", err, o)
		}
		if r.UDP != "open" || len(r.Ways) != 3 || !r.Ways[0].Open || !r.Ways[1].Open || !r.Ways[2].Open || r.Ways[0].Handshake <= 0 || r.Ways[1].Settings["WT_ENABLED"] != 1 {
			t.Errorf("%+v", r)
		}
	})
}

func TestProbeClosed(t *testing.T) {
	o := invoke(t, "", "probe", "https://127.0.0.1:1/")
	if o.status != 1 || !strings.Contains(o.out, "UDP is refused") || !strings.Contains(o.err, "no way to https://127.0.0.1:1/ is open") {
		t.Errorf("%+v", o)
	}
}

func TestProbeCertificate(t *testing.T) {
	s := start(t)
	for says, args := range map[string][]string{
		"use --cert-hash or --ca": nil,
		"is --cert-hash the one":  {"--cert-hash", strings.Repeat("0", 64)},
	} {
		o := invoke(t, "", append([]string{"probe", s.url("/")}, args...)...)
		if o.status != 1 || !strings.Contains(o.err, says) || strings.Count(o.out, "  untrusted") != 3 {
			t.Errorf("%q: %+v", args, o)
		}
	}
}

func TestServeOneTransport(t *testing.T) {
	for way, other := range map[string]string{"h3": "h2", "h2": "ws", "ws": "h2"} {
		s := start(t, "--transport", way)
		if o := invoke(t, "x", "connect", "-v", "--cert-hash", s.hash, s.url("/echo")); o.status != 0 || !strings.Contains(o.err, "transport="+way) {
			t.Errorf("%s: %+v", way, o)
		}
		if o := invoke(t, "x", "connect", "--transport", other, "--cert-hash", s.hash, s.url("/echo")); o.status != 1 {
			t.Errorf("%s although only %s is served: %+v", other, way, o)
		}
	}
}

func TestServeOrigins(t *testing.T) {
	s := start(t, "--origin", "*.page.example", "--origin", "other.example:8443")
	for origin, status := range map[string]int{
		"https://a.page.example": 0, "https://other.example:8443": 0, "https://page.example": 1, "null": 1,
		"127.0.0.1": 0, "page.example": 1, // as a Node client of fails-components sends it
	} {
		if o := invoke(t, "x", "connect", "--cert-hash", s.hash, "--origin", origin, s.url("/echo")); o.status != status {
			t.Errorf("%s: %+v", origin, o)
		}
	}
}

// TestServeLogsRefusals shows that -v tells once why a client got its 403, which
// the client cannot know.
func TestServeLogsRefusals(t *testing.T) {
	cmd := command(t, "serve", "--addr", "127.0.0.1:0", "-v")
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := newServed(t, cmd, out)
	ways := []string{"h3", "h2", "ws"}
	for _, way := range ways {
		o := invoke(t, "", "connect", "--transport", way, "--origin", "https://page.example", "--cert-hash", s.hash, s.url("/echo"))
		if o.status != 1 || !strings.Contains(o.err, "403") {
			t.Errorf("%s: %+v", way, o)
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("serve: %v", err)
	}
	for _, way := range ways {
		var lines []string
		for line := range strings.Lines(log.String()) {
			if strings.Contains(line, `msg="session refused"`) && strings.Contains(line, "transport="+way+" ") {
				lines = append(lines, line)
			}
		}
		if len(lines) != 1 || !strings.Contains(lines[0], "status=403") || !strings.Contains(lines[0], "https://page.example") {
			t.Errorf("%s: %q", way, lines)
		}
	}
	if n := strings.Count(log.String(), "session refused"); n != len(ways) {
		t.Errorf("%d lines for %d refusals:\n%s", n, len(ways), log.String())
	}
}

func TestServeFiles(t *testing.T) {
	cert := writeCert(t)
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "page.html"), []byte("<p>hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(root, "link")); err != nil && runtime.GOOS != "windows" {
		t.Fatal(err)
	}
	s := start(t, "--root", root, "--cert", cert.cert, "--key", cert.key)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: cert.Pool}, DisableKeepAlives: true}
	get := func(path string) (int, string) {
		resp, err := (&http.Client{Transport: tr, Timeout: 20 * time.Second}).Get(s.url(path))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	if code, body := get("/page.html"); code != 200 || body != "<p>hello" {
		t.Errorf("page: %d %q", code, body)
	}
	for _, path := range []string{"/link", "/nothing"} {
		if code, body := get(path); code == 200 || strings.Contains(body, "secret") {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	if code, _ := get("/echo"); code != http.StatusMethodNotAllowed {
		t.Errorf("GET /echo: %d", code)
	}
	if o := invoke(t, "x", "connect", "--ca", cert.cert, s.url("/echo")); o.status != 0 || o.out != "x" {
		t.Errorf("with --ca: %+v", o)
	}
}

func TestServeEndsOnSignal(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no signals to send on Windows")
	}
	s := start(t)
	line, err := s.rest.ReadString('\n')
	if err != nil || !strings.Contains(line, "base64: ") {
		t.Errorf("second line %q, %v", line, err)
	}
	// A client that stays must not keep the server.
	c := command(t, "connect", "--cert-hash", s.hash, s.url("/echo"))
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	io.WriteString(in, "here")
	io.ReadFull(out, make([]byte, 4))
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, s.rest)
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("serve ended with %v", err)
	}
	in.Close()
	_ = c.Wait() // its session was ended
}

func TestDemo(t *testing.T) {
	o := invoke(t, "", "demo")
	row := regexp.MustCompile(`(?m)^(UDP [a-z ]+?|only HTTP/1.1)  +(h3|h2|ws)  +[\d.]+ ms  +[\d.]+ ms  +8/8  +16/16$`)
	var got []string
	for _, m := range row.FindAllStringSubmatch(o.out, -1) {
		got = append(got, m[1]+" "+m[2])
	}
	if want := "UDP open h3, UDP silently dropped h2, UDP refused h2, only HTTP/1.1 ws"; o.status != 0 || strings.Join(got, ", ") != want {
		t.Errorf("status %d, rows %q in\n%s%s", o.status, got, o.out, o.err)
	}
	wantWidth(t, o.out)

	o = invoke(t, "", "demo", "--json")
	var rs []struct {
		Network, Transport string
		First              float64 `json:"first_dial_ms"`
		Streams            int     `json:"streams_echoed"`
		Datagrams          int     `json:"datagrams_echoed"`
		Report             struct{ Attempts []struct{ Outcome string } }
	}
	if err := json.Unmarshal([]byte(o.out), &rs); err != nil || o.status != 0 || len(rs) != 4 {
		t.Fatalf("%v: %+v", err, o)
	}
	for i, way := range []string{"h3", "h2", "h2", "ws"} {
		if r := rs[i]; r.Transport != way || r.Streams != 8 || r.Datagrams != 16 || len(r.Report.Attempts) != 3 {
			t.Errorf("%+v", r)
		}
	}
}

type certFiles struct {
	*testcert.Cert
	cert, key string
}

// writeCert writes a certificate and its key to files.
func writeCert(t *testing.T) certFiles {
	t.Helper()
	c := certFiles{Cert: testcert.New(t)}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	key, err := x509.MarshalPKCS8PrivateKey(c.TLS.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	c.cert = write("cert.pem", "CERTIFICATE", c.TLS.Certificate[0])
	c.key = write("key.pem", "PRIVATE KEY", key)
	return c
}
