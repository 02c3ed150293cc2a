package h3wt

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

// docs/http3-drafts.md has three tables between markers. They are made of what
// the code uses and of what the tests play, and compared with the document;
//
//	go test ./h3wt -run TestDraftsDocument -write
//
// writes them.
var writeDocument = flag.Bool("write", false, "write the tables of docs/http3-drafts.md")

const draftsDocument = "../docs/http3-drafts.md"

func TestDraftsDocument(t *testing.T) {
	old, err := os.ReadFile(draftsDocument)
	if err != nil {
		t.Fatal(err)
	}
	want := old
	for _, table := range []struct{ name, text string }{
		{"drafts", draftsTable()},
		{"clients", peersTable(recordedClients, "offers", "answered")},
		{"servers", peersTable(recordedServers, "answers", "offered")},
	} {
		begin, end := "<!-- "+table.name+" -->\n", "<!-- end of "+table.name+" -->\n"
		head, rest, ok := bytes.Cut(want, []byte(begin))
		_, tail, ok2 := bytes.Cut(rest, []byte(end))
		if !ok || !ok2 {
			t.Fatalf("%s has no table %q", draftsDocument, table.name)
		}
		want = bytes.Join([][]byte{head, []byte(begin), []byte(table.text), []byte(end), tail}, nil)
	}
	if bytes.Equal(old, want) {
		return
	}
	if *writeDocument {
		if err := os.WriteFile(draftsDocument, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s is not what the code does: go test ./h3wt -run TestDraftsDocument -write", draftsDocument)
}

// table writes rows of a Markdown table, the first of which is its head.
func table(rows [][]string) string {
	var b strings.Builder
	for i, row := range rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(&b, "|%s\n", strings.Repeat("---|", len(row)))
		}
	}
	return b.String()
}

// draftsTable has a column for each range of drafts, the oldest first.
func draftsTable() string {
	rows := [][]string{
		{""}, {"setting"}, {"this library sends"}, {"`:protocol` of a client"},
		{"header fields"}, {"a server must also send 0x8"}, {"a peer must have `reset_stream_at`"},
		{"a value above 1 is H3_SETTINGS_ERROR"}, {"session flow control is on if the peer sends"},
		{"sessions of a connection"}, {"a limit not above the one before"}, {"application protocols"},
	}
	add := func(cells ...string) {
		for i, c := range cells {
			rows[i] = append(rows[i], c)
		}
	}
	yes := func(b bool) string {
		if b {
			return "yes"
		}
		return "no"
	}
	for i := len(drafts) - 1; i >= 0; i-- {
		r := &drafts[i]
		fields := "none"
		if r.versionHeader {
			fields = fmt.Sprintf("`%s: %s`; answered `%s: %s`", lower(draftOffered), draftOfferedValue, lower(draftSelected), draftSelectedValue)
		}
		fatal := "at neither end"
		switch {
		case r.mostAtServer == 1:
			fatal = "at both ends"
		case r.mostAtClient == 1:
			fatal = "at a client"
		}
		flow := map[flowRule]string{
			flowNever:           "never on",
			flowByLimits:        "a limit (0x2b61, 0x2b64, 0x2b65) above 0",
			flowByLimitsOrCount: "a limit above 0, or this setting above 1",
		}[r.flow]
		if r.draft == Draft07 {
			flow += ": it is of draft 12 then"
		}
		sessions := "1"
		switch {
		case r.flow != flowNever && r.counts:
			sessions = "1; with flow control `MaxSessions`, at a client no more than the server's value"
		case r.flow != flowNever:
			sessions = "1; with flow control `MaxSessions`"
		}
		add(fmt.Sprintf("%02d to %02d", uint8(r.draft), r.last),
			fmt.Sprintf("0x%08x %s", r.setting, r.name),
			announcement(r),
			"`"+r.token+"`", fields, yes(r.connectSetting), yes(r.resetStreamAt), fatal, flow, sessions,
			map[limitRule]string{limitsAny: "ignored", limitsNotLower: "ignored; WT_FLOW_CONTROL_ERROR if lower", limitsHigher: "WT_FLOW_CONTROL_ERROR"}[r.limits],
			map[bool]string{false: "Strings", true: "Strings, Tokens understood"}[r.tokens])
	}
	return table(rows)
}

// announcement says what this library sends.
func announcement(r *draftRules) string {
	few, many := r.announce(1), r.announce(32)
	if few == many {
		return fmt.Sprint(few)
	}
	return fmt.Sprintf("`MaxSessions`, at least %d", few)
}

// peersTable has a row for each recorded peer.
func peersTable(peers []recordedPeer, fieldsName, namedName string) string {
	rows := [][]string{{"peer", "known from", "SETTINGS", "`reset_stream_at`", "`:protocol`", fieldsName, "needs", "draft in use", "draft " + namedName, "flow control"}}
	if peers[0].token == "" {
		rows[0] = append(rows[0][:4], rows[0][5:]...)
	}
	for _, p := range peers {
		var settings []string
		for i := 0; i < len(p.settings); i += 2 {
			id := fmt.Sprintf("%#x", p.settings[i])
			if p.settings[i] == grease {
				id = "reserved"
			}
			value := fmt.Sprint(p.settings[i+1])
			switch v := p.settings[i+1]; {
			case v > 1<<32 && v&(v+1) == 0:
				value = fmt.Sprintf("2^%d-1", len(fmt.Sprintf("%b", v)))
			case v > 1<<32:
				value = fmt.Sprintf("2^%d", len(fmt.Sprintf("%b", v))-1)
			}
			settings = append(settings, id+"="+value)
		}
		reset, named, flow := "no", "no", "off"
		if p.resetStreamAt {
			reset = "yes"
		}
		if p.answered || p.offers {
			named = "yes"
		}
		if p.flow {
			flow = "on"
		}
		var fields []string
		for i := 0; i < len(p.fields); i += 2 {
			if strings.HasPrefix(p.fields[i], "sec-webtransport") || p.fields[i] == "origin" {
				fields = append(fields, p.fields[i]+": "+p.fields[i+1])
			}
		}
		use := p.draft.String()
		if p.draft == 0 {
			use = "none announced: " + Draft07.String()
		}
		row := []string{p.name, p.from, strings.Join(settings, ", "), reset}
		if p.token != "" {
			row = append(row, p.token)
		}
		rows = append(rows, append(row, strings.Join(fields, ", "), p.needs, use, named, flow))
	}
	return table(rows)
}
