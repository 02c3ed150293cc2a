// Package attack measures what a bystander feels of attacks on its server.
//
//	attacker ── TCP, UDP from 127.0.0.2 ──► victim ◄── from 127.0.0.1 ── bystander
//
// The victim is a negotiate.Server as a program without any settings gets it; all
// that its Handler does is echo. The bystander has two sessions with it, one on a
// connection of its own and one beside twenty others on a further connection, and
// every few milliseconds sends 32 bytes on a stream and waits for them to come
// back. The attacker connects and does what the attack has it do as fast as it
// can; when it is cut it connects again, at once, as attackers do.
//
// # Method
//
// Quiet and attacked phases take turns, so that what else the machine does falls
// on both. A sample's time counts from when the echo was due, not from when it
// was sent: a wait of 100 ms is not one bad sample but all those that would have
// been measured meanwhile.
//
// The victim is what is measured, not the lack of a processor: so it has one of
// the machine's two for itself alone, and the attacker and the bystander share
// the other, on which the attacker runs with SCHED_IDLE: only while the bystander
// has nothing to do, and put aside the moment it has. What the bystander waits for
// is then the victim's queue: the work of the victim that stands before its own.
// (What the kernel does for a packet on loopback it does on the sender's
// processor.) On a machine with one processor, or where scheduling is not
// permitted, the processes share what there is, and the report says so.
//
// The victim's CPU time is read before and after each phase: its own, user and
// system.
//
// # Verdict
//
// The p99 of each of the two sessions, over all attacked phases, is within twice
// that of the quiet ones, or 20 ms above it.
package attack
