// Command towpath carries WebTransport whichever way is open: HTTP/3 where UDP
// works, HTTP/2 where it does not, WebSocket where only HTTP/1.1 gets through.
//
//	towpath demo      show it, in this process, over four networks
//	towpath serve     a server with test resources and static files
//	towpath connect   netcat over a session
//	towpath probe     what is open on the way to a server
//
// It exits with status 0 on success, 1 on failure, and 2 if it was called
// wrongly; then it says in one line what is wrong and how to mend it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

const (
	exitFailure = 1
	exitUsage   = 2
)

// A streams value is where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

type cli struct {
	Demo    demoCmd    `cmd:"" help:"Show what happens in four networks: UDP open, dropped, refused; HTTP/1.1 alone."`
	Serve   serveCmd   `cmd:"" help:"Serve test resources and static files over every transport on one port."`
	Connect connectCmd `cmd:"" help:"Connect standard input and output to a server, like netcat."`
	Probe   probeCmd   `cmd:"" help:"Find out which ways to a server are open, and what they cost."`

	Version kong.VersionFlag `help:"Print the version and exit."`
}

// A usageError is a mistake of the caller's: exit status 2.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func main() {
	// The first signal asks to end, the second one ends.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}))
}

// exited is how kong's own exits (after --help) leave run.
type exited int

// run is main without the process.
func run(ctx context.Context, args []string, io streams) (status int) {
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
	parser, err := kong.New(&c,
		kong.Name("towpath"),
		kong.Description("WebTransport whichever way is open: HTTP/3, HTTP/2 or WebSocket."),
		kong.Writers(io.out, io.err),
		kong.Exit(func(code int) { panic(exited(code)) }),
		kong.Vars{"version": version()},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 80}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(io),
	)
	if err != nil {
		return fail(io.err, err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := parser.Parse(args)
	if err != nil {
		return fail(io.err, usageError{withHint(missingValue(err), args)})
	}
	return fail(io.err, k.Run())
}

// fail prints an error in one line and returns the exit status.
func fail(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	line := strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
	fmt.Fprintln(w, "towpath: "+strings.TrimPrefix(line, "towpath: "))
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitFailure
}

// noValue is how kong says that the value of a flag is not there: the arguments
// end, or another flag follows.
var noValue = regexp.MustCompile(`^--([a-z-]+): (?:expected .* value but got "(.*)" \((?:<EOL>|short flag|long flag)\)|missing value, expecting )`)

// missingValue makes one clear sentence of it; other errors stay as they are.
func missingValue(err error) error {
	m := noValue.FindStringSubmatch(err.Error())
	if m == nil {
		return err
	}
	value := "VALUE"
	if parse, ok := errors.AsType[*kong.ParseError](err); ok {
		for _, f := range parse.Context.Flags() {
			if f.Name == m[1] && f.PlaceHolder != "" {
				value = f.PlaceHolder
			}
		}
	}
	if next := m[2]; strings.HasPrefix(next, "-") {
		return fmt.Errorf("--%s has no value before %s: write --%[1]s=%[3]s", m[1], next, value)
	}
	return fmt.Errorf("--%s has no value: write --%[1]s=%[2]s", m[1], value)
}

// withHint says where the right usage is described.
func withHint(err error, args []string) error {
	help := "towpath --help"
	if len(args) > 0 {
		switch args[0] {
		case "demo", "serve", "connect", "probe":
			help = "towpath " + args[0] + " --help"
		}
	}
	return fmt.Errorf("%w (see %s)", err, help)
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return "towpath " + info.Main.Version
	}
	return "towpath (unknown version)"
}
