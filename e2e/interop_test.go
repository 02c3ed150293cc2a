package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"

	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/negotiate"
	"github.com/towpath-go/towpath/transport"
)

// TestWebTransportGo has webtransport-go as the peer of a Server and of a
// Dialer, over real sockets.
func TestWebTransportGo(t *testing.T) {
	t.Run("their client", func(t *testing.T) {
		mux := http.NewServeMux()
		mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
			s, err := negotiate.Upgrade(w, r, &transport.UpgradeOptions{Protocols: []string{"echo"}})
			if err != nil {
				t.Errorf("Upgrade: %v", err)
				return
			}
			echoSession(s)
		})
		srv := serveNegotiated(t, mux, nil)
		defer srv.stop()
		socket := listenUDP(t)
		defer socket.Close()
		tr := &quic.Transport{Conn: socket}
		defer tr.Close()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		qc, err := tr.Dial(ctx, net.UDPAddrFromAddrPort(srv.addrPort()), srv.cert.ClientConfig("127.0.0.1", "h3"),
			&quic.Config{EnableDatagrams: true, EnableStreamResetPartialDelivery: true})
		if err != nil {
			t.Fatal(err)
		}
		defer qc.CloseWithError(0x100, "")
		wt := &webtransport.Transport{ApplicationProtocols: []string{"other", "echo"}}
		defer wt.Close()
		cc, err := wt.NewClientConn(qc)
		if err != nil {
			t.Fatal(err)
		}
		rsp, s, err := cc.Dial(ctx, srv.url("/echo"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if rsp.StatusCode != 200 || s.SessionState().ApplicationProtocol != "echo" {
			t.Errorf("status %d, protocol %q", rsp.StatusCode, s.SessionState().ApplicationProtocol)
		}
		st, err := s.OpenStreamSync(ctx)
		if err != nil {
			t.Fatal(err)
		}
		message := bytes.Repeat([]byte("interop "), 1<<17)
		go func() { // ends with the session
			st.Write(message)
			st.Close()
		}()
		if err := wantAll(st, message); err != nil {
			t.Error(err)
		}
		s.CloseWithError(7, "done")
		if _, _, err := cc.Dial(ctx, srv.url("/nowhere"), nil); err == nil {
			t.Error("a session where there is none")
		}
	})
	t.Run("their server", func(t *testing.T) {
		cert := testcert.New(t)
		srv := &webtransport.Server{H3: &http3.Server{TLSConfig: cert.ServerConfig("h3")}}
		srv.H3.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, err := srv.Upgrade(w, r)
			if err != nil {
				t.Errorf("their Upgrade: %v", err)
				return
			}
			theirEcho(s)
		})
		pc := listenUDP(t)
		served := make(chan struct{})
		go func() { // ends with pc
			defer close(served)
			srv.Serve(pc)
		}()
		defer func() {
			srv.Close()
			pc.Close()
			<-served
		}()
		d := &negotiate.Dialer{TLSClientConfig: cert.ClientConfig("127.0.0.1"), Proxy: http.ProxyURL(nil)}
		defer d.Close()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		s, report, err := d.Dial(ctx, "https://"+pc.LocalAddr().String()+"/", nil)
		if err != nil {
			t.Fatalf("%v\n%v", err, report)
		}
		defer s.CloseWithError(0, "")
		if report.Winner != transport.HTTP3 {
			t.Errorf("winner %v", report.Winner)
		}
		st, err := s.OpenStream(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := roundTrip(st, st, bytes.Repeat([]byte("interop "), 1<<17)); err != nil {
			t.Error(err)
		}
		if err := datagramEcho(ctx, s); err != nil {
			t.Error(err)
		}
	})
}

// theirEcho is echoSession, as far as it is needed, for webtransport-go.
func theirEcho(s *webtransport.Session) {
	ctx := s.Context()
	go func() { // ends with the session
		for {
			p, err := s.ReceiveDatagram(ctx)
			if err != nil {
				return
			}
			if err := s.SendDatagram(p); err != nil && !errors.Is(err, context.Canceled) {
				return
			}
		}
	}()
	for {
		st, err := s.AcceptStream(ctx)
		if err != nil {
			return
		}
		go func() { // ends with the stream
			io.Copy(st, st)
			st.Close()
		}()
	}
}
