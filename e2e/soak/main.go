package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/towpath-go/towpath/e2e/soak/internal/attack"
	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
	"github.com/towpath-go/towpath/e2e/soak/internal/peers"
)

const (
	exitViolated = 1
	exitUsage    = 2
)

// roleEnv tells a process which role it has; the command itself has none.
const roleEnv = "TOWPATH_SOAK_ROLE"

// roles are what the command starts itself as.
var roles = map[string]func(in io.Reader, out io.Writer) int{
	ledger.Server: peers.Server,
	ledger.Client: peers.Client,

	ledger.Victim:    attack.Victim,
	ledger.Bystander: attack.Bystander,
	ledger.Attacker:  attack.Attacker,
}

// A usageError is a mistake of the caller's.
type usageError struct{ error }

// errViolated ends a run whose report says what was wrong.
var errViolated = errors.New("a promise was not kept")

func main() {
	if role := roles[os.Getenv(roleEnv)]; role != nil {
		os.Exit(role(os.Stdin, os.Stdout))
	}
	endWithGoRun()
	os.Exit(run(untilSignal(), os.Args[1:], os.Stdout, os.Stderr))
}

// untilSignal is done by the first signal; the second one ends the process, and
// with it the others.
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
	if !errors.Is(err, errViolated) {
		fmt.Fprintln(log, "soak: "+strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; "))
	}
	var usage usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitViolated
}

func do(ctx context.Context, args []string, out, log *os.File) error {
	o, err := parse(args)
	switch {
	case err != nil:
		return err
	case o.help:
		fmt.Fprint(out, help)
		return nil
	}
	switch {
	case o.list:
		listAttacks(out)
		return nil
	case o.attack != "":
		return attacks(ctx, o, out, log)
	}
	return soak(ctx, o, out, log)
}
