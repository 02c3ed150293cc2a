package peers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// checkDocument compares docs/clients.md with what was measured, or writes it.
// Where a tool was missing it does neither.
func checkDocument() error {
	if len(missing) > 0 {
		fmt.Printf("docs/clients.md is neither compared nor written: without %s not all of it was measured\n", strings.Join(missing, ", "))
		return nil
	}
	want, err := document(rows, results, requests)
	if err != nil {
		return err
	}
	if *write {
		return os.WriteFile(documentFile, want, 0o644)
	}
	got, err := os.ReadFile(documentFile)
	if err != nil {
		return err
	}
	if !bytes.Equal(bytes.ReplaceAll(got, []byte("\r\n"), []byte("\n")), want) {
		return errors.New("differs from what was measured: run go test -C e2e ./peers -write, and look at what changed")
	}
	return nil
}

// document returns docs/clients.md.
func document(rows []*row, results map[*row]*[columnCount]*outcome, requests requestTable) ([]byte, error) {
	if err := errors.Join(complete(rows, results), requests.complete()); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(preface)
	var notes []string
	for s := range sectionCount {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", sectionTitles[s], sectionTexts[s])
		b.WriteString("| peer | its end | transport |")
		for c := range columnCount {
			fmt.Fprintf(&b, " %v |", c)
		}
		b.WriteString("\n|---|---|---|" + strings.Repeat(":-:|", int(columnCount)) + "\n")
		for _, r := range rows {
			if r.section != s {
				continue
			}
			fmt.Fprintf(&b, "| %s | %s | %s |", escape(r.peer), r.end, escape(r.transport))
			for c := range columnCount {
				var field string
				field, notes = mark(results[r][c], notes)
				fmt.Fprintf(&b, " %s |", field)
			}
			b.WriteString("\n")
		}
	}
	notes = requests.write(&b, notes)
	if len(notes) > 0 {
		b.WriteString("\n## Notes\n\n")
		for i, n := range notes {
			fmt.Fprintf(&b, "%d. %s\n", i+1, escape(sentence(n)))
		}
	}
	b.WriteString(measuredBy)
	for _, r := range rows {
		version, err := versionOf(r.module)
		if err != nil {
			return nil, err
		}
		configure := r.configure
		if configure == "" {
			configure = "nothing"
		}
		fmt.Fprintf(&b, "| %s (%s, %s) | %s | %s | `%s/%s:` |\n", escape(r.peer), r.end, escape(r.transport),
			escape(version), escape(configure), results[r][0].test, strings.ReplaceAll(r.name, " ", "_"))
	}
	if err := requests.writeVersions(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// complete says which fields were not measured, and what is wrong with the list of rows.
func complete(rows []*row, results map[*row]*[columnCount]*outcome) error {
	var errs []error
	names := map[string]bool{}
	listed := map[*row]bool{}
	for _, r := range rows {
		if names[r.name] {
			errs = append(errs, fmt.Errorf("two rows are named %q", r.name))
		}
		names[r.name], listed[r] = true, true
		if results[r] == nil {
			errs = append(errs, fmt.Errorf("nothing of %q was measured", r.name))
			continue
		}
		for c := range columnCount {
			switch o := results[r][c]; {
			case o == nil:
				errs = append(errs, fmt.Errorf("%q was not measured for %v", r.name, c))
			case o.test != results[r][0].test:
				errs = append(errs, fmt.Errorf("%q is measured by %s and %s", r.name, results[r][0].test, o.test))
			}
		}
	}
	for r := range results {
		if !listed[r] {
			errs = append(errs, fmt.Errorf("the row %q is not in the list of rows", r.name))
		}
	}
	return errors.Join(errs...)
}

// mark returns the text of a field, and the notes with its own. Equal notes
// have one number.
func mark(o *outcome, notes []string) (string, []string) {
	s := "✗"
	if o.works {
		s = "✓"
	}
	if o.note == "" {
		return s, notes
	}
	for i, n := range notes {
		if n == o.note {
			return fmt.Sprintf("%s <sup>[%d](#notes)</sup>", s, i+1), notes
		}
	}
	notes = append(notes, o.note)
	return fmt.Sprintf("%s <sup>[%d](#notes)</sup>", s, len(notes)), notes
}

// sentence gives a note a capital and a full stop. Names keep their case.
func sentence(s string) string {
	first, _, _ := strings.Cut(s, " ")
	if first == strings.ToLower(first) && !strings.ContainsAny(first, "`.-/") {
		s = strings.ToUpper(s[:1]) + s[1:]
	}
	return strings.TrimSuffix(s, ".") + "."
}

// escape makes s fit into a cell of a table.
func escape(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;", ">", "&gt;").Replace(s)
}

// versionOf reads the version of a row's module from the files that pin it.
func versionOf(module string) (string, error) {
	kind, name, _ := strings.Cut(module, " ")
	switch kind {
	case "npm":
		b, err := os.ReadFile("node/package-lock.json")
		if err != nil {
			return "", err
		}
		var lock struct {
			Packages map[string]struct{ Version string }
		}
		if err := json.Unmarshal(b, &lock); err != nil {
			return "", err
		}
		if v := lock.Packages["node_modules/"+name].Version; v != "" {
			return name + " " + v, nil
		}
	case "go":
		b, err := os.ReadFile("../go.mod")
		if err != nil {
			return "", err
		}
		m := regexp.MustCompile(`(?m)^\s*(?:require )?` + regexp.QuoteMeta(name) + ` (v\S+)`).FindSubmatch(b)
		if m != nil {
			return name + " " + string(m[1]), nil
		}
	default:
		return module, nil
	}
	return "", fmt.Errorf("%s is not pinned", module)
}
