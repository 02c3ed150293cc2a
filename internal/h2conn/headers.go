package h2conn

import (
	"fmt"
	"strconv"
	"strings"

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
	// Fields are the regular fields in order, names in lower case. A cookie may
	// be in several (RFC 9113, section 8.2.3).
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

// fieldsKind says which pseudo-header fields a list may have.
type fieldsKind uint8

const (
	requestFields fieldsKind = iota
	responseFields
	trailerFields
)

// pseudo are the pseudo-header fields of a list.
type pseudo struct {
	method, scheme, authority, path, protocol, status string

	given pseudoSet
}

// A pseudoSet tells which pseudo-header fields a list has, empty ones included.
type pseudoSet uint8

const (
	hasMethod pseudoSet = 1 << iota
	hasScheme
	hasAuthority
	hasPath
	hasProtocol
	hasStatus
)

func (p *pseudo) has(f pseudoSet) bool { return p.given&f != 0 }

// slot returns where a field goes, nil if a list of that kind does not have it.
func (p *pseudo) slot(name string, kind fieldsKind) (*string, pseudoSet) {
	switch {
	case kind == requestFields:
		switch name {
		case ":method":
			return &p.method, hasMethod
		case ":scheme":
			return &p.scheme, hasScheme
		case ":authority":
			return &p.authority, hasAuthority
		case ":path":
			return &p.path, hasPath
		case ":protocol":
			return &p.protocol, hasProtocol
		}
	case kind == responseFields && name == ":status":
		return &p.status, hasStatus
	}
	return nil, 0
}

// splitFields checks each field by RFC 9113, sections 8.2 and 8.3, and splits off
// the pseudo-header fields. reason is "" if the list is well formed.
func splitFields(fields []hpack.HeaderField, kind fieldsKind) (p pseudo, regular []hpack.HeaderField, reason string) {
	n := 0
	for n < len(fields) && strings.HasPrefix(fields[n].Name, ":") {
		f := fields[n]
		slot, field := p.slot(f.Name, kind)
		switch {
		case slot == nil:
			return p, nil, fmt.Sprintf("pseudo-header field %q", f.Name)
		case p.has(field):
			return p, nil, "repeated " + f.Name
		case !validValue(f.Value):
			return p, nil, "invalid value of " + f.Name
		}
		p.given |= field
		*slot = f.Value
		n++
	}
	regular = fields[n:]
	for _, f := range regular {
		if reason := checkField(f); reason != "" {
			return p, nil, reason
		}
	}
	return p, regular, ""
}

// checkField checks one regular field.
func checkField(f hpack.HeaderField) string {
	switch {
	case strings.HasPrefix(f.Name, ":"):
		return "pseudo-header field after regular field"
	case !validName(f.Name):
		return fmt.Sprintf("invalid field name %q", f.Name)
	case !validValue(f.Value):
		return "invalid value of " + f.Name
	}
	switch f.Name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		// Section 8.2.2.
		return "connection-specific field " + f.Name
	case "te":
		if f.Value != "trailers" {
			return "te is not trailers"
		}
	}
	return ""
}

// validName tells whether name is a token (RFC 9110, section 5.6.2) without
// upper-case letters.
func validName(name string) bool {
	for i := range len(name) {
		if c := name[i]; 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return validToken(name)
}

// validToken tells whether s is a token, letters of both cases.
func validToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// validValue tells whether v is a field value: no control characters but tabs,
// and no white space around it (section 8.2.1).
func validValue(v string) bool {
	for i := range len(v) {
		if c := v[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	blank := func(c byte) bool { return c == ' ' || c == '\t' }
	return v == "" || !blank(v[0]) && !blank(v[len(v)-1])
}

// contentLength returns the declared length, or -1.
func contentLength(fields []hpack.HeaderField) (int64, string) {
	length := int64(-1)
	for _, f := range fields {
		if f.Name != "content-length" {
			continue
		}
		n, err := strconv.ParseUint(f.Value, 10, 63)
		if err != nil || f.Value[0] == '+' || length >= 0 && int64(n) != length {
			return -1, "invalid content-length"
		}
		length = int64(n)
	}
	return length, ""
}

// parseRequest checks a request.
func parseRequest(b *headerBlock) (h *Header, length int64, reason string) {
	p, regular, reason := splitFields(b.fields, requestFields)
	if reason == "" {
		length, reason = contentLength(regular)
	}
	if reason == "" {
		reason = checkRequest(&p, regular, b.extended)
	}
	if reason != "" {
		return nil, -1, reason
	}
	return &Header{
		Method: p.method, Scheme: p.scheme, Authority: p.authority, Path: p.path, Protocol: p.protocol,
		Fields: regular, EndStream: b.endStream, Size: uint32(b.size), Local: b.local,
	}, length, ""
}

// checkRequest checks the pseudo-header fields of a request: RFC 9113, sections
// 8.3.1 and 8.5, RFC 8441, section 4.
func checkRequest(p *pseudo, regular []hpack.HeaderField, extended bool) string {
	connect := p.method == "CONNECT"
	switch {
	case p.method == "" || !validToken(p.method):
		return "no valid :method"
	case p.has(hasProtocol) && !connect:
		return ":protocol without CONNECT"
	case p.has(hasProtocol) && !extended:
		return ":protocol was not announced"
	case p.has(hasProtocol) && !validToken(p.protocol):
		return "invalid :protocol"
	case connect && !p.has(hasProtocol):
		if p.has(hasScheme) || p.has(hasPath) || p.authority == "" {
			return "CONNECT needs :authority alone"
		}
		return ""
	case p.scheme == "":
		return "no :scheme"
	case p.path == "" || strings.ContainsAny(p.path, " \t"):
		return "no valid :path"
	}
	if p.has(hasProtocol) && p.authority == "" {
		return "extended CONNECT without :authority"
	}
	if p.scheme != "http" && p.scheme != "https" {
		return ""
	}
	if p.path[0] != '/' && !(p.path == "*" && p.method == "OPTIONS") {
		return "invalid :path"
	}
	if p.has(hasAuthority) && p.authority == "" || strings.Contains(p.authority, "@") {
		return "invalid :authority"
	}
	// "a server SHOULD treat a request as malformed if it contains a Host header
	// field that identifies an entity that differs": section 8.3.1.
	hosts := 0
	for _, f := range regular {
		if f.Name != "host" {
			continue
		}
		hosts++
		if hosts > 1 || p.has(hasAuthority) && !strings.EqualFold(f.Value, p.authority) {
			return "host differs from :authority"
		}
	}
	return ""
}

// parseResponse checks a response or an interim response.
func parseResponse(b *headerBlock) (h *Header, length int64, reason string) {
	p, regular, reason := splitFields(b.fields, responseFields)
	if reason == "" {
		length, reason = contentLength(regular)
	}
	if reason != "" {
		return nil, -1, reason
	}
	status, err := strconv.ParseUint(p.status, 10, 16)
	switch {
	case err != nil || len(p.status) != 3 || status < 100 || status > 999:
		return nil, -1, "no valid :status"
	case status == 101:
		// Section 8.6.
		return nil, -1, "status 101"
	case status < 200 && b.endStream:
		return nil, -1, "interim response with END_STREAM"
	}
	return &Header{Status: int(status), Fields: regular, EndStream: b.endStream,
		Size: uint32(b.size), Local: b.local}, length, ""
}

// parseTrailers checks trailers: no pseudo-header fields.
func parseTrailers(b *headerBlock) (*Header, string) {
	_, regular, reason := splitFields(b.fields, trailerFields)
	if reason != "" {
		return nil, reason
	}
	return &Header{Fields: regular, EndStream: true, Size: uint32(b.size), Local: b.local}, ""
}

// checkOwnFields checks what we are about to send.
func checkOwnFields(fields []hpack.HeaderField, kind fieldsKind) error {
	p, _, reason := splitFields(fields, kind)
	switch {
	case reason != "":
	case kind == requestFields && p.method == "":
		reason = "no :method"
	case kind == responseFields && (len(p.status) != 3 || p.status == "101"):
		reason = "no valid :status"
	}
	if reason != "" {
		return fmt.Errorf("h2conn: cannot send header list: %s", reason)
	}
	return nil
}

// listSize is the size of a list as MAX_HEADER_LIST_SIZE counts it.
func listSize(fields []hpack.HeaderField) (n uint64) {
	for _, f := range fields {
		n += uint64(f.Size())
	}
	return n
}

// secret tells whether a field must never enter a compression table, here or at
// an intermediary (RFC 7541, section 7.1.3).
func secret(name string) bool {
	switch name {
	case "authorization", "cookie", "set-cookie", "proxy-authorization":
		return true
	}
	return false
}
