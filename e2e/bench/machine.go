package main

import (
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
)

// hardware reads what Linux tells of the machine; elsewhere nothing is told.
func hardware() (cpu string, memory uint64, kernel string) {
	for line := range strings.Lines(content("/proc/cpuinfo")) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			cpu = strings.TrimSpace(value)
			break
		}
	}
	for line := range strings.Lines(content("/proc/meminfo")) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kb, _ := strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
			memory = kb << 10
		}
	}
	return cpu, memory, strings.TrimSpace(content("/proc/sys/kernel/osrelease"))
}

// load is the load average of the last minute, "" if it is not known.
func load() string {
	first, _, _ := strings.Cut(content("/proc/loadavg"), " ")
	return first
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
