package h2conn

import (
	"golang.org/x/net/http2/hpack"
)

// Header is a checked header list: a request, a response, an interim response or
// trailers.
type Header struct {
	// Request pseudo-header fields; Protocol is that of an extended CONNECT (RFC
	// 8441).
	Method, Scheme, Authority, Path, Protocol string
	// Status is the response's.
	Status int
	// Fields are the regular fields in order, names in lower case.
	Fields []hpack.HeaderField
	// EndStream is set if nothing follows. Receiver.End is then not called.
	EndStream bool
	// Size is the size of the list as MAX_HEADER_LIST_SIZE counts it.
	Size uint32
	// Local are our own settings as the peer had acknowledged them when it sent
	// the list: what it is bound to.
	Local Settings
	// Priority is the value of a PRIORITY_UPDATE frame (RFC 9218, section 7.1)
	// that came before its stream.
	Priority string
}

// Value returns the first field of that lower-case name, or "".
func (h *Header) Value(name string) string {
	for _, f := range h.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}
