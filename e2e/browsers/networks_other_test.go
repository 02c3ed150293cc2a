//go:build !linux

package browsers

import "testing"

// TestPackage says why the tests of whole networks are missing here.
func TestPackage(t *testing.T) {
	t.Skip("networks of their own need Linux network namespaces")
}
