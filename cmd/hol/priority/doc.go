// Command priority measures how long urgent messages take beside a bulk transfer
// that fills a slow link, over Towpath and over what a program would use in its
// place. The link is the laboratory's: two network namespaces of this machine with
// the kernel's own TCP, 5 Mbit/s, 40 ms of round trip, and a queue of 25 kB that
// drops what does not fit, unless flags say otherwise.
//
//	go run -C cmd/hol ./priority                        all ways; about seven minutes
//	go run -C cmd/hol ./priority -ways 'h2wt|gorilla'   some of them
//	go run -C cmd/hol ./priority -list                  what there is
//
// With -json the results are put into a file: those of a way and congestion control
// replace the ones it had, so that a long measurement can be made in parts. With
// -document they are put into docs/performance.md, and -check says whether that has
// what docs/performance/priority.json says.
//
//	go run -C cmd/hol ./priority -json "$PWD"/docs/performance/priority.json
//	go run -C cmd/hol ./priority -document "$PWD"/docs
//
// # What is measured
//
// The client sends bulk as fast as it is taken, and a message of 200 bytes every
// 40 ms on average, at random times between 20 and 60 ms apart. A message's latency
// counts from when it was to be written, also if the one before it still waits, until the
// server's application has read it. Both ends have one clock. The runs of a way are made at the same time,
// each over a link of its own, with the times of another seed. What was measured
// while the link was late by more than 2 ms for 1 % of its packets does not count.
//
// It needs what the laboratory needs, see command hol.
package main
