// Package peers has clients and servers that nobody here wrote at the other end
// of Towpath's sessions, and measures what works: docs/clients.md is the outcome
// of its tests. It holds tests only.
//
// Every line of the table, a [row], is measured by one test function, and every
// field by one subtest of it, run by cell, partly or lacks. What a field means is a
// scenario between the two ends of a session, the same for all rows; a link
// makes the sessions of a row. The ends are this library's, another Go
// library's, or live in a child process that is told line by line what to do.
//
// A new row is a variable in its own file and a line in the list of rows:
//
//	func TestTheirClient(t *testing.T) {
//		measure(t, theirClient, newTheirLink(t), exceptions{
//			datagrams: {lacks: "it has none", show: func(t *testing.T, l link) { ... }},
//		})
//	}
//
// What a peer cannot do is tested too: the exception's function passes if the
// peer fails as described.
package peers
