package handshake

import (
	"net/http"

	"github.com/towpath-go/towpath/transport"
)

// A Refuser is the ResponseWriter of a request for a session whose transport tells
// its Monitor of every answer that is no session, whoever gives it. RefuseSession
// answers with a status and tells of the limit that was the reason.
type Refuser interface {
	RefuseSession(status int, limit transport.Limit)
}

// Refuse answers a request for a session with a status, because a limit was
// reached that lies outside of its transport. It reports whether the transport
// tells its Monitor of that; otherwise the caller does.
func Refuse(w http.ResponseWriter, status int, limit transport.Limit) (told bool) {
	if r, ok := Find[Refuser](w); ok {
		r.RefuseSession(status, limit)
		return true
	}
	w.WriteHeader(status)
	return false
}

// Told is called by a transport that wrote an answer to w which is no session, and
// told its Monitor: whoever watches the answers of w then does not tell again.
func Told(w http.ResponseWriter) {
	if o, ok := Find[interface{ Told() }](w); ok {
		o.Told()
	}
}
