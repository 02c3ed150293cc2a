package h2conn_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/internal/memconn"
)

// TestExchange lets our client and our server talk: large bodies both ways with
// trailers, and a round-trip time.
func TestExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cn, sn := memconn.Pipe(&memconn.Options{Latency: 10 * time.Millisecond, Buffer: 1 << 20})
		requests := make(chan *stream, 10)
		srv := h2conn.Server(sn, nil, handlerFunc(func(st *h2conn.Stream, h *h2conn.Header) h2conn.Receiver {
			s := &stream{st: st, request: clone(h), outTrailers: fields("x-sum", "1")}
			requests <- s
			return s
		}))
		served := h2test.RunAsync(func() (int, error) { return 0, srv.Serve() })
		c := h2conn.Client(cn, nil)

		up, down := strings.Repeat("u", 3<<20), strings.Repeat("d", 5<<20)
		s := &stream{outTrailers: fields("x-up", "2")}
		st, err := c.OpenStream(context.Background(), &h2conn.Open{Fields: fields(post...), Receiver: s, Source: source{s}})
		if err != nil {
			t.Fatal(err)
		}
		s.st = st
		s.write(up, true)
		r := <-requests
		if r.request.Method != "POST" || r.request.Path != "/" || r.request.EndStream {
			t.Errorf("request %+v", r.request)
		}
		if err := r.st.WriteHeaders(fields(":status", "103"), false, nil); err != nil {
			t.Error(err)
		}
		if err := r.st.WriteHeaders(ok200, false, nil); err != nil {
			t.Error(err)
		}
		r.write(down, true)
		r.st.SetSource(source{r})
		r.st.Done()
		time.Sleep(5 * time.Second)

		data, ended, reset := r.snapshot()
		if data != up || !ended || reset != nil || r.trailers[0].Value != "2" {
			t.Errorf("server got %d bytes, ended %v, reset %v, trailers %v", len(data), ended, reset, r.trailers)
		}
		data, ended, reset = s.snapshot()
		if data != down || !ended || reset != nil || s.trailers[0].Value != "1" || s.response.Status != 200 || len(s.interim) != 1 {
			t.Errorf("client got %d bytes, ended %v, reset %v, %+v", len(data), ended, reset, s.response)
		}
		for _, c := range []*h2conn.Conn{c, srv} {
			if rtt, ok := c.RTT(); !ok || rtt < 20*time.Millisecond || rtt > 25*time.Millisecond {
				t.Errorf("round-trip time %v %v", rtt, ok)
			}
			if n := c.Streams(); n != 0 {
				t.Errorf("%d streams left", n)
			}
		}
		c.Close()
		if _, err := served.Result(); err != nil {
			t.Error(err)
		}
	})
}

type handlerFunc func(st *h2conn.Stream, h *h2conn.Header) h2conn.Receiver

func (f handlerFunc) Request(st *h2conn.Stream, h *h2conn.Header) h2conn.Receiver { return f(st, h) }
