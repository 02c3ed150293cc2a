package clients

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// oldestNode is the oldest major version of Node whose HTTP/2 lets the peers send
// SETTINGS of WebTransport, and that the packages say they need.
const oldestNode = 20

// Node starts a driver of the directory node. What the lock file pins is
// installed there by npm ci, if it is not yet. Without Node or npm the test is
// skipped, or fails where everything is required.
func Node(t testing.TB, driver string) *Process {
	t.Helper()
	NodeReady(t)
	cmd := exec.Command("node", driver)
	cmd.Dir = "node"
	return StartProcess(t, cmd)
}

// NodeReady is the part of [Node] before the start.
func NodeReady(t testing.TB) {
	t.Helper()
	if err := nodeReady(); err != nil {
		Unavailable(t, "Node", err)
	}
}

// nodeReady checks for Node and installs the packages, once.
var nodeReady = sync.OnceValue(func() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "node", "--version").Output()
	if err != nil {
		return err
	}
	version := strings.TrimSpace(string(out))
	major, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < oldestNode {
		return fmt.Errorf("node is %s, not version %d or newer", version, oldestNode)
	}
	if installed() == nil {
		return nil
	}
	ci := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	ci.Dir = "node"
	ci.WaitDelay = 5 * time.Second
	if out, err := ci.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return installed()
})

// installed checks that what is installed is what the lock file pins.
func installed() error {
	var pinned, present struct {
		Packages map[string]struct{ Version string }
	}
	for file, v := range map[string]any{"node/package-lock.json": &pinned, "node/node_modules/.package-lock.json": &present} {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(b, v); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	for name, p := range pinned.Packages {
		if name != "" && present.Packages[name] != p {
			return fmt.Errorf("%s is not installed in version %s", name, p.Version)
		}
	}
	return nil
}
