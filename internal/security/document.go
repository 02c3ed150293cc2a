package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
)

func documentFile(root string) string { return filepath.Join(root, "docs", "security.md") }

// A part of the document is generated: what stands between its two markers.
func begin(part string) string {
	return "<!-- begin " + part + ": go run ./internal/security -write -->\n"
}
func end(part string) string { return "<!-- end " + part + " -->\n" }

// generate returns the document with its parts made anew.
func generate(old []byte, attacks []attack) ([]byte, error) {
	doc := string(old)
	for _, p := range []struct{ name, text string }{
		{"limits", limitsTable()},
		{"attacks", attacksTable(attacks)},
	} {
		before, rest, ok := strings.Cut(doc, begin(p.name))
		_, after, ok2 := strings.Cut(rest, end(p.name))
		if !ok || !ok2 {
			return nil, fmt.Errorf("docs/security.md has no markers of part %q", p.name)
		}
		doc = before + begin(p.name) + p.text + end(p.name) + after
	}
	return []byte(doc), nil
}

// victims are the sections of the attacks' table, in the order of the document.
var victims = []struct{ name, title string }{
	{"server", "The server's port: connections, handshakes, quotas"},
	{"h2", "HTTP/2"},
	{"session", "Capsules: sessions over HTTP/2 and WebSocket"},
	{"ws", "WebSocket"},
	{"h3", "HTTP/3"},
}

func attacksTable(attacks []attack) string {
	var b bytes.Buffer
	b.WriteString("\n")
	known := map[string]bool{}
	for _, v := range victims {
		known[v.name] = true
		section(&b, v.title, attacks, func(a attack) bool { return a.Victim == v.name })
	}
	section(&b, "Others", attacks, func(a attack) bool { return !known[a.Victim] })
	return b.String()
}

func section(b *bytes.Buffer, title string, attacks []attack, in func(attack) bool) {
	first := true
	for _, a := range attacks {
		if !in(a) {
			continue
		}
		if first {
			fmt.Fprintf(b, "### %s\n\n| attack | reaction | limit | memory: bound | peak | goroutines: bound | peak | CPU a frame | verdict | test |\n|---|---|---|---|---|---|---|---|---|---|\n", title)
			first = false
		}
		limit := "-"
		if a.Limit != "" {
			limit = "`" + string(a.Limit) + "`"
		}
		cpu := "-"
		if a.Frames > 0 {
			cpu = fmt.Sprintf("%.2g µs, x%.1f", a.Cost, a.Growth)
			if a.Cost >= 100 {
				cpu = fmt.Sprintf("%.0f µs, x%.1f", a.Cost, a.Growth)
			}
		}
		verdict := "held"
		if !a.Held {
			verdict = "**not held**"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %d | %d | %s | %s | %s %s |\n", cell(a.Name), cell(a.Reaction), limit,
			size(a.Bytes), size(max(a.Peak, 0)), a.Goroutines, max(a.MostGo, 0), cpu, verdict, a.Package, testName(a.Test))
	}
	if !first {
		b.WriteString("\n")
	}
}

// testName is the name of a test as -run takes it, without its subtest's words:
// those are the attack's.
func testName(test string) string {
	name, _, _ := strings.Cut(test, "/")
	return "`" + name + "`"
}

// size prints bytes for a person.
func size(n int64) string {
	switch {
	case n < 10<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 10<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

// cell makes s fit into a cell of a table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;", ">", "&gt;").Replace(s)
}
