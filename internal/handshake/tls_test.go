package handshake

import (
	"crypto/tls"
	"slices"
	"testing"
)

func TestClientTLS(t *testing.T) {
	target := Target{Host: "example.com", Port: "443"}
	for _, tt := range []struct {
		name       string
		base       *tls.Config
		serverName string
		minVersion uint16
	}{
		{"nil", nil, "example.com", tls.VersionTLS13},
		{"what is not set", &tls.Config{NextProtos: []string{"spdy"}}, "example.com", tls.VersionTLS13},
		{"what is set stays", &tls.Config{ServerName: "other.example", MinVersion: tls.VersionTLS12}, "other.example", tls.VersionTLS12},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := tt.base.Clone()
			got := target.ClientTLS(tt.base, "h2", "http/1.1")
			if got.ServerName != tt.serverName || got.MinVersion != tt.minVersion || !slices.Equal(got.NextProtos, []string{"h2", "http/1.1"}) {
				t.Errorf("server name %q, version %#x, protocols %q", got.ServerName, got.MinVersion, got.NextProtos)
			}
			if b := tt.base; b != nil && (b.ServerName != before.ServerName || b.MinVersion != before.MinVersion || !slices.Equal(b.NextProtos, before.NextProtos)) {
				t.Error("the caller's configuration was changed")
			}
		})
	}
}
