package negotiate

import (
	"net/http"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/h3wt"
	"github.com/towpath-go/towpath/transport"
)

// Upgrade accepts the WebTransport session that a request asks for, whichever
// HTTP version it came by. It works in any http.Handler of a [Server], and of
// servers set up with package h2wt or h3wt, behind middleware that wraps w if
// r's context comes from the original's. A nil opts is the zero UpgradeOptions.
//
// The session outlives the handler, and does not depend on r.Context(). On error
// the status has been written: 403 for an Origin that is not allowed, 400 for
// malformed fields and if no application protocol fits a requirement, 405 if
// the request does not ask for a session.
func Upgrade(w http.ResponseWriter, r *http.Request, opts *transport.UpgradeOptions) (transport.Session, error) {
	if r.ProtoMajor == 3 {
		return h3wt.Upgrade(w, r, opts)
	}
	return h2wt.Upgrade(w, r, opts)
}
