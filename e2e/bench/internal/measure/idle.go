package measure

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/towpath-go/towpath/e2e/bench/internal/peer"
)

// RoleEnv tells a process which end of an idle benchmark it is; the command itself
// has none.
const RoleEnv = "TOWPATH_BENCH_ROLE"

// Role is what a process does that has a role, nil if it has none. It returns the
// exit status.
func Role() func(in io.Reader, out io.Writer) int {
	switch os.Getenv(RoleEnv) {
	case roleServer:
		return idleServer
	case roleClient:
		return idleClient
	}
	return nil
}

const (
	roleServer = "server"
	roleClient = "client"
)

// idle looks at what connections cost a server while nothing happens on them. The
// server has a process of its own, whose heap has never held anything else, and
// the clients another one:
//
//	command ──► server ──► clients
//
// A process ends when its standard input does, and so with the one that started
// it.
type idle struct{ pooled bool }

// idleOrder is what the server's process is told, and the clients' with Addr and
// Certificate.
type idleOrder struct {
	Peer        string
	Pooled      bool
	N           int // connections, or sessions and streams that are pooled
	Settle      time.Duration
	Addr        string
	Certificate []byte
}

// idleResult is what the server's process says.
type idleResult struct {
	Result Result
	Error  string
}

func (i idle) run(ctx context.Context, p *peer.Peer, o Options) (Result, error) {
	c, err := startProcess(ctx, roleServer, idleOrder{Peer: p.Name, Pooled: i.pooled, N: o.Idle, Settle: o.Settle})
	if err != nil {
		return Result{}, err
	}
	line, err := c.line()
	err = errors.Join(err, c.end())
	if ctx.Err() != nil {
		return Result{}, context.Cause(ctx)
	}
	var r idleResult
	if jsonErr := json.Unmarshal([]byte(line), &r); jsonErr != nil {
		return Result{}, errors.Join(err, jsonErr)
	}
	if r.Error != "" {
		return Result{}, errors.New(r.Error)
	}
	return r.Result, err
}

// A process is this command, started for a role.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startProcess(ctx context.Context, role string, order idleOrder) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), RoleEnv+"="+role)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &process{cmd: cmd, in: in, out: bufio.NewReader(out)}
	b, err := json.Marshal(order)
	if err == nil {
		_, err = in.Write(append(b, '\n'))
	}
	if err != nil {
		return nil, errors.Join(err, c.end())
	}
	return c, nil
}

// line returns the next line that the process prints.
func (c *process) line() (string, error) {
	s, err := c.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("the other process: %w", err)
	}
	return strings.TrimSuffix(s, "\n"), nil
}

// ask has the process do the next step, and waits until it has.
func (c *process) ask() error {
	if _, err := io.WriteString(c.in, "go\n"); err != nil {
		return err
	}
	s, err := c.line()
	if err == nil && s != "done" {
		err = errors.New(s)
	}
	return err
}

// end ends the process and waits for it.
func (c *process) end() error {
	_ = c.in.Close()
	return c.cmd.Wait()
}

// order reads a process's first line.
func order(in *bufio.Reader) (o idleOrder, p *peer.Peer, err error) {
	line, err := in.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &o)
	}
	if p = peer.Named(o.Peer); err == nil && p == nil {
		err = fmt.Errorf("there is no peer %q", o.Peer)
	}
	if err == nil && o.Pooled && p.Pooled != nil {
		p = p.Pooled
	}
	return o, p, err
}

// idleServer is the server's process.
func idleServer(stdin io.Reader, stdout io.Writer) int {
	in := bufio.NewReader(stdin)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r, err := serveIdle(ctx, cancel, in)
	answer := idleResult{Result: r}
	if err != nil {
		answer.Error = err.Error()
	}
	b, err := json.Marshal(answer)
	if err == nil {
		_, err = stdout.Write(append(b, '\n'))
	}
	if err != nil {
		return 1
	}
	return 0
}

func serveIdle(ctx context.Context, cancel func(), in *bufio.Reader) (Result, error) {
	o, p, err := order(in)
	if err != nil {
		return Result{}, err
	}
	go func() { // ends with the standard input, at the latest with the process
		_, _ = io.Copy(io.Discard, in)
		cancel() // kills the clients
	}()
	d, err := newDialer(p, func(s peer.Stream) { _ = holdStream(s) })
	if err != nil {
		return Result{}, err
	}
	o.Addr, o.Certificate = d.server.Addr(), d.c.Certificate
	clients, err := startProcess(ctx, roleClient, o)
	if err != nil {
		return Result{}, err
	}
	r, err := compare(clients, o)
	err = errors.Join(err, clients.end())
	if o.Pooled {
		r.PerConn = p.PerConn
	}
	return r, err // the process's end is the server's
}

// compare looks at memory before and after the clients are there. The first
// connection, which is closed before, has whatever a process makes once.
func compare(clients *process, o idleOrder) (r Result, err error) {
	if err := clients.ask(); err != nil {
		return r, fmt.Errorf("the first connection: %w", err)
	}
	bytes, goroutines := held(o.Settle)
	u := look()
	if err := clients.ask(); err != nil {
		return r, fmt.Errorf("connections: %w", err)
	}
	_, r = u.since(int64(o.N))
	bytes2, goroutines2 := held(o.Settle)
	r.Value = (float64(bytes2) - float64(bytes)) / 1024 / float64(o.N)
	r.Goroutines = float64(goroutines2-goroutines) / float64(o.N)
	return r, nil
}

// held returns what the heap and stacks hold once nothing is under way and pools
// are empty, which takes two collections.
func held(settle time.Duration) (bytes uint64, goroutines int) {
	time.Sleep(settle)
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse, runtime.NumGoroutine()
}

// idleClient is the clients' process.
func idleClient(stdin io.Reader, stdout io.Writer) int {
	in := bufio.NewReader(stdin)
	o, p, err := order(in)
	d := &dialer{p: p, c: &peer.Credentials{Certificate: o.Certificate}, addr: o.Addr}
	var conns []peer.Conn
	for _, n := range []int{0, o.N} {
		if _, readErr := in.ReadString('\n'); readErr != nil {
			return 0
		}
		answer := "done"
		if err == nil {
			conns, err = d.hold(context.Background(), n, o.Pooled)
		}
		if err != nil {
			answer = strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		fmt.Fprintln(stdout, answer)
	}
	_, _ = io.Copy(io.Discard, in)
	for _, c := range conns {
		_ = c.Close()
	}
	return 0
}

// hold makes n idle connections, or as many as it takes for n pooled ones. For 0 it
// makes one and closes it.
func (d *dialer) hold(ctx context.Context, n int, pooled bool) (conns []peer.Conn, err error) {
	if n == 0 {
		c, err := d.rest(ctx)
		if err != nil {
			return nil, err
		}
		return nil, c.Close()
	}
	for made := 0; made < n; {
		c, err := d.rest(ctx)
		if err != nil {
			return nil, err
		}
		conns = append(conns, c)
		if !pooled {
			made++
			continue
		}
		here := 0
		if d.p.Sessions {
			here++
		}
		for ; here < min(d.p.PerConn, n-made); here++ {
			if err := c.OpenPooled(ctx); err != nil {
				return nil, fmt.Errorf("number %d on a connection: %w", here+1, err)
			}
		}
		made += here
	}
	return conns, nil
}

// rest makes a connection that has been used: a byte went there and back on a
// stream, which has ended where the connection can have others.
func (d *dialer) rest(ctx context.Context) (peer.Conn, error) {
	c, s, err := d.dial(ctx)
	if err != nil {
		return nil, err
	}
	if _, alone := d.p.Lacks[peer.Streams]; alone {
		return c, nil
	}
	err = s.CloseWrite()
	if err == nil {
		_, err = readAll(s, make([]byte, 1))
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, s.Close()
}
