package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestErrorRules(t *testing.T) {
	reset := &ResetError{Protocol: HTTP2, Code: 8, Name: "CANCEL"}
	ended := fmt.Errorf("wrapped: %w", &SessionError{Remote: true, Err: reset})

	t.Run("a session error matches net.ErrClosed", func(t *testing.T) {
		if !errors.Is(ended, net.ErrClosed) {
			t.Error("does not match")
		}
		if errors.Is(ended, io.EOF) {
			t.Error("an ended session passes for a clean end of stream")
		}
	})
	t.Run("a session error shows what broke it", func(t *testing.T) {
		var got *ResetError
		if !errors.As(ended, &got) || got != reset {
			t.Errorf("got %v", got)
		}
	})
	t.Run("a stream error is not the session's end", func(t *testing.T) {
		err := error(&StreamError{Code: 1, Remote: true})
		if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
			t.Error("matches net.ErrClosed or io.EOF")
		}
	})
	t.Run("unsupported matches the standard error", func(t *testing.T) {
		if !errors.Is(ErrUnsupported, errors.ErrUnsupported) {
			t.Error("does not match errors.ErrUnsupported")
		}
	})
	t.Run("a reached limit shows through what wraps it", func(t *testing.T) {
		for _, err := range []error{
			&LimitError{Limit: LimitSessionIdle, Reason: "no data for 30s"},
			&ProtocolError{Violation: ViolationExcess, Limit: LimitSessionIdle},
		} {
			got, ok := ReachedLimit(fmt.Errorf("wrapped: %w", &SessionError{Reason: "idle", Err: err}))
			if !ok || got != LimitSessionIdle {
				t.Errorf("%T: %q, %t", err, got, ok)
			}
		}
		for _, err := range []error{nil, ended, &ProtocolError{Violation: ViolationMalformed}} {
			if got, ok := ReachedLimit(err); ok {
				t.Errorf("%v tells of limit %q", err, got)
			}
		}
	})
	t.Run("not processed shows its cause", func(t *testing.T) {
		if !errors.Is(&NotProcessedError{Err: ended}, net.ErrClosed) {
			t.Error("does not unwrap")
		}
	})
}

// TestErrorTexts: what the peer sent is escaped in texts that go to logs.
func TestErrorTexts(t *testing.T) {
	const hostile = "x\x1b[2J\r\nfake log line\x00\u202e"
	for _, c := range []struct {
		err  error
		want string
	}{
		{&SessionError{Code: 7, Reason: "bye"}, `towpath: session closed locally with code 7 "bye"`},
		{&SessionError{Remote: true}, `towpath: session closed by the peer with code 0`},
		{&SessionError{Remote: true, Err: &ProtocolError{Violation: ViolationFlowControl, Reason: "too much"}},
			`towpath: session ended: WT_FLOW_CONTROL_ERROR: too much`},
		{&SessionError{Reason: "idle", Err: &LimitError{Limit: LimitSessionIdle, Reason: "no data for 30s"}},
			`towpath: session ended: session-idle: no data for 30s`},
		{&StreamError{StreamID: 4, Code: 0xffffffff, Remote: true}, `towpath: stream 4 aborted by the peer with code 4294967295`},
		{&StreamError{StreamID: 4, NoCode: true}, `towpath: stream 4 aborted locally without a code`},
		{&ResetError{Protocol: HTTP3, Code: 0x10c, Name: "H3_REQUEST_CANCELLED"}, `h3 stream reset with H3_REQUEST_CANCELLED`},
		{&ResetError{Protocol: HTTP2, Code: 0x99, Connection: true}, `h2 connection closed with 0x99`},
		{&DialectError{Evidence: "3b and then 3c"}, `towpath: the peer turned out to speak draft 15, too late: 3b and then 3c`},
		{&DatagramTooLargeError{Max: 1200}, `towpath: datagram larger than 1200 bytes`},
		{&UnsentError{Bytes: 5}, `towpath: session closed with 5 bytes unsent`},
		{&UnsentError{}, `towpath: session closed with the end of a stream unsent`},
		{&MessageTooLargeError{Limit: 5}, `towpath: message longer than 5 bytes`},
		{&RejectedError{StatusCode: 403}, `towpath: the server rejected the session with status 403 Forbidden`},
		{&RejectedError{StatusCode: 599}, `towpath: the server rejected the session with status 599`},
		{&RejectedError{StatusCode: 302, Header: http.Header{"Location": {"/a"}}},
			`towpath: the server rejected the session with status 302 Found (Location: "/a", not followed)`},
		{&NotProcessedError{Err: io.EOF}, `towpath: request not processed: EOF`},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("%T: %q, want %q", c.err, got, c.want)
		}
	}
	for _, err := range []error{
		&SessionError{Remote: true, Reason: hostile},
		&ResetError{Reason: hostile},
		&RejectedError{StatusCode: 302, Header: http.Header{"Location": {hostile}}},
	} {
		if s := err.Error(); strings.ContainsAny(s, "\x1b\r\n\x00\u202e") {
			t.Errorf("%T lets control characters through: %q", err, s)
		}
	}
}

func TestNames(t *testing.T) {
	for v, want := range map[Violation]string{
		ViolationGeneric: "WT_ERROR", ViolationMalformed: "malformed message",
		ViolationStreamState: "WT_STREAM_STATE_ERROR", ViolationFlowControl: "WT_FLOW_CONTROL_ERROR",
		ViolationALPN: "WT_ALPN_ERROR", ViolationExcess: "excessive load", 200: "unknown violation",
	} {
		if got := v.String(); got != want {
			t.Errorf("Violation %d is %q, want %q", v, got, want)
		}
	}
	for p, want := range map[Protocol]string{HTTP3: "h3", HTTP2: "h2", WebSocket: "ws", ProtocolUnknown: "unknown", 99: "unknown"} {
		if got := p.String(); got != want {
			t.Errorf("Protocol %d is %q, want %q", p, got, want)
		}
	}
	for id, want := range map[StreamID][2]bool{0: {true, false}, 1: {false, false}, 2: {true, true}, 3: {false, true}, 1<<62 - 1: {false, true}} {
		if got := [2]bool{id.ClientInitiated(), id.Uni()}; got != want {
			t.Errorf("stream %d: client-initiated and uni %v, want %v", id, got, want)
		}
	}
	if a, b := NewSendGroup(), NewSendGroup(); a == b {
		t.Error("two send groups are the same")
	}
}
