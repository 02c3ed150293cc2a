package browsers

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/towpath-go/towpath/e2e/clients"
)

// A served is a towpath serve that runs.
type served struct {
	addr string // HOST:PORT
	hash []byte // SHA-256 of its certificate

	mu  sync.Mutex // guards the following
	log []string   // of -v, the last lines
	new chan struct{}
}

// maxLogLines is how many lines of its log are kept.
const maxLogLines = 10_000

func (s *served) url(path string) string { return "https://" + s.addr + path }

// serve builds the command, once, and starts towpath serve with those flags
// until the test ends. Without --addr it listens on a free port of 127.0.0.1.
func serve(t testing.TB, flags ...string) *served {
	t.Helper()
	return serveIn(t, nil, flags...)
}

// serveIn is serve in another namespace; inside is as in launchOptions.
func serveIn(t testing.TB, inside func(f func() error) error, flags ...string) *served {
	t.Helper()
	command, err := towpath()
	clients.Must(t, err)
	if !strings.Contains(strings.Join(flags, " "), "--addr") {
		flags = append([]string{"--addr", "127.0.0.1:0"}, flags...)
	}
	// It ends when the pipe breaks, so that a killed test leaves none.
	const untilEOF = `"$@" </dev/null & pid=$!; cat >/dev/null; kill $pid; wait $pid`
	cmd := exec.Command("/bin/sh", append([]string{"-c", untilEOF, "sh", command, "serve"}, flags...)...)
	cmd.Dir = "/" // what an absolute path of a flag is for
	stdin, err := cmd.StdinPipe()
	clients.Must(t, err)
	stdout, err := cmd.StdoutPipe()
	clients.Must(t, err)
	stderr, err := cmd.StderrPipe()
	clients.Must(t, err)
	if inside != nil {
		err = inside(cmd.Start)
	} else {
		err = cmd.Start()
	}
	clients.Must(t, err)
	s := &served{new: make(chan struct{})}
	var readers sync.WaitGroup
	readers.Go(func() { s.readLog(stderr) }) // ends with the process
	t.Cleanup(func() {
		stdin.Close()
		kill := time.AfterFunc(clients.Patience, func() { cmd.Process.Kill() })
		readers.Wait()
		if err := cmd.Wait(); err != nil {
			t.Errorf("towpath serve: %v", err)
		}
		kill.Stop()
		if t.Failed() {
			t.Logf("towpath serve said:\n%s", strings.Join(s.log, "\n"))
		}
	})
	lines := bufio.NewReader(stdout)
	line, err := lines.ReadString('\n')
	var sum string
	if n, serr := fmt.Sscanf(line, "listening addr=%s cert-sha256=%s", &s.addr, &sum); n != 2 {
		t.Fatalf("towpath serve said %q: %v, %v", line, err, serr)
	}
	s.hash, err = hex.DecodeString(sum)
	clients.Must(t, err)
	readers.Go(func() { io.Copy(io.Discard, lines) }) // ends with the process
	return s
}

func (s *served) readLog(stderr io.Reader) {
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		s.mu.Lock()
		s.log = append(s.log, lines.Text())
		if len(s.log) > maxLogLines {
			s.log = s.log[1:]
		}
		close(s.new)
		s.new = make(chan struct{})
		s.mu.Unlock()
	}
	io.Copy(io.Discard, stderr)
}

// logged waits for a line of the log that has all those parts, and returns it.
func (s *served) logged(ctx context.Context, parts ...string) (string, error) {
	for {
		s.mu.Lock()
		log, more := s.log, s.new
		s.mu.Unlock()
	lines:
		for _, line := range log {
			for _, part := range parts {
				if !strings.Contains(line, part) {
					continue lines
				}
			}
			return line, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return "", fmt.Errorf("no line of the log has %q: %w", parts, context.Cause(ctx))
		}
	}
}

// buildDir holds the command, until all tests have ended.
var buildDir string

// towpath builds the command and returns its path.
var towpath = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(commandEnv); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "towpath-command-")
	if err != nil {
		return "", err
	}
	buildDir = dir
	path := filepath.Join(dir, "towpath")
	build := exec.Command("go", "build", "-o", path, "./cmd/towpath")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// blank serves an empty page over HTTP until the test ends, and returns its
// URL. A page of 127.0.0.1 or localhost may use what is for secure contexts.
func blank(t testing.TB, host string) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	clients.Must(t, err)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, "<!doctype html><title>Towpath</title><link rel=icon href=data:,>")
	}))
	s.Listener.Close()
	s.Listener = ln
	s.Start()
	t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(ln.Addr().String())
	clients.Must(t, err)
	return "http://" + net.JoinHostPort(host, port) + "/"
}
