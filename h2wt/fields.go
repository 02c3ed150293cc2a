package h2wt

import (
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2/hpack"
)

// appendFields appends a header in the form of the wire. Fields that do not
// exist in HTTP/2 (RFC 9113 section 8.2.2), trailers, and skip are left out, as
// are names and values that are not valid: a header is a handler's, and may hold
// what it was given by somebody else.
func appendFields(fields []hpack.HeaderField, h http.Header, skip string) []hpack.HeaderField {
	for _, key := range slices.Sorted(maps.Keys(h)) {
		switch key {
		case "Connection", "Proxy-Connection", "Transfer-Encoding", "Upgrade", "Keep-Alive", "Te", skip:
			continue
		}
		if strings.HasPrefix(key, http.TrailerPrefix) {
			continue
		}
		for _, v := range h[key] {
			fields = appendField(fields, key, v)
		}
	}
	return fields
}

func appendField(fields []hpack.HeaderField, key, value string) []hpack.HeaderField {
	value = textproto.TrimString(value) // RFC 9113 section 8.2.1
	if !httpguts.ValidHeaderFieldName(key) || !httpguts.ValidHeaderFieldValue(value) {
		return fields
	}
	return append(fields, hpack.HeaderField{Name: strings.ToLower(key), Value: value})
}

// statusFields is a response with nothing but its status and date.
func statusFields(code int) []hpack.HeaderField {
	return []hpack.HeaderField{
		{Name: ":status", Value: strconv.Itoa(code)},
		{Name: "date", Value: httpDate()},
	}
}

func hasTrailerPrefix(h http.Header) bool {
	for key := range h {
		if strings.HasPrefix(key, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

// trailerFields are the trailers that the handler declared, and those it marked
// with http.TrailerPrefix.
func (w *response) trailerFields() []hpack.HeaderField {
	var fields []hpack.HeaderField
	for _, key := range w.trailers {
		for _, v := range w.header[key] {
			fields = appendField(fields, key, v)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(w.header)) {
		name, ok := strings.CutPrefix(key, http.TrailerPrefix)
		if !ok || !httpguts.ValidTrailerHeader(http.CanonicalHeaderKey(name)) {
			continue
		}
		for _, v := range w.header[key] {
			fields = appendField(fields, name, v)
		}
	}
	return fields
}

func httpDate() string { return time.Now().UTC().Format(http.TimeFormat) }
