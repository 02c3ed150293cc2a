package results

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// A Machine is where a result was made.
type Machine struct {
	Go         string `json:"go"`
	System     string `json:"system"`
	Processors int    `json:"processors"` // that the command used
	CPU        string `json:"cpu,omitempty"`
	Memory     uint64 `json:"memory,omitempty"` // bytes
	Kernel     string `json:"kernel,omitempty"`
	Revision   string `json:"revision,omitempty"`
	Race       bool   `json:"race,omitempty"`
	// Load is the machine's load average of the last minute when the run began.
	Load string `json:"load,omitempty"`
}

// Here is this machine; race tells whether the command has the race detector. Of
// the hardware only Linux tells something.
func Here(processors int, race bool) Machine {
	load, _, _ := strings.Cut(content("/proc/loadavg"), " ")
	return Machine{Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, Processors: processors, CPU: model(content("/proc/cpuinfo")),
		Memory: total(content("/proc/meminfo")), Kernel: strings.TrimSpace(content("/proc/sys/kernel/osrelease")), Revision: revision(), Race: race, Load: load}
}

// String describes the machine without the race detector, which is the run's.
func (m Machine) String() string {
	load := ""
	if m.Load != "" {
		load = ", load " + m.Load
	}
	return fmt.Sprintf("%d processors (%s, Linux %s, %.0f GiB, %s%s), revision `%s`", m.Processors, m.CPU, m.Kernel, float64(m.Memory)/(1<<30), m.Go, load, m.Revision)
}

func model(cpuinfo string) string {
	for line := range strings.Lines(cpuinfo) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func total(meminfo string) uint64 {
	for line := range strings.Lines(meminfo) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kb, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
			n, _ := strconv.ParseUint(kb, 10, 64)
			return n << 10
		}
	}
	return 0
}

// content is a file's, "" if it cannot be read.
func content(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(b)
}

// revision is the commit that the command was built from. go run does not record
// it, so git is asked.
func revision() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return s.Value[:12]
			}
		}
	}
	b, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
