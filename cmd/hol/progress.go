package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
	"github.com/towpath-go/towpath/cmd/hol/internal/plan"
)

// A progress shows how far a study is: on a terminal as a bar in the last line,
// elsewhere as a line for every tenth. What is said goes above it.
type progress struct {
	w     io.Writer
	bar   bool // on a terminal
	quiet bool
	width func() int

	steps chan func() // run by the one goroutine that writes
	ended chan struct{}

	// The rest belongs to that goroutine.
	last     plan.Event
	at       time.Time // of last
	drawn    bool      // the bar is in the terminal's last line
	rejected int
	failed   int
	tenth    int
}

// maxSaid bounds the rejected runs that are said one by one.
const maxSaid = 5

func startProgress(f *os.File, quiet bool) *progress {
	terminal := term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
	return newProgress(f, terminal, quiet, func() int {
		width, _, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 80
		}
		return width
	})
}

func newProgress(w io.Writer, terminal, quiet bool, width func() int) *progress {
	p := &progress{w: w, bar: terminal && !quiet, quiet: quiet, width: width, steps: make(chan func()), ended: make(chan struct{})}
	go p.write() // ends with stop, which waits for it
	return p
}

func (p *progress) write() {
	defer close(p.ended)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case step, ok := <-p.steps:
			if !ok {
				p.clear()
				return
			}
			step()
		case <-tick.C:
		}
		p.draw()
	}
}

// stop removes the bar.
func (p *progress) stop() {
	close(p.steps)
	<-p.ended
}

// say prints a line, also if quiet.
func (p *progress) say(format string, args ...any) {
	p.steps <- func() { p.line(format, args...) }
}

func (p *progress) line(format string, args ...any) {
	p.clear()
	fmt.Fprintln(p.w, "hol: "+fmt.Sprintf(format, args...))
}

// event takes what plan tells.
func (p *progress) event(e plan.Event) {
	p.steps <- func() {
		p.last, p.at = e, time.Now()
		switch e.Kind {
		case plan.Repeat, plan.Rejected:
			p.rejected++
			switch {
			case p.quiet || p.rejected > maxSaid+1:
			case p.rejected > maxSaid:
				p.line("more runs were rejected; they are counted")
			case e.Kind == plan.Repeat:
				p.line("%s: rejected, will be repeated: %s", describe(e.Result.Run), e.Result.Rejected)
			default:
				p.line("%s: rejected once more, given up: %s", describe(e.Result.Run), e.Result.Rejected)
			}
		case plan.Failed:
			p.failed++
			if !p.quiet {
				p.line("%s: failed: %s", describe(e.Result.Run), e.Result.Failed)
			}
		}
		p.byTenths()
	}
}

// byTenths prints a line where there is no bar.
func (p *progress) byTenths() {
	e := p.last
	if p.bar || p.quiet || e.Total == 0 || e.Kind == plan.Begin {
		return
	}
	if tenth := 10 * e.Done / e.Total; tenth > p.tenth {
		p.tenth = tenth
		p.line("%d of %d runs%s%s", e.Done, e.Total, p.counts(), p.remaining())
	}
}

func (p *progress) counts() string {
	var b strings.Builder
	if p.rejected > 0 {
		fmt.Fprintf(&b, ", %d rejected", p.rejected)
	}
	if p.failed > 0 {
		fmt.Fprintf(&b, ", %d failed", p.failed)
	}
	return b.String()
}

func (p *progress) remaining() string {
	if p.last.Done == p.last.Total {
		return ""
	}
	return ", " + roughly(max(p.last.Left-time.Since(p.at), time.Second)) + " left"
}

func (p *progress) clear() {
	if p.drawn {
		io.WriteString(p.w, "\r\x1b[K")
		p.drawn = false
	}
}

// interrupt is the room that stays free behind the bar: for the ^C that a terminal
// shows, so that clear finds all of it in one line, and for the cursor.
const interrupt = 3

// draw writes the bar over the one before it.
func (p *progress) draw() {
	if !p.bar || p.last.Total == 0 {
		return
	}
	e := p.last
	text := fmt.Sprintf(" %d/%d runs%s%s", e.Done, e.Total, p.counts(), p.remaining())
	width := p.width() - interrupt
	room := min(width, 80-interrupt) - len(text) - 2
	line := text[1:]
	if room >= 5 {
		full := room * e.Done / e.Total
		line = "[" + strings.Repeat("#", full) + strings.Repeat("-", room-full) + "]" + text
	} else if most := max(width, 0); len(line) > most {
		line = line[:most]
	}
	io.WriteString(p.w, "\r"+line+"\x1b[K")
	p.drawn = true
}

// describe names a run: ws-one, updates down, 2 % loss, seed 3.
func describe(run lab.Run) string {
	return fmt.Sprintf("%s, %s %s, %s, seed %d", run.Transport, run.Workload.Kind, run.Direction, losses(run.Link), run.Seed)
}

// losses says what a link loses.
func losses(l lab.Link) string {
	s := percent(l.Loss) + " loss"
	if l.Burst.Good != 0 {
		s += " and bursts"
	}
	return s
}

// roughly is a time that is read, not computed with: 45 s, 2 min 5 s, 3 h 10 min.
func roughly(d time.Duration) string {
	s := int(d.Round(time.Second) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 600:
		return strings.TrimSuffix(fmt.Sprintf("%d min %d s", s/60, s%60), " 0 s")
	case s < 3600:
		return fmt.Sprintf("%d min", (s+30)/60)
	}
	minutes := (s + 30) / 60
	return strings.TrimSuffix(fmt.Sprintf("%d h %d min", minutes/60, minutes%60), " 0 min")
}
