package peers

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

// An order is what a child process is to do. Its answer has the same id.
type order struct {
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
}

// An answer is what came of an order.
type answer struct {
	ID     *int `json:"id"`
	Error  string
	Result struct {
		Session, Stream int
		Protocol        string
		Data            []byte
		Code            int64 // negative in a page that has it wrong
		Reason          string
		Port            int
	}
}

// code returns the error code in an answer, unless there was an error.
func (a answer) code(err error) (uint32, error) {
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

// A process is a child that carries out orders. It ends with its standard
// input, so that none is left over whatever ends the test.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	log   logTail
	gone  chan struct{} // closed when its output has ended

	killed bool // by the test, which alone looks at it

	mu      sync.Mutex // guards the following
	next    int
	waiting map[int]chan answer
}

// startProcess starts a child that lives as long as the test.
func startProcess(t *testing.T, dir, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(name, args...), gone: make(chan struct{}), waiting: map[int]chan answer{}}
	p.cmd.Dir = dir
	p.cmd.Stderr = &p.log
	// Standard error may be held open by a grandchild.
	p.cmd.WaitDelay = 5 * time.Second
	var err error
	p.stdin, err = p.cmd.StdinPipe()
	must(t, err)
	stdout, err := p.cmd.StdoutPipe()
	must(t, err)
	must(t, p.cmd.Start())
	go p.listen(stdout) // ends with the process
	t.Cleanup(func() { p.stop(t) })
	return p
}

// kill ends the process without a word.
func (p *process) kill() {
	p.killed = true
	p.cmd.Process.Kill()
}

func (p *process) stop(t *testing.T) {
	p.stdin.Close()
	kill := time.AfterFunc(5*time.Second, func() { p.cmd.Process.Kill() })
	<-p.gone
	if err := p.cmd.Wait(); err != nil && !p.killed {
		t.Errorf("%v: %v", p.cmd.Args, err)
	}
	kill.Stop()
	if t.Failed() && p.log.String() != "" {
		t.Logf("%v said:\n%s", p.cmd.Args, p.log.String())
	}
}

// listen hands answers to those who wait for them.
func (p *process) listen(stdout io.Reader) {
	defer close(p.gone)
	lines := bufio.NewScanner(stdout)
	lines.Buffer(make([]byte, 64<<10), maxAnswer)
	for lines.Scan() {
		var a answer
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

// do has an order carried out and waits for the answer.
func (p *process) do(ctx context.Context, o order) (answer, error) {
	answered := make(chan answer, 1)
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
		return answer{}, fmt.Errorf("%s: %w", o.Op, err)
	}
	select {
	case a := <-answered:
		if a.Error != "" {
			return a, fmt.Errorf("%s: %s", o.Op, a.Error)
		}
		return a, nil
	case <-p.gone:
		return answer{}, fmt.Errorf("%s: the process has ended", o.Op)
	case <-ctx.Done():
		return answer{}, fmt.Errorf("%s: %w", o.Op, context.Cause(ctx))
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

// A processEnd is an end in a child process.
type processEnd struct {
	p        *process
	number   int
	selected string
}

// end makes an end of the answer to an order that opened or accepted a session.
func (p *process) end(a answer) end {
	return processEnd{p: p, number: a.Result.Session, selected: a.Result.Protocol}
}

func (e processEnd) do(ctx context.Context, o order) (answer, error) {
	o.Session = &e.number
	return e.p.do(ctx, o)
}

func (e processEnd) stream(ctx context.Context, op string, uni bool) (stream, error) {
	a, err := e.do(ctx, order{Op: op, Uni: uni})
	return processStream{e.p, a.Result.Stream}, err
}

func (e processEnd) open(ctx context.Context, uni bool) (stream, error) {
	return e.stream(ctx, "open", uni)
}

func (e processEnd) accept(ctx context.Context, uni bool) (stream, error) {
	return e.stream(ctx, "accept", uni)
}

func (e processEnd) sendDatagram(ctx context.Context, p []byte) error {
	_, err := e.do(ctx, order{Op: "sendDatagram", Data: p})
	return err
}

func (e processEnd) receiveDatagram(ctx context.Context) ([]byte, error) {
	a, err := e.do(ctx, order{Op: "receiveDatagram"})
	return a.Result.Data, err
}

func (e processEnd) protocol() string { return e.selected }

func (e processEnd) close(ctx context.Context, code uint32, reason string) error {
	_, err := e.do(ctx, order{Op: "close", Code: code, Reason: reason})
	return err
}

func (e processEnd) closed(ctx context.Context) (uint32, string, error) {
	a, err := e.do(ctx, order{Op: "closed"})
	code, err := a.code(err)
	return code, a.Result.Reason, err
}

type processStream struct {
	p      *process
	number int
}

func (s processStream) do(ctx context.Context, o order) (answer, error) {
	o.Stream = &s.number
	return s.p.do(ctx, o)
}

func (s processStream) write(ctx context.Context, p []byte) error {
	_, err := s.do(ctx, order{Op: "write", Data: p})
	return err
}

func (s processStream) finish(ctx context.Context) error {
	_, err := s.do(ctx, order{Op: "finish"})
	return err
}

func (s processStream) reset(ctx context.Context, code uint32) error {
	_, err := s.do(ctx, order{Op: "reset", Code: code})
	return err
}

func (s processStream) stop(ctx context.Context, code uint32) error {
	_, err := s.do(ctx, order{Op: "stop", Code: code})
	return err
}

func (s processStream) wasStopped(ctx context.Context) (uint32, error) {
	a, err := s.do(ctx, order{Op: "wasStopped"})
	return a.code(err)
}

func (s processStream) wasReset(ctx context.Context) (uint32, error) {
	a, err := s.do(ctx, order{Op: "wasReset"})
	return a.code(err)
}

func (s processStream) read(ctx context.Context, n int) ([]byte, error) {
	a, err := s.do(ctx, order{Op: "read", N: n})
	return a.Result.Data, err
}

func (s processStream) readAll(ctx context.Context) ([]byte, error) {
	a, err := s.do(ctx, order{Op: "readAll"})
	return a.Result.Data, err
}
