package peers

import (
	"sync"
	"testing"
)

// A column is a feature that every row is measured for.
type column int

// The columns, in the order of the table.
const (
	bidi column = iota
	uni
	serverStreams
	datagrams
	mebibyte
	resetCode
	stopCode
	closeByClient
	closeByServer
	subprotocol
	severalSessions
	columnCount
)

// columnNames are the heads of the table and the ends of the subtests' names.
var columnNames = [columnCount]string{
	bidi:            "bidi",
	uni:             "uni",
	serverStreams:   "server-opened streams",
	datagrams:       "datagrams",
	mebibyte:        "1 MiB both ways",
	resetCode:       "reset code",
	stopCode:        "stop code",
	closeByClient:   "close by client",
	closeByServer:   "close by server",
	subprotocol:     "subprotocol",
	severalSessions: "several sessions",
}

func (c column) String() string { return columnNames[c] }

// A section is one of the tables of the document.
type section int

const (
	foreign  section = iota // peers that nobody here wrote
	replayed                // what such peers send, by tests of ours
	own                     // both ends are Towpath
	sectionCount
)

// A row is a peer, a direction and a transport.
type row struct {
	name      string // of the subtests, unique and short
	section   section
	peer      string // the other implementation, for the reader
	end       string // the end that it is: "client", "server" or "both"
	transport string
	// module is "npm NAME" or "go PATH", whose pinned version the document
	// shows, or text that is shown as it is.
	module string
	// configure is what a user of Towpath has to set, "" for nothing.
	configure string
}

// An outcome is what a field of the table says.
type outcome struct {
	works bool
	note  string // the restriction or the reason, "" for a plain yes
	test  string // the test function that measured it
}

// The results of this run.
var (
	resultsMu sync.Mutex // guards the following
	results   = map[*row]*[columnCount]*outcome{}
)

// cell measures one field: f passes if the feature works without restriction.
func cell(t *testing.T, r *row, c column, f func(t *testing.T)) {
	t.Helper()
	measured(t, r, c, outcome{works: true}, f)
}

// partly measures a feature that works with a restriction that a user has to
// know: f passes if it works that far.
func partly(t *testing.T, r *row, c column, restriction string, f func(t *testing.T)) {
	t.Helper()
	measured(t, r, c, outcome{works: true, note: restriction}, f)
}

// lacks measures a feature that the peer does not have: f passes if it shows
// the failure that the reason speaks of.
func lacks(t *testing.T, r *row, c column, reason string, f func(t *testing.T)) {
	t.Helper()
	measured(t, r, c, outcome{note: reason}, f)
}

func measured(t *testing.T, r *row, c column, o outcome, f func(t *testing.T)) {
	t.Helper()
	got := runMeasured(t, r.name+": "+c.String(), o, f)
	if got == nil {
		return
	}
	resultsMu.Lock()
	defer resultsMu.Unlock()
	if results[r] == nil {
		results[r] = new([columnCount]*outcome)
	}
	results[r][c] = got
}

// runMeasured runs the subtest of a field. It returns the outcome o if f
// passed, and nil if it failed or was not chosen by -run: the document cannot
// be written then.
func runMeasured(t *testing.T, name string, o outcome, f func(t *testing.T)) *outcome {
	t.Helper()
	ran := false
	passed := t.Run(name, func(t *testing.T) {
		ran = true
		f(t)
		if t.Skipped() {
			t.Error("a field of the table cannot be skipped")
		}
	})
	if !ran || !passed {
		return nil
	}
	o.test = t.Name()
	return &o
}

// exceptions are the fields of a row that are not a plain yes.
type exceptions map[column]exception

// An exception has either partly or lacks.
type exception struct {
	partly string
	lacks  string
	// show is what to run in place of the column's scenario; nil is the
	// scenario itself.
	show func(t *testing.T, l link)
}

// measure measures every field of a row.
func measure(t *testing.T, r *row, l link, not exceptions) {
	for c := range columnCount {
		x := not[c]
		show := x.show
		if show == nil {
			show = scenarios[c]
		}
		f := func(t *testing.T) { show(t, l) }
		switch {
		case x.lacks != "":
			lacks(t, r, c, x.lacks, f)
		case x.partly != "":
			partly(t, r, c, x.partly, f)
		default:
			cell(t, r, c, f)
		}
	}
}
