package browsers

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/towpath-go/towpath/e2e/clients"
)

const webDir = "../../web"

// webReady installs what web's lock file pins, once, if nothing is yet.
var webReady = sync.OnceValue(func() error {
	if _, err := os.Stat(filepath.Join(webDir, "node_modules", "esbuild", "bin", "esbuild")); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	ci := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	ci.Dir = webDir
	if out, err := ci.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return nil
})

// esbuild makes one module of a file of web and what that imports.
func esbuild(entry string, flags ...string) ([]byte, error) {
	args := append([]string{entry, "--bundle", "--format=esm", "--target=es2022", "--log-level=warning"}, flags...)
	build := exec.Command(filepath.Join("node_modules", "esbuild", "bin", "esbuild"), args...)
	build.Dir = webDir
	out, err := build.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, fmt.Errorf("esbuild: %w\n%s", err, exit.Stderr)
	}
	return out, err
}

// packageBundle is the package as one module, as a page's bundler makes it of
// web/src.
var packageBundle = sync.OnceValues(func() ([]byte, error) { return esbuild("src/index.ts", "--minify") })

// bundle is packageBundle for a test.
func bundle(t testing.TB) []byte {
	t.Helper()
	return bundled(t, packageBundle)
}

// bundled returns what build makes with esbuild. Without Node or the packages of
// web the test is skipped, or fails where everything is required.
func bundled(t testing.TB, build func() ([]byte, error)) []byte {
	t.Helper()
	clients.NodeReady(t)
	if err := webReady(); err != nil {
		clients.Unavailable(t, "the packages of web", err)
	}
	b, err := build()
	clients.Must(t, err)
	return b
}
