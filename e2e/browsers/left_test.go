package browsers

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/towpath-go/towpath/e2e/clients"
)

// nothingLeft waits until no process has a directory in its command line or
// environment, and returns an error for those that do not end.
func nothingLeft(dir string) error {
	deadline := time.After(clients.Patience)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		left := processesOf(dir)
		if len(left) == 0 {
			return nil
		}
		select {
		case <-again.C:
		case <-deadline:
			return fmt.Errorf("still there: %q", left)
		}
	}
}

// processesOf are the command lines of other processes that mention a
// directory there or in their environment. Without Linux's /proc there are none.
func processesOf(dir string) []string {
	var found []string
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range all {
		if filepath.Base(proc) == fmt.Sprint(os.Getpid()) {
			continue
		}
		command, err := os.ReadFile(filepath.Join(proc, "cmdline"))
		if err != nil || len(command) == 0 { // it has ended
			continue
		}
		environ, _ := os.ReadFile(filepath.Join(proc, "environ"))
		if bytes.Contains(command, []byte(dir)) || bytes.Contains(environ, []byte(dir)) {
			found = append(found, string(bytes.ReplaceAll(command, []byte{0}, []byte{' '})))
		}
	}
	return found
}

// TestNothingLeft: the browser's processes end with the driver, and the driver
// with the test, also if these are killed.
func TestNothingLeft(t *testing.T) {
	for _, k := range kinds {
		t.Run(string(k)+", a killed driver", func(t *testing.T) {
			b := launch(t, k, launchOptions{})
			b.open(t, blank(t, "127.0.0.1"))
			if len(processesOf(b.home)) < 3 {
				t.Error("driver, browser and its page are not among the processes that are looked at")
			}
			b.process.Kill()
			clients.Must(t, nothingLeft(b.home))
		})
		t.Run(string(k)+", a killed test", func(t *testing.T) {
			home := launchInChild(t, k)
			clients.Must(t, nothingLeft(home))
		})
	}
}

// What tells TestToBeKilled in its own process what to do.
const (
	childEnv   = "TOWPATH_BROWSERS_CHILD"   // the browser to launch
	homeEnv    = "TOWPATH_BROWSERS_HOME"    // its home
	commandEnv = "TOWPATH_BROWSERS_COMMAND" // the command towpath: a killed process does not remove its own
)

// launchInChild has another test process launch a browser and serve, kills it,
// and returns the browser's home.
func launchInChild(t *testing.T, k kind) string {
	t.Helper()
	if _, err := find(k); err != nil {
		clients.Unavailable(t, k.name(), err)
	}
	command, err := towpath()
	clients.Must(t, err)
	home := newHome(t)
	self, err := os.Executable()
	clients.Must(t, err)
	cmd := exec.CommandContext(clients.Limited(t), self, "-test.run=^TestToBeKilled$")
	cmd.Env = append(os.Environ(), childEnv+"="+string(k), homeEnv+"="+home, commandEnv+"="+command)
	stdout, err := cmd.StdoutPipe()
	clients.Must(t, err)
	clients.Must(t, cmd.Start())
	lines := bufio.NewScanner(stdout)
	launched := false
	for !launched && lines.Scan() {
		launched = lines.Text() == "launched"
	}
	if !launched {
		t.Errorf("the child did not launch its browser: %v", lines.Err())
	} else if len(processesOf(home)) < 4 {
		t.Error("the server is not among the processes that are looked at")
	}
	cmd.Process.Kill()
	cmd.Wait()
	return home
}

// TestToBeKilled is what runs in the child of TestNothingLeft.
func TestToBeKilled(t *testing.T) {
	k := kind(os.Getenv(childEnv))
	if k == "" {
		t.Skip("only TestNothingLeft runs this, in a process of its own")
	}
	home := os.Getenv(homeEnv)
	launch(t, k, launchOptions{home: home}).open(t, blank(t, "127.0.0.1"))
	serve(t, "--root", home)
	fmt.Println("launched")
	<-t.Context().Done()
}
