package delivery

import (
	"fmt"
	"strings"
	"testing"
)

// A Fate says what became of a stream.
type Fate uint8

const (
	// Delivered: every byte accepted, and then a clean end.
	Delivered Fate = iota
	// Unfinished: the sender did not end it, and the receiver saw no end that
	// looks like one.
	Unfinished
	// ReportedLost: not delivered, and the sender was told by Write, Close,
	// CloseWithError or the session's end.
	ReportedLost
	// SilentlyLost: not delivered, and nobody said so to the sender; or cut
	// short or changed, and the receiver was shown a clean end.
	SilentlyLost
)

// String returns the fate in lower case.
func (f Fate) String() string {
	switch f {
	case Delivered:
		return "delivered"
	case Unfinished:
		return "unfinished"
	case ReportedLost:
		return "reported lost"
	case SilentlyLost:
		return "SILENTLY LOST"
	}
	return "unknown"
}

// A Verdict is the fate of one stream.
type Verdict struct {
	Number uint64
	Fate   Fate
	Why    string
}

// A Judgement has the verdict on every stream.
type Judgement []Verdict

// Judge compares what was sent with what arrived. Both sides must be done.
func Judge(sent []Sent, end End, got []Got) Judgement {
	byNumber := make(map[uint64]Got)
	var all Judgement
	for _, g := range got {
		_, twice := byNumber[g.Number]
		switch {
		case g.Number == 0 && g.Clean:
			all = append(all, Verdict{0, SilentlyLost, fmt.Sprintf("a clean end after %d bytes, before the stream's number", g.Bytes)})
		case g.Number == 0: // what it was shows in its sender's record
		case twice:
			all = append(all, Verdict{g.Number, SilentlyLost, "arrived twice"})
		case g.Number > uint64(len(sent)):
			all = append(all, Verdict{g.Number, SilentlyLost, "arrived and was never sent"})
		}
		byNumber[g.Number] = g
	}
	for _, s := range sent {
		g, arrived := byNumber[s.Number]
		fate, why := judge(s, end, g, arrived)
		all = append(all, Verdict{s.Number, fate, why})
	}
	return all
}

func judge(s Sent, end End, g Got, arrived bool) (Fate, string) {
	whole := arrived && g.Bytes == s.Accepted && g.Sum == s.Sum
	switch {
	case arrived && g.Wrong >= 0:
		return SilentlyLost, fmt.Sprintf("byte %d is not what was sent", g.Wrong)
	case arrived && g.Bytes > s.Accepted:
		return SilentlyLost, fmt.Sprintf("%d bytes arrived of %d that were accepted", g.Bytes, s.Accepted)
	case arrived && g.Clean && !s.Closed:
		return SilentlyLost, fmt.Sprintf("a clean end after %d bytes, which the sender did not make", g.Bytes)
	case arrived && g.Clean && !whole:
		return SilentlyLost, fmt.Sprintf("a clean end after %d of %d bytes", g.Bytes, s.Accepted)
	case whole && g.Clean:
		return Delivered, ""
	case s.Told != "":
		return ReportedLost, s.Told
	case !s.Closed:
		return Unfinished, ""
	case end.Told != "":
		return ReportedLost, end.Told
	}
	return SilentlyLost, fmt.Sprintf("%d of %d bytes arrived (%q), and nobody told the sender", g.Bytes, s.Accepted, g.Err)
}

// Count returns how many streams had a fate.
func (j Judgement) Count(f Fate) (n int) {
	for _, v := range j {
		if v.Fate == f {
			n++
		}
	}
	return n
}

// String says how many streams had which fate, and each that was silently lost.
func (j Judgement) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d streams: %d delivered, %d unfinished, %d reported lost, %d silently lost",
		len(j), j.Count(Delivered), j.Count(Unfinished), j.Count(ReportedLost), j.Count(SilentlyLost))
	for _, v := range j {
		if v.Fate == SilentlyLost {
			fmt.Fprintf(&b, "\n  stream %d: %s", v.Number, v.Why)
		}
	}
	return b.String()
}

// Check fails the test if anything was lost in silence.
func (j Judgement) Check(t testing.TB, why string) {
	t.Helper()
	if j.Count(SilentlyLost) > 0 {
		t.Errorf("%s: %v", why, j)
	}
}
