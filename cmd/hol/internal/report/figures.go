package report

import (
	"fmt"
	"math"
	"slices"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// A figure is drawings that belong together, with the text that explains them.
type figure struct {
	ID       string
	Reading  string // ID of an earlier figure with the Text, or ""
	Title    string
	Text     string
	Drawings []*drawing
}

// lateFigure is the late share against the loss, or nothing for one level.
func lateFigure(s scenario) []figure {
	d := lateByLoss(s)
	if d == nil {
		return nil
	}
	theory := ""
	if slices.ContainsFunc(cellsOf(s), func(c lab.Cell) bool { return c.Theory.N > 0 }) {
		theory = "Dotted lines are what the loss alone predicts if a lost packet holds up every message behind it in the same ordered flow until it is sent again. "
	}
	return []figure{{
		ID: s.ID + "-late", Title: "How many messages are late, against the loss",
		Text: fmt.Sprintf("Each mark is the share of all messages sent that came more than %s ms after their scheduled time: %s (%s) and half a round trip. "+
			"Bars are 95 %% confidence intervals over the seeds. %s"+
			"The vertical axis is bent (square root) to show small shares; grey lines are the other families. Messages that never came are not late; they are missing from what was delivered.",
			plain(lateAfter(s.Base)), journey(s.Base), duration(base(s.Base)), theory),
		Drawings: d,
	}}
}

// levelFigures are the latencies and the signature at one level. A control in
// which nothing was late has neither: there is nothing to see in them.
func levelFigures(l level) []figure {
	var all []figure
	if !l.uneventful() {
		all = slices.Concat(latencyFigure(l), signatureFigure(l))
	}
	if d := present(bulkBars(l)); d != nil {
		all = append(all, figure{
			ID: l.ID + "-bulk", Title: "The bulk transfer " + l.At(),
			Text:     "What one transfer achieved beside the timed messages. Compare it with how late those were: a transport can buy one with the other.",
			Drawings: d,
		})
	}
	if d := present(pageBars(l)); d != nil {
		all = append(all, figure{
			ID: l.ID + "-page", Title: "Whole pages " + l.At(),
			Text:     "The mean time from asking for all objects of a page at once until the last one had come.",
			Drawings: d,
		})
	}
	return all
}

func latencyFigure(l level) []figure {
	var all []figure
	if d := latencies(l); d != nil {
		all = append(all, figure{
			ID: l.ID + "-latency", Title: "Latencies " + l.At(),
			Text: fmt.Sprintf("How large a share of the messages took longer than a time; both axes are logarithmic. A transport without stalls falls straight down at the time of %s (%s). "+
				"A shoulder to the right is messages that waited for a packet to be sent again: its height is how many, its reach how long. A dotted line to the right edge is the share that never came.",
				journey(l.Condition), duration(base(l.Condition))),
			Drawings: d,
		})
	}
	return all
}

func signatureFigure(l level) []figure {
	var all []figure
	if d := present(lateBars(l), togetherBars(l)); d != nil {
		all = append(all, figure{
			ID: l.ID + "-signature", Title: "Late, and late together, " + l.At(),
			Text: "First: the share of messages that were late; the diamond is theory's. Then: of the intervals in which anything was late, the share in which half of the channels or more were late at once. " +
				"That is the signature of head-of-line blocking: near 1, one lost packet stops channels that have nothing to do with it; near 0, it stops its own channel alone.",
			Drawings: d,
		})
	}
	return all
}

// uneventful tells whether nothing was lost by chance, and nothing late.
func (l level) uneventful() bool {
	if !l.Condition.Link.Lossless() || l.Condition.Workload.Kind == lab.Page || l.Condition.Workload.Kind == lab.Mixed {
		return false // the last two have more to show
	}
	for _, c := range l.Cells {
		if c.Late.N > 0 && c.Late.Mean > 0 || c.Problem != "" {
			return false
		}
	}
	return true
}

// control says of an uneventful level what there is to say.
func (l level) control() string {
	least, most := math.Inf(1), math.Inf(-1)
	for _, c := range l.Cells {
		if c.P50.N > 0 {
			least, most = min(least, c.P50.Mean), max(most, c.P50.Mean)
		}
	}
	if least > most {
		return "No message was measured here."
	}
	medians := inMilliseconds(least, least)
	if to := inMilliseconds(most, most); to != medians {
		medians = "from " + medians + " to " + to
	}
	return fmt.Sprintf("The control: nothing was late. Medians were %s ms, and %s takes %s.", medians, journey(l.Condition), duration(base(l.Condition)))
}

func timelineFigure(l level) []figure {
	if len(l.Timelines) == 0 {
		return nil
	}
	f := figure{
		ID: l.ID + "-timelines", Title: "A stall, channel by channel, " + l.At(),
		Text: "Each row is a channel, each line a message: it begins at the row's upper edge when it was to be sent, and ends at the lower edge when it came. Messages in time are short parallel lines. " +
			"Orange ones are late, red ones later than 1.5 round trips, × never came. A filled triangle is a packet that the link dropped on the payload's way, a hollow one a packet of the way back. " +
			"Where lines of all rows fan in to one moment, one lost packet held up every channel.",
	}
	for _, t := range l.Timelines {
		f.Drawings = append(f.Drawings, timeline(t))
	}
	return []figure{f}
}

func setupFigure(s scenario) []figure {
	d := setupBars(s.Levels[0])
	if d == nil {
		return nil
	}
	return []figure{{
		ID: s.ID + "-setup", Title: "What it takes to begin, " + s.Levels[0].At(),
		Text: "Round trips from the first call to dial until the client's first message was at the server's application, less the way of that message itself; then what one more channel costs, opened by the client and by the server, until its first message has arrived. " +
			fmt.Sprintf("%s is the way itself: a channel that costs as much needs no handshake.", duration(s.Base.Link.Delay)),
		Drawings: d,
	}}
}
