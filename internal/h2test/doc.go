// Package h2test is a scripted HTTP/2 peer for tests: it writes frames one by
// one, legal or not, and says which frames it wants to see. It plays the client
// or the server over an in-memory connection (internal/memconn, or TLS on it), and works only inside a
// testing/synctest bubble: every expectation first waits until all other
// goroutines are blocked, so no script depends on real time.
//
//	nc, sc := memconn.Pipe(nil)
//	... start the server under test on sc ...
//	p := h2test.NewClient(t, nc)
//	p.Greet()
//	p.WriteHeaders(1, true, ":method", "GET", ":scheme", "https", ":authority", "a", ":path", "/")
//	p.WantHeaders("the answer", 1)
//	p.WantIdle("nothing else")
//	p.Close()
package h2test
