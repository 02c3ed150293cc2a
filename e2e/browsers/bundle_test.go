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

// packageBundle is the package as one module, as a page's bundler makes it of
// web/src. What its lock file pins is installed first, if nothing is yet.
var packageBundle = sync.OnceValues(func() ([]byte, error) {
	web, err := filepath.Abs("../../web")
	if err != nil {
		return nil, err
	}
	esbuild := filepath.Join(web, "node_modules", "esbuild", "bin", "esbuild")
	if _, err := os.Stat(esbuild); errors.Is(err, fs.ErrNotExist) {
		ci := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
		ci.Dir = web
		if out, err := ci.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("npm ci: %w\n%s", err, out)
		}
	}
	build := exec.Command(esbuild, "src/index.ts", "--bundle", "--minify", "--format=esm", "--target=es2022", "--log-level=warning")
	build.Dir = web
	out, err := build.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, fmt.Errorf("esbuild: %w\n%s", err, exit.Stderr)
	}
	return out, err
})

// bundle is packageBundle for a test.
func bundle(t testing.TB) []byte {
	t.Helper()
	clients.NodeReady(t)
	b, err := packageBundle()
	clients.Must(t, err)
	return b
}
