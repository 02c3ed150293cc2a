package main

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// outputs are where the report goes; "" is nowhere.
type outputs struct {
	html, json, csv, samples string
	// stdout is the flag of the report that standard output has, "" for the tables.
	stdout string
}

// outputs resolves the paths and finds out now, not after hours, whether they
// can be written.
func (c *cli) outputs(directory string) (outputs, error) {
	path := func(given string) string { return fromCaller(directory, given) }
	o := outputs{html: path(c.HTML), json: path(c.JSON.file), csv: path(c.CSV), samples: path(c.Samples)}
	for _, to := range []struct {
		flag  string
		given bool
		path  *string
	}{
		{"json", c.JSON.given && c.JSON.file == "", &o.json},
		{"html", c.HTML == "-", &o.html},
		{"csv", c.CSV == "-", &o.csv},
		{"samples", c.Samples == "-", &o.samples},
	} {
		if !to.given {
			continue
		}
		if o.stdout != "" {
			return o, usagef("--%s and --%s both write to standard output: give one of them a file", o.stdout, to.flag)
		}
		o.stdout, *to.path = to.flag, ""
	}
	if c.Out == "-" {
		return o, usagef("--out is a directory, and standard output is none: --html -, --json - and --csv - write there")
	}
	from := path(c.From)
	if c.Out != "" {
		out := path(c.Out)
		mkdir := os.MkdirAll
		if c.DryRun {
			mkdir = canMake
		}
		if err := mkdir(out, 0o755); err != nil {
			return o, usagef("--out: %w", err)
		}
		o.html = cmp.Or(o.html, filepath.Join(out, "hol.html"))
		if saved := filepath.Join(out, "hol.json"); !sameFile(saved, from) { // else it is there already
			o.json = cmp.Or(o.json, saved)
		}
		o.csv = cmp.Or(o.csv, filepath.Join(out, "hol.csv"))
	}
	type output struct{ flag, path string }
	seen := []output{{"from", from}}
	for _, to := range []output{{"html", o.html}, {"json", o.json}, {"csv", o.csv}, {"samples", o.samples}} {
		if to.path == "" {
			continue
		}
		path := filepath.Clean(to.path)
		for _, other := range seen {
			if sameFile(other.path, path) {
				return o, usagef("--%s and --%s both name %s", other.flag, to.flag, path)
			}
		}
		seen = append(seen, to)
		if c.DryRun && c.Out != "" && missing(filepath.Dir(path)) && filepath.Dir(path) == filepath.Clean(fromCaller(directory, c.Out)) {
			continue // a study would have made the directory
		}
		if err := writable(path); err != nil {
			return o, usagef("--%s: %w", to.flag, err)
		}
	}
	return o, nil
}

// canMake is os.MkdirAll without making anything: it says why a directory cannot
// be made, by the nearest one that is there.
func canMake(path string, _ fs.FileMode) error {
	at := filepath.Clean(path)
	for missing(at) && filepath.Dir(at) != at {
		at = filepath.Dir(at)
	}
	info, err := os.Stat(at)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return &fs.PathError{Op: "mkdir", Path: at, Err: syscall.ENOTDIR}
	}
	if at == filepath.Clean(path) {
		return nil
	}
	f, err := beside(filepath.Join(at, filepath.Base(path)))
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func missing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// sameFile says whether two paths lead to one file, which then can hold but one
// report. "" is none, and what is no file, as a terminal, can have many.
func sameFile(a, b string) bool {
	if a == "" || b == "" || special(a) {
		return false
	}
	if filepath.Clean(a) == filepath.Clean(b) {
		return true
	}
	of, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(of, other)
}

// special says whether a path is something other than a file, as a terminal or
// a pipe: that is written to, not replaced.
func special(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.Mode().IsRegular()
}

// writable says why a file cannot be made there.
func writable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return fmt.Errorf("%s is a directory", path)
	case err == nil && !info.Mode().IsRegular():
		return nil // opening it could wait for a reader
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	path, err = linked(path)
	if err != nil {
		return err
	}
	f, err := beside(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no directory %s: make it first", filepath.Dir(path))
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// writeFile has a file written, which is complete or as it was before. Links are
// followed; a file that was there keeps its permissions.
func writeFile(path string, write func(io.Writer) error) (err error) {
	if special(path) {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(buffered(f, write), f.Close())
	}
	path, err = linked(path)
	if err != nil {
		return err
	}
	f, err := beside(path)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	var mode error
	if info, err := os.Stat(path); err == nil {
		mode = f.Chmod(info.Mode().Perm())
	}
	if err := errors.Join(buffered(f, write), mode, f.Close()); err != nil {
		return named(path, err)
	}
	return os.Rename(f.Name(), path)
}

// beside makes a file that is to take a path's place, as the umask wants it. Its
// errors have the path, since nobody knows the file's own name.
func beside(path string) (*os.File, error) {
	name := filepath.Join(filepath.Dir(path), ".hol-"+rand.Text())
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	return f, named(path, err)
}

// named is an error of a file as one of the path that it is to have.
func named(path string, err error) error {
	if of, ok := errors.AsType[*fs.PathError](err); ok {
		return &fs.PathError{Op: of.Op, Path: path, Err: of.Err}
	}
	return err
}

// maxLinks bounds how many symbolic links lead to a file.
const maxLinks = 40

// linked follows symbolic links, also to a file that is not there yet.
func linked(path string) (string, error) {
	for at, n := path, 0; n < maxLinks; n++ {
		info, err := os.Lstat(at)
		if err != nil || info.Mode()&fs.ModeSymlink == 0 {
			return at, nil
		}
		to, err := os.Readlink(at)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(at), to)
		}
		at = to
	}
	return "", fmt.Errorf("%s: too many symbolic links", path)
}

func buffered(w io.Writer, write func(io.Writer) error) error {
	b := bufio.NewWriterSize(w, 64<<10)
	return errors.Join(write(b), b.Flush())
}

// compressed is write through gzip if the file's name asks for it.
func compressed(path string, write func(io.Writer) error) func(io.Writer) error {
	if !strings.HasSuffix(path, ".gz") {
		return write
	}
	return func(w io.Writer) error {
		z := gzip.NewWriter(w)
		return errors.Join(write(z), z.Close())
	}
}
