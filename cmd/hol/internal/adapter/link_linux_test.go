package adapter

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
	"github.com/towpath-go/towpath/cmd/hol/internal/link"
)

const (
	// requireEnv set to 1 turns the skips of tests that need the kernel into
	// failures.
	requireEnv = "TOWPATH_E2E_REQUIRE"
	// enterEnv has the test binary enter namespaces of its own first.
	enterEnv = "TOWPATH_HOL_TEST_ENTER"
)

func TestMain(m *testing.M) {
	if os.Getenv(enterEnv) != "" {
		if err := link.EnterNamespaces(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// TestAdaptersOverLink has every transport carry messages of all sizes between
// two hosts with a clean link between them, by its own kind of packets alone.
// Package trial's tests have the workloads there; the rest of what a transport
// promises does not depend on the link.
func TestAdaptersOverLink(t *testing.T) {
	if err := link.Check(); err != nil {
		if os.Getenv(requireEnv) == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if os.Geteuid() != 0 && os.Getenv(enterEnv) == "" {
		// The other tests need the loopback interface, so that this one has a
		// process of its own.
		c := exec.Command(os.Args[0], "-test.v", "-test.run=^TestAdaptersOverLink$")
		c.Env = append(os.Environ(), enterEnv+"=1")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	for _, a := range slices.Concat(All(), Extra()) {
		t.Run(a.Name, func(t *testing.T) {
			l, err := link.Open(lab.Link{Delay: 2 * time.Millisecond, MTU: 1500}, 1, link.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			})
			p := &pair{t: t, a: a}
			p.env.Client, p.env.Server = l.Client(), l.Server()
			testSizes(t, p)
			if r := l.Report(); !a.UDP && r.Down.UDP+r.Up.UDP != 0 {
				t.Errorf("%d UDP packets down and %d up, without need of UDP", r.Down.UDP, r.Up.UDP)
			} else if a.UDP && (r.Down.UDP == 0 || r.Up.UDP == 0) {
				t.Errorf("%d UDP packets down and %d up", r.Down.UDP, r.Up.UDP)
			}
		})
	}
}
