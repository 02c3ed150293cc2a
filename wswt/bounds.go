package wswt

import (
	"net/http"
	"os"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// A boundError says that a bound of this side was reached, without the peer
// having broken a rule. One of time matches [os.ErrDeadlineExceeded].
type boundError struct {
	limit  transport.Limit
	text   string
	inTime bool // it is a bound of time
}

func (e *boundError) Error() string { return e.text }

// ReachedLimit returns the limit; see [transport.ReachedLimit].
func (e *boundError) ReachedLimit() transport.Limit { return e.limit }

// Is matches os.ErrDeadlineExceeded.
func (e *boundError) Is(target error) bool { return e.inTime && target == os.ErrDeadlineExceeded }

// Refusals of a server that has as much as it may have.
var (
	errMaxSessions = &boundError{limit: transport.LimitSessions,
		text: "wswt: Upgrade: the server has as many sessions as Config.MaxSessions allows"}
	errPerAddress = &boundError{limit: transport.LimitSessionsPerAddress,
		text: "wswt: Upgrade: the client has as many sessions as Config.MaxSessionsPerAddress allows"}
	errSessionRate = &boundError{limit: transport.LimitSessionRate,
		text: "wswt: Upgrade: the client asks for more sessions than Config.SessionRate allows"}
	errOffers = &boundError{limit: transport.LimitHeaderSize,
		text: "wswt: Upgrade: the client offers more subprotocols than are read"}
)

// Bounds of time.
var (
	errHandshakeTimeout = &boundError{limit: transport.LimitHandshakeTime, inTime: true,
		text: "wswt: the opening handshake takes too long"}
	errCloseTimeout = &boundError{limit: transport.LimitCloseTime, inTime: true,
		text: "wswt: the closing handshake takes too long"}
)

func pingTimeoutError(d time.Duration) error {
	return &boundError{limit: transport.LimitPingTime, inTime: true,
		text: "wswt: no answer to a ping within " + d.String()}
}

func writeTimeoutError(d time.Duration) error {
	return &boundError{limit: transport.LimitWriteTime, inTime: true,
		text: "wswt: the peer takes no bytes for " + d.String()}
}

// Retry-After of an answer 429, in seconds: when the rate will allow another
// session, and when one of those that are open may have ended.
const (
	retryRate  = "1"
	retryCount = "5"
)

// retryAfter is the Retry-After field of a refusal, "" for none.
func retryAfter(err error) string {
	switch err {
	case error(errSessionRate):
		return retryRate
	case error(errMaxSessions), error(errPerAddress):
		return retryCount
	}
	return ""
}

// headerMemory is about what a header takes in memory that is kept: its bytes,
// and what Go's map and slices need for each field and line.
func headerMemory(h http.Header) (n int) {
	const field, line = 96, 16
	for name, values := range h {
		n += field + len(name)
		for _, v := range values {
			n += line + len(v)
		}
	}
	return n
}
