package h3wt

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/http"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/transport"
)

func TestEarlyData(t *testing.T) {
	// 0-RTT is not used: nothing can be replayed, and there are no remembered
	// settings to keep to.
	bubble(t, "H3-015 H3-016 H3-017 FW-09 resumption uses no 0-RTT", func(t *testing.T) {
		handler, accepted := sessions(t, nil)
		h := serve(t, simulated(t), &Server{Handler: handler, QUICConfig: &quic.Config{Allow0RTT: true}})
		defer h.stop()
		conf := h.cert.ClientConfig("example.com", "h3")
		conf.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		var cfg *Config
		for i := range 2 {
			// DialEarly would send 0-RTT if the ticket allowed it.
			qc, err := h.tr.DialEarly(context.Background(), h.addr, conf, cfg.QUIC(nil))
			if err != nil {
				t.Fatal(err)
			}
			cc, err := NewClientConn(context.Background(), qc, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := cc.Dial(context.Background(), testURL, nil); err != nil {
				t.Fatal(err)
			}
			s := <-accepted
			state := qc.ConnectionState()
			if state.Used0RTT {
				t.Error("0-RTT was used")
			}
			if resumed := i == 1; state.TLS.DidResume != resumed || s.Info().TLS.DidResume != resumed {
				t.Errorf("connection %d: resumed %v", i, state.TLS.DidResume)
			}
			time.Sleep(time.Second) // for the ticket
			cc.Close()
		}
	})
}

func TestRequestFields(t *testing.T) {
	bubble(t, "H3-010 FW-06 what the CONNECT request carries", func(t *testing.T) {
		got := make(chan *http.Request, 1)
		h := serve(t, simulated(t), &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got <- r
			Upgrade(w, r, &transport.UpgradeOptions{Origins: []string{"*"}})
		})})
		defer h.stop()
		cc := h.client(nil)
		defer cc.Close()
		_, err := cc.Dial(context.Background(), "https://EXAMPLE.com:8443//a%20b?q=1 2", &transport.DialOptions{
			Origin: "https://origin.example",
			Header: http.Header{"x-extra": {"1", "2"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		r := <-got
		if r.Method != http.MethodConnect || r.Proto != protocolH3 || r.Host != "example.com:8443" || r.RequestURI != "//a%20b?q=1%202" {
			t.Errorf("%s %s %s %s", r.Method, r.Proto, r.Host, r.RequestURI)
		}
		if r.Header.Get("Origin") != "https://origin.example" || len(r.Header["X-Extra"]) != 2 || r.Header[":protocol"][0] != protocolH3 {
			t.Errorf("header %v", r.Header)
		}
		if _, ok := r.Header["User-Agent"]; ok {
			t.Errorf("a User-Agent was made up: %v", r.Header)
		}
	})
	bubble(t, "H3-010 :scheme is https", func(t *testing.T) {
		srv := rawListen(t, fullQUIC)
		defer srv.stop()
		cc, c := srv.client(nil, serverSettings...)
		done := dialing(cc, nil)
		str, block := c.acceptRequest()
		// ":scheme: https" is entry 23 of QPACK's static table.
		if !bytes.Contains(block, []byte{0xc0 | 23}) {
			t.Errorf("the request %x has no :scheme https", block)
		}
		c.answer(str)
		<-done
		cc.Close()
	})
	t.Run("FW-07 only https URLs", func(t *testing.T) {
		c := &ClientConn{}
		for _, u := range []string{"http://example.com/", "wss://example.com/", "https://", "https://u@example.com/", "https://example.com/#f"} {
			if _, err := c.Dial(context.Background(), u, nil); err == nil {
				t.Errorf("Dial %s succeeded", u)
			}
		}
	})
	t.Run("header fields that are the protocol's", func(t *testing.T) {
		c := &ClientConn{}
		for _, name := range []string{"Origin", "WT-Available-Protocols", "Content-Length", "Connection"} {
			if _, err := c.Dial(context.Background(), testURL, &transport.DialOptions{Header: http.Header{name: {"x"}}}); err == nil {
				t.Errorf("Dial with %s succeeded", name)
			}
		}
	})
}
