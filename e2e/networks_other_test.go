//go:build !linux

package e2e_test

import "testing"

// TestNetworks says why the tests of whole networks are missing here.
func TestNetworks(t *testing.T) {
	t.Skip("networks of their own need Linux network namespaces")
}
