package browsers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/towpath-go/towpath/e2e/clients"
)

// A kind is one of the browsers.
type kind string

const (
	chromium kind = "chromium"
	firefox  kind = "firefox"
)

// kinds are all browsers, for subtests named by them.
var kinds = []kind{chromium, firefox}

// executables are the commands that a browser may be, the first found is it.
var executables = map[kind][]string{
	chromium: {"chromium", "chromium-browser"},
	firefox:  {"firefox-esr", "firefox"},
}

// name is what the browser is called in the document.
func (k kind) name() string {
	if k == firefox {
		return "Firefox"
	}
	return "Chromium"
}

// launchOptions are what is special about a browser. The zero value is a fresh
// profile on the test's own network.
type launchOptions struct {
	args  []string       // of the command
	prefs map[string]any // Firefox's about:config
	// insecure lets pages, and what they fetch over TCP, have certificates that
	// nobody vouches for. It says nothing of QUIC.
	insecure bool
	// home is the browser's HOME, below which is its profile: home/profile. A
	// test fills it beforehand; see newHome. Default: a new one.
	home string
	// env is added to the environment.
	env []string
	// inside starts the browser in another namespace: the method Inside of a
	// netns.Host. Default: the test's own.
	inside func(f func() error) error
}

// A browser is one that runs.
type browser struct {
	kind    kind
	version string // as the browser says it, with its name
	home    string
	profile string
	process *clients.Process
	pid     int // of the browser
	closed  bool
}

// newHome makes a directory for launchOptions.home. It is removed at the end of
// the test, after every process that has it as its home has ended.
func newHome(t testing.TB) string {
	t.Helper()
	home, err := os.MkdirTemp("", "towpath-browser-")
	clients.Must(t, err)
	t.Cleanup(func() {
		if err := nothingLeft(home); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	clients.Must(t, os.Mkdir(profileIn(home), 0o700))
	return home
}

// profileIn is the profile of the browser with that home.
func profileIn(home string) string { return filepath.Join(home, "profile") }

// launch starts a browser that lives as long as the test; subtests share it.
// Without the browser or its driver the test is skipped, or fails where
// everything is required.
func launch(t testing.TB, k kind, o launchOptions) *browser {
	t.Helper()
	executable, err := find(k)
	if err != nil {
		clients.Unavailable(t, k.name(), err)
	}
	clients.NodeReady(t)
	if o.home == "" {
		o.home = newHome(t)
	}
	b := &browser{kind: k, home: o.home, profile: profileIn(o.home)}
	cmd := exec.Command("node", "driver.mjs")
	cmd.Dir, err = filepath.Abs("node") // whatever namespace it starts in
	clients.Must(t, err)
	cmd.Env = environment(o.home, o.env)
	start := cmd.Start
	if o.inside != nil {
		start = func() error { return o.inside(cmd.Start) }
	}
	b.process = clients.StartProcessBy(t, cmd, start)
	var launched struct {
		Version string
		PID     int
	}
	clients.Must(t, b.do(clients.Limited(t), "launch", map[string]any{
		"browser": k, "executable": bound(t, executable, o.home), "profile": b.profile,
		"args": o.args, "prefs": o.prefs, "insecure": o.insecure,
	}, &launched))
	_, number, _ := strings.Cut(launched.Version, "/")
	b.version, b.pid = k.name()+" "+number, launched.PID
	clients.MachineHas(string(k), b.version)
	t.Cleanup(func() {
		if b.process.Killed {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), clients.Patience)
		defer cancel()
		if err := b.close(ctx); err != nil {
			t.Errorf("closing %s: %v", b.version, err)
		}
	})
	return b
}

// find returns the path of a browser.
func find(k kind) (string, error) {
	var errs []error
	for _, name := range executables[k] {
		path, err := exec.LookPath(name)
		if err == nil {
			return path, nil
		}
		errs = append(errs, err)
	}
	return "", errors.Join(errs...)
}

// bound returns a command that is the browser, and that the kernel kills when
// the process that started it is gone: a killed driver cannot do it.
func bound(t testing.TB, executable, home string) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		return executable
	}
	path := filepath.Join(home, "browser")
	script := fmt.Sprintf("#!/bin/sh\nexec setpriv --pdeathsig KILL -- '%s' \"$@\"\n", executable)
	clients.Must(t, os.WriteFile(path, []byte(script), 0o700))
	return path
}

// environment is the test's, without what would lead a browser to the user's
// own things or out of a test's network.
func environment(home string, more []string) []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "XDG_") || strings.HasSuffix(strings.ToLower(name), "_proxy") || name == "DISPLAY" || name == "WAYLAND_DISPLAY" || name == "DBUS_SESSION_BUS_ADDRESS" {
			continue
		}
		env = append(env, kv)
	}
	return append(append(env, "HOME="+home, "TMPDIR="+home, "MOZ_CRASHREPORTER_DISABLE=1"), more...)
}

// close closes the browser with all its tabs, before the test's end.
func (b *browser) close(ctx context.Context) error {
	if b.closed {
		return nil
	}
	b.closed = true
	return b.do(ctx, "close", nil, nil)
}

// do has an order carried out by the browser, and decodes what comes of it.
func (b *browser) do(ctx context.Context, op string, arg, result any) error {
	return decode(result)(b.process.Do(ctx, clients.Order{Op: op, Arg: arg}))
}

// decode takes the value of an answer; nil drops it.
func decode(result any) func(a clients.Answer, err error) error {
	return func(a clients.Answer, err error) error {
		if err != nil || result == nil {
			return err
		}
		return json.Unmarshal(a.Result.Value, result)
	}
}

// A page is a tab.
type page struct {
	browser *browser
	number  int
}

// A view is what a page is shown on. The zero value is the browser's default.
type view struct {
	Width  int  `json:"width,omitempty"` // CSS pixels
	Height int  `json:"height,omitempty"`
	Mobile bool `json:"mobile,omitempty"` // a phone; Chromium alone can
}

// open opens a tab and waits until its page is loaded.
func (b *browser) open(t testing.TB, url string) *page { t.Helper(); return b.openOn(t, url, view{}) }

// openOn is open on another screen.
func (b *browser) openOn(t testing.TB, url string, on view) *page {
	t.Helper()
	p := &page{browser: b}
	var opened struct{ Page int }
	clients.Must(t, b.do(clients.Limited(t), "open", struct {
		URL string `json:"url"`
		view
	}{url, on}, &opened))
	p.number = opened.Page
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), clients.Patience)
		defer cancel()
		if said, err := p.said(ctx); err == nil && len(said) > 0 {
			t.Logf("%s said: %v", url, said)
		}
	})
	return p
}

// order has an order carried out in the page.
func (p *page) order(ctx context.Context, o clients.Order) (clients.Answer, error) {
	o.Page = &p.number
	return p.browser.process.Do(ctx, o)
}

func (p *page) do(ctx context.Context, op string, arg map[string]any, result any) error {
	return decode(result)(p.order(ctx, clients.Order{Op: op, Arg: arg}))
}

// visit loads another page in the tab.
func (p *page) visit(ctx context.Context, url string) error {
	return p.do(ctx, "goto", map[string]any{"url": url}, nil)
}

// load imports a module by its URL. Scripts have it as towpath.modules[name].
func (p *page) load(ctx context.Context, name, url string) error {
	return p.do(ctx, "load", map[string]any{"name": name, "url": url}, nil)
}

// loadFile imports a module that is one file of this machine, and that imports
// no other by a relative path.
func (p *page) loadFile(ctx context.Context, name, file string) error {
	file, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	return p.do(ctx, "load", map[string]any{"name": name, "file": file}, nil)
}

// run calls a function of JavaScript, given as its text, with an argument, and
// decodes what it returns, or what the promise that it returns resolves to. Both
// are values that JSON has. Modules are in towpath.modules, and the sessions of
// ends in towpath.ends.sessions[number].session.
func (p *page) run(ctx context.Context, script string, argument, result any) error {
	return p.do(ctx, "run", map[string]any{"script": script, "argument": argument}, result)
}

// click clicks on the element that a CSS selector finds.
func (p *page) click(ctx context.Context, selector string) error {
	return p.do(ctx, "click", map[string]any{"selector": selector}, nil)
}

// screenshot writes a PNG file: of what is in view, or of the whole page.
func (p *page) screenshot(ctx context.Context, file string, full bool) error {
	file, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	return p.do(ctx, "screenshot", map[string]any{"file": file, "full": full}, nil)
}

// A saying is a line of a page's console, or an exception that nobody caught.
type saying struct {
	Type string // "log", "warn", "error"..., or "uncaught"
	Text string
}

// said returns what the page has said since the last time.
func (p *page) said(ctx context.Context) ([]saying, error) {
	var said []saying
	return said, p.do(ctx, "console", map[string]any{}, &said)
}

// close closes the tab, as its user may in the middle of things.
func (p *page) close(ctx context.Context) error {
	return p.do(ctx, "closePage", map[string]any{}, nil)
}

// A dialing is how a page makes a session.
type dialing struct {
	url  string
	hash []byte // SHA-256 for serverCertificateHashes; nil for none
	// module is the one whose class WebTransport is used; "" is the page's own.
	module  string
	options map[string]any // more of the constructor's
}

// dial makes a session in the page, and waits for ready.
func (p *page) dial(ctx context.Context, d dialing) (clients.ProcessEnd, error) {
	arg := map[string]any{"url": d.url, "options": maps.Clone(d.options)}
	if d.hash != nil {
		arg["hash"] = d.hash
	}
	if d.module != "" {
		arg["module"] = d.module
	}
	a, err := p.order(ctx, clients.Order{Op: "dial", Arg: arg})
	return clients.NewProcessEnd(p.browser.process, p.order, a), err
}
