// Package workload does over any transport what the laboratory measures:
// `updates` (timed messages on many channels), `mixed` (the same beside one bulk
// transfer), `page` (many objects asked for at once) and `rpc` (timed calls).
//
//	Run ─► setup     dial, first message, next channel, server's channel, the rest
//	    ─► senders   one goroutine a channel, each woken by an alarm of its own
//	    ─► receivers one goroutine a channel and end
//	    ─► Outcome   what became of every scheduled message
//
// Both ends are in one process and read one monotonic clock, whose zero is the
// run's beginning. Latency counts from the time at which a message was to be sent
// (schedule), never from the time at which it could be: a sender that a full
// transport holds up does not get easier messages for it.
//
// A message carries a header (channel, sequence number, kind, scheduled time) and
// a content that both ends know. What arrives twice on a reliable transport, out
// of order on an ordered one, changed, or without having been sent is an error of
// the run.
//
// Every wait ends with the context, with the run's failure, or with the time that
// Total names.
package workload
