package browsers

import (
	"slices"

	"github.com/towpath-go/towpath/e2e/clients"
)

// pages is the table of sessions of pages.
var pages = clients.Sessions("Pages in browsers", `
A page in a real browser at one end, Towpath at the other. Both browsers are
headless; versions are those of the machine that measured.

What the columns do not say: a session of a Chromium tab ends with the tab, with
code 0. Firefox ends the streams of a closed tab as if the page had sent all, and
keeps the session, so a server has to notice that nothing comes.`)

// part is what this package writes of docs/clients.md. Each row is declared in
// the file of the test that measures it.
var part = &clients.Part{
	Name:   "browsers",
	Tables: []*clients.Table{pages},
	Notes:  "Notes on browsers", Versions: "Browsers, settings and tests",
	Example: "TestNative/chromium/chromium_native:_bidi",
	Rows: slices.Concat([]*clients.Row{
		nativeChromium,
		nativeFirefox,
	}, rowsOf(chromiumPackage), rowsOf(firefoxPackage)),
}
