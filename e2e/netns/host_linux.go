package netns

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// exitGrace is how long a host may take to end once its pipe is closed.
const exitGrace = 20 * time.Second

// A Host is a process in network and mount namespaces of its own.
type Host struct {
	Name string
	PID  int

	cmd    *exec.Cmd
	toHost *os.File      // closing it ends the host
	ended  chan struct{} // closed when fromHost broke
	reader sync.WaitGroup

	mu      sync.Mutex // guards the following
	nextID  uint64
	waiting map[uint64]chan response
}

// startHost starts a host that ends with the test.
func startHost(t testing.TB, name, hostsFile string) (*Host, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	hostIn, toHost, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	fromHost, hostOut, err := os.Pipe()
	if err != nil {
		hostIn.Close()
		toHost.Close()
		return nil, err
	}
	cmd := exec.Command(exe)
	cmd.Env = hostEnviron(name, hostsFile)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	cmd.ExtraFiles = []*os.File{hostIn, hostOut} // descriptors 3 and 4
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	err = cmd.Start()
	hostIn.Close()
	hostOut.Close()
	if err != nil {
		toHost.Close()
		fromHost.Close()
		return nil, err
	}
	h := &Host{
		Name: name, PID: cmd.Process.Pid, cmd: cmd, toHost: toHost,
		ended: make(chan struct{}), waiting: map[uint64]chan response{},
	}
	// The reader ends when the host does; stop waits for it.
	h.reader.Go(func() { h.readResponses(fromHost) })
	t.Cleanup(func() {
		if err := h.stop(); err != nil {
			t.Errorf("host %s: %v", name, err)
		}
	})
	return h, nil
}

// stop ends the host. A host that ended with another status than 0 before or
// now, as one with a detected data race does, is an error.
func (h *Host) stop() error {
	h.toHost.Close()
	timer := time.AfterFunc(exitGrace, func() { h.cmd.Process.Kill() })
	err := h.cmd.Wait()
	if !timer.Stop() {
		err = errors.Join(err, fmt.Errorf("did not end within %v", exitGrace))
	}
	h.reader.Wait()
	return err
}

func (h *Host) readResponses(from *os.File) {
	defer close(h.ended)
	defer from.Close()
	dec := json.NewDecoder(from)
	for {
		var r response
		if dec.Decode(&r) != nil {
			return
		}
		h.mu.Lock()
		c := h.waiting[r.ID]
		delete(h.waiting, r.ID)
		h.mu.Unlock()
		if c != nil {
			c <- r // has room for one
		}
	}
}

// call runs a registered function and waits for its result, or for the host's
// end.
func (h *Host) call(name string, arg json.RawMessage) (json.RawMessage, error) {
	c := make(chan response, 1)
	h.mu.Lock()
	h.nextID++
	id := h.nextID
	h.waiting[id] = c
	h.mu.Unlock()
	line, err := json.Marshal(request{ID: id, Name: name, Arg: arg})
	if err != nil {
		return nil, err
	}
	// One Write of a whole line: *os.File serialises writers.
	if _, err := h.toHost.Write(append(line, '\n')); err != nil {
		return nil, fmt.Errorf("netns: host %s is gone: %w", h.Name, err)
	}
	var r response
	select {
	case r = <-c:
	case <-h.ended:
		select {
		case r = <-c: // it arrived just before the end
		default:
			return nil, fmt.Errorf("netns: host %s ended during %s", h.Name, name)
		}
	}
	if r.Err != "" {
		return nil, errors.New(r.Err)
	}
	return r.Result, nil
}
