// Package peers has clients and servers that nobody here wrote at the other end
// of Towpath's sessions, and measures what works: docs/clients.md is the outcome
// of its tests. It holds tests only.
//
// Its lines are rows of package clients, where the table, the meaning of its
// columns and the ends in child processes are. A new row is a variable in the
// file of its test, and a line in the list of rows:
//
//	func TestTheirClient(t *testing.T) {
//		clients.Measure(t, theirClient, newTheirLink(t), clients.Exceptions{
//			clients.Datagrams: {Lacks: "it has none", Show: func(t *testing.T, l clients.Link) { ... }},
//		})
//	}
//
// What a peer cannot do is tested too: the exception's function passes if the
// peer fails as described.
package peers
