// Package delivery checks, for tests, what every session promises of the data
// that it accepted: it was delivered, or its loss was reported to one who can
// act on it.
//
// A [Sender] writes numbered streams whose bytes follow from their numbers, and
// notes what it was told of each; a [Receiver] notes what arrived of each, and
// how it ended. [Judge] puts both together, when both are done, and says of
// every stream what became of it. Records are plain values, so the two ends may
// be different processes.
package delivery
