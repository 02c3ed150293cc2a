// Package endpoint is one end of a session of a soak, the same on the client and
// on the server: it opens streams of all kinds and answers those of the other
// end, sends datagrams, checks every byte, and reports what was not as promised.
//
//	Drive ── operations: echo, uni, message, datagrams, resets, stops, sync ──► session
//	Serve ◄─ streams and datagrams of the other end ◄────────────────────────── session
//
// All streams of a session share its credit. So that no two streams wait for credit
// that the other holds, everything that comes is read without waiting for anything
// to be written.
//
// The promises:
//
//  1. A stream that ends with io.EOF has all bytes of it, and they are right.
//  2. A stream that was reset or stopped says so, with the code that was given.
//  3. Everything else ends with the session's error, and then the session has
//     ended. An operation that does neither within Settings.Patience hangs.
//  4. In a session that lives, every stream that was finished arrives: Sync asks
//     the other end for the number and the serials of those it has received.
//  5. A datagram comes at most once, and as it was sent.
//  6. How the session ended is told to both ends; package ledger compares.
package endpoint
