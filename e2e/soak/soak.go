package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/towpath-go/towpath/e2e/internal/results"
	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
	"github.com/towpath-go/towpath/e2e/soak/internal/relay"
	"github.com/towpath-go/towpath/e2e/soak/internal/report"
)

// maxListed bounds the violations that a report lists.
const maxListed = 200

// A conductor has the processes do their parts of a soak, and hears of all they
// do. Everything but hear belongs to one goroutine.
type conductor struct {
	settings ledger.Settings
	hear     chan heard
	server   *child
	client   *child
	relay    *relay.Relay
	progress *progress
	ends     *ledger.Ends

	phase  phase
	began  time.Time // of the phase
	opened time.Time // when the traffic was whole

	report  report.Report
	soak    report.Soak
	samples map[string][]ledger.Sample
	left    map[string]bool
	said    int
	asked   bool // what the processes wait for

	profiles string // directory of the profiles, "" for none
	profiled string // the latest
}

// A phase is how far a soak has come.
type phase int

const (
	starting phase = iota // the server is not ready
	opening               // not every session has been open
	running
	stopping // the client ends its traffic
	closing  // the server shuts down
	over
)

var phases = [...]string{"starting", "opening", "running", "ending the traffic", "shutting down", "over"}

// soak makes a run and reports it.
func soak(ctx context.Context, o options, out, log *os.File) error {
	if err := checkFiles(o.settings.Connections); err != nil {
		return err
	}
	file, err := create(o.json)
	if err != nil {
		return err
	}
	profiles := o.profiles
	if profiles != "" {
		if profiles, err = filepath.Abs(profiles); err == nil {
			err = os.MkdirAll(profiles, 0o755)
		}
		if err != nil {
			return usageError{fmt.Errorf("--profiles: %w", err)}
		}
	}
	c := &conductor{profiles: profiles, settings: o.settings, hear: make(chan heard, 1024), progress: newProgress(log, o.quiet),
		samples: make(map[string][]ledger.Sample), left: make(map[string]bool), began: time.Now()}
	c.ends = ledger.NewEnds(c.violate)
	c.report = newReport(o)
	err = c.conduct(ctx, log)
	c.progress.end()
	if err != nil {
		return err
	}
	c.finish()
	report.Terminal(out, c.report)
	if file != nil {
		if err := errors.Join(report.Write(file, c.report), file.Close()); err != nil {
			return err
		}
	}
	if len(c.report.Violations) > 0 {
		return errViolated
	}
	return nil
}

// create opens the file for the report before the run, so that a wrong name does
// not cost one.
func create(name string) (*os.File, error) {
	if name == "" {
		return nil, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, usageError{fmt.Errorf("--json: %w", err)}
	}
	return f, nil
}

// conduct starts the processes and follows them to their ends.
func (c *conductor) conduct(ctx context.Context, log *os.File) (err error) {
	if c.server, err = startChild("server", log, c.hear, anywhere); err != nil {
		return err
	}
	defer c.clear()
	c.server.order(ledger.Order{Begin: &ledger.Begin{Settings: c.settings}})
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	interrupted := ctx.Done()
	for c.phase != over {
		select {
		case h := <-c.hear:
			if err := c.heard(h, log); err != nil {
				return err
			}
		case <-tick.C:
			if err := c.look(); err != nil {
				return err
			}
		case <-interrupted:
			interrupted = nil
			c.report.Interrupted = true
			if c.phase < running {
				return errors.New("interrupted before the traffic had begun")
			}
			c.progress.say("interrupted: the traffic ends now; once more ends at once")
			c.stop()
		}
	}
	return nil
}

// clear ends the processes, if they have not ended by themselves, and the relay.
func (c *conductor) clear() {
	go func() { // ends with the processes, or the command
		for range c.hear {
		}
	}()
	for _, child := range []*child{c.client, c.server} {
		if child == nil {
			continue
		}
		child.end()
		select {
		case <-child.ended:
		case <-time.After(5 * time.Second):
			child.kill()
			<-child.ended
		}
	}
	if c.relay != nil {
		c.relay.Close()
	}
}

func (c *conductor) enter(p phase) {
	c.phase, c.began = p, time.Now()
}

// stop ends the traffic.
func (c *conductor) stop() {
	if c.phase != running {
		return
	}
	c.soak.Traffic = time.Since(c.opened)
	c.enter(stopping)
	c.client.order(ledger.Order{Stop: true})
}

// look does what is due, and gives up what takes too long.
func (c *conductor) look() error {
	in := time.Since(c.began)
	most := map[phase]time.Duration{starting: time.Minute, opening: 4*time.Minute + c.settings.Patience,
		stopping: 3 * c.settings.Patience, closing: 6 * c.settings.Patience}[c.phase]
	switch {
	case c.phase == running && in >= c.settings.Duration:
		c.profile("end")
		c.stop()
	case c.phase == running && in >= c.settings.Duration/2:
		c.profile("half")
	case most > 0 && in > most && !c.asked:
		c.asked = true
		c.progress.say("%s took more than %v; the goroutines:", phases[c.phase], most)
		for _, child := range []*child{c.client, c.server} {
			if child != nil {
				child.order(ledger.Order{Stacks: true})
			}
		}
	case most > 0 && in > most+20*time.Second:
		return fmt.Errorf("gave up: %s took more than %v%s", phases[c.phase], most, c.listed())
	}
	c.progress.show(c.phase, c.settings, in, c.soak, c.said)
	return nil
}

// profile has both processes write a profile of their heaps, once at each time.
func (c *conductor) profile(when string) {
	if c.profiles == "" || c.profiled == when {
		return
	}
	c.profiled = when
	for _, child := range []*child{c.client, c.server} {
		child.order(ledger.Order{Profile: filepath.Join(c.profiles, child.role+"-"+when+".pb.gz")})
	}
}

// listed is what was violated before a run was given up.
func (c *conductor) listed() string {
	var b strings.Builder
	for i, v := range c.report.Violations {
		if i == 5 {
			fmt.Fprintf(&b, "; and %d more", c.said-5)
			break
		}
		b.WriteString("; " + v.String())
	}
	return b.String()
}

func (c *conductor) heard(h heard, log *os.File) (err error) {
	m := h.what
	switch {
	case m == nil:
		if !c.left[h.from.role] {
			return errors.New(h.from.why() + c.listed())
		}
	case m.Failed != "":
		return fmt.Errorf("the %s cannot go on: %s", h.from.role, m.Failed)
	case m.Ready != nil:
		if c.relay, err = relay.New(m.Ready.Address, c.settings.Seed); err != nil {
			return err
		}
		if c.client, err = startChild("client", log, c.hear, anywhere); err != nil {
			return err
		}
		c.client.order(ledger.Order{Begin: &ledger.Begin{Address: c.relay.Address(), Cert: m.Ready.Cert, Settings: c.settings}})
		c.enter(opening)
	case m.End != nil:
		c.ends.Add(*m.End)
	case m.Violation != nil:
		c.violate(*m.Violation)
	case m.Counts != nil:
		if h.from == c.server {
			c.soak.Server = *m.Counts
		} else {
			c.soak.Client = *m.Counts
			if c.phase == running {
				c.soak.Sessions.Add(m.Counts.Sessions)
				c.soak.Connections.Add(m.Counts.Connections)
			}
		}
	case m.Sample != nil:
		if c.phase == running {
			s := *m.Sample
			s.At = time.Since(c.opened)
			c.samples[s.Side] = append(c.samples[s.Side], s)
		}
	case m.Fault != nil:
		if m.Fault.Cut {
			c.ends.Cut(m.Fault.Connection)
		}
		c.relay.Do(*m.Fault)
	case m.Stacks != nil:
		for _, stack := range m.Stacks {
			c.progress.say("%s: %.700s", h.from.role, stack)
		}
	case m.Opened:
		c.soak.Opening = time.Since(c.began)
		c.opened = time.Now()
		c.server.order(ledger.Order{Traffic: true})
		c.enter(running)
	case m.Quiet:
		c.enter(closing)
		c.server.order(ledger.Order{Stop: true})
	case m.Left != nil:
		c.soak.Left = append(c.soak.Left, *m.Left)
		c.left[h.from.role] = true
		h.from.end()
		if len(c.left) == 2 {
			c.soak.Ending = time.Since(c.opened) - c.soak.Traffic
			c.enter(over)
		}
	}
	return nil
}

func (c *conductor) violate(v ledger.Violation) {
	c.said++
	if len(c.report.Violations) < maxListed {
		c.report.Violations = append(c.report.Violations, v)
		if c.said <= 20 {
			c.progress.say("violated: %v", v)
		}
	} else {
		c.report.Withheld++
	}
}

// finish judges what is judged at the end.
func (c *conductor) finish() {
	c.ends.Finish()
	s := &c.soak
	s.Settings, s.Faults, s.Ends, s.Compared = c.settings, c.relay.Done(), c.ends.Kinds, c.ends.Compared
	for _, side := range []string{ledger.Client, ledger.Server} {
		m := report.Flatness(side, c.samples[side], s.Traffic/2, s.Traffic)
		s.Memory = append(s.Memory, m)
		if m.Judged < 4 && !c.report.Interrupted {
			c.violate(ledger.Violation{Side: side, Offset: -1, What: fmt.Sprintf("memory was looked at %d times in the second half: too few to judge it", m.Judged)})
		}
		if !m.Flat() {
			c.violate(ledger.Violation{Side: side, Offset: -1, What: fmt.Sprintf("the heap grew by %.1f ± %.1f MB in the second half, more than %.1f MB", m.Growth/1e6, m.Error/1e6, m.Bound/1e6)})
		}
	}
	for _, l := range s.Left {
		leak := func(format string, args ...any) {
			c.violate(ledger.Violation{Side: l.Side, Offset: -1, What: "left behind: " + fmt.Sprintf(format, args...)})
		}
		for _, g := range l.Goroutines {
			leak("goroutines: %s", g)
		}
		for _, f := range l.Files {
			leak("files: %s", f)
		}
		if l.Streams != 0 || l.Sessions != 0 {
			leak("%d sessions, and %d handlers of streams", l.Sessions, l.Streams)
		}
		if l.Account != 0 {
			leak("%d bytes in the memory account", l.Account)
		}
	}
	c.report.Soak = s
}

func newReport(o options) report.Report {
	return report.Report{Schema: report.Schema, Command: strings.Join(append([]string{"soak"}, o.args...), " "), Begun: time.Now().UTC().Truncate(time.Second),
		Machine: results.Here(runtime.NumCPU(), race), Violations: []ledger.Violation{}}
}
