package browsers

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/towpath-go/towpath/e2e/clients"
)

// TestSuite has web/suite in each browser: with the browser's own class, which
// shows that the suite asks for what the W3C's draft says, and with the package
// over HTTP/3 and over a WebSocket.
func TestSuite(t *testing.T) {
	module := suiteBundle(t)
	s := serve(t, "--origin", "*")
	commandsAddr, commandsHash := commands(t)
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			b := launch(t, k, launchOptions{insecure: true})
			for _, class := range []string{"native", "h3", "ws"} {
				t.Run(class, func(t *testing.T) {
					p := b.open(t, blank(t, "127.0.0.1"))
					ctx, cancel := context.WithTimeout(t.Context(), suiteTime)
					defer cancel()
					clients.Must(t, p.loadFile(ctx, "suite", module))
					type result struct {
						Name            string
						Took            int // ms
						Skipped, Failed string
					}
					var themes []string
					clients.Must(t, p.run(ctx, `() => towpath.modules.suite.names`, nil, &themes))
					var results []result
					for _, theme := range themes { // an order of the driver has its own bound
						var some []result
						clients.Must(t, p.run(ctx, `where => towpath.modules.suite.runIn(where)`, map[string]any{
							"browser": k, "kind": class, "part": theme + "/",
							"serve": "https://" + s.addr, "serveHash": hex.EncodeToString(s.hash),
							"commands": "https://" + commandsAddr, "commandsHash": commandsHash,
						}, &some))
						results = append(results, some...)
					}
					if len(results) < 100 {
						t.Errorf("only %d cases ran", len(results))
					}
					for _, r := range results {
						t.Run(r.Name, func(t *testing.T) {
							switch {
							case r.Skipped != "":
								t.Skip(r.Skipped)
							case r.Failed != "":
								t.Errorf("%s (after %d ms)", r.Failed, r.Took)
							default:
								t.Logf("took %d ms", r.Took)
							}
						})
					}
				})
			}
		})
	}
}

// suiteTime is when a page with the suite is given up. Each case has its own
// bound.
const suiteTime = 5 * time.Minute

// suiteBundle makes one module of web/suite/browsers.ts, and of the package.
func suiteBundle(t *testing.T) string {
	t.Helper()
	suite := bundled(t, func() ([]byte, error) { return esbuild("suite/browsers.ts") })
	file := filepath.Join(t.TempDir(), "suite.js")
	clients.Must(t, os.WriteFile(file, suite, 0o600))
	return file
}

// commands starts web/suite/server until the test ends.
func commands(t *testing.T) (addr, hash string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "server")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./web/suite/server")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cmd := exec.Command(path)
	stdin, err := cmd.StdinPipe() // it ends with this, so with the test
	clients.Must(t, err)
	stdout, err := cmd.StdoutPipe()
	clients.Must(t, err)
	clients.Must(t, cmd.Start())
	t.Cleanup(func() {
		stdin.Close()
		kill := time.AfterFunc(clients.Patience, func() { cmd.Process.Kill() })
		defer kill.Stop()
		_, _ = io.Copy(io.Discard, stdout)
		if err := cmd.Wait(); err != nil {
			t.Errorf("web/suite/server: %v", err)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if n, serr := fmt.Sscanf(line, "listening addr=%s cert-sha256=%s", &addr, &hash); n != 2 {
		t.Fatalf("web/suite/server said %q: %v, %v", line, err, serr)
	}
	return addr, hash
}
