package peers

import (
	"testing"

	"github.com/towpath-go/towpath/e2e/clients"
)

// The columns of the table of requests: what ordinary requests do.
const (
	requestGET clients.Column = iota
	requestPOST
	requestTrailers
	requestHEAD
	requestMebibyte
	requestConcurrent
	requestCrowd
	requestColumnCount
)

var requestColumnNames = [requestColumnCount]string{
	requestGET:        "GET",
	requestPOST:       "POST",
	requestTrailers:   "trailers",
	requestHEAD:       "HEAD",
	requestMebibyte:   "1 MiB both ways",
	requestConcurrent: "100 at once",
	requestCrowd:      "beside 32 sessions",
}

// A requestCheck measures a field of the table; restriction is as in
// clients.Partly.
type requestCheck struct {
	restriction string
	run         func(t *testing.T)
}

// measureRequests measures every field of a row.
func measureRequests(t *testing.T, r *clients.Row, checks [requestColumnCount]requestCheck) {
	t.Helper()
	for c, check := range checks {
		if check.restriction != "" {
			clients.Partly(t, r, clients.Column(c), check.restriction, check.run)
		} else {
			clients.Cell(t, r, clients.Column(c), check.run)
		}
	}
}
