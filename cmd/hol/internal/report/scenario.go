package report

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// A scenario is a condition at several losses: what one plot over the loss
// shows.
type scenario struct {
	ID     string // unique in the study or document, for anchors and file names
	Source string // in a document the name of the study
	Title  string
	Base   lab.Condition // without the link's Loss
	Levels []level       // by loss, the least first
}

// A level is a scenario at one loss.
type level struct {
	ID        string
	Condition lab.Condition
	Cells     []lab.Cell // in the order of tables
	Timelines []lab.Timeline
}

// Loss is the level's probability in percent, as people write it, with what is
// lost besides.
func (l level) Loss() string {
	if l.Condition.Link.Burst.Good > 0 {
		if l.Condition.Link.Loss == 0 {
			return "bursts"
		}
		return plain(l.Condition.Link.Loss*100) + " % and bursts"
	}
	return plain(l.Condition.Link.Loss*100) + " %"
}

// At is the same within a title.
func (l level) At() string {
	switch link := l.Condition.Link; {
	case link.Burst.Good == 0:
		return "at " + l.Loss() + " loss"
	case link.Loss == 0:
		return "with bursts of loss"
	default:
		return "at " + plain(link.Loss*100) + " % loss and with bursts"
	}
}

// percentage is the same in a column of percentages.
func percentage(l lab.Link) string {
	if l.Burst.Good > 0 {
		return plain(l.Loss*100) + "+b"
	}
	return plain(l.Loss * 100)
}

// conditionKey is equal for equal conditions; a condition has a slice and cannot be
// compared.
func conditionKey(c lab.Condition) string {
	b, err := json.Marshal(c)
	if err != nil {
		return fmt.Sprintf("%+v", c) // a number that JSON has not
	}
	return string(b)
}

// withoutLoss is what the levels of a scenario have in common.
func withoutLoss(c lab.Condition) lab.Condition {
	c.Link.Loss = 0
	return c
}

// scenarios groups the cells and timelines of a study, in the order in which
// the conditions come first.
func scenarios(s lab.Study) []scenario {
	all := group(s)
	entitle(all, func(s scenario) string { return kindTitle(s.Base.Workload.Kind) })
	identify(all)
	return all
}

// group is the same without titles and IDs.
func group(s lab.Study) []scenario {
	var all []scenario
	scenarioAt, levelAt := map[string]int{}, map[string]int{}
	find := func(c lab.Condition) *level {
		key := conditionKey(withoutLoss(c))
		i, ok := scenarioAt[key]
		if !ok {
			i = len(all)
			scenarioAt[key] = i
			all = append(all, scenario{Base: withoutLoss(c)})
		}
		j, ok := levelAt[conditionKey(c)]
		if !ok {
			j = len(all[i].Levels)
			levelAt[conditionKey(c)] = j
			all[i].Levels = append(all[i].Levels, level{Condition: c})
		}
		return &all[i].Levels[j]
	}
	for _, c := range s.Cells {
		l := find(c.Condition)
		l.Cells = append(l.Cells, c)
	}
	for _, t := range s.Timelines {
		l := find(t.Condition)
		l.Timelines = append(l.Timelines, t)
	}
	all = withControls(all)
	for i := range all {
		levels := all[i].Levels
		sort.SliceStable(levels, func(a, b int) bool {
			la, lb := levels[a].Condition.Link, levels[b].Condition.Link
			return la.Lossless() && !lb.Lossless() || la.Lossless() == lb.Lossless() && la.Loss < lb.Loss
		})
		for j := range levels {
			byTransport(levels[j].Cells)
			sort.SliceStable(levels[j].Timelines, func(a, b int) bool {
				return rank(levels[j].Timelines[a].Transport) < rank(levels[j].Timelines[b].Transport)
			})
		}
	}
	return all
}

// withControls gives scenarios with bursts the level without any loss, which
// has no bursts either. Where that was measured for nothing else, it is no
// scenario of its own.
func withControls(all []scenario) []scenario {
	used := make([]bool, len(all)) // as controls of others, and for nothing else
	for i := range all {
		if all[i].Base.Link.Burst.Good == 0 {
			continue
		}
		wanted := all[i].Base
		wanted.Link.Burst = lab.Burst{}
		for j := range all {
			if conditionKey(all[j].Base) != conditionKey(wanted) {
				continue
			}
			for _, l := range all[j].Levels {
				if l.Condition.Link.Lossless() {
					all[i].Levels = append(all[i].Levels, l)
					used[j] = len(all[j].Levels) == 1
				}
			}
		}
	}
	var kept []scenario
	for i := range all {
		if !used[i] {
			kept = append(kept, all[i])
		}
	}
	return kept
}

// entitle gives scenarios their titles: what the workload is called and its
// direction, and of the rest what differs between scenarios that are called so.
func entitle(all []scenario, called func(scenario) string) {
	features := []func(lab.Condition) string{traffic, delays, bandwidth, bursts, odds}
	for i := range all {
		c := all[i].Base
		parts := []string{called(all[i]) + ", " + way(c.Direction)}
		for _, feature := range features {
			for j := range all {
				other := all[j].Base
				if called(all[j]) == called(all[i]) && feature(other) != feature(c) {
					if f := feature(c); f != "" {
						parts = append(parts, f)
					}
					break
				}
			}
		}
		all[i].Title = strings.Join(parts, "; ")
	}
}

// identify gives the scenarios of one study their IDs.
func identify(all []scenario) {
	ids := map[string]int{}
	for i := range all {
		c := all[i].Base
		id := fmt.Sprintf("%s-%s", c.Workload.Kind, c.Direction)
		ids[id]++
		if n := ids[id]; n > 1 {
			id = fmt.Sprintf("%s%d-%s", c.Workload.Kind, n, c.Direction) // not at the end, where a level's loss is
		}
		all[i].identify(id)
	}
}

// identify gives the levels their IDs as well.
func (s *scenario) identify(id string) {
	s.ID = id
	for i := range s.Levels {
		l := &s.Levels[i]
		l.ID = id + "-" + strings.NewReplacer(".", "_", "+b", "-bursts").Replace(percentage(l.Condition.Link))
	}
}

// lossy are the levels that are no controls.
func (s scenario) lossy() []level {
	return slices.DeleteFunc(slices.Clone(s.Levels), func(l level) bool { return l.Condition.Link.Lossless() })
}

func kindTitle(k lab.Kind) string {
	if k == lab.RPC {
		return "RPC"
	}
	return capital(string(k))
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func way(d lab.Direction) string {
	if d == lab.Up {
		return "client to server"
	}
	return "server to client"
}

// traffic says what the ends send.
func traffic(c lab.Condition) string {
	w := c.Workload
	sizes := strconv.Itoa(w.MinSize)
	if w.MinSize != w.MaxSize {
		sizes += " to " + strconv.Itoa(w.MaxSize)
	}
	sizes += " B"
	switch w.Kind {
	case lab.Page:
		total := 0
		for _, o := range w.Objects {
			total += o
		}
		return fmt.Sprintf("%d objects, %s kB in all", len(w.Objects), plain(float64(total)/1000))
	case lab.RPC:
		return fmt.Sprintf("calls of %s, one every %s on %d channels", sizes, duration(w.Interval), w.Channels)
	default:
		return fmt.Sprintf("%d channels, %s every %s", w.Channels, sizes, duration(w.Interval))
	}
}

func delays(c lab.Condition) string {
	s := duration(c.Link.Delay) + " one way"
	if c.Link.Jitter > 0 {
		s += ", jitter " + duration(c.Link.Jitter)
		if c.Link.Reorder {
			s += " with reordering"
		}
	}
	return s
}

func bandwidth(c lab.Condition) string {
	if c.Link.Rate == 0 {
		return "no limit of bandwidth"
	}
	return fmt.Sprintf("%s Mbit/s with a queue of %s kB", plain(float64(c.Link.Rate)/1e6), plain(float64(c.Link.Queue)/1000))
}

func bursts(c lab.Condition) string {
	b := c.Link.Burst
	if b.Good == 0 {
		return "" // independent loss alone
	}
	return fmt.Sprintf("bad periods (b) of %s every %s that lose %s %%", duration(b.Bad), duration(b.Good+b.Bad), plain(b.Loss*100))
}

func odds(c lab.Condition) string {
	s := fmt.Sprintf("MTU %d", c.Link.MTU)
	if c.Link.BlockUDP {
		s += ", UDP blocked"
	}
	return s
}

// describe says everything about a scenario in one sentence.
func describe(s scenario) string {
	c := s.Base
	var b strings.Builder
	b.WriteString(traffic(c))
	if c.Workload.Kind == lab.Mixed {
		b.WriteString(" beside one bulk transfer")
	}
	fmt.Fprintf(&b, ", measured for %s", duration(c.Workload.Duration))
	fmt.Fprintf(&b, ". Link: %s, %s, %s", delays(c), bandwidth(c), odds(c))
	if extra := bursts(c); extra != "" {
		b.WriteString(", " + extra)
	}
	losses := make([]string, len(s.Levels))
	for i, l := range s.Levels {
		losses[i] = percentage(l.Condition.Link)
	}
	fmt.Fprintf(&b, "; packets lost independently: %s %%, in both directions.", strings.Join(losses, ", "))
	return capital(b.String())
}

// sent is what the ends send, in a word.
func sent(c lab.Condition) string {
	if c.Workload.Kind == lab.RPC {
		return "calls"
	}
	return "messages"
}

// base is the latency that the link alone gives a message, or a call.
func base(c lab.Condition) time.Duration {
	if c.Workload.Kind == lab.RPC {
		return c.Link.RTT()
	}
	return c.Link.Delay
}

// journey is what base is the time of, in words.
func journey(c lab.Condition) string {
	if c.Workload.Kind == lab.RPC {
		return "the round trip itself"
	}
	return "the way itself"
}

// lateAfter and veryLateAfter are the latencies in milliseconds beyond which a
// message counts as late.
func lateAfter(c lab.Condition) float64 {
	return milliseconds(base(c) + c.Link.RTT()/2)
}

func veryLateAfter(c lab.Condition) float64 {
	return milliseconds(base(c) + c.Link.RTT()*3/2)
}
