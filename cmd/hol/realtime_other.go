//go:build !linux

package main

import "errors"

// realtimePermitted says why SCHED_RR is not permitted.
func realtimePermitted() error { return errors.New("it needs Linux") }
