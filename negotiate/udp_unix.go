//go:build unix

package negotiate

import "golang.org/x/sys/unix"

// errTooBig is the system's answer to a packet larger than the path takes.
var errTooBig error = unix.EMSGSIZE

// refusals are what a connected socket tells of ICMP and of local filters.
var refusals = []error{
	unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENETDOWN,
	unix.EPERM, unix.EACCES, unix.ENOPROTOOPT, unix.EPROTO,
}

// resets are what the end of a TCP connection without a word reads as.
var resets = []error{unix.ECONNRESET, unix.EPIPE}
