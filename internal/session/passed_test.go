package session

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// TestPassedDeadlines shows what counts more than a deadline that has passed:
// how the stream or the session ended, which no new deadline can change.
func TestPassedDeadlines(t *testing.T) {
	past := time.Unix(1, 0)
	t.Run("H2-181 the session's end", func(t *testing.T) {
		bubble(t, func(t *tester) {
			st := t.open()
			t.ok(st.SetDeadline(past))
			t.wantReadError(st, os.ErrDeadlineExceeded)
			t.wantWriteError(st, os.ErrDeadlineExceeded)
			t.s.Lost(errors.New("lost"))
			end, _ := errors.AsType[*transport.SessionError](t.s.Drain())
			t.wantReadError(st, end)
			t.wantWriteError(st, end)
		})
	})
	t.Run("the stream's abort", func(t *testing.T) {
		bubble(t, func(t *tester) {
			st := open0(t)
			t.ok(st.SetDeadline(past))
			t.writeCapsule(capsule.ResetStream{StreamID: 0, ErrorCode: 7, ReliableSize: 4}, capsule.StopSending{StreamID: 0, ErrorCode: 8})
			t.wantReadError(st, streamError(0, 7, true))
			t.wantWriteError(st, streamError(0, 8, true))
		})
	})
	t.Run("not the data that is here", func(t *testing.T) {
		bubble(t, func(t *tester) {
			st := open0(t)
			t.ok(st.SetReadDeadline(past))
			t.wantReadError(st, os.ErrDeadlineExceeded)
			t.ok(st.SetReadDeadline(time.Time{}))
			t.wantRead(st, "data")
		})
	})
}
