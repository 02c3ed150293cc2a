//go:build !linux

package trial

import (
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/link"
)

// processTime is not reached where there is no link.
func processTime() (time.Duration, error) { return 0, link.ErrPlatform }
