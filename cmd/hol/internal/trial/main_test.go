package trial

import (
	"fmt"
	"os"
	"testing"

	"github.com/towpath-go/towpath/cmd/hol/internal/link"
)

// TestMain puts tests without privileges in a user namespace, if they can be.
func TestMain(m *testing.M) {
	if link.Check() == nil {
		if err := link.EnterNamespaces(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}
