//go:build !linux

package netns

// Main runs the tests of a binary that uses this package, and returns the exit
// status. There are no network namespaces on this system: the rest of the
// package, and the tests that need it, are not compiled.
func Main(m interface{ Run() int }) int { return m.Run() }
