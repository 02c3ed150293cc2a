package plan

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// A parent that is killed takes its workers along.
func TestParentIsKilled(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	runs, err := json.Marshal([]lab.Run{lossy("report:"+fifo, 1), lossy("report:"+fifo, 2), lossy("report:"+fifo, 3)})
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), asParent+"="+string(runs))
	parent.Stderr = os.Stderr
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	defer parent.Wait()
	defer parent.Process.Kill()

	workers := make(map[int]int) // pidfd by process
	// Opened for writing as well, it has no end between two workers.
	pipe, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	lines := bufio.NewScanner(pipe)
	for len(workers) < 3 && lines.Scan() {
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			t.Fatalf("worker %d: %v", pid, err)
		}
		defer unix.Close(fd)
		workers[pid] = fd
		if group, err := unix.Getpgid(pid); err != nil || group != pid {
			t.Errorf("worker %d is in group %d (%v): an interrupt of the terminal would reach it", pid, group, err)
		}
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	parent.Wait()
	for pid, fd := range workers {
		// A pidfd is readable once the process has ended.
		if n, err := poll(fd); n != 1 || err != nil {
			t.Errorf("worker %d has not ended: %v", pid, err)
		}
	}
}

// poll waits for a descriptor to be readable, for a minute.
func poll(fd int) (int, error) {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 60_000)
		if err != unix.EINTR {
			return n, err
		}
	}
}
