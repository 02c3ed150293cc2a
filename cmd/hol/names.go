package main

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// selectTransports finds the transports that names and shell patterns mean, in
// the order of tables. Those that are not compared otherwise are meant only by
// their names.
func selectTransports(words []string) ([]adapter.Adapter, error) {
	compared, extra := names(adapter.All()), names(adapter.Extra())
	var patterns []string
	wanted := make(map[string]bool)
	for _, word := range words {
		if word = strings.TrimSpace(word); slices.Contains(extra, word) {
			wanted[word] = true
		} else {
			patterns = append(patterns, word)
		}
	}
	if err := matches(wanted, "transport", compared, patterns); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Concat(adapter.All(), adapter.Extra()), func(a adapter.Adapter) bool { return !wanted[a.Name] }), nil
}

func names(adapters []adapter.Adapter) []string {
	var all []string
	for _, a := range adapters {
		all = append(all, a.Name)
	}
	return all
}

var kinds = []lab.Kind{lab.Updates, lab.Mixed, lab.Page, lab.RPC}

func selectKinds(words []string) ([]lab.Kind, error) {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = string(k)
	}
	wanted := make(map[string]bool)
	if err := matches(wanted, "workload", names, words); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(kinds), func(k lab.Kind) bool { return !wanted[string(k)] }), nil
}

// matches marks the names that the words mean: a name, a shell pattern, or all.
func matches(wanted map[string]bool, what string, names, words []string) error {
	for _, word := range words {
		word = strings.TrimSpace(word)
		if word == "all" {
			word = "*"
		}
		found := false
		for _, name := range names {
			ok, err := path.Match(word, name)
			if err != nil {
				return usagef("%q is no shell pattern: a bracket is open", word)
			}
			if ok {
				found = true
				wanted[name] = true
			}
		}
		if !found {
			return unknown(what, word, names)
		}
	}
	return nil
}

// unknown says that there is no such name, and which is meant or there are.
func unknown(what, word string, names []string) error {
	if strings.ContainsAny(word, "*?[") {
		return usagef("no %s matches %q: there are %s", what, word, strings.Join(names, ", "))
	}
	begins := func(name string) bool { return strings.HasPrefix(name, word+"-") }
	if word != "" && slices.ContainsFunc(names, begins) {
		return usagef("there is no %s %q: did you mean '%s-*'?", what, word, word)
	}
	if name := nearest(word, names); name != "" {
		return usagef("there is no %s %q: did you mean %s?", what, word, name)
	}
	return usagef("there is no %s %q: there are %s", what, word, strings.Join(names, ", "))
}

// choose returns the one of the names that word is.
func choose(flag, word string, names ...string) (string, error) {
	if slices.Contains(names, word) {
		return word, nil
	}
	hint := ""
	if name := nearest(word, names); name != "" {
		hint = fmt.Sprintf(": did you mean %s?", name)
	}
	return "", usagef("--%s is %s, not %q%s", flag, alternatives(names), word, hint)
}

func alternatives(names []string) string {
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// nearest is the name that differs least from word, "" if all differ much.
func nearest(word string, names []string) string {
	best, least := "", len(word)/3+2
	for _, name := range names {
		if d := distance(strings.ToLower(word), name); d < least {
			best, least = name, d
		}
	}
	return best
}

// distance is Levenshtein's: how many letters to insert, delete or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
