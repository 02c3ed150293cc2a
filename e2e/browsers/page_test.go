package browsers

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/towpath-go/towpath/e2e/clients"
)

var screenshots = flag.Bool("screenshots", false, "TestPageScreenshots takes those of docs/page again")

// onPage waits until a condition of JavaScript holds in the page of towpath
// serve, and fails the test with what the page shows if it does not.
func onPage(t *testing.T, p *page, what, condition string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*pagePatience)
	defer cancel()
	var got struct {
		Holds bool
		Shown string
	}
	// The page's policy forbids to make code of a text in it, so the condition is in the script.
	clients.Must(t, p.run(ctx, fmt.Sprintf(`async most => {
		const text = id => document.getElementById(id).textContent, shown = document.body.dataset
		const until = performance.now() + most
		for (;;) {
			if (%s) return { holds: true }
			if (performance.now() > until) return { holds: false, shown: document.body.innerText }
			await new Promise(resolve => setTimeout(resolve, 50))
		}
	}`, condition), pagePatience.Milliseconds(), &got))
	if !got.Holds {
		t.Fatalf("%s: not after %v; the page shows:\n%s", what, pagePatience, got.Shown)
	}
}

// pagePatience is what one thing may take in the page.
const pagePatience = 20 * time.Second

// choose takes one of the page's ways, as a click on its name does.
func choose(t *testing.T, p *page, way string) {
	t.Helper()
	clients.Must(t, p.click(clients.Limited(t), fmt.Sprintf(`label:has(input[value="%s"])`, way)))
}

var closedEarly = regexp.MustCompile(`^(Firefox can.t establish a connection to the server at wss://|The connection to wss://\S+ was interrupted while the page was loading)`)

// quiet fails the test if the page has said something, or broken its policy.
func quiet(t *testing.T, p *page) {
	t.Helper()
	said, err := p.said(clients.Limited(t))
	clients.Must(t, err)
	for _, s := range said {
		// Firefox speaks of a WebSocket that is closed before it is open, which
		// is what becomes of the one that loses a race.
		if p.browser.kind == firefox && closedEarly.MatchString(s.Text) {
			continue
		}
		t.Errorf("the page said %+v", s)
	}
	var violations []string
	clients.Must(t, p.run(clients.Limited(t), `() => towpath.violations`, nil, &violations))
	if len(violations) > 0 {
		t.Errorf("against the policy: %q", violations)
	}
}

// watchPolicy has what breaks the page's policy from now on noted.
func watchPolicy(t *testing.T, p *page) {
	t.Helper()
	clients.Must(t, p.run(clients.Limited(t), `() => {
		towpath.violations = []
		addEventListener('securitypolicyviolation', e => towpath.violations.push(e.effectiveDirective + ' ' + e.blockedURI))
	}`, nil, nil))
}

// fits fails the test if the page is wider than its window.
func fits(t *testing.T, p *page) {
	t.Helper()
	var width struct{ All, Seen int }
	clients.Must(t, p.run(clients.Limited(t), `() => ({ all: document.documentElement.scrollWidth, seen: document.documentElement.clientWidth })`, nil, &width))
	if width.Seen == 0 || width.Seen > 360 || width.All > width.Seen {
		t.Errorf("%d pixels wide in %d", width.All, width.Seen)
	}
}

// answered is a condition: the table has answers of both kinds by that way.
func answered(way string) string {
	return fmt.Sprintf(`['stream', 'datagram'].every(kind => Number(document.querySelector('#summary tr[data-way="%s"][data-kind="' + kind + '"] td:nth-of-type(3)')?.textContent) > 0)`, way)
}

// TestPage has the page of towpath serve in each browser, on a narrow screen.
func TestPage(t *testing.T) {
	all, noUDP := serve(t), serve(t, "--transport", "h2,ws")
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			b := launch(t, k, launchOptions{insecure: true})
			narrow := view{Width: 360, Height: 740}
			t.Run("every way", func(t *testing.T) {
				p := b.openOn(t, all.url("/"), narrow)
				watchPolicy(t, p)
				onPage(t, p, "a session by itself", `shown.state === 'connected' && text('status') !== ''`)
				for _, way := range []string{"ws", "h3"} { // so that each is a change
					choose(t, p, way)
					onPage(t, p, way+" by choice", fmt.Sprintf(`shown.state === 'connected' && shown.way === %q && /^You chose/.test(text('status'))`, way))
					onPage(t, p, "round trips over "+way, answered(way))
					clients.Must(t, p.click(clients.Limited(t), "#measure"))
					onPage(t, p, "throughput of "+way, fmt.Sprintf(`/^Moved/.test(text('measured')) && [...document.querySelectorAll('#speeds tr[data-way="%s"] td')].every(td => /^[\d.]+ [kMG]?bit\/s$|^too fast/.test(td.textContent))`, way))
				}
				onPage(t, p, "a plot of four lines", answered("ws")+" && "+answered("h3")+` && Number(document.getElementById('plot').dataset.points) >= 4 && document.querySelector('#plot canvas').width > 0`)
				choose(t, p, "auto")
				onPage(t, p, "a race again", `shown.state === 'connected' && document.querySelectorAll('#bars li').length === 2`)
				clients.Must(t, p.click(clients.Limited(t), "#forget"))
				onPage(t, p, "no memory", `shown.state === 'connected' && /nothing was remembered/i.test(text('memory'))`)
				clients.Must(t, p.click(clients.Limited(t), "#again"))
				onPage(t, p, "a session again", `shown.state === 'connected' && !/nothing was remembered/i.test(text('memory'))`)
				fits(t, p)
				quiet(t, p)
			})
			t.Run("a server without HTTP/3", func(t *testing.T) {
				p := b.openOn(t, noUDP.url("/"), narrow)
				watchPolicy(t, p)
				onPage(t, p, "a WebSocket, and why", `shown.state === 'connected' && shown.way === 'ws' && text('status').includes('leaves out h3')`)
				onPage(t, p, "a choice that is barred, and why", `document.querySelector('input[value="h3"]').disabled && !document.querySelector('input[value="ws"]').disabled && text('barred').includes('leaves out h3')`)
				onPage(t, p, "round trips", answered("ws"))
				fits(t, p)
				quiet(t, p)
			})
		})
	}
}

// TestPageScreenshots takes the pictures in docs/page:
//
//	go test -C e2e ./browsers -run TestPageScreenshots -screenshots
//
// Without the flag it only shows that the page has both colour schemes.
func TestPageScreenshots(t *testing.T) {
	s := serve(t)
	schemes := map[string]struct {
		options launchOptions
		paper   string
	}{
		"light": {launchOptions{args: []string{"--blink-settings=preferredColorScheme=1"}, prefs: map[string]any{"layout.css.prefers-color-scheme.content-override": 1}}, "rgb(251, 250, 247)"},
		"dark":  {launchOptions{args: []string{"--blink-settings=preferredColorScheme=0"}, prefs: map[string]any{"layout.css.prefers-color-scheme.content-override": 0}}, "rgb(20, 23, 26)"},
	}
	for _, k := range kinds {
		for name, scheme := range schemes {
			t.Run(string(k)+" "+name, func(t *testing.T) {
				o := scheme.options
				o.insecure = true
				if k == firefox {
					o.args = nil // they are Chromium's
				}
				b := launch(t, k, o)
				p := b.openOn(t, s.url("/"), view{Width: 1280, Height: 900})
				onPage(t, p, "the colour of the scheme", fmt.Sprintf(`getComputedStyle(document.documentElement).backgroundColor === %q`, scheme.paper))
				if !*screenshots {
					return
				}
				shoot(t, p, fmt.Sprintf("%s-%s.png", k, name))
				if name == "light" {
					shoot(t, b.openOn(t, s.url("/"), view{Width: 390, Height: 844}), fmt.Sprintf("%s-phone.png", k))
				}
			})
		}
	}
}

// shoot writes a picture of the page after it has used both ways.
func shoot(t *testing.T, p *page, name string) {
	t.Helper()
	const many = `[...document.querySelectorAll('#summary tr[data-way="%s"] td:nth-of-type(3)')].filter(td => Number(td.textContent) >= 24).length === 2`
	choose(t, p, "ws")
	onPage(t, p, "ws", `shown.state === 'connected' && shown.way === 'ws'`)
	onPage(t, p, "a plot", fmt.Sprintf(many, "ws"))
	clients.Must(t, p.click(clients.Limited(t), "#measure"))
	onPage(t, p, "throughput", `/^Moved/.test(text('measured'))`)
	clients.Must(t, p.click(clients.Limited(t), "#forget"))
	choose(t, p, "auto")
	onPage(t, p, "h3", `shown.state === 'connected' && shown.way === 'h3'`)
	onPage(t, p, "a plot", fmt.Sprintf(many, "h3"))
	clients.Must(t, p.click(clients.Limited(t), "#measure"))
	onPage(t, p, "throughput", `/^Moved/.test(text('measured')) && !/–/.test(text('speeds'))`)
	dir := filepath.Join("..", "..", "docs", "page")
	clients.Must(t, os.MkdirAll(dir, 0o755))
	clients.Must(t, p.run(clients.Limited(t), `() => { document.activeElement.blur(); scrollTo(0, 0) }`, nil, nil))
	clients.Must(t, p.screenshot(clients.Limited(t), filepath.Join(dir, name), true))
}
