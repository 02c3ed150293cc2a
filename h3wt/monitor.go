package h3wt

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// What Config.Monitor and Config.Logger are told of a connection: its opening once
// it is ready for sessions, its end once if it was, and the requests for sessions
// that got another answer.

func (c *conn) side() transport.Side {
	if c.server {
		return transport.ServerSide
	}
	return transport.ClientSide
}

func (c *conn) tellOpened() {
	c.log("connection opened", "", nil)
	if m := c.cfg.Monitor; m != nil {
		m.ConnectionOpened(transport.HTTP3, c.side())
	}
}

func (c *conn) tellEnded() {
	err := c.endError()
	limit, _ := transport.ReachedLimit(err)
	c.log("connection ended", limit, err)
	if m := c.cfg.Monitor; m != nil {
		m.ConnectionEnded(transport.HTTP3, c.side(), err)
	}
}

// tellRefused tells of a request for a session that is not granted. Status 0 says
// that its stream was reset.
func (c *conn) tellRefused(status int, limit transport.Limit, why string) {
	c.log("session refused", limit, errors.New(why), slog.Int("status", status))
	if m := c.cfg.Monitor; m != nil {
		m.SessionRefused(transport.Refusal{Protocol: transport.HTTP3, Status: status, Limit: limit})
	}
}

// http3Idle is what http3 says to the peer when its idle timer ends a connection.
const http3Idle = "idle timeout"

// endError is what went wrong with a connection that has ended, nil if nothing
// did and no limit was reached.
func (c *conn) endError() error {
	c.mu.Lock()
	cause := c.cause
	c.mu.Unlock()
	if cause != nil {
		return cause
	}
	err := context.Cause(c.qc.Context())
	closed, ok := errors.AsType[*quic.ApplicationError](err)
	switch {
	case !ok:
		return err
	case closed.ErrorCode == 0 || closed.ErrorCode == quic.ApplicationErrorCode(http3.ErrCodeNoError):
		if !closed.Remote && closed.ErrorMessage == http3Idle {
			return &transport.LimitError{Limit: transport.LimitConnectionIdle, Reason: "no session and no request"}
		}
		return nil
	case closed.Remote:
		return resetError(err)
	}
	return err
}

// requestEnded counts a request, or session, that failed, and gives one back for one
// that did not.
func (c *conn) requestEnded(failed bool) {
	if failed {
		c.charge("request that failed")
		return
	}
	c.mu.Lock()
	c.resets.Progress(sessionstate.DefaultFloodCredit)
	c.mu.Unlock()
}

// charge counts a stream that the peer opened for nothing: reset or ended before
// its header, for a session that does not come, or a request that failed. Too many
// end the connection, by the bucket that Floods.Resets says. Those of a session
// count for the session.
func (c *conn) charge(what string) {
	if c.qc.Context().Err() != nil {
		return // streams end with their connection
	}
	c.mu.Lock()
	ok := c.resets.Charge(time.Now())
	c.mu.Unlock()
	if !ok {
		c.closeConn(http3.ErrCodeExcessiveLoad, &transport.ProtocolError{
			Violation: transport.ViolationExcess, Limit: transport.LimitStreamResets,
			Reason: "too many streams for nothing, the last: " + what,
		})
	}
}
