// Package clients has what the tests share that run Towpath with clients and
// servers that nobody here wrote: the tables of docs/clients.md, what their
// columns mean, ends of sessions in child processes, and a server.
//
// Every line of a table, a [Row], is measured by one test function, and every
// field by one subtest of it, run by [Measure], [Cell], [Partly] or [Lacks]. What a
// field means is one of [Scenarios], between the two ends of a session and the
// same for all rows; a [Link] makes the sessions of a row.
//
// A package with such tests owns a [Part] of the document and calls [Part.Main]
// from TestMain. After a complete run its part is compared with what was
// measured; with the flag -write it is written instead.
package clients
