package plan

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Where there is no parent-death signal, a worker ends with its input.
func TestInputEnds(t *testing.T) {
	told, err := json.Marshal(lossy("stuck", 1))
	if err != nil {
		t.Fatal(err)
	}
	worker := exec.Command(os.Args[0])
	worker.Env = append(os.Environ(), Marker+"=1")
	worker.Stdin = strings.NewReader(`{"limit":3600000000000,"run":` + string(told) + `}`)
	out, err := worker.Output()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 || len(out) > 0 {
		t.Errorf("%v, output %q", err, out)
	}
}

func TestWorkerByHand(t *testing.T) {
	for input, want := range map[string]string{
		"":                   "EOF",
		"{":                  "unexpected EOF",
		"[]":                 "cannot unmarshal array",
		`{"run":{"link":7}}`: "cannot unmarshal number",
		`{"run":{"transport":"` + strings.Repeat("x", maxRun): "unexpected EOF",
	} {
		worker := exec.Command(os.Args[0])
		worker.Env = append(os.Environ(), Marker+"=1")
		worker.Stdin = strings.NewReader(input)
		out, err := worker.CombinedOutput()
		exit, ok := err.(*exec.ExitError)
		if !ok || exit.ExitCode() != 2 || !strings.Contains(string(out), "not by hand: ") || !strings.Contains(string(out), want) {
			t.Errorf("%.20q: %v, output %q lacks %q", input, err, out, want)
		}
	}
}
