// Package plan makes the runs that a request needs and has them done, each in a
// worker process of its own.
//
//	runs.go      Request => []lab.Run, in the order in which they are made
//	estimate.go  how long that takes
//	execute.go   jobs, rejection and repetition, what failed, how far it is
//	worker.go    both ends of a worker process
//
// # Order
//
// The controls come first: the same link without loss. Where a control fails,
// the transport's other runs of that workload and direction are not made, since
// there is nothing to compare them with; each says so. Then seed by seed all
// conditions, transport by transport, so that an interrupted study has every
// cell with fewer seeds, and so that what else the machine does at a time falls
// on all transports.
//
// # Processes
//
// A worker is the same program with [Marker] in its environment. It reads a
// lab.Run as JSON from its standard input, writes a lab.Result as JSON to its
// standard output and ends. A fresh process has a fresh heap and its own
// processor times. It ends with its parent whatever happens to that: by the
// parent-death signal on Linux, and because its standard input, which the parent
// holds open without writing more, ends. It is in a process group of its own,
// so that an interrupt from the terminal reaches the parent alone.
package plan
