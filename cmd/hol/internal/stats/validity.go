package stats

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// tolerance is by how much the median latency of a control may miss the one-way
// delay, for each way that it counts.
const tolerance = time.Millisecond

// firstFlight is how many full packets a connection may send at once from the
// beginning (RFC 6928, RFC 9002 Section 7.2): a message of more may have to wait
// for an acknowledgement by right.
const firstFlight = 10

// problems says why the study must not be trusted, in sentences for its user:
//
//   - A control is a run without loss, limited rate, jitter and reordering. With
//     timed updates and calls nothing may delay its messages: the median is within
//     1 ms of the one-way delay (2 ms of the round trip for calls), no message is
//     late (but for those over TCP with BBR, which makes messages late by itself),
//     all arrive. Messages of more than ten packets may be late by right;
//     so may those beside a bulk transfer and objects of a page, since they wait
//     for its bytes. There is checked that a transport which promises delivery
//     delivers, that the bulk transfer moves, that pages complete.
//   - No message is faster than the link, and none arrives twice where delivery is
//     promised.
//   - Every condition with loss has a control, where one can be checked.
//   - Every planned seed has a result.
//   - As many messages are recorded as were to be sent: what is left out would be
//     what was late.
//   - The link lost what it was asked to, within five standard deviations, and
//     kept the order; the router was in time; the kernel used the congestion
//     control that was asked for.
//
// A transport that needs UDP and has none has no results, which is a result.
func problems(groups []cellGroup) []string {
	var all []string
	for _, g := range groups {
		if len(g.failed) > 0 {
			all = append(all, control(g))
		}
	}
	all = append(all, missingControls(groups)...)
	var said said
	for _, g := range groups {
		if g.condition.Link.BlockUDP && g.adapter.UDP {
			continue
		}
		if g.cell.Problem != "" && len(g.failed) == 0 {
			said.add(g, g.cell.Problem)
		} else if s := missingSeeds(g); s != "" {
			said.add(g, s)
		}
		for _, s := range suspicions(g) {
			said.add(g, s)
		}
	}
	return append(all, said.sentences()...)
}

// checkable says whether runs of a condition would be late by the machine's or
// the transport's fault alone, had they no loss.
func checkable(c lab.Condition) bool {
	work, link := c.Workload, c.Link
	return (work.Kind == lab.Updates || work.Kind == lab.RPC) &&
		link.Rate == 0 && link.Jitter == 0 && !link.Reorder && link.Delay > 0 &&
		work.MaxSize <= firstFlight*(max(link.MTU, 1280)-100)
}

// failures says what is wrong with runs without loss.
func failures(g *cellGroup) []string {
	link := g.condition.Link
	if !link.Lossless() || link.Rate != 0 || len(g.runs) == 0 || link.BlockUDP && g.adapter.UDP {
		return nil
	}
	var wrong []string
	sent, arrived, lateCount := 0, 0, 0
	worst, want := time.Duration(-1), base(g.runs[0].result.Run) // of the medians
	for _, run := range g.runs {
		sent += run.sent
		arrived += len(run.arrived)
		lateCount += run.lateCount
		if len(run.arrived) > 0 {
			if p50 := percentile(run.arrived, .5); worst < 0 || (p50-want).Abs() > (worst-want).Abs() {
				worst = p50
			}
		}
	}
	if checkable(g.condition) {
		allowed := tolerance * time.Duration(want/link.Delay)
		if worst >= 0 && (worst-want).Abs() > allowed {
			wrong = append(wrong, fmt.Sprintf("the median latency of a run was %.1f ms instead of %.1f ms ± %.0f ms",
				milliseconds(worst), milliseconds(want), milliseconds(allowed)))
		}
		if lateCount > 0 && !probes(g) {
			wrong = append(wrong, fmt.Sprintf("%s late (%s)", of(lateCount, sent), percent(lateCount, sent)))
		}
	}
	// Datagrams may be dropped where they meet bytes that fill the path.
	if arrived < sent && (checkable(g.condition) || g.adapter.Reliable && g.condition.Workload.Kind != lab.Page) {
		wrong = append(wrong, fmt.Sprintf("%s not delivered (%s)", of(sent-arrived, sent), percent(sent-arrived, sent)))
	}
	if g.condition.Workload.Kind == lab.Mixed && g.cell.Bulk.Mean == 0 {
		wrong = append(wrong, "the bulk transfer did not move")
	}
	if g.condition.Workload.Kind == lab.Page && g.cell.Page.N == 0 {
		wrong = append(wrong, "no page was completed")
	}
	return wrong
}

// probes says whether the congestion control leaves four packets under way every
// ten seconds to find out the round trip, as BBR does: what does not fit is late
// then without a loss.
func probes(g *cellGroup) bool {
	return g.adapter.Recovery == "tcp" && strings.HasPrefix(g.runs[0].result.Run.CC, "bbr")
}

// control says that a control failed, and whether the sender was to blame.
func control(g cellGroup) string {
	sentence := fmt.Sprintf("The control of %s (%s) failed: without loss %s.",
		g.adapter.Title, situation(g.condition), strings.Join(g.failed, ", "))
	sent, waited := 0, 0
	for _, run := range g.runs {
		sent += run.sent
		for _, s := range run.result.Samples {
			if s.Waited > tolerance {
				waited++
			}
		}
	}
	if waited > 0 {
		sentence += fmt.Sprintf(" %s handed to the transport more than %.0f ms after the time.", of(waited, sent), milliseconds(tolerance))
	}
	return sentence + " Something other than the link delays or loses messages here: do not trust this study."
}

// missingControls names the transports whose conditions with loss have no
// control, by condition.
func missingControls(groups []cellGroup) []string {
	type place struct{ transport, control string }
	controlled := make(map[place]bool)
	for _, g := range groups {
		if g.condition.Link.Lossless() && len(g.runs) > 0 {
			controlled[place{g.adapter.Name, g.key}] = true
		}
	}
	missing := make(map[string][]string) // titles, by the control's key
	var order []string
	situations := make(map[string]string)
	for _, g := range groups {
		c := withoutLoss(g.condition)
		k := key(c)
		if g.condition.Link.Lossless() || !checkable(c) || controlled[place{g.adapter.Name, k}] ||
			g.condition.Link.BlockUDP && g.adapter.UDP || len(g.runs) == 0 || slices.Contains(missing[k], g.adapter.Title) {
			continue
		}
		if missing[k] == nil {
			order = append(order, k)
			situations[k] = situation(c)
		}
		missing[k] = append(missing[k], g.adapter.Title)
	}
	var all []string
	for _, k := range order {
		all = append(all, fmt.Sprintf("No run without loss counts for %s (%s): whether the machine delays messages by itself is not known.",
			strings.Join(missing[k], ", "), situations[k]))
	}
	return all
}

// missingSeeds says which of the seeds that were tried have no result, and why.
func missingSeeds(g cellGroup) string {
	counts := make(map[uint64]bool)
	for _, run := range g.runs {
		counts[run.result.Run.Seed] = true
	}
	missing := make(map[uint64]bool)
	var reasons reasons
	for i := range g.results {
		if r := &g.results[i]; !counts[r.Run.Seed] {
			missing[r.Run.Seed] = true
			reasons.add(r)
		}
	}
	if len(missing) == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d runs have no result: %s", len(missing), len(missing)+len(counts), &reasons)
}

// suspicions says what shows that runs were not what they should be.
func suspicions(g cellGroup) []string {
	var all []string
	c := g.condition
	unsent, sent, fast, duplicates, reordered := 0, 0, 0, 0, int64(0)
	var worst lab.Lateness
	cc := ""
	for _, run := range g.runs {
		r := run.result
		sent += run.sent
		if n := planned(c.Workload); n > 0 && run.sent < n {
			unsent += n - run.sent
		}
		if len(run.arrived) > 0 && c.Link.Jitter == 0 && run.arrived[0] < base(r.Run)-tolerance {
			fast++
		}
		if g.adapter.Reliable {
			duplicates += r.Duplicates
		}
		reordered += r.Down.Reordered + r.Up.Reordered
		if r.Run.MaxLateness > 0 && r.Lateness.Max > r.Run.MaxLateness && r.Lateness.Max > worst.Max {
			worst = r.Lateness
		}
		if r.CC != "" && r.Run.CC != "" && r.CC != r.Run.CC {
			cc = fmt.Sprintf("the kernel used the congestion control %s instead of %s", r.CC, r.Run.CC)
		}
	}
	if unsent > 0 {
		all = append(all, fmt.Sprintf("of %d messages that were to be sent %d are not accounted for", sent+unsent, unsent))
	}
	if fast > 0 {
		all = append(all, fmt.Sprintf("messages arrived faster than the link is in %d of %d runs", fast, len(g.runs)))
	}
	if duplicates > 0 {
		all = append(all, were(duplicates, "message", "delivered")+" more than once")
	}
	if reordered > 0 && !c.Link.Reorder {
		all = append(all, fmt.Sprintf("the router reordered %d packets, which it was not asked to", reordered))
	}
	if worst.Max > 0 {
		all = append(all, fmt.Sprintf("the router was up to %.1f ms late", milliseconds(worst.Max)))
	}
	if cc != "" {
		all = append(all, cc)
	}
	for _, d := range []lab.Direction{lab.Down, lab.Up} {
		if s := implausible(g, d); s != "" {
			all = append(all, s)
		}
	}
	return all
}

// planned is how many messages or calls a run has to send at least: each channel
// may have one less than fit, by its stagger.
func planned(work lab.Workload) int {
	if !timed(work) || work.Interval <= 0 || work.Channels < 1 {
		return 0
	}
	return work.Channels * (int(work.Duration/work.Interval) - 1)
}

// implausible says whether the link lost another share of a direction's packets
// than chance allows. Five standard deviations happen once in two million times;
// the ten packets besides are for links of few packets, whose losses have no
// normal distribution.
func implausible(g cellGroup, d lab.Direction) string {
	p := g.condition.Link.Loss
	if g.condition.Link.Rate != 0 || g.condition.Link.BlockUDP {
		return "" // a packet may have been dropped before chance came to it
	}
	var packets, lost int64
	for _, run := range g.runs {
		packets += run.result.Passage(d).Packets
		lost += run.result.Passage(d).Lost
	}
	n := float64(packets)
	allowed := 0.0
	if p > 0 {
		allowed = 5*math.Sqrt(n*p*(1-p)) + 10
	}
	if math.Abs(float64(lost)-n*p) <= allowed {
		return ""
	}
	return fmt.Sprintf("the link lost %.2f %% of the packets %s, which chance does not explain", 100*float64(lost)/n, d)
}

// said gathers what there is to say about cells, so that it is said once.
type said struct {
	order []string
	of    map[string][]string
}

func (s *said) add(g cellGroup, what string) {
	if s.of == nil {
		s.of = make(map[string][]string)
	}
	k := g.adapter.Title + "\x00" + what
	if s.of[k] == nil {
		s.order = append(s.order, k)
	}
	s.of[k] = append(s.of[k], situation(g.condition))
}

func (s *said) sentences() []string {
	var all []string
	for _, k := range s.order {
		title, what, _ := strings.Cut(k, "\x00")
		all = append(all, fmt.Sprintf("%s (%s): %s.", title, strings.Join(slices.Compact(s.of[k]), "; "), what))
	}
	return all
}

// situation describes a condition in a few words.
func situation(c lab.Condition) string {
	words := []string{fmt.Sprintf("%s %s", c.Workload.Kind, c.Direction)}
	if !c.Link.Lossless() {
		loss := fmt.Sprintf("%g %% loss", 100*c.Link.Loss)
		if c.Link.Burst != (lab.Burst{}) {
			loss += " and bursts"
		}
		words = append(words, loss)
	}
	if c.Link.Rate != 0 {
		words = append(words, fmt.Sprintf("%g Mbit/s", float64(c.Link.Rate)/1e6))
	}
	if c.Link.BlockUDP {
		words = append(words, "UDP blocked")
	}
	return strings.Join(words, ", ")
}

// of is "3 of 400 messages were".
func of(n, all int) string {
	if n == 1 {
		return fmt.Sprintf("1 of %d messages was", all)
	}
	return fmt.Sprintf("%d of %d messages were", n, all)
}

func percent(n, all int) string {
	return fmt.Sprintf("%.2g %%", 100*float64(n)/float64(max(all, 1)))
}
