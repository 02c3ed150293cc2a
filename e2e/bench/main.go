package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/towpath-go/towpath/e2e/bench/internal/measure"
)

const (
	exitFailed = 1
	exitUsage  = 2
)

// processors is how many processors every measurement uses at most.
const processors = 2

// A usageError is a mistake of the caller's.
type usageError struct{ error }

// errIncomplete ends a run whose report says what is missing.
var errIncomplete = errors.New("not everything was measured")

func main() {
	runtime.GOMAXPROCS(min(processors, runtime.NumCPU()))
	if role := measure.Role(); role != nil {
		os.Exit(role(os.Stdin, os.Stdout))
	}
	os.Exit(run(untilSignal(), os.Args[1:], os.Stdout, os.Stderr))
}

// untilSignal is done by the first signal; the second one ends the process.
func untilSignal() context.Context {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx
}

// run is main without the process.
func run(ctx context.Context, args []string, out, log *os.File) int {
	err := do(ctx, args, out, log)
	if err == nil {
		return 0
	}
	fmt.Fprintln(log, "bench: "+strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; "))
	var usage usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

func do(ctx context.Context, args []string, out, log *os.File) error {
	o, err := parse(args)
	switch {
	case err != nil:
		return err
	case o.help:
		fmt.Fprint(out, help)
		return nil
	case o.list:
		list(out)
		return nil
	}
	return bench(ctx, o, out, log)
}
