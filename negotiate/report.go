package negotiate

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// An Outcome says what became of an attempt.
type Outcome uint8

const (
	NotStarted Outcome = iota // there was no need for it
	Opening                   // still at the handshake when the report was made
	Ready                     // connected, not used
	Requested                 // the session was requested, not answered
	Won                       // it carries the session
	Failed                    // it ended with its own error
	Lost                      // it was given up because of another attempt
)

var outcomes = [...]Outcome{
	wayWaiting: NotStarted, wayOpening: Opening, wayReady: Ready, wayRequested: Requested,
	wayWon: Won, wayFailed: Failed, wayLost: Lost, wayDoubted: Lost,
}

// String returns a lower-case name.
func (o Outcome) String() string {
	switch o {
	case NotStarted:
		return "not started"
	case Opening:
		return "opening"
	case Ready:
		return "ready"
	case Requested:
		return "requested"
	case Won:
		return "won"
	case Failed:
		return "failed"
	case Lost:
		return "lost"
	}
	return "unknown"
}

// MarshalText returns String.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// An Attempt is one way that a Dial tried, or would have tried. A WebSocket that
// took over the connection of HTTP/2 starts, and is ready, when that ended. Times count
// from the start of the race; a step that was not reached has a negative time.
type Attempt struct {
	Protocol transport.Protocol
	Network  string // "udp6", "udp4", "tcp", or the proxy's scheme
	Address  string // the address tried, or host and port if a proxy resolves it

	Outcome   Outcome
	Started   time.Duration
	Ready     time.Duration // connection ready, the server's WebTransport settings seen where there are some
	Requested time.Duration // the session asked for
	Ended     time.Duration
	// Heard says that something came back from the server on this way.
	Heard bool
	// Err is the attempt's own error, nil if it had none.
	Err error
	// Note says why an attempt without an error did not win, and of a WebSocket
	// that did by what road.
	Note string

	session transport.Session
}

func newAttempt(p transport.Protocol, network, addr string) Attempt {
	return Attempt{Protocol: p, Network: network, Address: addr, Started: -1, Ready: -1, Requested: -1, Ended: -1}
}

// Name returns the protocol and network, "h3 udp6" for example.
func (a Attempt) Name() string { return a.Protocol.String() + " " + a.Network }

// A Memory is what was remembered when a Dial began.
type Memory uint8

const (
	MemoryNone    Memory = iota // nothing known about UDP to that server from this network
	MemoryWorks                 // HTTP/3 worked before
	MemoryBroken                // UDP marked broken: TCP starts at once
	MemoryExpired               // the mark has expired: TCP starts at once, UDP is probed beside it
	MemoryPending               // another dial is finding out: TCP starts at once
	MemoryUnused                // the dial had no choice to make
)

// String returns what was remembered, as a phrase.
func (m Memory) String() string {
	switch m {
	case MemoryNone:
		return "nothing known"
	case MemoryWorks:
		return "HTTP/3 worked before"
	case MemoryBroken:
		return "UDP marked broken"
	case MemoryExpired:
		return "UDP mark expired, probing"
	case MemoryPending:
		return "UDP outcome pending"
	case MemoryUnused:
		return "not consulted"
	}
	return "unknown"
}

// MarshalText returns String.
func (m Memory) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// A Report says how a Dial went. It is complete when Dial returns, and does not
// change afterwards: what a losing way came to later shows in Trace and Logger.
type Report struct {
	URL string
	// Winner is the protocol of the session, ProtocolUnknown if there is none.
	Winner transport.Protocol
	// Elapsed is how long Dial took; Resolve is the name lookup's part of it.
	Elapsed, Resolve time.Duration
	// Memory is what the dialer remembered, MemoryUntil the end of a mark.
	Memory      Memory
	MemoryUntil time.Time
	// Network is the fingerprint of the local network, empty if not needed.
	Network string
	// HeadStart is how long TCP waits for QUIC, unless something decides
	// earlier; negative if TCP starts only after QUIC failed, or the reverse.
	HeadStart time.Duration
	// Proxy is the proxy's URL without its password, empty if none.
	Proxy string
	// Reused says that the session shares a pooled connection.
	Reused bool
	// Attempts are in the order of preference.
	Attempts []Attempt
	// Err is the error that Dial returned, with all its detail even if
	// Dialer.OpaqueErrors hid it; nil if there is a session.
	Err error

	byProxy bool // HTTP/3 was left out for the proxy
}

// String returns the report as lines for a terminal, without a final newline.
func (r *Report) String() string {
	var b strings.Builder
	if r.Winner != transport.ProtocolUnknown {
		fmt.Fprintf(&b, "%s: %s in %s", r.URL, r.Winner, ms(r.Elapsed))
	} else {
		fmt.Fprintf(&b, "%s: no session after %s", r.URL, ms(r.Elapsed))
	}
	if r.Reused {
		b.WriteString(" on a pooled connection")
	}
	if r.Proxy != "" {
		fmt.Fprintf(&b, "\n  proxy       %s", r.Proxy)
	}
	if r.Memory != MemoryUnused {
		fmt.Fprintf(&b, "\n  memory      %s", r.Memory)
		if !r.MemoryUntil.IsZero() {
			fmt.Fprintf(&b, " until %s", r.MemoryUntil.Format(time.RFC3339))
		}
		if r.HeadStart > 0 {
			fmt.Fprintf(&b, "; head start %s", ms(r.HeadStart))
		}
	}
	if r.Resolve > 0 {
		fmt.Fprintf(&b, "\n  resolved    in %s", ms(r.Resolve))
	}
	for _, a := range r.Attempts {
		fmt.Fprintf(&b, "\n  %-11s %s", a.Name(), a.describe())
	}
	return b.String()
}

func (a Attempt) describe() string {
	var steps strings.Builder
	step := func(name string, d time.Duration) {
		if d >= 0 {
			fmt.Fprintf(&steps, " %s %s", name, ms(d))
		}
	}
	step("start", a.Started)
	step("ready", a.Ready)
	step("asked", a.Requested)
	if a.Started >= 0 {
		step("end", a.Ended)
	}
	s := a.Outcome.String()
	if steps.Len() > 0 {
		s = fmt.Sprintf("%-11s", s) + steps.String()
	}
	switch {
	case a.Err != nil:
		s += ": " + a.Err.Error()
	case a.Note != "":
		s += ": " + a.Note
	}
	return s
}

// ms formats a duration as milliseconds, as long as a person needs it.
func ms(d time.Duration) string {
	v := float64(d) / float64(time.Millisecond)
	if v < 10 {
		return fmt.Sprintf("%.1f ms", v)
	}
	return fmt.Sprintf("%.0f ms", v)
}

// MarshalJSON writes times in milliseconds and errors as their text. A negative
// HeadStart is left out.
func (r *Report) MarshalJSON() ([]byte, error) {
	type report struct {
		URL         string     `json:"url"`
		Winner      string     `json:"transport,omitempty"`
		Elapsed     float64    `json:"ms"`
		Resolve     float64    `json:"resolve_ms"`
		Memory      Memory     `json:"memory"`
		MemoryUntil *time.Time `json:"memory_until,omitempty"`
		Network     string     `json:"network,omitempty"`
		HeadStart   *float64   `json:"head_start_ms,omitempty"` // absent: one way after the other
		Proxy       string     `json:"proxy,omitempty"`
		Reused      bool       `json:"reused,omitempty"`
		Attempts    []Attempt  `json:"attempts"`
		Err         string     `json:"error,omitempty"`
	}
	out := report{
		URL: r.URL, Elapsed: millis(r.Elapsed), Resolve: millis(r.Resolve), Memory: r.Memory, Network: r.Network,
		Proxy: r.Proxy, Reused: r.Reused, Attempts: r.Attempts,
	}
	if r.Winner != transport.ProtocolUnknown {
		out.Winner = r.Winner.String()
	}
	if r.HeadStart >= 0 {
		out.HeadStart = new(millis(r.HeadStart))
	}
	if !r.MemoryUntil.IsZero() {
		out.MemoryUntil = &r.MemoryUntil
	}
	if r.Err != nil {
		out.Err = r.Err.Error()
	}
	return json.Marshal(out)
}

// MarshalJSON leaves out the steps that were not reached.
func (a Attempt) MarshalJSON() ([]byte, error) {
	type attempt struct {
		Transport string   `json:"transport"`
		Network   string   `json:"network"`
		Address   string   `json:"address"`
		Outcome   Outcome  `json:"outcome"`
		Started   *float64 `json:"started_ms,omitempty"`
		Ready     *float64 `json:"ready_ms,omitempty"`
		Requested *float64 `json:"requested_ms,omitempty"`
		Ended     *float64 `json:"ended_ms,omitempty"`
		Heard     bool     `json:"heard"`
		Err       string   `json:"error,omitempty"`
		Note      string   `json:"note,omitempty"`
	}
	step := func(d time.Duration) *float64 {
		if d < 0 {
			return nil
		}
		v := millis(d)
		return &v
	}
	out := attempt{
		Transport: a.Protocol.String(), Network: a.Network, Address: a.Address, Outcome: a.Outcome,
		Started: step(a.Started), Ready: step(a.Ready), Requested: step(a.Requested), Ended: step(a.Ended),
		Heard: a.Heard, Note: a.Note,
	}
	if a.Err != nil {
		out.Err = a.Err.Error()
	}
	return json.Marshal(out)
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
