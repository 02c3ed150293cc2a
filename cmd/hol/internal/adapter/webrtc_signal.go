package adapter

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
)

// postOffer is the client's half of signalling: one request on a TCP connection
// of its own, which takes a round trip for TCP, one for TLS 1.3 and one for the
// request. It uses no client of net/http, whose connections' goroutines outlive
// the request.
func postOffer(ctx context.Context, env Env, to netip.AddrPort, offer string) (answer string, err error) {
	raw, err := env.Client.DialTCP(ctx, to)
	if err != nil {
		return "", fmt.Errorf("webrtc: signalling: %w", err)
	}
	defer raw.Close()
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	// What ctx ended was cut off by it, whatever the connection says.
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}()
	config := env.ClientTLS("http/1.1")
	config.ServerName = to.Addr().String()
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return "", fmt.Errorf("webrtc: signalling: %w", err)
	}
	r, err := http.NewRequest("POST", "https://"+to.String()+webrtcPath, strings.NewReader(offer))
	if err != nil {
		return "", fmt.Errorf("webrtc: signalling: %w", err)
	}
	r.Header.Set("Content-Type", "application/sdp")
	r.Close = true
	if err := r.Write(conn); err != nil {
		return "", fmt.Errorf("webrtc: signalling: %w", err)
	}
	response, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, 2*webrtcMaxSDP)), r)
	if err != nil {
		return "", fmt.Errorf("webrtc: signalling: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusConflict {
		return "", errWebRTCTaken
	}
	if response.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("webrtc: signalling: the server answered %s", response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, webrtcMaxSDP+1))
	if err != nil {
		return "", fmt.Errorf("webrtc: signalling: %w", err)
	}
	if len(body) > webrtcMaxSDP {
		return "", fmt.Errorf("webrtc: signalling: an answer of more than %d bytes", webrtcMaxSDP)
	}
	return string(body), nil
}
