package clients

import (
	"sync"
	"testing"
)

// A Table of the document.
type Table struct {
	Title string
	Text  string // above the table
	// Heads are those of the cells that name a row: of its Peer, End and
	// Transport, or the first of them.
	Heads []string
	// Columns are what every row is measured for: the other heads, and the ends
	// of the subtests' names.
	Columns []string
}

// Sessions returns a table whose columns are what sessions can do.
func Sessions(title, text string) *Table {
	return &Table{title, text, []string{"peer", "its end", "transport"}, columnNames[:]}
}

// A Column is the index of one of a table's columns.
type Column int

// The columns of a table of sessions.
const (
	Bidi Column = iota
	Uni
	ServerStreams
	Datagrams
	Mebibyte
	ResetCode
	StopCode
	CloseByClient
	CloseByServer
	Subprotocol
	SeveralSessions
	ColumnCount
)

var columnNames = [ColumnCount]string{
	Bidi:            "bidi",
	Uni:             "uni",
	ServerStreams:   "server-opened streams",
	Datagrams:       "datagrams",
	Mebibyte:        "1 MiB both ways",
	ResetCode:       "reset code",
	StopCode:        "stop code",
	CloseByClient:   "close by client",
	CloseByServer:   "close by server",
	Subprotocol:     "subprotocol",
	SeveralSessions: "several sessions",
}

func (c Column) String() string { return columnNames[c] }

// A Row is a line of a table: a peer, a direction and a transport.
type Row struct {
	Name      string // of the subtests, unique in its part and short
	Table     *Table
	Peer      string // the other implementation, for the reader
	End       string // the end that it is: "client", "server" or "both"
	Transport string
	// Module is "npm NAME" or "go PATH", whose pinned version the document
	// shows, "machine NAME" for the version that a test told [MachineHas] of, or
	// text that is shown as it is.
	Module string
	// Configure is what a user of Towpath has to set, "" for nothing.
	Configure string
}

// An outcome is what a field of the table says.
type outcome struct {
	works bool
	note  string // the restriction or the reason, "" for a plain yes
	test  string // the test function that measured it
}

// A measurement is what was measured of each row.
type measurement map[*Row][]*outcome

// What this run measured.
var (
	resultsMu sync.Mutex // guards the following
	results   = measurement{}
	machine   = map[string]string{} // versions of the machine's programs
)

// MachineHas tells the version of a program that the tests do not choose. The
// document shows it, and is not compared in it.
func MachineHas(name, version string) {
	resultsMu.Lock()
	defer resultsMu.Unlock()
	machine[name] = version
}

// Cell measures one field: f passes if the feature works without restriction.
func Cell(t *testing.T, r *Row, c Column, f func(t *testing.T)) {
	t.Helper()
	measured(t, r, c, outcome{works: true}, f)
}

// Partly measures a feature that works with a restriction that a user has to
// know: f passes if it works that far.
func Partly(t *testing.T, r *Row, c Column, restriction string, f func(t *testing.T)) {
	t.Helper()
	measured(t, r, c, outcome{works: true, note: restriction}, f)
}

// Lacks measures a feature that the peer does not have: f passes if it shows
// the failure that the reason speaks of.
func Lacks(t *testing.T, r *Row, c Column, reason string, f func(t *testing.T)) {
	t.Helper()
	measured(t, r, c, outcome{note: reason}, f)
}

// measured runs the subtest of a field, and keeps the outcome o if f passed. If
// it failed or was not chosen by -run the document cannot be written.
func measured(t *testing.T, r *Row, c Column, o outcome, f func(t *testing.T)) {
	t.Helper()
	ran := false
	passed := t.Run(r.Name+": "+r.Table.Columns[c], func(t *testing.T) {
		ran = true
		f(t)
		if t.Skipped() {
			t.Error("a field of the table cannot be skipped")
		}
	})
	if !ran || !passed {
		return
	}
	o.test = t.Name()
	resultsMu.Lock()
	defer resultsMu.Unlock()
	if results[r] == nil {
		results[r] = make([]*outcome, len(r.Table.Columns))
	}
	results[r][c] = &o
}

// Exceptions are the fields of a row that are not a plain yes.
type Exceptions map[Column]Exception

// An Exception may have either Partly or Lacks, and is a plain yes without.
type Exception struct {
	Partly string
	Lacks  string
	// Show is what to run in place of the column's scenario; nil is the
	// scenario itself.
	Show func(t *testing.T, l Link)
}

// Measure measures every field of a row of a table of [Sessions].
func Measure(t *testing.T, r *Row, l Link, not Exceptions) {
	for c := range ColumnCount {
		x := not[c]
		show := x.Show
		if show == nil {
			show = Scenarios[c]
		}
		f := func(t *testing.T) { show(t, l) }
		switch {
		case x.Lacks != "":
			Lacks(t, r, c, x.Lacks, f)
		case x.Partly != "":
			Partly(t, r, c, x.Partly, f)
		default:
			Cell(t, r, c, f)
		}
	}
}
