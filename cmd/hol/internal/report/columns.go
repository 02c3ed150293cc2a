package report

import (
	"iter"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// A column is one number of a cell, as the CSV and the tables with everything
// have it.
type column struct {
	name  string // of the CSV's column, with its unit
	head  string // of a table's
	scale unit
	of    func(*lab.Cell) *lab.Estimate
}

// The CSV's order, which must not change within a schema.
var columns = []column{
	{"p50_ms", "p50 ms", inMilliseconds, func(c *lab.Cell) *lab.Estimate { return &c.P50 }},
	{"p95_ms", "p95 ms", inMilliseconds, func(c *lab.Cell) *lab.Estimate { return &c.P95 }},
	{"p99_ms", "p99 ms", inMilliseconds, func(c *lab.Cell) *lab.Estimate { return &c.P99 }},
	{"max_ms", "max ms", inMilliseconds, func(c *lab.Cell) *lab.Estimate { return &c.Max }},
	{"late_share", "late %", inPercent, func(c *lab.Cell) *lab.Estimate { return &c.Late }},
	{"very_late_share", "very late %", inPercent, func(c *lab.Cell) *lab.Estimate { return &c.VeryLate }},
	{"theory_late_share", "theory %", inPercent, func(c *lab.Cell) *lab.Estimate { return &c.Theory }},
	{"theory_very_late_share", "very late by theory %", inPercent, func(c *lab.Cell) *lab.Estimate { return &c.TheoryVeryLate }},
	{"together_share", "together", inShare, func(c *lab.Cell) *lab.Estimate { return &c.Together }},
	{"delivered_share", "delivered %", inPercent, func(c *lab.Cell) *lab.Estimate { return &c.Delivered }},
	{"goodput_bit_per_s", "goodput kbit/s", inKilobits, func(c *lab.Cell) *lab.Estimate { return &c.Goodput }},
	{"bulk_bit_per_s", "bulk Mbit/s", inMegabits, func(c *lab.Cell) *lab.Estimate { return &c.Bulk }},
	{"page_ms", "page ms", inMilliseconds, func(c *lab.Cell) *lab.Estimate { return &c.Page }},
	{"first_message_ms", "first message ms", inMilliseconds, func(c *lab.Cell) *lab.Estimate { return &c.FirstMessage }},
	{"round_trips", "round trips", inTimes, func(c *lab.Cell) *lab.Estimate { return &c.RoundTrips }},
	{"next_channel_ms", "next channel ms", inMilliseconds, func(c *lab.Cell) *lab.Estimate { return &c.NextChannel }},
	{"server_channel_ms", "server's channel ms", inMilliseconds, func(c *lab.Cell) *lab.Estimate { return &c.ServerChannel }},
	{"cpu_ms_per_s", "CPU ms/s", inTimes, func(c *lab.Cell) *lab.Estimate { return &c.CPU }},
	{"realised_loss_share", "realised loss %", inPercent, func(c *lab.Cell) *lab.Estimate { return &c.Realised }},
	{"packets_per_s", "packets/s", inTimes, func(c *lab.Cell) *lab.Estimate { return &c.Packets }},
}

// estimates are all of a cell, by the CSV's names.
func estimates(c *lab.Cell) iter.Seq2[string, *lab.Estimate] {
	return func(yield func(string, *lab.Estimate) bool) {
		for _, col := range columns {
			if !yield(col.name, col.of(c)) {
				return
			}
		}
	}
}

// columnNamed is for code that names a column of the list above.
func columnNamed(name string) column {
	for _, c := range columns {
		if c.name == name {
			return c
		}
	}
	panic("BUG: no column " + name)
}
