package report

import (
	"maps"
	"slices"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// A fact is something that results depend on besides the flags.
type fact struct{ Name, Value string }

// Where a study ran, and how, as lab.Study's Machine calls it. What is not
// named here is a version of what it ran.
var (
	machineNames = []string{"kernel", "processor", "processors"}
	mannerNames  = []string{"jobs", "realtime"}
)

// factTitles are those whose name does not say enough to readers.
var factTitles = map[string]string{"jobs": "runs at a time", "realtime": "real-time scheduling"}

// named are those of the facts that the study has.
func named(m map[string]string, names []string) []fact {
	var all []fact
	for _, n := range names {
		v := m[n]
		if v == "" {
			continue
		}
		if title := factTitles[n]; title != "" {
			n = title
		}
		all = append(all, fact{n, v})
	}
	return all
}

// machine is where it ran, manner how, and versions what.
func machine(s lab.Study) []fact { return named(s.Machine, machineNames) }
func manner(s lab.Study) []fact  { return named(s.Machine, mannerNames) }

func versions(s lab.Study) []fact {
	var all []fact
	if s.Version != "" {
		all = append(all, fact{"towpath", s.Version})
	}
	rest := maps.Clone(s.Machine)
	for _, n := range slices.Concat(machineNames, mannerNames) {
		delete(rest, n)
	}
	return append(all, named(rest, slices.Sorted(maps.Keys(rest)))...)
}

// factsOf are all of a study, in this order.
func factsOf(s lab.Study) []fact {
	return slices.Concat(machine(s), manner(s), versions(s))
}
