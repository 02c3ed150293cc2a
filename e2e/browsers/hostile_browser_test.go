package browsers

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/towpath-go/towpath/e2e/clients"
)

// pageFiles are what the servers of these tests give to their pages.
func pageFiles(t testing.TB) map[string]string {
	t.Helper()
	here, err := filepath.Abs("hostile")
	clients.Must(t, err)
	return map[string]string{"/web/": packageDir(t), "/hostile/": here}
}

// browserPage is the package in a browser.
type browserPage struct{ *page }

func (p browserPage) meet(ctx context.Context, url, how string) (m meeting, err error) {
	err = p.run(ctx, `async ([url, how, limit]) => ({
		...await towpath.modules.meet.meet(towpath.modules.web.WebTransport, url, how, limit),
		uncaught: []
	})`, []any{url, how, pageTime.Milliseconds()}, &m)
	if err != nil {
		return m, err
	}
	said, err := p.said(ctx)
	for _, s := range said {
		// Firefox tells of every WebSocket that fails as if the page had thrown.
		if s.Type == "uncaught" && !strings.Contains(s.Text, "wss://") {
			m.Uncaught = append(m.Uncaught, s.Text)
		}
	}
	return m, err
}

// packageDir has the package as one module, index.js.
func packageDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	clients.Must(t, os.WriteFile(filepath.Join(dir, "index.js"), bundle(t), 0o600))
	return dir
}

// TestHostileServerInBrowsers has the package meet a selection of the hostile
// servers in real browsers.
func TestHostileServerInBrowsers(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			h := newHostileServer(t, pageFiles(t))
			b := launch(t, k, launchOptions{insecure: true})
			p := b.open(t, "https://"+h.addr+"/hostile/blank.html")
			clients.Must(t, p.load(clients.Limited(t), "web", "https://"+h.addr+"/web/index.js"))
			clients.Must(t, p.load(clients.Limited(t), "meet", "https://"+h.addr+"/hostile/meet.mjs"))
			for _, c := range hostileCases() {
				if c.inBrowsers {
					t.Run(c.name, func(t *testing.T) { h.meet(t, browserPage{p}, c) })
				}
			}
		})
	}
}
