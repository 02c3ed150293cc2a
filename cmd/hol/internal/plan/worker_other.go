//go:build !linux

package plan

import "syscall"

// attributes of a worker's process: it ends at the end of its input.
func attributes() *syscall.SysProcAttr { return nil }
