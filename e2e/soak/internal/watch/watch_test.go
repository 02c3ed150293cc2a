package watch

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
)

func forgotten(stop <-chan struct{}) { <-stop }

func TestLeft(t *testing.T) {
	before := Begin()
	if routines, open := before.Left(time.Second); len(routines)+len(open) > 0 {
		t.Fatalf("nothing was begun, and left are %q, %q", routines, open)
	}
	stop := make(chan struct{})
	for range 3 {
		go forgotten(stop)
	}
	f, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	routines, open := before.Left(0)
	if len(routines) != 1 || !strings.HasPrefix(routines[0], "3 x ") || !strings.Contains(routines[0], "watch.forgotten") {
		t.Errorf("left are the goroutines %q", routines)
	}
	if runtime.GOOS == "linux" && (len(open) != 1 || !strings.HasPrefix(open[0], "1 x ")) {
		t.Errorf("left are the files %q", open)
	}
	close(stop)
	f.Close()
	if routines, open := before.Left(10 * time.Second); len(routines)+len(open) > 0 {
		t.Errorf("all has ended, and left are %q, %q", routines, open)
	}
}

func TestProfile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "heap")
	if err := Profile(file); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Size() == 0 {
		t.Errorf("%v, %v", info, err)
	}
	if Profile(filepath.Join(file, "none")) == nil {
		t.Error("a file that cannot be made was written")
	}
}

func TestSample(t *testing.T) {
	s := Sample(ledger.Client, time.Now())
	if s.HeapInUse == 0 || s.HeapLive == 0 || s.Goroutines == 0 || runtime.GOOS == "linux" && (s.Files == 0 || s.Resident == 0) {
		t.Errorf("%+v", s)
	}
	if u := Used(ledger.Client); runtime.GOOS == "linux" && (u.CPU == 0 || u.Peak == 0) {
		t.Errorf("%+v", u)
	}
}
