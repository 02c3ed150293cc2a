package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/towpath-go/towpath/e2e/bench/internal/measure"
	"github.com/towpath-go/towpath/e2e/bench/internal/peer"
	"github.com/towpath-go/towpath/e2e/bench/internal/report"
	"github.com/towpath-go/towpath/e2e/internal/results"
)

// list writes what can be chosen.
func list(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "-bench\tin\t")
	for _, b := range measure.All() {
		fmt.Fprintf(w, "%s\t%s\t%s; compared with %s\n", b.Name, b.Unit, b.Title, b.Reference)
	}
	fmt.Fprintln(w, "\t\t\n-peers\tmodule\t")
	for _, p := range peer.All() {
		fmt.Fprintf(w, "%s\t%s\t%s\n", p.Name, module(p), p.Note)
	}
	_ = w.Flush()
}

// module is a peer's module with its version.
func module(p *peer.Peer) string {
	if p.Module == "" {
		return runtime.Version()
	}
	return strings.TrimSpace(p.Module + " " + version(p.Module))
}

// version returns the version of a module in this binary, "" if it is a directory
// here.
func version(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path == path && m.Replace == nil {
			return m.Version
		}
	}
	return ""
}

// bench measures and reports.
func bench(ctx context.Context, o options, out, log *os.File) (err error) {
	outputs, err := create(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, outputs.close()) }()
	r := begun(o)
	p := newProgress(log)
	if err := o.plan.Check(ctx, func(q *peer.Peer) { p.show("checking the data of " + q.Name) }); err != nil {
		p.end()
		return err
	}
	if err := outputs.profile(); err != nil {
		return err
	}
	r.Samples, r.Failures, err = o.plan.Run(ctx, p.step)
	outputs.profiled()
	p.end()
	r.Interrupted = err != nil
	r.Took = time.Since(r.Begun).Round(time.Second)
	if outputs.json != nil {
		if err := report.Write(outputs.json, r); err != nil {
			return err
		}
	}
	to := io.Writer(out)
	if outputs.markdown != nil {
		to = outputs.markdown
	}
	if err := report.Markdown(to, r); err != nil {
		return err
	}
	if err != nil {
		return fmt.Errorf("ended early: %w", err)
	}
	if len(r.Failures) > 0 {
		return errIncomplete
	}
	return nil
}

// begun is a report without results.
func begun(o options) report.Report {
	r := report.Report{Schema: report.Schema, Command: strings.Join(append([]string{"bench"}, o.args...), " "), Begun: time.Now().UTC(),
		Machine: results.Here(runtime.GOMAXPROCS(0), race),
		Settings: report.Settings{Rounds: o.plan.Rounds, Duration: o.plan.Options.Duration, Warmup: o.plan.Options.Warmup, Idle: o.plan.Options.Idle,
			Cipher: tls.CipherSuiteName(tls.TLS_AES_128_GCM_SHA256), StreamWindow: peer.StreamWindow, ConnWindow: peer.ConnWindow}}
	for _, p := range o.plan.Measured() {
		q := report.Peer{Name: p.Name, Module: p.Module, Version: version(p.Module), Note: p.Note}
		for _, b := range o.plan.Benches {
			if why := b.Lacks(p); why != "" && len(p.Only) == 0 {
				if q.Cannot == nil {
					q.Cannot = make(map[string]string)
				}
				q.Cannot[b.Name] = why
			}
		}
		r.Peers = append(r.Peers, q)
	}
	return r
}

// outputs are the files that a run writes, nil where none is wanted.
type outputs struct{ json, markdown, cpu, mem *os.File }

// create makes the files before anything is measured, so that a mistyped name
// costs no time.
func create(o options) (*outputs, error) {
	f := new(outputs)
	for _, file := range []struct {
		name string
		to   **os.File
	}{{o.json, &f.json}, {o.markdown, &f.markdown}, {o.cpuprofile, &f.cpu}, {o.memprofile, &f.mem}} {
		if file.name == "" {
			continue
		}
		var err error
		if *file.to, err = os.Create(file.name); err != nil {
			return nil, errors.Join(usageError{err}, f.close())
		}
	}
	return f, nil
}

func (f *outputs) close() (err error) {
	for _, file := range []*os.File{f.json, f.markdown, f.cpu, f.mem} {
		if file != nil {
			err = errors.Join(err, file.Close())
		}
	}
	return err
}

// profile begins profiles.
func (f *outputs) profile() error {
	if f.mem != nil {
		runtime.MemProfileRate = 4 << 10
	}
	if f.cpu == nil {
		return nil
	}
	return pprof.StartCPUProfile(f.cpu)
}

// profiled ends them.
func (f *outputs) profiled() {
	if f.cpu != nil {
		pprof.StopCPUProfile()
	}
	if f.mem != nil {
		_ = pprof.Lookup("allocs").WriteTo(f.mem, 0) // a failure shows when the file is closed, or read
	}
}
