package link

import (
	"os"
	"testing"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// requireEnv set to 1 turns the skips of tests that need the kernel into
// failures.
const requireEnv = "TOWPATH_E2E_REQUIRE"

// open makes a link that ends with the test, or skips the test where the machine
// cannot have one.
func open(t testing.TB, want lab.Link, seed uint64, o Options) *Link {
	t.Helper()
	if err := Check(); err != nil {
		if os.Getenv(requireEnv) == "1" {
			t.Fatalf("%s is set, and %v", requireEnv, err)
		}
		t.Skip(err)
	}
	l, err := Open(want, seed, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}
