package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// callersDirectory is what relative paths on the command line are relative to:
// the working directory, but where "go run -C cmd/hol ." has changed it, the
// one before, which the shell has left in PWD. "" is the working directory.
//
// PWD is believed only if this is really what happened: the program is one that
// go run has built, it is in the laboratory's own module, and PWD names another
// directory, by an absolute path.
func callersDirectory(program, working, pwd string) string {
	if !builtByGoRun(program) || !filepath.IsAbs(pwd) || !laboratory(working) {
		return ""
	}
	before, err := os.Stat(pwd)
	if err != nil || !before.IsDir() {
		return ""
	}
	now, err := os.Stat(working)
	if err != nil || os.SameFile(before, now) {
		return ""
	}
	return filepath.Clean(pwd)
}

// fromHere is callersDirectory for this process.
func fromHere() (string, error) {
	program, err := os.Executable()
	if err != nil {
		return "", err
	}
	working, err := os.Getwd()
	if err != nil {
		return "", err
	}
	return callersDirectory(program, working, os.Getenv("PWD")), nil
}

// inBuildCache is where go run keeps programs from the second run on:
// $GOCACHE/ed/ed34...-d/hol.
var inBuildCache = regexp.MustCompile(`/[0-9a-f]{2}/[0-9a-f]{64}-d/[^/]+$`)

// builtByGoRun tells by the path: $GOTMPDIR/go-build123/b001/exe/hol, or one in
// the build cache, whose own name is usually go-build but can be any.
func builtByGoRun(program string) bool {
	program = filepath.ToSlash(program)
	for part := range strings.SplitSeq(program, "/") {
		if strings.HasPrefix(part, "go-build") {
			return true
		}
	}
	return inBuildCache.MatchString(program)
}

const module = "github.com/towpath-go/towpath/cmd/hol"

// laboratory says whether a directory is the root of this module.
func laboratory(directory string) bool {
	text, err := os.ReadFile(filepath.Join(directory, "go.mod"))
	if err != nil {
		return false
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	return strings.TrimSpace(string(line)) == "module "+module
}

// fromCaller makes a path of the caller's one of this process.
func fromCaller(directory, path string) string {
	if path == "" || directory == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(directory, path)
}
