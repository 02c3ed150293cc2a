package handshake

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// requestFields are set by the protocol on the request for a session, or mean
// nothing there: one list for all ways, so that what a caller sets does not work by
// one way and fail by another. responseFields are the same on the answer, and
// websocketFields on the CONNECT of a WebSocket.
var (
	requestFields = []string{
		OriginField, AvailableProtocols, SelectedProtocol, InitField, CapsuleProtocol, TowpathField, "Host",
		"Sec-Websocket-Key", "Sec-Websocket-Accept", "Sec-Websocket-Version", "Sec-Websocket-Protocol", "Sec-Websocket-Extensions",
	}
	responseFields  = []string{AvailableProtocols, SelectedProtocol, InitField, CapsuleProtocol, TowpathField, "Date"}
	websocketFields = []string{"Sec-Websocket-Key", "Sec-Websocket-Accept", "Sec-Websocket-Version", CapsuleProtocol, "Host"}
	// bodyFields may not appear on a message whose content is capsules
	// (RFC 9297 section 3.2): "MUST be treated as malformed".
	bodyFields = []string{"Content-Length", "Content-Type", "Transfer-Encoding"}
	// connectionFields do not exist in HTTP/2 (RFC 9113 section 8.2.2) nor HTTP/3.
	connectionFields = []string{"Connection", "Proxy-Connection", "Keep-Alive", "Upgrade", "Te", "Trailer"}
)

// CheckRequestHeader checks the header that an application adds to the request for
// a session: fields that the protocol sets itself, that describe content, or that
// belong to one connection are refused, as are invalid names and values.
func CheckRequestHeader(h http.Header) error {
	return check(h, requestFields)
}

// CheckWebSocketHeader does the same for the header that is added to the CONNECT
// request of a WebSocket (RFC 8441). Origin and the subprotocols are the caller's;
// what only the handshake of HTTP/1.1 has is refused.
func CheckWebSocketHeader(h http.Header) error {
	return check(h, websocketFields)
}

// CheckResponseHeader does the same for the header of an accepting response.
func CheckResponseHeader(h http.Header) error {
	return check(h, responseFields)
}

func check(h http.Header, own []string) error {
	for name, values := range h {
		if !httpguts.ValidHeaderFieldName(name) {
			return fmt.Errorf("header field name %q is not valid", name)
		}
		canonical := http.CanonicalHeaderKey(name)
		for _, refused := range [][]string{own, bodyFields, connectionFields} {
			if slices.Contains(refused, canonical) {
				return fmt.Errorf("header field %s cannot be set on this handshake", canonical)
			}
		}
		for _, v := range values {
			if !httpguts.ValidHeaderFieldValue(v) {
				return fmt.Errorf("value of header field %s is not valid", canonical)
			}
		}
	}
	return nil
}

// BodyField returns the name of a field that describes content, which neither
// message of a WebTransport handshake may carry, or "".
func BodyField(h http.Header) string {
	for _, name := range bodyFields {
		if _, ok := h[name]; ok {
			return strings.ToLower(name)
		}
	}
	return ""
}

// AcceptStatus returns the status of an accepting response: 200 for 0. Only a
// 2xx accepts, and 204, 205 and 206 forbid the bytes that follow (RFC 9297
// section 3.2).
func AcceptStatus(code int) (int, error) {
	switch {
	case code == 0:
		return http.StatusOK, nil
	case code < 200 || code > 299,
		code == http.StatusNoContent, code == http.StatusResetContent, code == http.StatusPartialContent:
		return 0, fmt.Errorf("status %d cannot accept a session", code)
	}
	return code, nil
}

// maxUnwrap bounds the wrappers that Find looks through, so that a writer which
// unwraps to itself ends.
const maxUnwrap = 64

// Find returns the first ResponseWriter that is a T among w and what it wraps,
// following Unwrap() http.ResponseWriter as [http.ResponseController] does.
func Find[T any](w http.ResponseWriter) (T, bool) {
	for range maxUnwrap {
		if t, ok := w.(T); ok {
			return t, true
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		w = u.Unwrap()
	}
	var zero T
	return zero, false
}
