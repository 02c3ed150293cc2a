package plan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// Marker is the name of the environment variable that makes the program a
// worker.
const Marker = "TOWPATH_HOL_WORKER"

const (
	// maxResult bounds what is taken from a worker, in bytes: a million samples fit.
	maxResult = 256 << 20
	// maxComplaint bounds what is kept of a worker's standard error, in bytes: the
	// beginning, where a panic has its message.
	maxComplaint = 64 << 10
	// maxRun bounds the run that a worker reads, in bytes.
	maxRun = 1 << 20
	// grace is how much earlier than its parent a worker gives up, so that it can
	// say what it waited for.
	grace = 5 * time.Second
	// leave is how long the pipes of a worker that has ended are read on, where
	// a process that it left behind holds them.
	leave = 2 * time.Second
)

// A request is what a worker is told.
type request struct {
	Run   json.RawMessage `json:"run"`
	Limit time.Duration   `json:"limit"`
}

// work makes a run in a worker, which may write so many bytes. What goes wrong is
// in the result.
func work(ctx context.Context, program string, run lab.Run, limit time.Duration, longest int) lab.Result {
	failed := func(format string, args ...any) lab.Result {
		return lab.Result{Run: run, Failed: fmt.Sprintf(format, args...)}
	}
	told, err := json.Marshal(run)
	if err != nil {
		return failed("the run cannot be written: %v", err)
	}
	input, err := json.Marshal(request{told, limit})
	if err != nil {
		return failed("the run cannot be written: %v", err)
	}
	within, cancel := context.WithTimeout(ctx, limit+grace)
	defer cancel()
	cmd := exec.CommandContext(within, program)
	cmd.Env = environment(os.Environ())
	cmd.SysProcAttr = attributes()
	cmd.WaitDelay = leave
	output := &bounded{max: longest, full: errTooLong}
	complaint := &bounded{max: maxComplaint}
	cmd.Stdout, cmd.Stderr = output, complaint
	stdin, err := cmd.StdinPipe() // Wait closes it
	if err != nil {
		return failed("no worker: %v", err)
	}
	if err := cmd.Start(); err != nil {
		return failed("no worker: %v", err)
	}
	// A worker that dies before it has read all shows in Wait.
	_, _ = stdin.Write(append(input, '\n'))
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil && err != nil:
		return failed("interrupted")
	case within.Err() != nil && err != nil:
		return failed("the run did not end within %v and was killed%s", limit+grace, complaint.because())
	case output.over:
		return failed("the worker's result is longer than %d bytes", longest)
	case err != nil:
		return failed("the worker died: %v%s", err, complaint.because())
	}
	var result lab.Result
	decoder := json.NewDecoder(bytes.NewReader(output.kept.Bytes()))
	if err := decoder.Decode(&result); err != nil {
		return failed("the worker's result cannot be read: %v%s", err, complaint.because())
	}
	if _, err := decoder.Token(); err != io.EOF {
		return failed("the worker wrote more than its result%s", complaint.because())
	}
	if made, err := json.Marshal(result.Run); err != nil || !bytes.Equal(made, told) {
		return failed("the worker made another run than it was told to")
	}
	result.Run = run
	if result.Failed != "" {
		return failed("%s", oneLine(result.Failed))
	}
	return result
}

// environment is the worker's. net/http's server accepts extended CONNECT
// (RFC 8441) only if told so by GODEBUG.
func environment(env []string) []string {
	const name, setting = "GODEBUG=", "http2xconnect=1"
	debug := name + setting
	kept := make([]string, 0, len(env)+2)
	for _, v := range env {
		if old, ok := strings.CutPrefix(v, name); ok {
			if old != "" {
				debug = name + old + "," + setting
			}
			continue
		}
		if !strings.HasPrefix(v, Marker+"=") {
			kept = append(kept, v)
		}
	}
	return append(kept, debug, Marker+"=1")
}

// IsWorker says whether this process is a worker.
func IsWorker() bool { return os.Getenv(Marker) != "" }

// Serve is a worker's whole life: it reads a run, has it done and writes the
// result. It returns the exit status. The process ends at once when standard
// input ends, which is when its parent does. What libraries print to os.Stdout
// goes to standard error.
func Serve(do func(context.Context, lab.Run) (lab.Result, error)) int {
	out := os.Stdout
	os.Stdout = os.Stderr
	var told request
	var run lab.Run
	err := json.NewDecoder(io.LimitReader(os.Stdin, maxRun)).Decode(&told)
	if err == nil {
		err = json.Unmarshal(told.Run, &run)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "a worker is started by the laboratory, not by hand: no run on standard input: %v\n", err)
		return 2
	}
	// Ends with the process.
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), told.Limit)
	defer cancel()
	result, err := do(ctx, run)
	if err != nil {
		result = lab.Result{Run: run, Failed: err.Error()}
	}
	if err := json.NewEncoder(out).Encode(result); err != nil {
		fmt.Fprintf(os.Stderr, "the result cannot be written: %v\n", err)
		return 1
	}
	return 0
}

// executable is this program's file. On Linux that is the one that runs, also
// when another has taken its name since.
func executable() (string, error) {
	const self = "/proc/self/exe"
	if _, err := os.Readlink(self); err == nil {
		return self, nil
	}
	program, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("the program's own file cannot be found: %w", err)
	}
	return program, nil
}

var errTooLong = errors.New("too long")

// bounded keeps the first max bytes. What is more is dropped, or is an error if
// full is set.
type bounded struct {
	kept bytes.Buffer
	max  int
	full error
	over bool // there was more
}

func (b *bounded) Write(p []byte) (int, error) {
	room := min(b.max-b.kept.Len(), len(p))
	b.kept.Write(p[:room])
	if room == len(p) {
		return room, nil
	}
	b.over = true
	if b.full != nil {
		return room, b.full
	}
	return len(p), nil
}

// because is what a worker complained of, as the end of a sentence.
func (b *bounded) because() string {
	last := ""
	for line := range strings.Lines(b.kept.String()) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			return ": " + oneLine(line)
		}
		if line != "" {
			last = line
		}
	}
	if last == "" {
		return ""
	}
	return ": " + oneLine(last)
}

// oneLine makes a reason fit for a table's footnote.
func oneLine(s string) string {
	const most = 400
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
