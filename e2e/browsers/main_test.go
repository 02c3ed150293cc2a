package browsers

import (
	"os"
	"testing"

	"github.com/towpath-go/towpath/e2e/netns"
)

func TestMain(m *testing.M) { os.Exit(netns.Main(tests{m})) }

// tests are those of the package, and its part of docs/clients.md.
type tests struct{ m *testing.M }

func (t tests) Run() int {
	defer func() { os.RemoveAll(buildDir) }()
	return part.Main(t.m)
}
