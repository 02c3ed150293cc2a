// Command hol is the head-of-line laboratory: it measures what a lost packet
// costs on every transport, over an emulated link between two network
// namespaces of this machine, with the kernel's TCP and real QUIC.
//
//	go run -C cmd/hol .               the usual study, about eight minutes
//	go run -C cmd/hol . --quick       two minutes, rough numbers
//	go run -C cmd/hol . --full        six hours, as for a paper, and 1.5 GB of memory
//	go run -C cmd/hol . --dry-run     what would be done, and how long it takes
//	go run -C cmd/hol . --list        the transports
//
// What --json has written can be looked at again: --from study.json --html study.html.
//
// It needs Linux, and either root or user namespaces. Standard output has the
// result alone; progress and remarks go to standard error.
//
// # Controls
//
// Every transport is also measured on the same link without loss. As soon as
// those runs are there they are judged: a transport that is late without any
// loss is said at once, and makes the study invalid in the end. The study goes
// on, since the other transports' results may still be of use; only if none
// passes it ends there, as the machine is not fit to measure.
//
// # Signals
//
// The first SIGINT, SIGTERM or SIGHUP ends the runs and reports what is there, as
// partial results. The second SIGINT or SIGTERM ends at once. Nothing stays behind in either
// case, nor after SIGKILL.
//
// # Exit status
//
//	0  the study is complete and valid
//	1  it is invalid or runs are missing (the report says why), or an error
//	2  called wrongly: one line says what is wrong and how to mend it
//
// go run has status 1 for each of the latter two.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/towpath-go/towpath/cmd/hol/internal/link"
	"github.com/towpath-go/towpath/cmd/hol/internal/plan"
)

const (
	exitInvalid = 1
	exitUsage   = 2
)

// streams are where the command writes.
type streams struct {
	out, err *os.File
}

// A host is the machine, as far as the command has to ask about it.
type host struct {
	processors int
	// realtime says why SCHED_RR is not permitted, nil if it is.
	realtime func() error
	// link says why no link can be made, nil if it can.
	link func() error
	// cc says why TCP cannot have a congestion control, nil if it can or if that
	// is not known before there is a link.
	cc func(name string) error
}

var thisHost = host{processors: runtime.NumCPU(), realtime: realtimePermitted, link: link.Check, cc: link.CheckCC}

// A usageError is a mistake of the caller's: exit status 2.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errInvalid ends a study whose report says what is wrong with it.
var errInvalid = errors.New("the study is invalid or incomplete")

func main() {
	if plan.IsWorker() {
		os.Exit(serveWorker())
	}
	os.Exit(run(untilSignal(), os.Args[1:], streams{os.Stdout, os.Stderr}, thisHost))
}

// untilSignal is done by the first signal, which asks to end; the second one
// ends. A terminal that is closed can send more than one SIGHUP, and ends who
// reads the standard output too: neither must keep the report from its files.
func untilSignal() context.Context {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // by nohup
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, func() {
		signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
		stop()
	})
	return ctx
}

// exited is how kong's own exits (after --help) leave run.
type exited int

// run is main without the process.
func run(ctx context.Context, args []string, io streams, host host) (status int) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case exited:
			status = int(r)
		default:
			panic(r)
		}
	}()
	var c cli
	if err := parse(&c, args, io); err != nil {
		return fail(io.err, err)
	}
	return fail(io.err, c.do(ctx, args, io, host))
}

// parse reads a command line.
func parse(c *cli, args []string, io streams) error {
	parser, err := kong.New(c,
		kong.Name("hol"),
		kong.Description("Measure what head-of-line blocking costs on every transport. "+
			"The exit status is 0 if the study is complete and valid, 1 if it is invalid or incomplete, 2 if the command line is wrong."),
		kong.Writers(io.out, io.err),
		kong.Exit(func(code int) { panic(exited(code)) }),
		kong.Vars{"version": "hol of towpath " + version()},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 80}),
		kong.ExplicitGroups(groups),
	)
	if err != nil {
		return err
	}
	if args, err = joined(parser.Model.Flags, args); err != nil {
		return err
	}
	if _, err := parser.Parse(args); err != nil {
		return usageError{fmt.Errorf("%w (see --help)", err)}
	}
	return nil
}

// fail prints an error in one line and returns the exit status.
func fail(w io.Writer, err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errInvalid): // has been said
		return exitInvalid
	}
	fmt.Fprintln(w, "hol: "+strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; "))
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitInvalid
}
