//go:build !unix

package results

import "time"

// ProcessorTime is what this process has used, by itself and in the system, 0
// where that is not known.
func ProcessorTime() time.Duration { return 0 }
