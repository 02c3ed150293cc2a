// Package h3wt is WebTransport over HTTP/3 (draft-ietf-webtrans-http3-16) on
// quic-go: a session layer of its own on the public API of quic-go's http3
// package. Sessions implement transport.Session.
//
//	negotiate, application
//	      │ Server, Upgrade            │ Dial, ClientConn
//	┌─────▼────────────────────────────▼─────┐
//	│ Session: streams, datagrams, capsules   │ sessionstate, capsule
//	├─────────────────────────────────────────┤
//	│ conn: sessions of a QUIC connection,    │
//	│       streams that wait for theirs      │
//	└──────┬───────────────────────────┬──────┘
//	  quic-go/http3: requests,    quic.Conn: streams
//	  SETTINGS, datagrams
//
// A server in five lines:
//
//	srv := &h3wt.Server{TLSConfig: tlsConf, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
//		if s, err := h3wt.Upgrade(w, r, nil); err == nil {
//			go serve(s)
//		}
//	})}
//	err := srv.Serve(udpConn)
package h3wt
