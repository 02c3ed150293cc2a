package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
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
func describeMachine(jobs int, realtime bool) map[string]string {
	m := map[string]string{
		"go":         strings.TrimPrefix(runtime.Version(), "go") + " " + runtime.GOOS + "/" + runtime.GOARCH,
		"processors": strconv.Itoa(runtime.NumCPU()),
		"jobs":       strconv.Itoa(jobs),
		"realtime":   yes(realtime),
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

// version is of the code that was measured.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(unknown version)"
}
