package qlog

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/towpath-go/towpath/transport"
)

var info = transport.Info{Protocol: transport.WebSocket, ID: 8}

func newDir(t *testing.T) *Dir {
	t.Helper()
	d, err := NewDir(filepath.Join(t.TempDir(), "new"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func entries(t *testing.T, d *Dir) (names []string) {
	t.Helper()
	all, err := os.ReadDir(d.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

func TestFile(t *testing.T) {
	d := newDir(t)
	if n := entries(t, d); len(n) != 0 {
		t.Errorf("a new directory has %v", n)
	}
	w := d.OpenQlog(info, transport.ServerSide)
	if _, err := io.WriteString(w, "abc"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	n := entries(t, d)
	if len(n) != 1 || !regexp.MustCompile(`^\d{8}T\d{6}\.\d{6}Z-server-ws-8-1\.sqlog$`).MatchString(n[0]) {
		t.Fatalf("files %v", n)
	}
	path := filepath.Join(d.path, n[0])
	if b, err := os.ReadFile(path); err != nil || string(b) != "abc" {
		t.Errorf("%q, %v", b, err)
	}
	if st, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
}

func TestMaxOpen(t *testing.T) {
	d := newDir(t)
	var log bytes.Buffer
	d.MaxOpen, d.Logger = 2, slog.New(slog.NewTextHandler(&log, nil))
	a, b := d.OpenQlog(info, transport.ClientSide), d.OpenQlog(info, transport.ClientSide)
	for range 3 {
		if w := d.OpenQlog(info, transport.ClientSide); w != nil {
			t.Fatal("a third file")
		}
	}
	if strings.Count(log.String(), "qlog incomplete") != 1 {
		t.Errorf("log: %s", &log)
	}
	_ = a.Close()
	c := d.OpenQlog(info, transport.ClientSide)
	if c == nil {
		t.Fatal("no file although one was closed")
	}
	_, _ = b.Close(), c.Close()
	if n := entries(t, d); len(n) != 3 {
		t.Errorf("files %v", n)
	}
}

func TestMaxFiles(t *testing.T) {
	d := newDir(t)
	d.MaxFiles = 3
	foreign := filepath.Join(d.path, "20060102T150405.000000Z-server-h2-4-1.sqlog")
	if err := os.WriteFile(foreign, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	live := d.OpenQlog(info, transport.ClientSide)
	for range 10 {
		_ = d.OpenQlog(info, transport.ClientSide).Close()
	}
	got := entries(t, d)
	want := []string{"-4-1.sqlog", "-8-1.sqlog", "-8-10.sqlog", "-8-11.sqlog"} // foreign, open, the last two
	for i, n := range got {
		if len(got) != len(want) || !strings.HasSuffix(n, want[i]) {
			t.Fatalf("files %v", got)
		}
	}
	_ = live.Close()
	if got := entries(t, d); len(got) != 4 {
		t.Errorf("files %v", got)
	}
	for range 2 { // those that are open count too
		_ = d.OpenQlog(info, transport.ClientSide)
	}
	if got := entries(t, d); len(got) != 4 {
		t.Errorf("with two open files: %v", got)
	}
}

func TestMaxFileBytes(t *testing.T) {
	d := newDir(t)
	d.MaxFileBytes = 10
	w := d.OpenQlog(info, transport.ClientSide)
	if _, err := io.WriteString(w, "0123456789"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "0"); !errors.Is(err, errFull) {
		t.Errorf("error %v", err)
	}
	_ = w.Close()
	b, err := os.ReadFile(filepath.Join(d.path, entries(t, d)[0]))
	if err != nil || !regexp.MustCompile(`^0123456789\x1e\{"time":[0-9.]+,"name":"webtransport:truncated","data":\{\}\}\n$`).Match(b) {
		t.Errorf("%q, %v", b, err)
	}
}

func TestNoLimits(t *testing.T) {
	d := newDir(t)
	d.MaxFiles, d.MaxOpen, d.MaxFileBytes = -1, -1, -1
	const n = DefaultMaxFiles + 10
	for range n {
		w := d.OpenQlog(info, transport.ClientSide)
		if w == nil {
			t.Fatal("no file")
		}
		if _, err := io.WriteString(w, "x"); err != nil {
			t.Fatal(err)
		}
		_ = w.Close()
	}
	if got := len(entries(t, d)); got != n {
		t.Errorf("%d files", got)
	}
}

func TestErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewDir(path); err == nil {
		t.Error("NewDir took a file for a directory")
	}
	d := newDir(t)
	var log bytes.Buffer
	d.Logger = slog.New(slog.NewTextHandler(&log, nil))
	if err := os.Remove(d.path); err != nil {
		t.Fatal(err)
	}
	for range DefaultMaxOpen + 1 { // none stays counted as open
		if w := d.OpenQlog(info, transport.ClientSide); w != nil {
			t.Fatal("a file in a directory that is gone")
		}
	}
	if strings.Count(log.String(), "qlog incomplete") != DefaultMaxOpen+1 || strings.Contains(log.String(), "MaxOpen") {
		t.Errorf("log: %s", &log)
	}
}
