package sessionstate

import (
	"encoding/binary"
	"fmt"
)

// ExporterLabel is the label that WebTransport's keying material is exported
// with from TLS, whatever the application's label is.
const ExporterLabel = "EXPORTER-WebTransport"

const (
	// MaxExporterField is the longest label and the longest context of the
	// application, in bytes.
	MaxExporterField = 255
	// MaxExporterLength is the most keying material that can be asked for, in
	// bytes. RFC 5869 section 2.3 allows 255 times the hash's length; this is
	// for the shortest hash of TLS 1.3, so that the bound does not depend on
	// the cipher suite. (crypto/tls does not return an error beyond it.)
	MaxExporterLength = 255 * 32
)

// ExporterContext returns the context to export keying material with, for the
// application's label and context. Both drafts' "Use of Keying Material
// Exporters" define it. SessionID is the HTTP/2 or QUIC stream ID of the
// CONNECT stream; a nil context is an empty one. An argument out of range gives
// an error that says which.
func ExporterContext(sessionID uint64, label string, context []byte, length int) ([]byte, error) {
	switch {
	case len(label) < 1 || len(label) > MaxExporterField:
		return nil, fmt.Errorf("towpath: exporter label of %d bytes, 1 to %d allowed", len(label), MaxExporterField)
	case len(context) > MaxExporterField:
		return nil, fmt.Errorf("towpath: exporter context of %d bytes, at most %d allowed", len(context), MaxExporterField)
	case length < 1 || length > MaxExporterLength:
		return nil, fmt.Errorf("towpath: %d bytes of keying material asked for, 1 to %d allowed", length, MaxExporterLength)
	}
	b := make([]byte, 0, 8+1+len(label)+1+len(context))
	b = binary.BigEndian.AppendUint64(b, sessionID)
	b = append(append(b, byte(len(label))), label...)
	b = append(append(b, byte(len(context))), context...)
	return b, nil
}
