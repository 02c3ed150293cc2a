package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDocumentIsUpToDate(t *testing.T) {
	changed, err := document(filepath.Join("..", "..", "..", "docs"), false)
	if err != nil || changed {
		t.Errorf(`docs/performance.md is not what docs/performance/priority.json says (%v): run go run -C cmd/hol ./priority -document "$PWD"/docs`, err)
	}
}

func TestBetween(t *testing.T) {
	text := "a\n" + string(markBegin) + "old\n" + string(markEnd) + "b\n"
	made, err := between([]byte(text), "new\n")
	if want := "a\n" + string(markBegin) + "\nnew\n\n" + string(markEnd) + "b\n"; err != nil || string(made) != want {
		t.Errorf("%q, %v", made, err)
	}
	again, err := between(made, "new\n")
	if err != nil || !bytes.Equal(again, made) {
		t.Errorf("a second time: %q, %v", again, err)
	}
	if _, err := between([]byte("a\n"), "new\n"); err == nil {
		t.Error("no markers, no error")
	}
}

func TestQuantile(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for _, c := range []struct {
		of   []float64
		q    float64
		want float64
	}{{nil, 0.5, 0}, {[]float64{7}, 0.99, 7}, {[]float64{3, 1, 2}, 0.5, 2}, {hundred, 0.5, 50}, {hundred, 0.99, 99}, {hundred, 1, 100}} {
		if x := quantile(c.of, c.q); x != c.want {
			t.Errorf("quantile(%d values, %v) = %v, want %v", len(c.of), c.q, x, c.want)
		}
	}
}

func TestParse(t *testing.T) {
	p := record(kindMessage, messageSize)
	stamp(p, time.Second)
	if h, err := parse(p); err != nil || h != (parsed{kind: kindMessage, due: time.Second, size: messageSize}) {
		t.Errorf("%+v, %v", h, err)
	}
	long := record(kindBulk, bulkSize)
	long[0] = 1
	for name, p := range map[string][]byte{"cut": p[:recordHeader-1], "too long": long, "of no kind": append([]byte{0, 0, 0, 200, 9}, make([]byte, 8)...), "too short": append([]byte{0, 0, 0, 12, 1}, make([]byte, 8)...)} {
		if _, err := parse(p); err == nil {
			t.Errorf("a record that is %s was taken", name)
		}
	}
}

func TestStudy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "priority.json")
	s, err := readStudy(path)
	if err != nil || s.made() != "Not measured yet.\n" || s.table() != "" {
		t.Errorf("no study: %+v, %v", s, err)
	}
	began := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	row := func(name, cc string, runs ...Run) Row {
		return Row{Way: name, CC: cc, Started: began, Machine: "a machine", Revision: "0123", Link: slow, Duration: time.Second, MaxAge: 50 * time.Millisecond, Runs: runs}
	}
	urgent, quic := ways[0].name, "h3wt, higher order"
	s.put(row(quic, "", Run{P50: 50, P99: 60, Max: 70, Sent: 10, Arrived: 9, Bulk: 4}))
	s.put(row(urgent, "cubic", Run{P99: 1}))
	s.put(row(urgent, "cubic", Run{P50: 1, P99: 5, Max: 9, Sent: 2, Arrived: 2, Bulk: 4.75, Unsent50: 6250, Unsent99: 12500, RTT50: 70},
		Run{P50: 2, P99: 6, Max: 8, Sent: 2, Arrived: 2, Bulk: 4.5, Unsent50: 6250, Unsent99: 12500, RTT50: 70},
		Run{P50: 99, P99: 99, Max: 99, Rejected: "late"}))
	s.put(row(urgent, "bbr", Run{Rejected: "late"}))
	if err := s.write(path); err != nil {
		t.Fatal(err)
	}
	again, err := readStudy(path)
	if err != nil || again.table() != s.table() {
		t.Errorf("read back: %v", err)
	}
	for _, want := range []string{
		"TCP with cubic:", "TCP with bbr:",
		"| " + urgent + " | 1 | 5 | 5 to 6 | 9 | all | 4.50 | 10, 20 | 70 |\n",
		"| " + quic + " | 50 | 60 | 60 to 60 | 70 | 90 % | 4.00 | - | - |\n",
		"| " + urgent + " | no run counts: late |\n",
	} {
		if !strings.Contains(s.table(), want) {
			t.Errorf("no %q in\n%s", want, s.table())
		}
	}
	if got, want := s.made(), "2026-01-02 03:04 to 03:04 UTC, a machine, revision `0123`: 5 runs of 1s each, 3 of which count; datagrams wait for 50ms at most.\n"; got != want {
		t.Errorf("made %q, want %q", got, want)
	}
	if i := slices.IndexFunc(s.Rows, func(r Row) bool { return r.Way == quic }); i != len(s.Rows)-1 {
		t.Errorf("rows are not in the order of the ways: %+v", s.Rows)
	}
}

// A shared writer is for one goroutine that writes bulk and one that writes
// messages: all messages that wait go behind the bulk that is being written.
func TestShared(t *testing.T) {
	var b bytes.Buffer
	s := &shared{w: &b}
	m := messages{s}
	m.Write([]byte("m1"))
	m.Write([]byte("m2"))
	s.Write([]byte("bulk"))
	m.Write([]byte("m3"))
	s.Write([]byte("more"))
	if b.String() != "bulkm1m2morem3" {
		t.Errorf("%q", b.String())
	}
	b.Reset()
	g := &gathered{w: &b, size: 4}
	g.Write([]byte("abcdef"))
	if b.String() != "abcd" {
		t.Errorf("%q", b.String())
	}
	g.Write([]byte("ghijk"))
	if b.String() != "abcdefgh" {
		t.Errorf("%q", b.String())
	}
}

// TestTransfer counts what comes through a pipe and what does not.
func TestTransfer(t *testing.T) {
	bulkR, bulkW := io.Pipe()
	messagesR, messagesW := io.Pipe()
	sc := &scene{}
	sc.end(func() {
		bulkW.Close()
		messagesW.Close()
	})
	run, err := transfer(t.Context(), &carried{bulk: bulkW, messages: messagesW, received: []io.Reader{bulkR, messagesR}}, sc, 1,
		length{warmup: 50 * time.Millisecond, duration: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if run.Sent < 4 || run.Sent > 16 || run.Arrived != run.Sent || run.Bulk <= 0 || run.P99 < run.P50 || run.Max < run.P99 {
		t.Errorf("%+v", run)
	}
	// A transport that breaks is an error.
	r, w := io.Pipe()
	r.Close()
	if _, err := transfer(t.Context(), &carried{bulk: w, messages: w, received: nil}, &scene{}, 1, length{duration: 100 * time.Millisecond}); err == nil {
		t.Error("no error of a broken transport")
	}
}

func TestCommand(t *testing.T) {
	var out bytes.Buffer
	if err := command(t.Context(), []string{"-list"}, &out); err != nil || strings.Count(out.String(), "\n") != len(ways)+2 {
		t.Errorf("%v\n%s", err, &out)
	}
	for _, args := range [][]string{{"-ways", "("}, {"more"}, {"-runs", "0"}, {"-duration", "1ms"}, {"-check", t.TempDir()}} {
		if err := command(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
	docs := t.TempDir()
	if err := os.WriteFile(filepath.Join(docs, "performance.md"), slices.Concat(markBegin, markEnd), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := command(t.Context(), []string{"-check", docs}, io.Discard); err == nil {
		t.Error("a document without a table is up to date")
	}
	for _, flag := range []string{"-document", "-check"} {
		if err := command(t.Context(), []string{flag, docs}, io.Discard); err != nil {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

func TestNamesDiffer(t *testing.T) {
	seen := make(map[string]bool)
	for _, w := range ways {
		if seen[w.name] || w.note == "" {
			t.Errorf("%q", w.name)
		}
		seen[w.name] = true
	}
}
