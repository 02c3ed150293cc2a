package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// Schema is the version of the JSON and of the CSV: it grows when a field
// changes its meaning or goes. New ones do not change it.
const Schema = 1

// document is the JSON's top level.
type document struct {
	Schema int `json:"schema"`
	lab.Study
}

// JSON writes the study: an object with the schema's number and the fields of
// lab.Study, durations in nanoseconds. Objects and lists without others in them
// stand in one line.
func JSON(w io.Writer, s lab.Study) error {
	b, err := json.MarshalIndent(document{Schema, finite(s)}, "", "  ")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	_, err = w.Write(append(flat(b), '\n'))
	return err
}

// ReadJSON reads what JSON wrote.
func ReadJSON(r io.Reader) (lab.Study, error) {
	var d document
	if err := json.NewDecoder(r).Decode(&d); err != nil {
		return lab.Study{}, fmt.Errorf("report: %w", err)
	}
	if d.Schema != Schema {
		return lab.Study{}, fmt.Errorf("report: the study has schema %d, and this program knows %d", d.Schema, Schema)
	}
	return d.Study, nil
}

// flat puts the innermost objects and lists of indented JSON into one line each.
func flat(b []byte) []byte {
	out := make([]byte, 0, len(b))
	open := -1 // where in out the innermost bracket is that nothing follows yet
	for i := 0; i < len(b); i++ {
		switch c := b[i]; c {
		case '"':
			end := i + 1
			for b[end] != '"' {
				if b[end] == '\\' {
					end++
				}
				end++
			}
			out = append(out, b[i:end+1]...)
			i = end
		case '{', '[':
			open = len(out)
			out = append(out, c)
		case '}', ']':
			out = append(out, c)
			if open >= 0 {
				out = append(out[:open], oneLine(out[open:])...)
			}
			open = -1
		default:
			out = append(out, c)
		}
	}
	return out
}

// oneLine takes the line breaks and their indentation out of b, which has none
// in its strings.
func oneLine(b []byte) []byte {
	lines := bytes.Split(b, []byte("\n"))
	for i := range lines {
		lines[i] = bytes.TrimLeft(lines[i], " ")
		if bytes.HasSuffix(lines[i], []byte(",")) {
			lines[i] = append(lines[i][:len(lines[i]):len(lines[i])], ' ')
		}
	}
	return bytes.Join(lines, nil)
}

// CSV writes one row for each cell under a row of names that end in their
// units. Shares are from 0 to 1. Every estimate has three columns: the mean and
// the ends of its interval. All are empty where it does not apply, and the ends
// where there was one run. The last column says in every row why the study is
// invalid, and is empty if it is not.
func CSV(w io.Writer, s lab.Study) error {
	out := csv.NewWriter(w)
	head := []string{
		"transport", "workload", "direction", "channels", "interval_ms", "min_size_bytes", "max_size_bytes", "objects", "duration_s",
		"delay_ms", "jitter_ms", "reorder", "rate_bit_per_s", "queue_bytes", "loss_share", "burst_good_ms", "burst_bad_ms", "burst_loss_share", "block_udp", "mtu_bytes",
		"runs", "rejected_runs", "problem", "server_channel_error",
	}
	for _, c := range columns {
		head = append(head, c.name, c.name+"_low", c.name+"_high")
	}
	head = append(head, "study_invalid")
	if err := out.Write(head); err != nil {
		return err
	}
	s = finite(s)
	var problems []string
	for _, p := range s.Problems {
		problems = append(problems, line(p))
	}
	invalid := strings.Join(problems, "; ")
	for _, c := range s.Cells {
		l, work := c.Condition.Link, c.Condition.Workload
		row := []string{
			c.Transport, string(work.Kind), string(c.Condition.Direction), strconv.Itoa(work.Channels), exact(milliseconds(work.Interval)),
			strconv.Itoa(work.MinSize), strconv.Itoa(work.MaxSize), strconv.Itoa(len(work.Objects)), exact(work.Duration.Seconds()),
			exact(milliseconds(l.Delay)), exact(milliseconds(l.Jitter)), strconv.FormatBool(l.Reorder), strconv.FormatInt(l.Rate, 10), strconv.Itoa(l.Queue), exact(l.Loss),
			exact(milliseconds(l.Burst.Good)), exact(milliseconds(l.Burst.Bad)), exact(l.Burst.Loss), strconv.FormatBool(l.BlockUDP), strconv.Itoa(l.MTU),
			strconv.Itoa(len(c.Seeds)), strconv.Itoa(c.Rejected), line(c.Problem), line(c.ServerChannelError),
		}
		for _, e := range estimates(&c) {
			switch e.N {
			case 0:
				row = append(row, "", "", "")
			case 1:
				row = append(row, exact(e.Mean), "", "")
			default:
				row = append(row, exact(e.Mean), exact(e.Low), exact(e.High))
			}
		}
		row = append(row, invalid)
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

func exact(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// line makes one line of a text.
func line(s string) string { return strings.Join(strings.Fields(s), " ") }
