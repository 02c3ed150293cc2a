// Package stats makes what runs found into what a study says: the cells of its
// tables, parts of runs to look at, and whether to believe it.
//
// Every number of a cell is worked out for each run by itself and then averaged
// over the runs, which differ in their seed alone: messages of one run are not
// independent of each other, runs are. The interval is Student's t at 95 %, cut
// at what is possible (a share is within 0 to 1, and nothing else is negative).
//
// What is late depends on the workload:
//
//   - updates, mixed: a message is late if it arrived more than half a round trip
//     after its scheduled time and the one-way delay, and very late at one and a
//     half round trips.
//   - rpc: likewise for a response, after a whole round trip.
//   - page: nothing is, since no time is the right one for an object among others.
//     Percentiles are of the objects' completion times, and Page is the mean of
//     the pages'.
package stats
