package negotiate

import "golang.org/x/sys/windows"

// errTooBig is the system's answer to a packet larger than the path takes.
var errTooBig error = windows.WSAEMSGSIZE

// refusals are what a connected socket tells of ICMP and of local filters. A
// refused UDP port reads as WSAECONNRESET.
var refusals = []error{
	windows.WSAECONNRESET, windows.WSAECONNREFUSED, windows.WSAEHOSTUNREACH, windows.WSAENETUNREACH,
	windows.WSAEHOSTDOWN, windows.WSAENETDOWN, windows.WSAENETRESET, windows.WSAEACCES,
}

// resets are what the end of a TCP connection without a word reads as.
var resets = []error{windows.WSAECONNRESET, windows.WSAECONNABORTED}
