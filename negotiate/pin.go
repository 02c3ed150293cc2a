package negotiate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// maxPinnedValidity is how long a certificate accepted by its hash may be valid.
const maxPinnedValidity = 14 * 24 * time.Hour

// A PinError says why a certificate was not accepted by its hash.
type PinError struct{ Reason string }

func (e *PinError) Error() string { return "certificate not accepted by its hash: " + e.Reason }

// CertificateHash returns the SHA-256 of a certificate's DER encoding, as
// Dialer.CertificateHashes and the W3C serverCertificateHashes want it.
func CertificateHash(der []byte) [sha256.Size]byte { return sha256.Sum256(der) }

// pinned returns a copy of conf that accepts exactly the certificates with one
// of the hashes, by the rules of the W3C API ("verify a certificate hash"): the
// chain and the name are not looked at; the key must be ECDSA on P-256, the
// validity at most 14 days and not over. The proof of possession of the key is
// checked by TLS as ever.
func pinned(conf *tls.Config, hashes [][sha256.Size]byte) *tls.Config {
	conf = conf.Clone()
	if conf == nil {
		conf = &tls.Config{}
	}
	conf.InsecureSkipVerify = true
	// VerifyConnection, unlike VerifyPeerCertificate, runs on resumption too.
	next := conf.VerifyConnection
	conf.VerifyConnection = func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 {
			return &PinError{"the server sent none"}
		}
		if err := checkPin(cs.PeerCertificates[0], hashes, time.Now()); err != nil {
			return err
		}
		if next != nil {
			return next(cs)
		}
		return nil
	}
	return conf
}

func checkPin(cert *x509.Certificate, hashes [][sha256.Size]byte, now time.Time) error {
	sum := CertificateHash(cert.Raw)
	match := false
	for _, h := range hashes {
		match = match || h == sum
	}
	if !match {
		return &PinError{fmt.Sprintf("its SHA-256 is %x, which is not among the accepted", sum)}
	}
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return &PinError{"its key is not ECDSA on P-256"}
	}
	if d := cert.NotAfter.Sub(cert.NotBefore); d > maxPinnedValidity {
		return &PinError{fmt.Sprintf("it is valid for %v, more than 14 days", d)}
	}
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return &PinError{fmt.Sprintf("it is valid from %v to %v, not now", cert.NotBefore.Format(time.RFC3339), cert.NotAfter.Format(time.RFC3339))}
	}
	return nil
}

// errPinPool refuses a combination that the W3C API refuses.
var errPinPool = errors.New("negotiate: CertificateHashes cannot be used together with Pool")
