package h2test

import "runtime"

// Goroutines returns how many goroutines there are, once there are at most as
// many as expected. The runtime counts a goroutine a moment longer than
// synctest.Wait waits for it. What is waited for is a number of turns and not a
// time, which stands still in a bubble.
func Goroutines(expected int) int {
	n := runtime.NumGoroutine()
	for turn := 0; n > expected && turn < 5_000_000; turn++ {
		runtime.Gosched()
		n = runtime.NumGoroutine()
	}
	return n
}
