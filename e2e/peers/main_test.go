package peers

import (
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
)

var write = flag.Bool("write", false, "write docs/clients.md after a complete run")

// documentFile is relative to this directory, where go test runs.
const documentFile = "../../docs/clients.md"

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if code == 0 && everything() {
		if err := checkDocument(); err != nil {
			fmt.Println("docs/clients.md:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// everything reports whether this run was to measure the whole table.
func everything() bool {
	for name, none := range map[string]string{"test.run": "", "test.skip": "", "test.list": "", "test.count": "0"} {
		if v := flag.Lookup(name).Value.String(); (v == none) == (name == "test.count") {
			return false
		}
	}
	return true
}

// missing are the tools without which a part of the table was not measured.
var (
	missingMu sync.Mutex // guards the following
	missing   []string
)

// unavailable skips a test for want of a tool, with the reason, or fails it
// where everything is required.
func unavailable(t *testing.T, tool string, err error) {
	t.Helper()
	missingMu.Lock()
	missing = append(missing, tool)
	missingMu.Unlock()
	if os.Getenv("TOWPATH_E2E_REQUIRE") != "" {
		t.Fatalf("%s is required: %v", tool, err)
	}
	t.Skipf("without %s: %v", tool, err)
}
