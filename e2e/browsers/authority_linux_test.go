package browsers

import (
	"flag"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/towpath-go/towpath/e2e/clients"
)

var everySetting = flag.Bool("settings", false, "measure every setting of docs/browsers.md, not only what the tests rely on")

// settings are the lines of docs/browsers.md, but for policies, which stand in
// files of the whole machine. The first of each browser is measured always: an
// authority alone. TestPackage relies on the one that trusting has.
var settings = map[kind][]setting{
	chromium: {
		{name: "authority", authority: true, tcp: true},
		trusting[chromium],
		{name: "nothing"},
		{name: "developer mode", args: []string{developerMode}},
		{name: "force QUIC", args: []string{forceQUIC}},
		{name: "authority, force QUIC", authority: true, args: []string{forceQUIC}, tcp: true, quic: true},
		{name: "authority, enable QUIC", authority: true, args: []string{"--enable-quic"}, tcp: true},
		{name: "ignore errors", args: []string{"--ignore-certificate-errors"}, tcp: true},
		{name: "ignore errors, developer mode", args: []string{"--ignore-certificate-errors", developerMode}, tcp: true},
		{name: "acceptInsecureCerts", insecure: true, tcp: true},
		{name: "acceptInsecureCerts, developer mode", insecure: true, args: []string{developerMode}, tcp: true},
	},
	firefox: {
		{name: "authority", authority: true, tcp: true},
		trusting[firefox],
		{name: "nothing"},
		{name: "HTTP3 with roots", prefs: map[string]any{noHTTP3ForRoots: false}},
		{name: "authority, roots in automation", authority: true, prefs: map[string]any{rootsInAutomation: true}, tcp: true},
		{name: "authority, both", authority: true, prefs: map[string]any{rootsInAutomation: true, noHTTP3ForRoots: false}, tcp: true, quic: true},
		{name: "authority, enterprise roots", authority: true, prefs: map[string]any{"security.enterprise_roots.enabled": true}, tcp: true},
		{name: "authority, no enterprise roots", authority: true, prefs: map[string]any{"security.enterprise_roots.enabled": false}, tcp: true},
		{name: "acceptInsecureCerts", insecure: true, tcp: true},
		{name: "acceptInsecureCerts, HTTP3 with roots", insecure: true, prefs: map[string]any{noHTTP3ForRoots: false}, tcp: true, quic: true},
	},
}

const (
	forceQUIC         = "--origin-to-force-quic-on=v4.server.test:4433"
	rootsInAutomation = "network.http.http3.has_third_party_roots_found_in_automation"
)

// TestOwnAuthority: what a browser believes by each setting, and that a page
// with the package has a session wherever WebSockets have one.
func TestOwnAuthority(t *testing.T) {
	for k, all := range settings {
		t.Run(string(k), func(t *testing.T) {
			n := newLab(t)
			s := n.sites["all"]
			blank := blankIn(t, n)
			for i, set := range all {
				if i > 0 && !*everySetting {
					break
				}
				t.Run(set.name, func(t *testing.T) {
					b := n.launch(t, k, set)
					p := b.open(t, blank)
					testSetting(t, p, s, set)
				})
			}
		})
	}
}

func testSetting(t *testing.T, p *page, s *site, set setting) {
	ctx := clients.Limited(t)
	var got struct {
		Fetch, WebSocket, WebTransport string // "" or the error
	}
	clients.Must(t, p.run(ctx, `async (origin) => {
		const outcome = (what) => what.then(() => '', (error) => String(error) || 'failed')
		const socket = () => new Promise((resolve, reject) => {
			const socket = new WebSocket(origin.replace('https:', 'wss:') + '/measure', 'towpath.capsule.v1')
			socket.onopen = () => { socket.close(); resolve() }
			socket.onerror = () => reject(new Error('no WebSocket'))
		})
		const session = async () => {
			const session = new WebTransport(origin + '/measure')
			session.closed.catch(() => {})
			await session.ready
			session.close()
		}
		return {
			fetch: await outcome(fetch(origin + '/', { mode: 'no-cors' })),
			webSocket: await outcome(socket()),
			webTransport: await outcome(session()),
		}
	}`, s.origin(), &got))
	for what, result := range map[string]struct {
		err      string
		believed bool
	}{"fetch": {got.Fetch, set.tcp}, "WebSocket": {got.WebSocket, set.tcp}, "WebTransport": {got.WebTransport, set.quic}} {
		if (result.err == "") != result.believed {
			t.Errorf("%s: error %q, expected success: %v", what, result.err, result.believed)
		}
	}
	if !set.tcp {
		return // no page could load the package either
	}
	clients.Must(t, s.loadPackage(ctx, p))
	client, r, err := p.connect(ctx, s.origin()+"/measure", map[string]any{"headStart": clients.Patience.Milliseconds()})
	clients.Must(t, err)
	want := report{Way: "ws", Attempts: []attempt{{Way: "h3", Outcome: "failed"}, {Way: "ws", Outcome: "won"}}}
	if set.quic {
		want = report{Way: "h3", Attempts: []attempt{{Way: "h3", Outcome: "won"}}}
	}
	same := r.Way == want.Way && len(r.Attempts) == len(want.Attempts)
	for i := range want.Attempts {
		same = same && r.Attempts[i].Way == want.Attempts[i].Way && r.Attempts[i].Outcome == want.Attempts[i].Outcome
	}
	if !same {
		t.Errorf("%v\nwant %v", r, want)
	}
	clients.Must(t, client.Close(ctx, 0, ""))
}

// blankIn serves an empty page to the client host over HTTP, at an address whose
// pages count as secure whatever certificates are believed.
func blankIn(t testing.TB, n *network) (url string) {
	t.Helper()
	var ln net.Listener
	clients.Must(t, n.Client.Inside(func() (err error) {
		ln, err = net.Listen("tcp", "127.0.0.1:0")
		return err
	}))
	s := httptest.NewUnstartedServer(http.HandlerFunc(emptyPage))
	s.Listener.Close()
	s.Listener = ln
	s.Start()
	t.Cleanup(s.Close)
	return "http://" + ln.Addr().String() + "/"
}
