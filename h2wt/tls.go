package h2wt

import (
	"crypto/tls"
	"errors"
	"fmt"
)

// exporterLabel is the TLS exporter label of both drafts.
const exporterLabel = "EXPORTER-WebTransport"

// checkALPN wants the protocol h2: RFC 9113 section 3.2.
func checkALPN(cs *tls.ConnectionState) error {
	if cs.NegotiatedProtocol != "h2" {
		return errNotH2
	}
	return nil
}

// checkWebTransportTLS wants what draft-ietf-webtrans-http2 "TLS" asks for: TLS
// 1.3, or 1.2 with the extended master secret. crypto/tls does not tell whether
// that was negotiated, but exports nothing without it.
func checkWebTransportTLS(cs *tls.ConnectionState, export exportFunc) error {
	switch {
	case cs.Version >= tls.VersionTLS13:
		return nil
	case cs.Version < tls.VersionTLS12:
		return fmt.Errorf("h2wt: %s is too old for WebTransport", tls.VersionName(cs.Version))
	}
	if _, err := export(exporterLabel, nil, 1); err != nil {
		return fmt.Errorf("h2wt: TLS 1.2 without extended master secret does not suffice for WebTransport: %w", err)
	}
	return nil
}

// An exportFunc is a TLS connection's exporter (RFC 8446 section 7.5).
type exportFunc func(label string, context []byte, length int) ([]byte, error)

var errBadCipher = errors.New("h2wt: a TLS 1.2 cipher suite that HTTP/2 prohibits")

// checkCipher refuses the cipher suites of TLS 1.2 that RFC 9113 appendix A
// prohibits: all without ephemeral keys and an AEAD.
func checkCipher(cs *tls.ConnectionState) error {
	if cs.Version >= tls.VersionTLS13 {
		return nil
	}
	switch cs.CipherSuite {
	case tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:
		return nil
	}
	return errBadCipher
}
