package plan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// asParent makes the test binary be a laboratory that runs what the variable
// says, as JSON.
const asParent = "TOWPATH_HOL_TEST_PARENT"

// TestMain makes the test binary be a worker, or the parent of some, if it was
// started as one.
func TestMain(m *testing.M) {
	// The race detector would wait for a second at each worker's end.
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	switch {
	case IsWorker():
		os.Exit(Serve(fake))
	case os.Getenv(asParent) != "":
		os.Exit(parent(os.Getenv(asParent)))
	}
	os.Exit(m.Run())
}

// parent executes runs until somebody ends it.
func parent(text string) int {
	var runs []lab.Run
	if err := json.Unmarshal([]byte(text), &runs); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if _, err := Execute(context.Background(), runs, Options{Jobs: len(runs)}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// fake is what workers do in these tests. The run's transport says what:
//
//	ok            a result with one sample
//	error         an error of two lines
//	panic, exit, killed, mute, garbage, twice, other, endless: these faults
//	prints        like ok, and prints something besides
//	environment   like ok, with GODEBUG as the congestion control
//	hang          nothing, until the time is over, and then an error
//	stuck         nothing, even then
//	reject:DIR    a rejection, unless the run has a file in DIR; then ok
//	failing:DIR   an error if the run has a file in DIR; else ok
//	rejected      always a rejection
//	report:FIFO   its process number to the pipe, and then like stuck
func fake(ctx context.Context, run lab.Run) (lab.Result, error) {
	what, argument, _ := strings.Cut(run.Transport, ":")
	result := lab.Result{
		Run:      run,
		Samples:  []lab.Sample{{Channel: 1, Latency: 25}},
		Lateness: lab.Lateness{Max: 7},
	}
	switch what {
	case "ok":
	case "error":
		return result, errors.New("first line\nsecond line")
	case "panic":
		panic("on purpose")
	case "exit":
		fmt.Fprintln(os.Stderr, "some words\nthe last words")
		os.Exit(7)
	case "killed":
		self, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = self.Kill()
		}
		if err != nil {
			return result, err
		}
		select {}
	case "mute":
		os.Exit(0)
	case "garbage":
		os.NewFile(1, "stdout").WriteString("{garbage\n")
		os.Exit(0)
	case "twice":
		os.NewFile(1, "stdout").WriteString("{}\n")
	case "prints":
		fmt.Println("a library prints this")
	case "other":
		result.Run.Seed++
	case "endless":
		out, full := os.NewFile(1, "stdout"), make([]byte, 1<<20)
		for {
			if _, err := out.Write(full); err != nil {
				os.Exit(0)
			}
		}
	case "hang":
		<-ctx.Done()
		return result, errors.New("nobody answered")
	case "stuck":
		select {}
	case "rejected":
		result.Rejected = "the router was late"
	case "reject":
		name := filepath.Join(argument, strconv.FormatUint(run.Seed, 10))
		if _, err := os.Stat(name); err != nil {
			result.Rejected = "the router was late"
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				return result, err
			}
		}
	case "failing":
		if _, err := os.Stat(filepath.Join(argument, strconv.FormatUint(run.Seed, 10))); err == nil {
			return result, errors.New("told to")
		}
	case "environment":
		result.CC = os.Getenv("GODEBUG")
	case "report":
		f, err := os.OpenFile(argument, os.O_WRONLY, 0)
		if err != nil {
			return result, err
		}
		fmt.Fprintln(f, os.Getpid())
		f.Close()
		select {}
	default:
		return result, fmt.Errorf("the fake worker does not know %q", run.Transport)
	}
	return result, nil
}
