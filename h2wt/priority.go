package h2wt

import (
	"github.com/dunglas/httpsfv"

	"github.com/towpath-go/towpath/internal/h2conn"
)

// setPriority applies a Priority field or a PRIORITY_UPDATE frame (RFC 9218) to
// what we send on a stream. Anything that does not parse, or is out of range, is
// ignored as the RFC wants it.
func setPriority(st *h2conn.Stream, lines []string) {
	if u, ok := parseUrgency(lines); ok {
		st.SetPriority(u)
	}
}

// maxPriorityField bounds a Priority value that is looked at. A useful one has
// less than ten bytes.
const maxPriorityField = 1 << 10

func parseUrgency(lines []string) (urgency uint8, ok bool) {
	n := 0
	for _, l := range lines {
		n += len(l)
	}
	if n == 0 || n > maxPriorityField {
		return 0, false
	}
	d, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil {
		return 0, false
	}
	m, ok := d.Get("u")
	if !ok {
		return 3, true // the default, RFC 9218 section 4.1
	}
	item, ok := m.(httpsfv.Item)
	if !ok {
		return 0, false
	}
	v, ok := item.Value.(int64)
	if !ok || v < 0 || v > 7 {
		return 0, false
	}
	return uint8(v), true
}
