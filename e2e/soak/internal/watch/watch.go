// Package watch finds what a process holds at its end that it did not hold at
// its start: goroutines, file descriptors, memory.
package watch

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/towpath-go/towpath/e2e/internal/results"
	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
)

// A Start is what there was at the start.
type Start struct {
	goroutines map[string]int // by where they stand
	files      map[string]int // by what they are
}

// Begin notes what there is now. Only what runs until the process ends should be
// running.
func Begin() *Start {
	return &Start{goroutines: goroutines(), files: files()}
}

// Left waits until nothing is left that was not there at the start, at most for
// so long, and returns what is.
func (s *Start) Left(atMost time.Duration) (routines, open []string) {
	for end := time.Now().Add(atMost); ; {
		runtime.GC()
		routines, open = more(goroutines(), s.goroutines), more(files(), s.files)
		if len(routines)+len(open) == 0 || time.Now().After(end) {
			return routines, open
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Stacks lists all goroutines by where they stand.
func Stacks() []string { return more(goroutines(), nil) }

// more lists what now has more of than before.
func more(now, before map[string]int) []string {
	var list []string
	for what, n := range now {
		if n -= before[what]; n > 0 {
			list = append(list, fmt.Sprintf("%d x %s", n, what))
		}
	}
	sort.Strings(list)
	return list
}

// goroutines counts them by their stacks, without the one that calls.
func goroutines() map[string]int {
	var b bytes.Buffer
	pprof.Lookup("goroutine").WriteTo(&b, 1)
	return parse(b.String())
}

// parse reads a goroutine profile as text: blocks of "N @ addresses" and a line
// "#	address	function+offset	file:line" for each frame, innermost first.
func parse(profile string) map[string]int {
	found := make(map[string]int)
	for _, block := range strings.Split(profile, "\n\n") {
		lines := strings.Split(strings.TrimSpace(block), "\n")
		if len(lines) > 0 && strings.HasPrefix(lines[0], "goroutine profile:") {
			lines = lines[1:]
		}
		if len(lines) == 0 {
			continue
		}
		count, _, ok := strings.Cut(lines[0], " @")
		n, err := strconv.Atoi(count)
		if !ok || err != nil {
			continue
		}
		var frames []string
		for _, line := range lines[1:] {
			fields := strings.Fields(line)
			if len(fields) < 4 || fields[0] != "#" {
				continue
			}
			name, _, _ := strings.Cut(fields[2], "+0x")
			frames = append(frames, filepath.Base(name))
		}
		stack := strings.Join(frames, " < ")
		if strings.Contains(stack, "pprof.") || ours(frames) {
			continue
		}
		found[stack] += n
	}
	return found
}

// ours says whether a goroutine is the runtime's, which come and go as they like,
// or one that reads the process's orders as long as there are any.
func ours(frames []string) bool {
	for _, f := range frames {
		if f == ordersReader || strings.HasPrefix(f, "runtime.bg") || strings.HasPrefix(f, "runtime.runfinq") || strings.HasPrefix(f, "runtime.runFinalizers") ||
			strings.HasPrefix(f, "runtime.gcBgMarkWorker") || strings.HasPrefix(f, "runtime.forcegchelper") || strings.HasPrefix(f, "runtime.runCleanups") ||
			strings.HasPrefix(f, "unique.") || strings.HasPrefix(f, "runtime.unique_") {
			return true
		}
	}
	return false
}

const ordersReader = "process.Start.func1"

// files counts open file descriptors by what they are: sockets all alike. Where
// there is no /proc nothing is counted.
func files() map[string]int {
	found := make(map[string]int)
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return found
	}
	for _, entry := range entries {
		target, err := os.Readlink(filepath.Join("/proc/self/fd", entry.Name()))
		if err != nil {
			continue // the directory itself
		}
		if kind, _, ok := strings.Cut(target, ":["); ok {
			target = kind
		}
		if strings.HasPrefix(target, "/proc/") {
			continue
		}
		found[target]++
	}
	return found
}

// Files returns how many file descriptors are open.
func Files() int {
	n := 0
	for _, m := range files() {
		n += m
	}
	return n
}

// Sample collects garbage and looks at memory.
func Sample(side string, since time.Time) ledger.Sample {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return ledger.Sample{Side: side, At: time.Since(since), HeapLive: m.HeapAlloc, HeapInUse: m.HeapInuse, Stack: m.StackInuse,
		Resident: status("VmRSS"), Goroutines: runtime.NumGoroutine(), Files: Files()}
}

// Profile writes a profile of the heap, as of a collection that it makes first.
func Profile(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	runtime.GC()
	return errors.Join(pprof.WriteHeapProfile(f), f.Close())
}

// Used returns what the process has used so far.
func Used(side string) ledger.Usage {
	return ledger.Usage{Side: side, CPU: results.ProcessorTime(), Peak: status("VmHWM")}
}

// status reads a size from /proc/self/status, 0 where there is none.
func status(name string) uint64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(b), "\n") {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kb, _ := strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}
