// Package cork makes a TLS connection over TCP fit for a writer that chooses what
// goes out as late as it can: the records of one write become one system call,
// and the kernel keeps a short queue of what was not sent.
package cork
