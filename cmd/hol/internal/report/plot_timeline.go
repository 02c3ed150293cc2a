package report

import (
	"fmt"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// timeline draws a part of one run as a ladder: a row for each channel, and each
// message as a line from when it was to be sent, at the row's upper edge, to when
// it came, at the lower. Messages in time are parallel; those that were held up
// by one loss meet in one place, and do so in all rows if channels share fate.
func timeline(t lab.Timeline) *drawing {
	look := lookOf(t.Transport)
	rows := max(t.Channels, 1)
	height := min(max(190/float64(rows), 9), 26)
	const top, left = 40.0, 24.0
	bottom := top + height*float64(rows)
	x := axis{milliseconds(t.From), milliseconds(t.To), left, panelWidth - 6, linear}
	d := draw(panelWidth, bottom+32, "Timeline of "+look.Title, "")
	d.text("family "+look.Family.class(), start, 0, 8, look.Title)
	for row := range rows {
		if row%2 == 0 {
			d.rect("row", x.a, top+height*float64(row), x.b-x.a, height)
		}
		if height >= 11 || row%2 == 0 {
			d.text("small", end, left-5, top+height*(float64(row)+.5), fmt.Sprint(row+1))
		}
	}
	drops := drops(d, t, x, top, bottom)
	var late, lost, channels int
	touched := map[int]bool{}
	for pass := range 3 { // what matters lies above
		for _, s := range t.Samples {
			if s.Channel < 0 || s.Channel >= rows || s.Scheduled < t.From || s.Scheduled >= t.To {
				continue
			}
			class, level := lateness(s, t.Condition)
			if level != pass {
				continue
			}
			y := top + height*float64(s.Channel)
			at := x.at(milliseconds(s.Scheduled))
			if level > 0 && !touched[s.Channel] {
				touched[s.Channel] = true
				channels++
			}
			if s.Latency == lab.Undelivered {
				lost++
				d.line(class, at-3, y+height/2-3, at+3, y+height/2+3)
				d.line(class, at-3, y+height/2+3, at+3, y+height/2-3)
				continue
			}
			if level > 0 {
				late++
			}
			slope(d, class, x, milliseconds(s.Scheduled), milliseconds(s.Latency), y, height)
		}
	}
	d.line("axis", x.a, bottom, x.b, bottom)
	for _, v := range even(milliseconds(t.To-t.From), 5) {
		at := x.at(milliseconds(t.From) + v)
		d.line("axis", at, bottom, at, bottom+3)
		if at < x.b-8 {
			d.text("", middle, at, bottom+11, plain(v))
		}
	}
	d.text("", start, x.a, bottom+25, fmt.Sprintf("ms, from %s s of seed %d on", plain(t.From.Seconds()), t.Seed))
	d.desc = fmt.Sprintf("%d channels for %s. %d packets were dropped; %d messages on %d channels were late, %d never came.",
		t.Channels, duration((t.To - t.From).Round(time.Millisecond)), drops, late, channels, lost)
	return d
}

// slope draws a message. One that came after the drawing's end leaves it where
// the end is.
func slope(d *drawing, class string, x axis, sent, latency, y, height float64) {
	arrived := sent + latency
	to := y + height
	if arrived > x.to {
		to = y + height*(x.to-sent)/latency
		arrived = x.to
	}
	d.line(class, x.at(sent), y+1, x.at(arrived), max(to-1, y+1))
}

// drops marks the packets that were dropped, those of the payload's direction
// filled, and counts both.
func drops(d *drawing, t lab.Timeline, x axis, top, bottom float64) int {
	n := 0
	for _, drop := range t.Drops {
		if drop.At < t.From || drop.At >= t.To {
			continue
		}
		n++
		at := x.at(milliseconds(drop.At))
		class := "back"
		if drop.Direction == t.Condition.Direction {
			class = "drop"
			d.line("fall", at, top-4, at, bottom)
		}
		d.polygon(class, [2]float64{at - 4, top - 12}, [2]float64{at + 4, top - 12}, [2]float64{at, top - 4})
	}
	return n
}

// lateness is the class of a message, and how far above others it is drawn.
func lateness(s lab.Sample, c lab.Condition) (class string, level int) {
	switch ms := milliseconds(s.Latency); {
	case s.Latency == lab.Undelivered:
		return "lost", 2
	case ms > veryLateAfter(c):
		return "very", 2
	case ms > lateAfter(c):
		return "late", 1
	}
	return "fine", 0
}
