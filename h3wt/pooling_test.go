package h3wt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/transport"
)

func TestPooling(t *testing.T) {
	bubble(t, "FW-04 FW-24 H3-042 H3-066 sessions on one connection do not disturb each other", func(t *testing.T) {
		handler, accepted := sessions(t, nil)
		h := serve(t, simulated(t), &Server{Handler: handler})
		defer h.stop()
		cc := h.client(nil)
		defer cc.Close()
		type pair struct{ c, s transport.Session }
		var pairs []pair
		for range 8 {
			s, err := cc.Dial(context.Background(), testURL, nil)
			if err != nil {
				t.Fatal(err)
			}
			pairs = append(pairs, pair{s, <-accepted})
		}
		// All but the last fill their windows, which nobody reads.
		for _, p := range pairs[:7] {
			for _, s := range []transport.Session{p.c, p.s} {
				for range 8 {
					u, err := s.OpenUniStream(context.Background())
					if err != nil {
						t.Fatal(err)
					}
					go u.Write(make([]byte, 4<<20))
				}
			}
		}
		time.Sleep(5 * time.Second)
		// Yet the last one moves more than a window, both ways.
		last := pairs[7]
		payload := bytes.Repeat([]byte("y"), 3<<20)
		for _, p := range []pair{last, {last.s, last.c}} {
			u, err := p.c.OpenUniStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			go func() { u.Write(payload); u.Close() }()
			v, err := p.s.AcceptUniStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(v); err != nil || !bytes.Equal(b, payload) {
				t.Fatalf("%d bytes, %v", len(b), err)
			}
		}
		// And every close arrives past all that.
		for i, p := range pairs {
			p.c.CloseWithError(transport.SessionErrorCode(i), "")
			wantSessionEnd(t, p.s, transport.SessionError{Code: transport.SessionErrorCode(i), Remote: true})
		}
		if a, b := pairs[0].c.Info().ID, pairs[1].c.Info().ID; a == b {
			t.Error("two sessions have one ID")
		}
	})
	bubble(t, "H3-041 sessions of one connection export different material", func(t *testing.T) {
		handler, accepted := sessions(t, nil)
		h := serve(t, simulated(t), &Server{Handler: handler})
		defer h.stop()
		cc := h.client(nil)
		defer cc.Close()
		seen := map[string]bool{}
		for range 2 {
			s, err := cc.Dial(context.Background(), testURL, nil)
			if err != nil {
				t.Fatal(err)
			}
			served := <-accepted
			a, err := s.ExportKeyingMaterial("label", []byte("context"), 32)
			if err != nil {
				t.Fatal(err)
			}
			b, err := served.ExportKeyingMaterial("label", []byte("context"), 32)
			if err != nil || !bytes.Equal(a, b) {
				t.Errorf("%x and %x, %v", a, b, err)
			}
			seen[string(a)] = true
		}
		if len(seen) != 2 {
			t.Error("two sessions export the same material")
		}
	})
	bubble(t, "H3-049 QUIC's limit on streams holds besides the session's", func(t *testing.T) {
		srv := rawListen(t, &quic.Config{EnableDatagrams: true, EnableStreamResetPartialDelivery: true, MaxIncomingStreams: 5, MaxIncomingUniStreams: 6})
		defer srv.stop()
		cc, c := srv.client(nil, pooledServerSettings...) // 10 of each kind
		s, _ := c.established(cc, nil)
		var first []transport.Stream
		for range 4 { // the CONNECT stream is the client's as well, and there are 5
			x, err := s.OpenStream(canceled)
			if err != nil {
				t.Fatal(err)
			}
			first = append(first, x)
		}
		if _, err := s.OpenStream(canceled); !errors.Is(err, transport.ErrStreamLimit) {
			t.Errorf("OpenStream: %v", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := s.OpenStream(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("OpenStream: %v", err)
		}
		// The places in the session came back: once QUIC allows streams again,
		// all six that are left can be opened, and no more.
		go func() {
			for {
				str, err := c.AcceptStream(context.Background())
				if err != nil {
					return
				}
				str.CancelWrite(0)
				str.CancelRead(0)
			}
		}()
		for _, x := range first {
			x.CancelWrite(0)
			x.CancelRead(0)
		}
		for range 6 {
			x, err := s.OpenStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			x.CancelWrite(0)
			x.CancelRead(0)
		}
		time.Sleep(time.Second)
		if _, err := s.OpenStream(canceled); !errors.Is(err, transport.ErrStreamLimit) {
			t.Errorf("OpenStream beyond the session's limit: %v", err)
		}
		cc.Close()
	})
}
