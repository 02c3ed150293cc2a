package browsers

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/towpath-go/towpath/e2e/clients"
	"github.com/towpath-go/towpath/internal/testcert"
)

// A setting is how a browser is started. What it makes the browser believe is
// measured, and stands in docs/browsers.md.
type setting struct {
	name      string
	authority bool           // an authority is installed in the profile
	insecure  bool           // the driver's acceptInsecureCerts
	args      []string       // Chromium's command line
	prefs     map[string]any // Firefox's about:config
	// tcp and quic say whether a server with a certificate of the authority is
	// believed.
	tcp, quic bool
}

// By themselves both browsers take an authority that somebody has installed for
// TCP alone. These make them take it for QUIC too.
const (
	developerMode   = "--webtransport-developer-mode"
	noHTTP3ForRoots = "network.http.http3.disable_when_third_party_roots_found"
)

// trusting is the setting by which each browser believes an installed authority
// by TCP and QUIC.
var trusting = map[kind]setting{
	chromium: {name: "authority, developer mode", authority: true, args: []string{developerMode}, tcp: true, quic: true},
	firefox:  {name: "authority, HTTP3 with roots", authority: true, prefs: map[string]any{noHTTP3ForRoots: false}, tcp: true, quic: true},
}

// options are the setting's, with a home in which the authority is installed.
func (s setting) options(t testing.TB, k kind, ca *testcert.Authority) launchOptions {
	t.Helper()
	o := launchOptions{home: newHome(t), insecure: s.insecure, args: s.args, prefs: s.prefs}
	if s.authority {
		install(t, k, o.home, ca)
	}
	return o
}

// install puts an authority where the browser looks for those of its user.
func install(t testing.TB, k kind, home string, ca *testcert.Authority) {
	t.Helper()
	certutil, err := exec.LookPath("certutil")
	if err != nil {
		clients.Unavailable(t, "certutil", err)
	}
	database := profileIn(home)
	if k == chromium {
		database = filepath.Join(home, ".pki", "nssdb") // one for all profiles
		clients.Must(t, os.MkdirAll(database, 0o700))
	}
	file := filepath.Join(home, "authority.pem")
	clients.Must(t, os.WriteFile(file, ca.PEM(), 0o600))
	for _, args := range [][]string{
		{"-N", "--empty-password"},
		{"-A", "-n", "towpath", "-t", "C,,", "-i", file},
	} {
		if out, err := exec.Command(certutil, append(args, "-d", "sql:"+database)...).CombinedOutput(); err != nil {
			t.Fatalf("certutil %v: %v\n%s", args, err, out)
		}
	}
}
