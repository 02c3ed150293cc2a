package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// A Study is what was measured.
type Study struct {
	Rows []Row `json:"rows"`
}

// A Row is all runs of a way with a congestion control of TCP.
type Row struct {
	Way      string    `json:"way"`
	CC       string    `json:"cc"` // "" without TCP
	Started  time.Time `json:"started"`
	Machine  string    `json:"machine"`
	Revision string    `json:"revision"`
	Link     lab.Link  `json:"link"`
	// Duration is the measured time of each run, and MaxAge that of datagrams.
	Duration time.Duration `json:"duration"`
	MaxAge   time.Duration `json:"maxAge"`
	Runs     []Run         `json:"runs"`
}

// counted are the runs that were not rejected.
func (r Row) counted() []Run {
	return slices.DeleteFunc(slices.Clone(r.Runs), func(run Run) bool { return run.Rejected != "" })
}

// readStudy reads a study; a file that is not there is an empty one.
func readStudy(path string) (Study, error) {
	var s Study
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	return s, err
}

// write writes the study, in the order of the ways.
func (s Study) write(path string) error {
	text, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// put adds a row, or replaces the one of the same way.
func (s *Study) put(r Row) {
	i := slices.IndexFunc(s.Rows, func(o Row) bool { return o.Way == r.Way && o.CC == r.CC })
	if i >= 0 {
		s.Rows[i] = r
	} else {
		s.Rows = append(s.Rows, r)
	}
	slices.SortStableFunc(s.Rows, func(a, b Row) int { return rank(a.Way) - rank(b.Way) })
}

func rank(name string) int { return slices.IndexFunc(ways, func(w way) bool { return w.name == name }) }

// machine is what results depend on besides the flags.
func machine() string {
	parts := []string{fmt.Sprintf("%d processors", runtime.NumCPU()), runtime.Version()}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		parts = append(parts, "Linux "+strings.TrimSpace(string(text)))
	}
	return strings.Join(parts, ", ")
}

// revision is that of this repository, as far as the command knows it.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(len(s.Value), 12)]
		}
	}
	return ""
}
