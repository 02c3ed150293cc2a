package attack

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
)

var webSocketAttacks = []Attack{
	{Name: "ws-fragments", What: "WebSocket fragments of one byte, without end", Way: ledger.WS, run: inWebSocket(func(b []byte, i int) []byte {
		return appendFrame(b, 0, false, []byte{0})
	})},
	{Name: "ws-empty", What: "empty WebSocket messages", Way: ledger.WS, run: inWebSocket(func(b []byte, i int) []byte {
		return appendFrame(b, 2, true, nil)
	})},
	{Name: "ws-pings", What: "WebSocket pings", Way: ledger.WS, run: inWebSocket(func(b []byte, i int) []byte {
		return appendFrame(b, 9, true, []byte("ping"))
	})},
	{Name: "ws-padding", What: "PADDING capsules in messages", Way: ledger.WS, run: inWebSocket(func(b []byte, i int) []byte {
		return appendFrame(b, 2, true, capsules(20, func(b []byte, _ int) []byte { return appendCapsule(b, uint64(capsule.TypePadding), nil) }))
	})},
}

// appendFrame appends a frame whose mask is zero, so that it need not be applied.
func appendFrame(b []byte, opcode byte, fin bool, p []byte) []byte {
	if fin {
		opcode |= 0x80
	}
	b = append(b, opcode)
	if len(p) < 126 {
		b = append(b, 0x80|byte(len(p)))
	} else {
		b = append(b, 0x80|126, byte(len(p)>>8), byte(len(p)))
	}
	return append(append(b, 0, 0, 0, 0), p...)
}

// upgrade opens a session on a WebSocket.
func upgrade(ctx context.Context, t *Target) (*tls.Conn, error) {
	tc, err := t.dialTLS(ctx, "http/1.1")
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(tc, "GET /echo HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: towpath.capsule.v1\r\n\r\n", t.Address)
	if err == nil {
		var rsp *http.Response
		rsp, err = http.ReadResponse(bufio.NewReader(tc), nil)
		if err == nil && rsp.StatusCode != http.StatusSwitchingProtocols {
			err = fmt.Errorf("answered %s", rsp.Status)
		}
	}
	if err != nil {
		reset(tc.NetConn())
		return nil, err
	}
	return tc, nil
}

func inWebSocket(frame func(b []byte, i int) []byte) func(context.Context, *Target) error {
	return func(ctx context.Context, t *Target) error {
		tc, err := upgrade(ctx, t)
		if err != nil {
			return err
		}
		defer reset(tc.NetConn())
		stop := context.AfterFunc(ctx, func() { tc.NetConn().Close() })
		defer stop()
		go io.Copy(io.Discard, tc) // ends with the connection
		p := capsules(batch, frame)
		if frame(nil, 0)[0]&0xf == 0 { // a continuation needs a beginning
			if _, err := tc.Write(appendFrame(nil, 2, false, nil)); err != nil {
				return err
			}
		}
		for {
			if _, err := tc.Write(p); err != nil {
				if ctx.Err() == nil {
					t.cut.Add(1)
				}
				return err
			}
			t.sent(batch, len(p))
		}
	}
}
