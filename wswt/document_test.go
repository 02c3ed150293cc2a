package wswt

import (
	"encoding/hex"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/towpath-go/towpath/transport"
)

// TestClientsDocument keeps the handler that docs/clients.md tells to put in
// front of an http.ServeMux equal to the one of the example.
func TestClientsDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	_, code, found := strings.Cut(strings.ReplaceAll(string(text), "\r\n", "\n"), "```go\n")
	code, _, ended := strings.Cut(code, "```")
	example, err := os.ReadFile("example_mux_test.go")
	if err != nil {
		t.Fatal(err)
	}
	indented := "\t" + strings.ReplaceAll(strings.TrimSuffix(code, "\n"), "\n", "\n\t") + "\n"
	if !found || !ended || !strings.Contains(strings.ReplaceAll(string(example), "\r\n", "\n"), indented) {
		t.Errorf("example_mux_test.go does not have\n%s", indented)
	}
}

// TestDocument plays the example of docs/websocket.md, as its client, against a
// server, and compares every byte.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/websocket.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, found := strings.Cut(string(text), "<!-- example -->")
	example, _, ended := strings.Cut(example, "<!-- end of example -->")
	lines := regexp.MustCompile(`(?m)^([CS]) ((?:[0-9a-f]{2} +)+)`).FindAllStringSubmatch(example, -1)
	if !found || !ended || len(lines) != strings.Count(example, "\n")-3 {
		t.Fatalf("the example has %d lines of bytes:\n%s", len(lines), example)
	}
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, false, nil, nil)
		defer p.nc.Close()
		go echo(p.s, p.together) // ends with the session
		for _, line := range lines {
			want, err := hex.DecodeString(strings.ReplaceAll(line[2], " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			if line[1] == "C" {
				p.raw(want)
				continue
			}
			f, err := p.next()
			if err != nil {
				t.Fatalf("%v instead of %s", err, line[0])
			}
			got := (&frameWriter{}).appendFrame(nil, f.OpCode, f.payload)
			if string(got) != string(want) {
				t.Fatalf("the server sends %x, the document says %x", got, want)
			}
		}
		p.wantEnd()
		if se := p.wantSession(); se.Code != 7 || se.Reason != "bye" {
			t.Errorf("the session ended with %+v", se)
		}
		p.wantGone()
	})
}

// together runs f while the writer rests, so that it finds all that f sends at
// once: data with its end.
func (p *rawPeer) together(f func()) {
	time.Sleep(turn) // it may be under way, for credit
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	f()
}

// echo returns what comes on streams and in datagrams. Together runs a function
// while nothing is sent.
func echo(s transport.Session, together func(func())) {
	go func() {
		for {
			b, err := s.ReceiveDatagram(s.Context())
			if err != nil || s.SendDatagram(b) != nil {
				return
			}
		}
	}()
	for {
		x, err := s.AcceptStream(s.Context())
		if err != nil {
			return
		}
		go func() {
			if b, err := io.ReadAll(x); err == nil {
				together(func() {
					x.Write(b)
					x.Close()
				})
			}
		}()
	}
}

// TestDocumentedStatuses makes sure that the document names every status that
// this package sends.
func TestDocumentedStatuses(t *testing.T) {
	text, err := os.ReadFile("../docs/websocket.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "Statuses that `wswt` sends:")
	table, _, _ = strings.Cut(table, "\n## ")
	rows := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\| (\d{4}) \|`).FindAllStringSubmatch(table, -1) {
		rows[m[1]] = true
	}
	sent := map[string]bool{"1000": true, "1001": true, "1011": true}
	for _, v := range violations() {
		sent[status(v.status)] = true
	}
	for s := range sent {
		if !rows[s] {
			t.Errorf("status %s has no row", s)
		}
	}
	for s := range rows {
		if !sent[s] {
			t.Errorf("no test has status %s", s)
		}
	}
}

func status(s ws.StatusCode) string {
	return string([]byte{byte('0' + s/1000), byte('0' + s/100%10), byte('0' + s/10%10), byte('0' + s%10)})
}
