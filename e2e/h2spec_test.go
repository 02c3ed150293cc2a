package e2e_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	h2spec "github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/internal/testcert"
)

// h2spec v2.2.1 has so many cases, and so many more that it runs with --strict
// only. Here they run all.
const h2specCases, h2specStrict = 145, 1

// TestH2specNetHTTP runs h2spec against net/http, whose four misses are known:
// it tells a change of h2spec, or of how it is run here, from one of ours.
func TestH2specNetHTTP(t *testing.T) {
	hs := &http.Server{Handler: drain}
	runH2spec(t, hs, map[string]string{
		"http2/4.2/3":     "reads frames of 1 MiB, the case assumes 16 KiB",
		"http2/6.5.3/1":   "refuses duplicate settings",
		"http2/8.1.2.2/1": "accepts the Connection field",
		"http2/8.1.2.2/2": "accepts TE with other values than trailers",
	})
}

// TestH2spec runs h2spec against an http.Server whose HTTP/2 is ours. There is
// no miss.
func TestH2spec(t *testing.T) {
	hs := &http.Server{Handler: drain}
	if err := h2wt.ConfigureServer(hs, nil); err != nil {
		t.Fatal(err)
	}
	runH2spec(t, hs, nil)
}

// drain answers a request after reading its body.
var drain http.HandlerFunc = func(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	io.WriteString(w, "drained\n")
}

// runH2spec serves hs on a loopback port and runs every case of h2spec against
// it, as h2spec -t -k -o 3 --strict does. The cases that fail must be the ones in
// misses, each with its reason, no fewer and no more.
func runH2spec(t *testing.T, hs *http.Server, misses map[string]string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hs.ErrorLog = log.New(io.Discard, "", 0) // h2spec breaks the rules all the time
	if hs.TLSConfig == nil {
		hs.TLSConfig = new(tls.Config)
	}
	hs.TLSConfig.Certificates = []tls.Certificate{testcert.New(t).TLS}
	served := make(chan error, 1)
	go func() { served <- hs.ServeTLS(ln, "", "") }() // ends with hs.Close
	defer func() {
		hs.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	c := &h2spec.Config{
		Host: "127.0.0.1", Port: ln.Addr().(*net.TCPAddr).Port, Path: "/",
		Timeout: 3 * time.Second, MaxHeaderLen: 4000, TLS: true, Insecure: true,
	}
	ran, strict, left := 0, 0, maps.Clone(misses)
	var runGroup func(t *testing.T, g *spec.TestGroup)
	runGroup = func(t *testing.T, g *spec.TestGroup) {
		for i, tc := range slices.Concat(g.Tests, g.StrictTests) {
			id := fmt.Sprintf("%s/%d", g.ID(), i+1)
			if tc.Strict {
				strict++
			} else {
				ran++
			}
			t.Run(id+" "+tc.Desc, func(t *testing.T) {
				err := runH2specCase(c, tc)
				reason, known := misses[id]
				delete(left, id)
				switch {
				case err == nil && known:
					t.Errorf("passes, though listed as a miss: %s", reason)
				case err != nil && known:
					t.Logf("known miss: %s (%v)", reason, err)
				case err != nil:
					t.Errorf("%s\n%v", tc.Requirement, err)
				}
			})
		}
		for _, sub := range g.Groups {
			runGroup(t, sub)
		}
	}
	for _, root := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
		runGroup(t, root)
	}
	if ran != h2specCases || strict != h2specStrict {
		t.Errorf("h2spec has %d cases and %d strict ones, expected %d and %d", ran, strict, h2specCases, h2specStrict)
	}
	for id := range left {
		t.Errorf("h2spec has no case %s", id)
	}
	t.Logf("h2spec: %d cases and %d strict ones, %d of them listed as misses", ran, strict, len(misses))
}

// runH2specCase runs one case on a connection of its own. A case that h2spec
// skips has failed.
func runH2specCase(c *h2spec.Config, tc *spec.TestCase) error {
	conn, err := spec.Dial(c)
	if err != nil {
		return err
	}
	defer conn.Close()
	return tc.Run(c, conn)
}
