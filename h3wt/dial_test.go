package h3wt

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/towpath-go/towpath/transport"
)

func TestDialOwnConnection(t *testing.T) {
	setUp := func(t *testing.T, handler http.Handler) (string, *tls.Config, func()) {
		h := serve(t, loopback(), &Server{Handler: handler})
		_, port, _ := net.SplitHostPort(h.addr.String())
		return "https://127.0.0.1:" + port + "/session", h.cert.ClientConfig(""), h.stop
	}
	t.Run("H3-064 the close reaches the server before the connection ends", func(t *testing.T) {
		handler, accepted := sessions(t, nil)
		url, conf, stop := setUp(t, handler)
		defer stop()
		for i := range 30 {
			s, err := Dial(context.Background(), url, conf, nil)
			if err != nil {
				t.Fatal(err)
			}
			served := <-accepted
			u, err := s.OpenUniStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			u.Write([]byte("last words"))
			u.Close()
			s.CloseWithError(transport.SessionErrorCode(i), "bye")
			v, err := served.AcceptUniStream(context.Background())
			if err == nil {
				if b, err := io.ReadAll(v); err != nil || string(b) != "last words" {
					t.Fatalf("read %q, %v", b, err)
				}
			}
			wantSessionEnd(t, served, transport.SessionError{Code: transport.SessionErrorCode(i), Reason: "bye", Remote: true})
		}
	})
	t.Run("H3-064 the connection ends after the peer's close", func(t *testing.T) {
		handler, accepted := sessions(t, nil)
		url, conf, stop := setUp(t, handler)
		defer stop()
		for i := range 30 {
			s, err := Dial(context.Background(), url, conf, nil)
			if err != nil {
				t.Fatal(err)
			}
			served := <-accepted
			served.CloseWithError(transport.SessionErrorCode(i), "bye")
			wantSessionEnd(t, s, transport.SessionError{Code: transport.SessionErrorCode(i), Reason: "bye", Remote: true})
			<-served.(*Session).c.qc.Context().Done()
		}
	})
	t.Run("FW-25 a failure leaves nothing behind", func(t *testing.T) {
		url, conf, stop := setUp(t, http.NotFoundHandler())
		defer stop()
		_, err := Dial(context.Background(), url, conf, nil)
		if e, ok := errors.AsType[*transport.RejectedError](err); !ok || e.StatusCode != 404 {
			t.Errorf("Dial: %v", err)
		}
		if _, err := Dial(context.Background(), "http://127.0.0.1/", conf, nil); err == nil {
			t.Error("Dial of an http URL succeeded")
		}
		if _, err := Dial(context.Background(), url, &tls.Config{}, nil); err == nil {
			t.Error("Dial succeeded with a certificate that nobody knows")
		}
	})
}

func TestOrdinaryRequests(t *testing.T) {
	bubble(t, "H3-070 requests and sessions share a connection and a handler", func(t *testing.T) {
		handler, accepted := sessions(t, nil)
		mux := http.NewServeMux()
		mux.Handle("/session", handler)
		mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
		h := serve(t, simulated(t), &Server{Handler: mux})
		defer h.stop()
		cc := h.client(nil)
		defer cc.Close()
		if _, err := cc.Dial(context.Background(), testURL, nil); err != nil {
			t.Fatal(err)
		}
		<-accepted
		payload := bytes.Repeat([]byte("x"), 1<<20)
		for range 3 {
			r, _ := http.NewRequest(http.MethodPost, "https://example.com/echo", bytes.NewReader(payload))
			rsp, err := cc.raw.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(rsp.Body); err != nil || !bytes.Equal(b, payload) {
				t.Fatalf("%d bytes, %v", len(b), err)
			}
		}
	})
}

func TestInfo(t *testing.T) {
	// quic-go looks for the path's MTU on real sockets only.
	t.Run("FW-16 FW-23 MaxDatagramSize follows the path", func(t *testing.T) {
		c, s, stop := makePair(t, loopback(), nil, nil)
		defer stop()
		first := c.Info().MaxDatagramSize
		if first < 1100 || !c.Info().Unreliable {
			t.Errorf("%+v", c.Info())
		}
		for c.Info().MaxDatagramSize <= first { // at 1452 bytes at last
			u, err := c.OpenUniStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			go func() { u.Write(make([]byte, 1<<20)); u.Close() }()
			v, err := s.AcceptUniStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, v)
		}
		var tooLarge *transport.DatagramTooLargeError
		if err := c.SendDatagram(make([]byte, 2000)); !errors.As(err, &tooLarge) || tooLarge.Max <= first {
			t.Errorf("SendDatagram: %v", err)
		}
	})
	bubble(t, "H3-032 a datagram begins with the quarter of the session ID", func(t *testing.T) {
		srv := rawListen(t, fullQUIC)
		defer srv.stop()
		cc, c := srv.client(nil, pooledServerSettings...)
		c.established(cc, nil)
		s, _ := c.established(cc, nil)
		if err := s.SendDatagram([]byte("hi")); err != nil {
			t.Error(err)
		}
		if p, err := c.ReceiveDatagram(context.Background()); err != nil || string(p) != "\x01hi" {
			t.Errorf("datagram %q, %v", p, err)
		}
		cc.Close()
	})
}
