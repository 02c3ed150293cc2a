package clients

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// An Order is what a child process is to do. Its answer has the same id.
type Order struct {
	ID int    `json:"id"`
	Op string `json:"op"`

	// Of a session or a stream.
	Session *int   `json:"session,omitempty"`
	Stream  *int   `json:"stream,omitempty"`
	Uni     bool   `json:"uni,omitempty"`
	Data    []byte `json:"data,omitempty"`
	N       int    `json:"n,omitempty"`
	Code    uint32 `json:"code"`
	Reason  string `json:"reason,omitempty"`

	// Of the process.
	URL       string   `json:"url,omitempty"`
	Hash      []byte   `json:"hash,omitempty"`
	Cert      string   `json:"cert,omitempty"`
	Key       string   `json:"key,omitempty"`
	Protocols []string `json:"protocols,omitempty"`
	// Streams is how many bidirectional streams the other end may open.
	Streams int `json:"streams,omitempty"`
	// Subprotocol is the WebSocket subprotocol that is offered alone.
	Subprotocol string `json:"subprotocol,omitempty"`

	// Of a browser.
	Page *int `json:"page,omitempty"`
	Arg  any  `json:"arg,omitempty"`
}

// An Answer is what came of an order.
type Answer struct {
	ID     *int `json:"id"`
	Error  string
	Result struct {
		Session, Stream int
		Protocol        string
		Data            []byte
		Code            int64 // negative in a page that has it wrong
		Reason          string
		Port            int
		Value           json.RawMessage // of orders with Arg
	}
}

// Code returns the error code in an answer, unless there was an error.
func (a Answer) Code(err error) (uint32, error) {
	if code := a.Result.Code; err == nil && code != int64(uint32(code)) {
		return 0, fmt.Errorf("%d is not an error code", code)
	}
	return uint32(a.Result.Code), err
}

// Bounds on what a child process can make the tests hold.
const (
	maxAnswer = 8 << 20
	maxLog    = 64 << 10
)

// A Process is a child that carries out orders. It ends with its standard
// input, so that none is left over whatever ends the test.
type Process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	log   logTail
	gone  chan struct{} // closed when its output has ended

	Killed bool // by the test, which alone looks at it

	mu      sync.Mutex // guards the following
	next    int
	waiting map[int]chan Answer
}

// StartProcess starts a child that lives as long as the test.
func StartProcess(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	return StartProcessBy(t, cmd, cmd.Start)
}

// StartProcessBy starts a child by a function that calls cmd.Start, in another
// namespace for example.
func StartProcessBy(t testing.TB, cmd *exec.Cmd, start func() error) *Process {
	t.Helper()
	p := &Process{cmd: cmd, gone: make(chan struct{}), waiting: map[int]chan Answer{}}
	p.cmd.Stderr = &p.log
	// Standard error may be held open by a grandchild.
	p.cmd.WaitDelay = 5 * time.Second
	var err error
	p.stdin, err = p.cmd.StdinPipe()
	Must(t, err)
	stdout, err := p.cmd.StdoutPipe()
	Must(t, err)
	Must(t, start())
	go p.listen(stdout) // ends with the process
	t.Cleanup(func() { p.stop(t) })
	return p
}

// Kill ends the process without a word.
func (p *Process) Kill() {
	p.Killed = true
	p.cmd.Process.Kill()
}

func (p *Process) stop(t testing.TB) {
	p.stdin.Close()
	kill := time.AfterFunc(Patience, func() { p.cmd.Process.Kill() })
	<-p.gone
	if err := p.cmd.Wait(); err != nil && !p.Killed {
		t.Errorf("%v: %v", p.cmd.Args, err)
	}
	kill.Stop()
	if t.Failed() && p.log.String() != "" {
		t.Logf("%v said:\n%s", p.cmd.Args, p.log.String())
	}
}

// listen hands answers to those who wait for them.
func (p *Process) listen(stdout io.Reader) {
	defer close(p.gone)
	lines := bufio.NewScanner(stdout)
	lines.Buffer(make([]byte, 64<<10), maxAnswer)
	for lines.Scan() {
		var a Answer
		if json.Unmarshal(lines.Bytes(), &a) != nil || a.ID == nil {
			fmt.Fprintf(&p.log, "%s\n", lines.Bytes()) // a library's own
			continue
		}
		p.mu.Lock()
		answered := p.waiting[*a.ID]
		delete(p.waiting, *a.ID)
		p.mu.Unlock()
		if answered != nil {
			answered <- a
		}
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintf(&p.log, "its output: %v\n", err)
	}
	io.Copy(io.Discard, stdout)
}

// Do has an order carried out and waits for the answer.
func (p *Process) Do(ctx context.Context, o Order) (Answer, error) {
	answered := make(chan Answer, 1)
	p.mu.Lock()
	o.ID = p.next
	p.next++
	p.waiting[o.ID] = answered
	line, err := json.Marshal(o)
	if err == nil {
		_, err = p.stdin.Write(append(line, '\n'))
	}
	p.mu.Unlock()
	if err != nil {
		return Answer{}, fmt.Errorf("%s: %w", o.Op, err)
	}
	select {
	case a := <-answered:
		if a.Error != "" {
			return a, fmt.Errorf("%s: %s", o.Op, a.Error)
		}
		return a, nil
	case <-p.gone:
		return Answer{}, fmt.Errorf("%s: the process has ended", o.Op)
	case <-ctx.Done():
		return Answer{}, fmt.Errorf("%s: %w", o.Op, context.Cause(ctx))
	}
}

// logTail keeps the last of what a process logs.
type logTail struct {
	mu   sync.Mutex // guards the following
	tail []byte
}

func (l *logTail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail = append(l.tail, p...)
	if cut := len(l.tail) - maxLog; cut > 0 {
		l.tail = bytes.Clone(l.tail[cut:])
	}
	return len(p), nil
}

func (l *logTail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(string(l.tail))
}
