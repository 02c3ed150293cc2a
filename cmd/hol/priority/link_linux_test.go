package main

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/link"
)

const (
	// requireEnv set to 1 turns the skips of tests that need the kernel into
	// failures.
	requireEnv = "TOWPATH_E2E_REQUIRE"
	// enterEnv has the test binary enter namespaces of its own first.
	enterEnv = "TOWPATH_PRIORITY_TEST_ENTER"
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

// TestWays has every way carry bulk and messages over the link for a moment. How
// long anything takes is not looked at.
func TestWays(t *testing.T) {
	if err := link.Check(); err != nil {
		if os.Getenv(requireEnv) == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if os.Geteuid() != 0 && os.Getenv(enterEnv) == "" {
		c := exec.Command(os.Args[0], "-test.v", "-test.run=^TestWays$")
		c.Env = append(os.Environ(), enterEnv+"=1")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			r, err := measure(t.Context(), w, slow, link.DefaultCC, 1, length{warmup: 100 * time.Millisecond, duration: 300 * time.Millisecond}, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if r.Sent < 3 || r.Arrived > r.Sent || r.Bulk <= 0 {
				t.Errorf("%+v", r)
			}
		})
	}
}
