package browsers

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/wswt"
)

// TestHostileScripts has package wswt meet the same scripts. It documents them,
// and makes sure that what is laid to the page's charge is the script's doing.
func TestHostileScripts(t *testing.T) {
	h := newHostileServer(t, nil)
	for _, c := range hostileCases() {
		if c.bearable {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url, seen := h.play(c)
			ctx, cancel := context.WithTimeout(t.Context(), hostileTime)
			defer cancel()
			dialCtx := ctx
			if c.page == "close now" {
				var cancel context.CancelFunc
				dialCtx, cancel = context.WithTimeout(ctx, 100*time.Millisecond)
				defer cancel()
			}
			s, err := wswt.Dial(dialCtx, url, h.cert.ClientConfig("127.0.0.1"), nil)
			if (err != nil) != c.notReady {
				t.Fatalf("Dial: %v", err)
			}
			if err != nil {
				return
			}
			accepting := make(chan struct{})
			go func() { // ends with the session
				defer close(accepting)
				for {
					x, err := s.AcceptUniStream(context.Background())
					if err != nil {
						return
					}
					if c.page == "read" {
						go io.Copy(io.Discard, x) // ends with the session
					}
				}
			}()
			bidi, err := s.OpenStream(ctx)
			if err != nil {
				t.Fatal(err)
			}
			uni, err := s.OpenUniStream(ctx)
			if err != nil {
				t.Fatal(err)
			}
			bidi.Write([]byte("x"))
			uni.Write([]byte("x"))
			switch c.page {
			case "finish":
				bidi.Close()
			case "close":
				s.CloseWithError(5, "from the page")
			}
			select {
			case <-s.Context().Done():
			case <-ctx.Done():
				t.Fatal("the session goes on")
			}
			se, ok := errors.AsType[*transport.SessionError](context.Cause(s.Context()))
			if !ok {
				t.Fatalf("the session ended with %v", context.Cause(s.Context()))
			}
			failed := se.Err != nil
			if failed != c.failed || !failed && (uint32(se.Code) != c.code || se.Reason != c.reason) {
				t.Errorf("the session ended with %v", se)
			}
			s.CloseWithError(0, "")
			<-accepting
			v := <-seen
			if v.err != nil {
				t.Errorf("the script: %v", v.err)
			}
			// A page cannot send the statuses of RFC 6455.
			if len(c.statuses) == 1 && c.statuses[0] > 4000 && v.status != c.statuses[0]-3000 {
				t.Errorf("Close frame with status %d (%q)", v.status, v.reason)
			}
		})
	}
}
