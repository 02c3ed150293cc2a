// Command soak runs Towpath for a long time with many sessions on a broken
// network, and shows that nothing is lost without being said and nothing is left
// behind.
//
//	go run -C e2e ./soak                    ten minutes, 2,000 connections, 20,000 sessions
//	go run -C e2e ./soak --short            40 s at most
//	go run -C e2e ./soak --attack all       what a bystander feels of attacks on its server
//	go run -C e2e ./soak --list-attacks
//
// # A soak
//
// The command starts two processes of its own, and is what lies between them:
//
//	client ──► relay (the command) ──► server        TCP and UDP on loopback
//
// The client keeps connections of every kind with sessions on them: pools over
// HTTP/3, HTTP/2 and WebSockets over HTTP/2, and single sessions over HTTP/3,
// HTTP/2 and WebSocket, opened by package negotiate. Both ends do random things
// in each session: echoes of nothing to 4 MiB, streams of one direction, messages,
// datagrams, resets and requests to stop at random offsets, deadlines,
// priorities. Sessions are closed and opened anew all the time, by either end,
// with and without notice. The relay resets connections, ends one direction in
// the middle, lets them fall silent, stalls each direction, passes on a few bytes
// at a time, loses, doubles and reorders UDP packets, and gives a client another
// address. Chance comes from --seed: the same seed does the same things, though
// not at the same moments, since those depend on the machine.
//
// Every byte is checked by its position. What is promised, and counts as violated
// otherwise, is in the documentation of package endpoint; besides:
//
//   - what each side was told about the end of each session is what happened:
//     the code and reason of the other side's close, or an error, and that only
//     if something was done to the connection;
//   - a server's Shutdown tells every session, and ends;
//   - at the end neither process has a goroutine, a file descriptor or a handler
//     of a stream that it had not at its start, and the server's memory account
//     is 0;
//   - memory is flat: what is alive right after a garbage collection grows in the
//     second half by no more than 5 % of its mean, or 16 MiB, and twice the
//     standard error of that measurement. Growth is what time adds: what the
//     number of open sessions explains, told by that of goroutines, is none.
//     --profiles tells what grew.
//
// # Attacks
//
// The documentation of package attack says how they are measured. docs/soak.md has
// what both came to; command document, beside this one, makes it.
//
// # Exit status
//
//	0  every promise was kept
//	1  one was not (a line for each), or the run could not be made
//	2  called wrongly: one line says what is wrong and how to mend it
//
// go run has status 1 for each of the latter two. The first SIGINT or SIGTERM
// ends the run and reports what there is, the second ends at once. Nothing stays
// behind in either case, nor after SIGKILL of any of the processes.
package main
