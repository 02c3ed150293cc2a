package peers

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// A requestColumn is something that ordinary requests do.
type requestColumn int

const (
	requestGET requestColumn = iota
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

func (c requestColumn) String() string { return requestColumnNames[c] }

// A requestRow is an HTTP client that nobody here wrote.
type requestRow struct {
	name   string // of the subtests, unique and short
	client string // for the reader
	module string // as in row
}

// A requestTable is what was measured of ordinary requests.
type requestTable struct {
	rows    []*requestRow
	results map[*requestRow]*[requestColumnCount]*outcome // guarded by resultsMu
}

// requests is the table of this run.
var requests = requestTable{
	rows:    []*requestRow{requestsNetHTTP, requestsXNet, requestsXNetSessions, requestsH2load, requestsNghttp, requestsCurl},
	results: map[*requestRow]*[requestColumnCount]*outcome{},
}

// A requestCheck measures a field of the table; restriction is as in partly.
type requestCheck struct {
	restriction string
	run         func(t *testing.T)
}

// measureRequests measures every field of a row.
func measureRequests(t *testing.T, r *requestRow, checks [requestColumnCount]requestCheck) {
	t.Helper()
	for c, check := range checks {
		o := runMeasured(t, fmt.Sprintf("%s: %v", r.name, requestColumn(c)), outcome{works: true, note: check.restriction}, check.run)
		if o == nil {
			continue
		}
		resultsMu.Lock()
		if requests.results[r] == nil {
			requests.results[r] = new([requestColumnCount]*outcome)
		}
		requests.results[r][c] = o
		resultsMu.Unlock()
	}
}

// complete says which fields were not measured.
func (q requestTable) complete() error {
	var errs []error
	for _, r := range q.rows {
		for c := range requestColumnCount {
			if q.results[r] == nil || q.results[r][c] == nil {
				errs = append(errs, fmt.Errorf("%q was not measured for %v", r.name, c))
			}
		}
	}
	if n := len(q.results); n > len(q.rows) {
		errs = append(errs, fmt.Errorf("%d rows of requests were measured, %d are listed", n, len(q.rows)))
	}
	return errors.Join(errs...)
}

// write writes the table, and returns the notes with its own.
func (q requestTable) write(b *bytes.Buffer, notes []string) []string {
	b.WriteString(requestsText)
	b.WriteString("| client |")
	for c := range requestColumnCount {
		fmt.Fprintf(b, " %v |", c)
	}
	b.WriteString("\n|---|" + strings.Repeat(":-:|", int(requestColumnCount)) + "\n")
	for _, r := range q.rows {
		fmt.Fprintf(b, "| %s |", escape(r.client))
		for c := range requestColumnCount {
			var field string
			field, notes = mark(q.results[r][c], notes)
			fmt.Fprintf(b, " %s |", field)
		}
		b.WriteString("\n")
	}
	return notes
}

// writeVersions writes the rows' lines of the list of versions.
func (q requestTable) writeVersions(b *bytes.Buffer) error {
	for _, r := range q.rows {
		version, err := versionOf(r.module)
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "| %s | %s | nothing | `%s/%s:` |\n", escape(r.client), escape(version),
			q.results[r][0].test, strings.ReplaceAll(r.name, " ", "_"))
	}
	return nil
}
