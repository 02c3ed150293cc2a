package e2e_test

import (
	"os"
	"testing"

	"github.com/towpath-go/towpath/e2e/netns"
)

func TestMain(m *testing.M) { os.Exit(netns.Main(m)) }
