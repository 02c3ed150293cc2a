package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/towpath-go/towpath/e2e/soak/internal/attack"
	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
	"github.com/towpath-go/towpath/e2e/soak/internal/report"
)

// Phases of an attack: so many quiet and so many attacked ones, in turn.
const (
	attackPhases = 3
	attackPhase  = 2 * time.Second
	shortPhases  = 2
	shortPhase   = 500 * time.Millisecond
	// settling is left out of the measurement at the beginning of each phase.
	settling = 300 * time.Millisecond
)

// A siege measures one attack: a victim, a bystander and an attacker, made for it
// and ended after it, so that no attack finds what another has left.
type siege struct {
	attack    attack.Attack
	phases    int
	each      time.Duration
	hear      chan heard
	children  []*child
	victim    *child
	bystander *child
	attacker  *child
	early     map[*child][]*ledger.Message // not waited for yet
}

// attacks measures the attacks that are wanted, and reports them.
func attacks(ctx context.Context, o options, out, log *os.File) error {
	wanted := attack.List()
	if o.attack != "all" {
		wanted = nil
		for _, name := range strings.Split(o.attack, ",") {
			a, ok := attack.Find(strings.TrimSpace(name))
			if !ok {
				return usageError{fmt.Errorf("there is no attack %q: see --list-attacks", name)}
			}
			wanted = append(wanted, a)
		}
	}
	file, err := create(o.json)
	if err != nil {
		return err
	}
	r := newReport(o)
	r.Placement = placement()
	p := newProgress(log, o.quiet)
	phases, each := attackPhases, attackPhase
	if o.settings.Short {
		phases, each = shortPhases, shortPhase
	}
	for i, a := range wanted {
		left := time.Duration(len(wanted)-i) * (time.Duration(2*phases)*(each+settling) + 2*time.Second)
		p.next = time.Time{}
		if p.due() {
			p.line(fmt.Sprintf("soak: attack %d of %d, %s; %v left, %d violated", i+1, len(wanted), a.Name, left.Round(time.Second), len(r.Violations)))
		}
		result, err := besiege(ctx, a, phases, each, log)
		if ctx.Err() != nil {
			r.Interrupted = true
			break
		}
		if err != nil {
			p.end()
			return fmt.Errorf("attack %s: %w", a.Name, err)
		}
		r.Attacks = append(r.Attacks, result)
		r.Violations = append(r.Violations, report.Judge(result)...)
	}
	p.end()
	report.AttackTable(out, r)
	report.Verdict(out, r)
	if file != nil {
		if err := errors.Join(report.Write(file, r), file.Close()); err != nil {
			return err
		}
	}
	if len(r.Violations) > 0 {
		return errViolated
	}
	return nil
}

// besiege measures one attack.
func besiege(ctx context.Context, a attack.Attack, phases int, each time.Duration, log *os.File) (report.Attack, error) {
	s := &siege{attack: a, phases: phases, each: each, hear: make(chan heard, 64), early: make(map[*child][]*ledger.Message)}
	defer s.clear()
	return s.run(ctx, log)
}

// clear ends the processes.
func (s *siege) clear() {
	go func() { // ends with the command; nobody listens any more
		for range s.hear {
		}
	}()
	for _, c := range s.children {
		c.end()
	}
	for _, c := range s.children {
		select {
		case <-c.ended:
		case <-time.After(3 * time.Second):
			c.kill()
			<-c.ended
		}
	}
}

// start starts a process and waits for its first word.
func (s *siege) start(ctx context.Context, role string, place placed, b ledger.Begin, log *os.File) (*child, *ledger.Message, error) {
	c, err := startChild(role, log, s.hear, place)
	if err != nil {
		return nil, nil, err
	}
	s.children = append(s.children, c)
	c.order(ledger.Order{Begin: &b})
	m, err := s.from(ctx, c, time.Minute)
	return c, m, err
}

// from waits for a process's next message.
func (s *siege) from(ctx context.Context, c *child, atMost time.Duration) (*ledger.Message, error) {
	if q := s.early[c]; len(q) > 0 {
		s.early[c] = q[1:]
		return q[0], nil
	}
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	for {
		select {
		case h := <-s.hear:
			switch {
			case h.what == nil:
				return nil, errors.New(h.from.why())
			case h.what.Failed != "":
				return nil, fmt.Errorf("the %s cannot go on: %s", h.from.role, h.what.Failed)
			case h.from != c:
				s.early[h.from] = append(s.early[h.from], h.what)
				continue
			}
			return h.what, nil
		case <-timer.C:
			return nil, fmt.Errorf("the %s did not answer within %v", c.role, atMost)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (s *siege) run(ctx context.Context, log *os.File) (r report.Attack, err error) {
	var m *ledger.Message
	if s.victim, m, err = s.start(ctx, ledger.Victim, alone, ledger.Begin{}, log); err != nil {
		return r, err
	}
	begin := ledger.Begin{Address: m.Ready.Address, Cert: m.Ready.Cert, Settings: ledger.Settings{Transports: []string{s.attack.Way}}}
	if s.bystander, _, err = s.start(ctx, ledger.Bystander, beside, begin, log); err != nil {
		return r, err
	}
	if s.attacker, _, err = s.start(ctx, ledger.Attacker, behind, begin, log); err != nil {
		return r, err
	}
	r = report.Attack{Name: s.attack.Name, What: s.attack.What, Way: s.attack.Way, Note: s.attack.Note, Phases: s.phases, Each: s.each}
	var quiet, attacked ledger.Latency
	var cpu [2]time.Duration
	if _, _, err := s.measure(ctx, settling); err != nil { // the first echoes of all
		return r, err
	}
	for range s.phases {
		l, used, err := s.measure(ctx, s.each)
		if err != nil {
			return r, err
		}
		quiet.Add(l)
		cpu[0] += used
		s.attacker.order(ledger.Order{Attack: &ledger.AttackOrder{Name: s.attack.Name, For: s.each + settling}})
		time.Sleep(settling)
		if l, used, err = s.measure(ctx, s.each); err != nil {
			return r, err
		}
		attacked.Add(l)
		cpu[1] += used
		m, err := s.from(ctx, s.attacker, 30*time.Second)
		if err != nil {
			return r, err
		}
		r.Done.Add(*m.Attacked)
		if quiet.Broken+attacked.Broken != "" {
			break // there is nobody left to measure
		}
		time.Sleep(settling)
	}
	all := time.Duration(s.phases) * s.each
	r.VictimQuiet, r.VictimAttacked = cpu[0].Seconds()/all.Seconds(), cpu[1].Seconds()/all.Seconds()
	r.Compare(quiet, attacked)
	u, err := s.usage(ctx, s.victim)
	r.Peak = u.Peak
	return r, err
}

// measure has the bystander measure, and returns what CPU time the victim used
// meanwhile.
func (s *siege) measure(ctx context.Context, d time.Duration) (l ledger.Latency, used time.Duration, err error) {
	before, err := s.usage(ctx, s.victim)
	if err != nil {
		return l, 0, err
	}
	s.bystander.order(ledger.Order{Measure: d})
	var m *ledger.Message
	if m, err = s.from(ctx, s.bystander, d+30*time.Second); err != nil {
		return l, 0, err
	}
	after, err := s.usage(ctx, s.victim)
	return *m.Latency, after.CPU - before.CPU, err
}

func (s *siege) usage(ctx context.Context, c *child) (ledger.Usage, error) {
	c.order(ledger.Order{Usage: true})
	m, err := s.from(ctx, c, 30*time.Second)
	if err != nil {
		return ledger.Usage{}, err
	}
	return *m.Usage, nil
}

// listAttacks writes what there is.
func listAttacks(out io.Writer) {
	for _, a := range attack.List() {
		fmt.Fprintf(out, "%-20s %s\n", a.Name, a.What)
	}
}
