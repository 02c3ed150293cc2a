// Package browsers has pages in Chromium and Firefox at the other end of
// Towpath's sessions, and measures what works: its part of docs/clients.md is
// the outcome of its tests. It holds tests only.
//
// # Driving a browser
//
// A browser is started by a Node process of its own (node/driver.mjs), which a
// test tells order by order what to do. Every order has the deadline of its
// context.
//
//	b := launch(t, firefox, launchOptions{})       // shared by the subtests of t
//	p := b.open(t, blank(t, "127.0.0.1"))          // a tab with an empty page, or any URL
//	err := p.load(ctx, "towpath", url)             // import a module by URL, or loadFile
//	end, err := p.dial(ctx, dialing{url: u, hash: h, module: "towpath", options: ...})
//	err = p.run(ctx, `async (x) => ...`, x, &result) // any JavaScript
//	said, err := p.said(ctx)                       // console and uncaught exceptions
//	err = p.screenshot(ctx, file, false)
//
// A session that [page.dial] made is a clients.End, whichever class made it, so
// that a clients.Link of a page and a server gives a row:
// clients.Measure(t, row, link, exceptions). The rows are listed in rows_test.go,
// each is declared in the file of its test. TestNative is an example.
//
// launchOptions has extra arguments, Firefox's preferences, the home directory
// (for a profile that a test fills first: newHome, profileIn), and in which
// namespace the browser starts (the method Inside of a netns.Host). A launch
// takes one to three seconds, so a top-level test makes one browser for all its
// subtests.
//
// [serve] starts the real command towpath serve, built once, serveIn does so in a
// namespace. Where a test has to see the server's side it takes
// clients.NewTowpathServer or a server of its own.
//
// # Nothing stays behind
//
// The driver ends with its standard input, so with the test, however that ends.
// The browser is killed by the driver, or by the kernel when that is killed, and
// the command by the end of its standard input. A test fails if a process of
// its browser is left.
//
// # What it needs
//
// Chromium and Firefox or Firefox ESR, Node 20 or newer, and npm the first
// time. Where something is missing the tests skip and say what; with
// TOWPATH_E2E_REQUIRE=1 in the environment they fail instead.
package browsers
