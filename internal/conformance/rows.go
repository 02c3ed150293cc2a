package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// A row is one requirement.
type row struct {
	id, who, level, text string
	section              string
}

var (
	idPattern = regexp.MustCompile(`^(H2|H3|BP|DS|FW)-[0-9]+$`)
	levels    = map[string]bool{"MUST": true, "MUST NOT": true, "SHOULD": true, "SHOULD NOT": true, "MAY": true, "ours": true, "-": true}
)

// moduleRoot returns the directory of go.mod, here or above.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "docs", "requirements.txt")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("docs/requirements.txt is neither here nor above")
		}
		dir = up
	}
}

func documentFile(root string) string { return filepath.Join(root, "docs", "conformance.md") }

// readRows reads docs/requirements.txt: "id | who | level | text", sections
// begin with "## ", comments with "# ".
func readRows(path string) (rows []row, err error) {
	section := ""
	seen := map[string]bool{}
	err = eachLine(path, func(line string) error {
		if s, ok := strings.CutPrefix(line, "## "); ok {
			section = s
			return nil
		}
		if strings.HasPrefix(line, "#") {
			return nil
		}
		f := strings.SplitN(line, " | ", 4)
		if len(f) != 4 || !idPattern.MatchString(f[0]) || !levels[f[2]] || section == "" {
			return fmt.Errorf("not a requirement: %q", line)
		}
		if seen[f[0]] {
			return fmt.Errorf("%s is there twice", f[0])
		}
		seen[f[0]] = true
		rows = append(rows, row{f[0], f[1], f[2], f[3], section})
		return nil
	})
	return rows, err
}

// readExceptions reads docs/conformance-exceptions.txt: "id: reason".
func readExceptions(path string) (map[string]string, error) {
	exceptions := map[string]string{}
	err := eachLine(path, func(line string) error {
		if strings.HasPrefix(line, "#") {
			return nil
		}
		id, reason, ok := strings.Cut(line, ": ")
		if !ok || !idPattern.MatchString(id) || strings.TrimSpace(reason) == "" {
			return fmt.Errorf("not an exception: %q", line)
		}
		if _, twice := exceptions[id]; twice {
			return fmt.Errorf("%s is there twice", id)
		}
		exceptions[id] = reason
		return nil
	})
	return exceptions, err
}

// eachLine calls f with the lines of a file that are not empty.
func eachLine(path string, f func(string) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	s := bufio.NewScanner(file)
	for n := 1; s.Scan(); n++ {
		if line := strings.TrimSpace(s.Text()); line != "" {
			if err := f(line); err != nil {
				return fmt.Errorf("%s:%d: %w", filepath.Base(path), n, err)
			}
		}
	}
	return s.Err()
}
