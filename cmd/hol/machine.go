package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// libraries are the modules that the transports are made of, and their names in
// reports.
var libraries = map[string]string{
	"github.com/quic-go/quic-go": "quic-go",
	"github.com/pion/webrtc/v4":  "pion/webrtc",
	"github.com/coder/websocket": "coder/websocket",
	"github.com/gobwas/ws":       "gobwas/ws",
	"golang.org/x/net":           "x/net",
}

// describeMachine is what results depend on besides the flags.
func describeMachine(jobs int, results []lab.Result) map[string]string {
	m := map[string]string{
		"go":         strings.TrimPrefix(runtime.Version(), "go") + " " + runtime.GOOS + "/" + runtime.GOARCH,
		"processors": strconv.Itoa(runtime.NumCPU()),
		"jobs":       strconv.Itoa(jobs),
		"realtime":   realtime(results),
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m["kernel"] = "Linux " + strings.TrimSpace(string(text))
	}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m["processor"] = strings.TrimSpace(value)
				break
			}
		}
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dependency := range info.Deps {
			if name, ok := libraries[dependency.Path]; ok {
				m[name] = dependency.Version
			}
		}
	}
	return m
}

// realtime says whether real-time scheduling was in force, which the workers found
// out, in the runs that count.
func realtime(results []lab.Result) string {
	in, of := 0, 0
	for i := range results {
		if r := &results[i]; r.Counts() {
			of++
			if r.Realtime {
				in++
			}
		}
	}
	if in > 0 && in < of {
		return fmt.Sprintf("in %d of %d runs", in, of)
	}
	return yes(in > 0)
}

// version is of the code that was measured.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(unknown version)"
}
