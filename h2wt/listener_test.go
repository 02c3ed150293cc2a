package h2wt

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/towpath-go/towpath/internal/testcert"
)

func TestListener(t *testing.T) {
	data := bytes.Repeat([]byte("towpath"), 40<<10)
	t.Run("HTTP/1.1 on the same listener", func(t *testing.T) {
		cert := testcert.New(t)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		hs := &http.Server{
			Handler:   http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(data) }),
			TLSConfig: cert.ServerConfig(),
		}
		if err := ConfigureServer(hs, nil); err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- hs.ServeTLS(NewListener(ln), "", "") }()
		for _, h2 := range []bool{false, true} {
			tr := &http.Transport{TLSClientConfig: cert.ClientConfig("127.0.0.1"), ForceAttemptHTTP2: h2}
			resp, err := (&http.Client{Transport: tr}).Get("https://" + ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if !bytes.Equal(got, data) || err != nil || (resp.ProtoMajor == 2) != h2 {
				t.Errorf("%s: %d bytes, %v", resp.Proto, len(got), err)
			}
			tr.CloseIdleConnections()
		}
		hs.Close()
		<-done
	})
}
