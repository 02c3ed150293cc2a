package main

import (
	"fmt"
	"os"
	"time"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
	"github.com/towpath-go/towpath/e2e/soak/internal/report"
)

// A progress shows how far a run is: on a terminal in its last line, elsewhere by
// a line every ten seconds. It belongs to one goroutine.
type progress struct {
	f        *os.File
	terminal bool
	quiet    bool
	drawn    bool
	next     time.Time
}

func newProgress(f *os.File, quiet bool) *progress {
	info, err := f.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull && os.Getenv("TERM") != "dumb" && os.Getenv("TERM") != ""
	return &progress{f: f, terminal: terminal, quiet: quiet}
}

// say prints a line, also if quiet.
func (p *progress) say(format string, args ...any) {
	p.end()
	fmt.Fprintln(p.f, "soak: "+fmt.Sprintf(format, args...))
}

// end removes the line in the terminal.
func (p *progress) end() {
	if p.drawn {
		fmt.Fprint(p.f, "\r\x1b[K")
		p.drawn = false
	}
}

// due tells whether it is time for another line.
func (p *progress) due() bool {
	now := time.Now()
	if p.quiet || now.Before(p.next) {
		return false
	}
	if p.terminal {
		p.next = now.Add(200 * time.Millisecond)
	} else {
		p.next = now.Add(10 * time.Second)
	}
	return true
}

// line shows a line of at most 77 characters.
func (p *progress) line(text string) {
	if r := []rune(text); len(r) > 77 {
		text = string(r[:77])
	}
	if p.terminal {
		fmt.Fprint(p.f, "\r"+text+"\x1b[K")
		p.drawn = true
	} else {
		fmt.Fprintln(p.f, text)
	}
}

// show shows how far a soak is.
func (p *progress) show(at phase, s ledger.Settings, in time.Duration, so report.Soak, violated int) {
	if !p.due() {
		return
	}
	var t ledger.Tally
	for _, way := range s.Transports {
		t.Add(report.Both(&so, way))
	}
	where := phases[at]
	if at == running {
		where = (s.Duration - in).Round(time.Second).String() + " left"
	}
	p.line(fmt.Sprintf("soak: %s, %s sessions on %s, %s streams, %s MB, %d violated",
		where, thousands(so.Client.Sessions), thousands(so.Client.Connections), thousands(t.Streams), thousands(t.Bytes/1e6), violated))
}
