package handshake

import "crypto/tls"

// ClientTLS returns a copy of base, which may be nil, for a connection to the
// target that offers protocols by ALPN. MinVersion is TLS 1.3 unless it is set,
// and ServerName the target's host unless it is set.
func (t Target) ClientTLS(base *tls.Config, protocols ...string) *tls.Config {
	conf := base.Clone()
	if conf == nil {
		conf = new(tls.Config)
	}
	conf.NextProtos = protocols
	if conf.MinVersion == 0 {
		conf.MinVersion = tls.VersionTLS13
	}
	if conf.ServerName == "" {
		conf.ServerName = t.Host
	}
	return conf
}
