package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
)

// A child is a process that the command has started of itself. Its standard
// input ends with the command, whatever ends that, and then it ends.
type child struct {
	role   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	orders *ledger.Writer
	ended  chan struct{}
	err    error // why, once ended
	once   sync.Once
}

// A heard is a message and who it is from; a nil message says that the process
// has ended.
type heard struct {
	from *child
	what *ledger.Message
}

// placed is where a process runs among the machine's processors, see package
// attack.
type placed int

const (
	anywhere placed = iota
	alone           // it has one processor for itself
	beside          // it has the others
	behind          // it has the others while those beside leave them
)

// startChild starts a role. What it says goes to hear, until it has ended.
func startChild(role string, log *os.File, hear chan<- heard, place placed) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	cmd.Stderr = log
	apart(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := startProcess(cmd, place); err != nil {
		return nil, err
	}
	c := &child{role: role, cmd: cmd, in: in, orders: ledger.NewWriter(in), ended: make(chan struct{})}
	go func() { // ends with the process
		err := ledger.Lines(out, func(m ledger.Message) bool { hear <- heard{c, &m}; return true })
		c.err = errors.Join(err, cmd.Wait())
		close(c.ended)
		hear <- heard{c, nil}
	}()
	return c, nil
}

// order tells the process something. It fails once that has ended, which is
// heard of.
func (c *child) order(o ledger.Order) { c.orders.Write(o) }

// end lets the process end by itself, which it does when its orders have.
func (c *child) end() { c.once.Do(func() { c.in.Close() }) }

// kill ends the process.
func (c *child) kill() {
	c.end()
	c.cmd.Process.Kill()
}

// why says how a process has ended that should not have.
func (c *child) why() string {
	if c.err == nil {
		return fmt.Sprintf("the %s's process ended by itself", c.role)
	}
	return fmt.Sprintf("the %s's process ended: %v", c.role, c.err)
}
