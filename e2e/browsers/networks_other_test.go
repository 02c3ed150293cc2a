//go:build !linux

package browsers

import (
	"errors"
	"testing"

	"github.com/towpath-go/towpath/e2e/clients"
)

// TestPackage says why the tests of whole networks are missing here.
func TestPackage(t *testing.T) {
	clients.Unavailable(t, "network namespaces", errors.New("they are Linux's"))
}
