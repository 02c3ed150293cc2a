package browsers

import (
	"strings"
	"testing"

	"github.com/towpath-go/towpath/e2e/clients"
)

// chromiumStops is what becomes of stop codes over HTTP/3 in Chromium. Which of
// its processes is told first decides what the page learns of the server's.
var chromiumStops = clients.Exception{
	Partly: "A page can stop a stream with codes up to 255 only: the browser's `WebTransportError` makes 255 of greater ones. " +
		"When the server stops one, Chromium tells the page the whole code, or at times an error without any code.",
	Show: func(t *testing.T, l clients.Link) {
		for sent, arrives := range map[uint32]uint32{254: 254, 256: 255} {
			ctx := clients.Limited(t)
			client, server := l.Session(t)
			ours, theirs := clients.Asked(t, ctx, client, server)
			clients.Must(t, ours.Stop(ctx, sent))
			clients.WantCode(t, ctx, "the server's writing", theirs.WasStopped, arrives)
			ours, theirs = clients.Asked(t, ctx, client, server)
			clients.Must(t, theirs.Stop(ctx, clients.WideCode))
			code, err := ours.WasStopped(ctx)
			if err != nil && !strings.Contains(err.Error(), "no code in: NetworkError") || err == nil && code != clients.WideCode {
				t.Errorf("the client's writing was aborted with code %d (%v), want %d or a NetworkError", code, err, uint32(clients.WideCode))
			}
		}
	},
}

// firefoxResets is what becomes of reset codes over HTTP/3 in Firefox.
var firefoxResets = clients.Exception{
	Partly: "A page can reset a stream with codes up to 255 only: the browser's `WebTransportError` makes 255 of greater ones. " +
		"When the server resets one, Firefox tells the page its code, 0 for those above 255, or at times an error without any code.",
	Show: func(t *testing.T, l clients.Link) {
		for sent, arrives := range map[uint32]uint32{255: 255, 256: 0} {
			ctx := clients.Limited(t)
			client, server := l.Session(t)
			ours, theirs := clients.Asked(t, ctx, client, server)
			clients.Must(t, ours.Reset(ctx, sent))
			clients.WantCode(t, ctx, "the server's reading", theirs.WasReset, 255)
			ours, theirs = clients.Asked(t, ctx, client, server)
			clients.Must(t, theirs.Reset(ctx, sent))
			code, err := ours.WasReset(ctx)
			if err != nil && !strings.Contains(err.Error(), "no code in: TypeError") || err == nil && code != arrives {
				t.Errorf("the client's reading was aborted with code %d (%v), want %d or a TypeError", code, err, arrives)
			}
		}
	},
}
