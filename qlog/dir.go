package qlog

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/towpath-go/towpath/internal/qlog"
	"github.com/towpath-go/towpath/transport"
)

// A Dir is a directory that sessions write their events to, each to a file of its
// own with a name like
//
//	20260102T150405.000000Z-server-h2-4-17.sqlog
//
// : the time in UTC, side, transport and ID of the session, and how many files the
// Dir had made. Only their owner may read them. NewDir makes a Dir; its fields must
// not change once it is in use. It may be used by any number of servers and
// dialers, and is a [transport.QlogSink].
type Dir struct {
	// MaxFiles bounds how many files there are: beyond it the oldest of those
	// that are complete are removed, never one that is being written. Files of
	// earlier Dirs are let alone. Default 1,000; negative: no limit.
	MaxFiles int
	// MaxOpen bounds how many sessions write at a time: those that begin beyond
	// it have no file. Default 100; negative: no limit.
	MaxOpen int
	// MaxFileBytes bounds one file, but for a last event, which says that it is
	// full. Default 16 MiB; negative: no limit.
	MaxFileBytes int64
	// Logger is told at level Warn of what could not be written, and of the first
	// session that had no file; nil means silence.
	Logger *slog.Logger

	path string

	mu    sync.Mutex // guards the following
	made  uint64     // files
	open  int        // of these
	done  []string   // complete ones, the oldest first
	short bool       // that MaxOpen was reached has been said
}

// Defaults of Dir.
const (
	DefaultMaxFiles     = 1000
	DefaultMaxOpen      = 100
	DefaultMaxFileBytes = 16 << 20
)

var _ transport.QlogSink = (*Dir)(nil)

// NewDir returns a Dir at path, which is made if it does not exist. An error says
// that files cannot be made there.
func NewDir(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("qlog: %w", err)
	}
	// Not at the first session: then nobody is there to be told.
	probe, err := os.CreateTemp(path, ".writable-*")
	if err != nil {
		return nil, fmt.Errorf("qlog: %w", err)
	}
	_ = probe.Close()
	if err := os.Remove(probe.Name()); err != nil {
		return nil, fmt.Errorf("qlog: %w", err)
	}
	return &Dir{path: path}, nil
}

// OpenQlog implements transport.QlogSink.
func (d *Dir) OpenQlog(info transport.Info, side transport.Side) io.WriteCloser {
	now := time.Now()
	n, ok := d.reserve()
	if !ok {
		return nil
	}
	name := fmt.Sprintf("%s-%s-%s-%d-%d.sqlog", now.UTC().Format("20060102T150405.000000Z"), side, info.Protocol, info.ID, n)
	f, err := os.OpenFile(filepath.Join(d.path, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		d.warn(err)
		d.release("")
		return nil
	}
	return &file{dir: d, f: f, began: now, left: orDefault(d.MaxFileBytes, DefaultMaxFileBytes)}
}

// reserve counts an open file, if one more may be. It returns its number.
func (d *Dir) reserve() (n uint64, ok bool) {
	d.mu.Lock()
	most := orDefault(int64(d.MaxOpen), DefaultMaxOpen)
	if most >= 0 && int64(d.open) >= most {
		first := !d.short
		d.short = true
		d.mu.Unlock()
		if first {
			d.warn(errMaxOpen)
		}
		return 0, false
	}
	d.open++
	d.made++
	n = d.made
	old := d.surplusLocked()
	d.mu.Unlock()
	d.remove(old)
	return n, true
}

var errMaxOpen = errors.New("sessions without a file: MaxOpen are writing")

// release counts a file as complete; path is empty if there is none.
func (d *Dir) release(path string) {
	d.mu.Lock()
	d.open--
	if path != "" {
		d.done = append(d.done, path)
	}
	old := d.surplusLocked()
	d.mu.Unlock()
	d.remove(old)
}

// surplusLocked forgets what is too much of the complete files, for remove.
func (d *Dir) surplusLocked() (old []string) {
	most := orDefault(int64(d.MaxFiles), DefaultMaxFiles)
	if most < 0 {
		d.done = nil // never needed
		return nil
	}
	if n := min(len(d.done)+d.open-int(most), len(d.done)); n > 0 {
		old, d.done = d.done[:n:n], slices.Clone(d.done[n:])
	}
	return old
}

func (d *Dir) remove(paths []string) {
	for _, p := range paths {
		if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			d.warn(err)
		}
	}
}

func (d *Dir) warn(err error) {
	if d.Logger != nil {
		d.Logger.Warn("qlog incomplete", "dir", d.path, "error", err)
	}
}

// orDefault returns v, or def if v is 0. A negative v means no limit.
func orDefault(v, def int64) int64 {
	if v == 0 {
		return def
	}
	return v
}

// A file is used by one goroutine.
type file struct {
	dir   *Dir
	f     *os.File
	began time.Time
	left  int64 // bytes; negative: no limit
}

var errFull = errors.New("qlog: the file is full")

// Write writes records, whole ones: it is all of them, or the last one.
func (f *file) Write(p []byte) (int, error) {
	if f.left >= 0 && int64(len(p)) > f.left {
		if _, err := f.f.Write(qlog.AppendTruncated(nil, f.began)); err != nil {
			f.dir.warn(err)
		}
		return 0, errFull
	}
	n, err := f.f.Write(p)
	if f.left >= 0 {
		f.left -= int64(n)
	}
	if err != nil {
		f.dir.warn(err)
	}
	return n, err
}

func (f *file) Close() error {
	err := f.f.Close()
	if err != nil {
		f.dir.warn(err)
	}
	f.dir.release(f.f.Name())
	return err
}
