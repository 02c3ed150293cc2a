// Package e2e proves Towpath end to end: real sockets, real networks made of
// Linux network namespaces, other people's tools and libraries as peers. It
// holds tests only, and is a module of its own so that their dependencies are
// not the library's. README.md says how to run it.
package e2e
