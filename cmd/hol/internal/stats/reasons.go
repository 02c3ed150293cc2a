package stats

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// reasons are why results do not count. Those that differ in their numbers alone
// are one, by the worst.
type reasons struct {
	like map[string]*reason // by the text without its numbers
}

type reason struct {
	text   string
	late   time.Duration // how late the run was that says so
	failed bool
	times  int
	differ bool // they have not all the same text
}

var numbers = regexp.MustCompile(`[0-9][0-9.a-zµ]*`)

func (all *reasons) add(r *lab.Result) {
	text := cmp.Or(r.Failed, r.Rejected)
	late := max(r.Lateness.Max, r.Wakes.Max)
	key := numbers.ReplaceAllString(text, "#")
	if all.like == nil {
		all.like = make(map[string]*reason)
	}
	as := all.like[key]
	if as == nil {
		all.like[key] = &reason{text: text, late: late, failed: r.Failed != "", times: 1}
		return
	}
	as.times++
	as.differ = as.differ || text != as.text
	if late > as.late || late == as.late && text < as.text {
		as.text, as.late = text, late
	}
}

func (all *reasons) String() string {
	var texts []string
	for _, r := range all.like {
		switch {
		case !r.differ:
			texts = append(texts, r.text)
		case r.failed:
			texts = append(texts, fmt.Sprintf("%s, and %d like it", r.text, r.times-1))
		default:
			texts = append(texts, fmt.Sprintf("%s, the worst of %d", r.text, r.times))
		}
	}
	slices.Sort(texts)
	return strings.Join(texts, "; ")
}
