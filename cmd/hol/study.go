package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"golang.org/x/term"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
	"github.com/towpath-go/towpath/cmd/hol/internal/link"
	"github.com/towpath-go/towpath/cmd/hol/internal/plan"
	"github.com/towpath-go/towpath/cmd/hol/internal/report"
	"github.com/towpath-go/towpath/cmd/hol/internal/stats"
	"github.com/towpath-go/towpath/cmd/hol/internal/trial"
	"github.com/towpath-go/towpath/cmd/hol/internal/workload"
)

// serveWorker is the whole life of a worker process.
func serveWorker() int {
	if err := link.EnterNamespaces(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitInvalid
	}
	return plan.Serve(trial.Do)
}

// do is the command.
func (c *cli) do(ctx context.Context, args []string, io streams, host host) error {
	if c.List {
		return printTransports(io.out, adapter.All(), adapter.Extra())
	}
	if c.From != "" {
		return c.report(io)
	}
	s, err := c.settings(host)
	if err != nil {
		return err
	}
	runs := s.request.Runs()
	if err := checkRuns(runs); err != nil {
		return err
	}
	directory, err := fromHere()
	if err != nil {
		return err
	}
	out, err := c.outputs(directory)
	if err != nil {
		return err
	}
	if c.DryRun {
		say(io.err, s.remarks...)
		return printPlan(io.out, runs, s.jobs)
	}
	if err := host.link(); err != nil {
		return err
	}
	if !c.Quiet {
		say(io.err, append(s.remarks, summary(runs, s.jobs)+".")...)
	}

	debug.SetGCPercent(collectAt)
	started := time.Now()
	p := startProgress(io.err, c.Quiet)
	results, err := plan.Execute(ctx, runs, plan.Options{
		Jobs:     s.jobs,
		Retries:  s.retries,
		Limit:    limit,
		Progress: p.event,
		Controls: func(controls []lab.Result) error { return judge(controls, p.say) },
	})
	p.stop()
	explainBlocked(results)
	study := stats.Assemble(results)
	study.Command = commandLine(args)
	study.Version = version()
	study.Started, study.Took = started, time.Since(started)
	study.Machine = describeMachine(s.jobs, results)
	if err != nil {
		study.Problems = append([]string{incomplete(err, runs, results)}, study.Problems...)
	}
	if err := out.write(study, results, io); err != nil {
		return err
	}
	return validity(study)
}

// validity is errInvalid for a study that must not be trusted.
func validity(s lab.Study) error {
	if len(s.Problems) > 0 {
		return errInvalid
	}
	return nil
}

// collectAt is by how many percent the memory may grow before garbage is
// collected: less than by default, since a long study keeps the samples of all
// runs, and its process has hardly anything to do.
const collectAt = 25

// write makes all reports, also those behind one that cannot be written.
func (o outputs) write(study lab.Study, results []lab.Result, to streams) error {
	var errs []error
	file := func(path string, write func(io.Writer) error) {
		if path == "" {
			return
		}
		if err := writeFile(path, write); err != nil {
			errs = append(errs, err)
			return
		}
		say(to.err, "wrote "+path)
	}
	reports := []struct {
		flag, path string
		write      func(io.Writer) error
	}{
		{"html", o.html, func(w io.Writer) error { return report.HTML(w, study) }},
		{"json", o.json, func(w io.Writer) error { return report.JSON(w, study) }},
		{"csv", o.csv, func(w io.Writer) error { return report.CSV(w, study) }},
		{"samples", o.samples, compressed(o.samples, func(w io.Writer) error { return writeSamples(w, results) })},
	}
	if o.stdout == "" {
		errs = append(errs, report.Table(to.out, study, width(to.out)))
	}
	for _, r := range reports {
		if o.stdout == r.flag {
			errs = append(errs, buffered(to.out, r.write))
		}
	}
	for _, r := range reports {
		file(r.path, r.write)
	}
	return errors.Join(errs...)
}

// width is the terminal's; 80 columns where there is none.
func width(f *os.File) int {
	if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
		return columns
	}
	return 80
}

// incomplete says why runs are missing, and how many.
func incomplete(why error, runs []lab.Run, results []lab.Result) string {
	made := 0
	for i := range results {
		if results[i].Counts() {
			made++
		}
	}
	reason := why.Error()
	if errors.Is(why, context.Canceled) {
		reason = "interrupted"
	}
	return fmt.Sprintf("partial: %s; %d of %d runs have a result", reason, made, len(runs))
}

// maxJudged bounds the lines that judge says.
const maxJudged = 5

// judge says which transports are late without loss. It ends the study if none
// passes, for then the machine is not fit to measure.
func judge(controls []lab.Result, say func(string, ...any)) error {
	study := stats.Assemble(controls)
	cells, bad := 0, 0
	for _, cell := range study.Cells {
		if blocked(lab.Run{Transport: cell.Transport, Link: cell.Condition.Link}) {
			continue
		}
		cells++
		if cell.Problem != "" {
			bad++
		}
	}
	if len(study.Problems) == 0 {
		return nil
	}
	for i, problem := range study.Problems {
		if i == maxJudged {
			say("and %d more like that; the report has them all", len(study.Problems)-i)
			break
		}
		say("without loss: %s", problem)
	}
	if bad == cells {
		return fmt.Errorf("no transport passes without loss, so nothing else is measured: let the machine be idle, lower --jobs, or see what fails above")
	}
	say("the study goes on for the other transports, but will be invalid")
	return nil
}

// blockedLimit is how long a transport that needs UDP may try without it.
const blockedLimit = 6 * time.Second

// limit is how long a run may take.
func limit(run lab.Run) time.Duration {
	if blocked(run) {
		return blockedLimit
	}
	return workload.Total(run) + processTime
}

// processTime is how long a worker may take besides its run.
const processTime = 5 * time.Second

// blocked says whether a run cannot succeed, as its link drops what it needs.
func blocked(run lab.Run) bool {
	a, ok := adapter.ByName(run.Transport)
	return ok && a.UDP && run.Link.BlockUDP
}

// explainBlocked gives the reason for what is then only a time that is over.
func explainBlocked(results []lab.Result) {
	for i := range results {
		if r := &results[i]; r.Failed != "" && blocked(r.Run) {
			r.Failed = "it needs UDP, which the link drops: " + r.Failed
		}
	}
}

func say(w io.Writer, lines ...string) {
	for _, line := range lines {
		fmt.Fprintln(w, "hol: "+line)
	}
}
