// Package link makes an emulated link between two hosts that have this machine's
// own TCP and UDP.
//
//	 client's namespace                                  server's namespace
//	+------------------+        this process            +------------------+
//	| sockets, TCP, UDP|   +------------------------+   | sockets, TCP, UDP|
//	|       hol0 (TUN) |<->|  router: one thread    |<->| hol0 (TUN)       |
//	|       10.77.0.1  |   |  model and flight, up  |   | 10.77.0.2        |
//	+------------------+   |  model and flight, down|   +------------------+
//	                       +------------------------+
//
// Each host is a network namespace without a name. The router reads the IP
// packets that one host sends, asks the direction's model what becomes of each,
// and writes it to the other host when its time has come. The model is a pure
// function of a clock, the seed and the packets; the devices know nothing of it.
//
// # What a packet meets
//
// In this order: BlockUDP, the queue for the Rate (dropped at the tail if its
// bytes do not fit), the time on the wire, Loss, Burst, and the Delay with its
// Jitter. A packet that is lost by chance has used the Rate, as on a radio link.
// Packets are numbered as they come to the router, whatever becomes of them.
//
// # Bounds
//
// What is under way in one direction is at most 65,536 packets or 256 MiB of
// MTU-sized slots; what would be more is dropped and counted ([Report].Overflow),
// and so is what the kernel drops before the router because it reads too
// slowly (2,000 packets). Neither is part of what was asked: a run with any
// should not be used. At most 65,536 drops are remembered one by one.
//
// # What it changes in the process
//
// While a link is open GOMAXPROCS is greater by 2: the router and a timed sender
// have a processor to come back to. With [Options].Realtime every thread has
// SCHED_RR, and the router a priority above the others; a process that is
// started meanwhile inherits it.
//
// # Nothing stays behind
//
// Namespaces have no names and devices live as long as their descriptor: the
// kernel removes everything with the process, however it ends. [Link.Close] does
// so earlier; a host's sockets keep its namespace until they are closed.
//
// # What it needs
//
// Linux, /dev/net/tun, and either privileges (CAP_SYS_ADMIN and CAP_NET_ADMIN)
// or a kernel that lets a user make user namespaces: [Check] says which of them
// is missing, [EnterNamespaces] puts a process without privileges where it has
// them.
package link
