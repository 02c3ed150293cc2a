package e2e_test

import (
	"os"
	"testing"

	"github.com/towpath-go/towpath/e2e/netns"
	"github.com/towpath-go/towpath/transport/transporttest"
)

func TestMain(m *testing.M) {
	transporttest.SetParallel()
	os.Exit(netns.Main(m))
}
