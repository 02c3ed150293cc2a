package transporttest

import (
	"bytes"
	"crypto/tls"
	"errors"
	"strings"

	"github.com/towpath-go/towpath/transport"
)

var infoCases = []testCase{
	{name: "FW-16 FW-23 Info describes the session", run: func(e *env) {
		a, b := e.a.Info(), e.b.Info()
		if a.Protocol == transport.ProtocolUnknown || a.Protocol != b.Protocol {
			e.Errorf("protocols %v and %v", a.Protocol, b.Protocol)
		}
		for _, i := range []transport.Info{a, b} {
			if want := i.Protocol == transport.HTTP3; i.Unreliable != want {
				e.Errorf("over %v Unreliable is %v", i.Protocol, i.Unreliable)
			}
			if i.LocalAddr == nil || i.RemoteAddr == nil {
				e.Fatalf("addresses %v and %v", i.LocalAddr, i.RemoteAddr)
			}
			if i.MaxDatagramSize <= 0 {
				e.Errorf("MaxDatagramSize is %d", i.MaxDatagramSize)
			}
			if e.caps.TLS && (i.TLS == nil || !i.TLS.HandshakeComplete || i.TLS.Version < tls.VersionTLS12) {
				e.Errorf("TLS state %+v", i.TLS)
			}
		}
		if a.LocalAddr.String() != b.RemoteAddr.String() || a.RemoteAddr.String() != b.LocalAddr.String() {
			e.Errorf("addresses %v, %v at one end and %v, %v at the other", a.LocalAddr, a.RemoteAddr, b.LocalAddr, b.RemoteAddr)
		}
		if a.ID != b.ID {
			e.Errorf("session ids %d and %d", a.ID, b.ID)
		}
		if a.ApplicationProtocol != b.ApplicationProtocol {
			e.Errorf("application protocols %q and %q", a.ApplicationProtocol, b.ApplicationProtocol)
		}
	}},
	{name: "Stats count", run: func(e *env) {
		if a, b := e.a.Stats(), e.b.Stats(); a.StreamsOpened+a.StreamsAccepted+a.BytesSent+a.BytesReceived+a.BytesRead+
			b.StreamsOpened+b.StreamsAccepted+b.BytesSent+b.BytesReceived+b.BytesRead+a.DatagramsSent+b.DatagramsReceived != 0 {
			e.Fatalf("a new session counts %+v and %+v", a, b)
		}
		x, y := e.pair() // 1 byte from a to b
		u, v := e.uniPair()
		e.write(x, make([]byte, 1000))
		e.write(u, make([]byte, 200))
		e.write(y, make([]byte, 30))
		e.finish(u)
		e.eventually("all bytes are counted as sent and received", func() bool {
			a, b := e.a.Stats(), e.b.Stats()
			sent := a.BytesSent == 1202 && b.BytesSent == 30
			return sent && (e.caps.LateReceived || b.BytesReceived == 1202 && a.BytesReceived == 30)
		})
		a, b := e.a.Stats(), e.b.Stats()
		if a.StreamsOpened != 2 || a.StreamsAccepted != 0 || b.StreamsOpened != 0 || b.StreamsAccepted != 2 {
			e.Errorf("streams: %+v and %+v", a, b)
		}
		if a.BytesRead != 0 || b.BytesRead != 2 {
			e.Errorf("bytes read: %d and %d, want 0 and the 2 of the openings", a.BytesRead, b.BytesRead)
		}
		e.wantBytes(y, make([]byte, 1000))
		e.wantRest(v, make([]byte, 200))
		e.wantBytes(x, make([]byte, 30))
		if a, b := e.a.Stats(), e.b.Stats(); a.BytesRead != 30 || b.BytesRead != 1202 || a.BytesReceived != 30 || b.BytesReceived != 1202 {
			e.Errorf("bytes read: %d and %d, received: %d and %d, want 30 and 1202", a.BytesRead, b.BytesRead, a.BytesReceived, b.BytesReceived)
		}
	}},
	{name: "Stats count datagrams", run: func(e *env) {
		for range 3 {
			e.wantDatagram(e.a, e.b, []byte("d"))
		}
		a, b := e.a.Stats(), e.b.Stats()
		if a.DatagramsSent < 3 || b.DatagramsReceived < 3 || b.DatagramsReceived > a.DatagramsSent {
			e.Errorf("%d sent, %d received", a.DatagramsSent, b.DatagramsReceived)
		}
		if e.caps.ReliableDatagrams && (a.DatagramsSent != 3 || b.DatagramsReceived != 3) {
			e.Errorf("%d sent, %d received, want 3", a.DatagramsSent, b.DatagramsReceived)
		}
		if n := a.DatagramsDroppedOutgoing + a.DatagramsExpiredOutgoing + b.DatagramsExpiredIncoming + b.DatagramsDroppedIncoming; n != 0 {
			e.Errorf("%d counted as dropped", n)
		}
	}},
	{name: "FW-14 H2-063 H3-041 exported keying material", run: func(e *env) {
		export := func(s transport.Session, label, context string, length int) []byte {
			e.Helper()
			p, err := s.ExportKeyingMaterial(label, []byte(context), length)
			e.ok(err, "ExportKeyingMaterial")
			if len(p) != length {
				e.Fatalf("%d bytes of keying material, want %d", len(p), length)
			}
			return p
		}
		long := strings.Repeat("l", 255)
		seen := map[string]string{}
		for _, c := range [][2]string{
			{"label", ""}, {"label", "context"}, {"label", "contexT"}, {"labeL", "context"}, {"labelc", "ontext"},
			{long, ""}, {"l", long},
		} {
			a, b := export(e.a, c[0], c[1], 32), export(e.b, c[0], c[1], 32)
			if !bytes.Equal(a, b) {
				e.Errorf("label %q, context %q: the ends differ", c[0], c[1])
			}
			if other, ok := seen[string(a)]; ok {
				e.Errorf("label %q, context %q gives the same as %s", c[0], c[1], other)
			}
			seen[string(a)] = c[0] + ", " + c[1]
		}
		export(e.a, "label", "", 1)
		export(e.a, "label", "", 500)
	}},
	{name: "H2-064 an omitted exporter context is the empty one", run: func(e *env) {
		a, err := e.a.ExportKeyingMaterial("label", nil, 32)
		e.ok(err, "ExportKeyingMaterial")
		b, err := e.b.ExportKeyingMaterial("label", []byte{}, 32)
		e.ok(err, "ExportKeyingMaterial")
		if !bytes.Equal(a, b) {
			e.Error("nil and an empty context differ")
		}
	}},
	{name: "H2-065 arguments of the exporter", run: func(e *env) {
		long := strings.Repeat("x", 256)
		for _, c := range []struct {
			what, label, context string
			length               int
		}{
			{"empty label", "", "", 32},
			{"label of 256 bytes", long, "", 32},
			{"context of 256 bytes", "label", long, 32},
			{"negative length", "label", "", -1},
		} {
			p, err := e.a.ExportKeyingMaterial(c.label, []byte(c.context), c.length)
			if err == nil || errors.As(err, new(*transport.SessionError)) {
				e.Errorf("%s: %d bytes, %v; want an error about the argument", c.what, len(p), err)
			}
		}
		e.wantAlive()
	}},
}
