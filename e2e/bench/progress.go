package main

import (
	"fmt"
	"os"
	"time"

	"github.com/towpath-go/towpath/e2e/bench/internal/measure"
)

// A progress shows how far a run is: on a terminal in its last line, elsewhere by
// a line every ten seconds. It belongs to one goroutine.
type progress struct {
	f        *os.File
	terminal bool
	drawn    bool
	next     time.Time
}

func newProgress(f *os.File) *progress {
	info, err := f.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull && os.Getenv("TERM") != "dumb" && os.Getenv("TERM") != ""
	return &progress{f: f, terminal: terminal}
}

// end removes the line in the terminal.
func (p *progress) end() {
	if p.drawn {
		fmt.Fprint(p.f, "\r\x1b[K")
		p.drawn = false
	}
}

// show shows a line.
func (p *progress) show(text string) {
	if p.terminal {
		fmt.Fprintf(p.f, "\rbench: %.70s\x1b[K", text)
		p.drawn = true
		return
	}
	if now := time.Now(); now.After(p.next) {
		p.next = now.Add(10 * time.Second)
		fmt.Fprintln(p.f, "bench: "+text)
	}
}

// step shows a measurement that begins.
func (p *progress) step(s measure.Progress) {
	p.show(fmt.Sprintf("%d of %d, round %d of %d: %s of %s; %v left", s.Done+1, s.Steps, s.Round, s.Rounds, s.Bench, s.Peer, s.Left.Round(time.Second)))
}
