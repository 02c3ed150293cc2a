// Package ledger has what the processes of a soak tell each other, a line of
// JSON each, and the comparison of what both ends of a session were told.
package ledger

import (
	"fmt"
	"time"
)

// Ways that sessions are carried.
const (
	H3   = "h3"
	H2   = "h2"
	WS   = "ws"    // WebSocket over HTTP/1.1
	WSH2 = "ws-h2" // WebSocket over HTTP/2
)

// Ways are all of them.
var Ways = []string{H3, H2, WS, WSH2}

// Sides.
const (
	Client    = "client"
	Server    = "server"
	Victim    = "victim"
	Bystander = "bystander"
	Attacker  = "attacker"
)

// A Message is one line; one of its fields is set.
type Message struct {
	Ready     *Ready     `json:"ready,omitempty"`
	End       *End       `json:"end,omitempty"`
	Violation *Violation `json:"violation,omitempty"`
	Counts    *Counts    `json:"counts,omitempty"`
	Sample    *Sample    `json:"sample,omitempty"`
	Fault     *Fault     `json:"fault,omitempty"`
	Opened    bool       `json:"opened,omitempty"`  // every connection of the client has been open
	Quiet     bool       `json:"quiet,omitempty"`   // the client's sessions wait for the server's end
	Left      *Left      `json:"left,omitempty"`    // last message of a process
	Failed    string     `json:"failed,omitempty"`  // the process cannot go on
	Latency   *Latency   `json:"latency,omitempty"` // of a bystander
	Attacked  *Attacked  `json:"attacked,omitempty"`
	Usage     *Usage     `json:"usage,omitempty"`
	Stacks    []string   `json:"stacks,omitempty"` // goroutines, by where they stand
}

// An Order is a line from the command to one of its processes. Their standard
// input ends with the command, and they end with it.
type Order struct {
	Begin   *Begin `json:"begin,omitempty"`
	Traffic bool   `json:"traffic,omitempty"` // begin the traffic; a client does so by itself
	Stop    bool   `json:"stop,omitempty"`    // end the traffic; of a server: shut down
	// Stacks asks for all goroutines, to see what a run that does not end waits for.
	Stacks bool `json:"stacks,omitempty"`
	// Profile asks for a profile of the heap in that file.
	Profile string `json:"profile,omitempty"`
	// Measure begins a phase of a bystander, Attack one of an attacker, and
	// Usage asks for the CPU time used; each has an answer.
	Measure time.Duration `json:"measure,omitempty"`
	Attack  *AttackOrder  `json:"attack,omitempty"`
	Usage   bool          `json:"usage,omitempty"`
}

// An AttackOrder has an attacker attack for a time.
type AttackOrder struct {
	Name string        `json:"name"`
	For  time.Duration `json:"for"`
}

// Begin has what a process needs to know.
type Begin struct {
	Address  string   `json:"address,omitempty"` // to dial
	Cert     []byte   `json:"cert,omitempty"`    // the server's, DER
	Settings Settings `json:"settings"`
}

// Settings of a run.
type Settings struct {
	Duration    time.Duration `json:"duration"`
	Connections int           `json:"connections"`
	Sessions    int           `json:"sessions"`
	Seed        uint64        `json:"seed"`
	Transports  []string      `json:"transports"`
	Cuts        float64       `json:"cuts_per_minute"` // of all connections together
	// Think is the mean time between two things that one side of a session does.
	Think time.Duration `json:"think"`
	// Lifetime is the mean time until a session is closed.
	Lifetime time.Duration `json:"lifetime"`
	// Detect is the time without a packet after which a peer is asked whether it
	// is there, and the time that it has to answer.
	Detect time.Duration `json:"detect"`
	// Patience is what every operation has to come to its end in.
	Patience time.Duration `json:"patience"`
	// SampleEvery is the time between two looks at memory.
	SampleEvery time.Duration `json:"sample_every"`
	// Parallel bounds the operations that each side does at once.
	Parallel int  `json:"parallel"`
	Short    bool `json:"short,omitempty"`
}

// Ready is said by a server that listens.
type Ready struct {
	Address string `json:"address"`
	Cert    []byte `json:"cert"`
}

// Told is how the session's end was told to the application.
type Told struct {
	Code   uint32 `json:"code"`
	Reason string `json:"reason,omitempty"`
	Remote bool   `json:"remote,omitempty"`
	Err    string `json:"err,omitempty"` // "" if an application closed it
}

// Closed is a call of CloseWithError.
type Closed struct {
	Code   uint32 `json:"code"`
	Reason string `json:"reason,omitempty"`
	Err    string `json:"err,omitempty"` // what it returned
	Synced bool   `json:"synced,omitempty"`
}

// An End is the end of a session, or of the attempt to open one, as one side
// knows it.
type End struct {
	Session    uint64  `json:"session"`
	Side       string  `json:"side"`
	Way        string  `json:"way"`
	Connection uint64  `json:"connection,omitempty"` // the client's number for it
	Refused    string  `json:"refused,omitempty"`    // why there was no session
	Told       *Told   `json:"told,omitempty"`
	Closed     *Closed `json:"closed,omitempty"`

	DatagramsAccepted uint64 `json:"datagrams_accepted,omitempty"` // by SendDatagram
	DatagramsSent     uint64 `json:"datagrams_sent,omitempty"`
	DatagramsDropped  uint64 `json:"datagrams_dropped,omitempty"` // before they were sent
	DatagramsReceived uint64 `json:"datagrams_received,omitempty"`
}

// A Violation is a promise that was not kept.
type Violation struct {
	Side    string `json:"side"`
	Way     string `json:"way,omitempty"`
	Session uint64 `json:"session,omitempty"`
	Stream  string `json:"stream,omitempty"` // kind and ID
	Offset  int64  `json:"offset"`           // -1 if there is none
	What    string `json:"what"`
}

// String returns one line.
func (v Violation) String() string {
	s := v.Side
	if v.Way != "" {
		s += " " + v.Way
	}
	if v.Session != 0 {
		s += fmt.Sprintf(" session %d", v.Session)
	}
	if v.Stream != "" {
		s += " " + v.Stream
	}
	if v.Offset >= 0 && v.Stream != "" {
		s += fmt.Sprintf(" offset %d", v.Offset)
	}
	return s + ": " + v.What
}

// Kinds of fault that can be ordered of the relay.
const (
	CutRST     = "rst"     // TCP: both ends are reset
	CutFIN     = "fin"     // TCP: one direction ends in the middle
	CutSilence = "silence" // nothing comes through any more, and nothing tells of it
	CutClose   = "close"   // the client closes the connection with its sessions
	Stall      = "stall"   // one direction stands still for a while
	Outage     = "outage"  // UDP: all packets are lost for a while
	Rebind     = "rebind"  // UDP: packets come from another port of the client's
	Dribble    = "dribble" // TCP: a few bytes at a time, for a while
)

// A Fault is what the relay is to do to a connection.
type Fault struct {
	Kind       string        `json:"kind"`
	Cut        bool          `json:"cut,omitempty"` // it ends the connection
	Connection uint64        `json:"connection"`    // the client's number for it
	Port       int           `json:"port"`          // the client's
	UDP        bool          `json:"udp,omitempty"`
	ToServer   bool          `json:"to_server,omitempty"` // the direction
	For        time.Duration `json:"for,omitempty"`
}

// Counts are what one side has done so far.
type Counts struct {
	Connections int              `json:"connections"` // open now
	Sessions    int              `json:"sessions"`    // open now
	Ways        map[string]Tally `json:"ways"`
	Faults      map[string]int   `json:"faults,omitempty"`
}

// A Tally is what happened on the sessions of one way.
type Tally struct {
	Connections  int64 `json:"connections"`   // opened
	Sessions     int64 `json:"sessions"`      // opened
	Refused      int64 `json:"refused"`       // not opened, and said so
	Closed       int64 `json:"closed"`        // ended by an application
	Broken       int64 `json:"broken"`        // ended by a fault
	Streams      int64 `json:"streams"`       // opened
	Whole        int64 `json:"whole"`         // received whole, every byte right
	Aborted      int64 `json:"aborted"`       // ended as asked for by a reset or stop
	Lost         int64 `json:"lost"`          // not whole because the session ended, and said so
	Bytes        int64 `json:"bytes"`         // received and checked
	Datagrams    int64 `json:"datagrams"`     // received and checked
	DatagramSent int64 `json:"datagram_sent"` // accepted
	Syncs        int64 `json:"syncs"`
	Deadlines    int64 `json:"deadlines"` // that expired on purpose
}

// Add adds u to t.
func (t *Tally) Add(u Tally) {
	t.Connections += u.Connections
	t.Sessions += u.Sessions
	t.Refused += u.Refused
	t.Closed += u.Closed
	t.Broken += u.Broken
	t.Streams += u.Streams
	t.Whole += u.Whole
	t.Aborted += u.Aborted
	t.Lost += u.Lost
	t.Bytes += u.Bytes
	t.Datagrams += u.Datagrams
	t.DatagramSent += u.DatagramSent
	t.Syncs += u.Syncs
	t.Deadlines += u.Deadlines
}

// A Sample is a look at memory, right after a garbage collection.
type Sample struct {
	Side       string        `json:"side"`
	At         time.Duration `json:"at"`
	HeapLive   uint64        `json:"heap_live"`
	HeapInUse  uint64        `json:"heap_in_use"`
	Stack      uint64        `json:"stack_in_use"`
	Resident   uint64        `json:"resident"`
	Goroutines int           `json:"goroutines"`
	Files      int           `json:"files"`
	Account    int64         `json:"account,omitempty"` // of the server's memory account
}

// Left is what a process has at its end that it had not at its start.
type Left struct {
	Side       string   `json:"side"`
	Goroutines []string `json:"goroutines"` // one for each, where it stands
	Files      []string `json:"files"`
	Streams    int64    `json:"streams"` // handlers of streams still running
	Sessions   int64    `json:"sessions"`
	Account    int64    `json:"account"` // bytes in the server's memory account
	Usage      Usage    `json:"usage"`
}

// Usage is what a process has used.
type Usage struct {
	Side string        `json:"side"`
	CPU  time.Duration `json:"cpu"`
	Peak uint64        `json:"peak_resident"`
}

// Latency is what a bystander measured in one phase, in milliseconds.
type Latency struct {
	Own    []float64 `json:"own"`
	Pooled []float64 `json:"pooled,omitempty"`
	Broken string    `json:"broken,omitempty"` // a session ended, or an echo never came
}

// Attacked is what an attacker did in one phase.
type Attacked struct {
	Frames      int64         `json:"frames"` // frames, capsules, packets or handshakes
	Bytes       int64         `json:"bytes"`
	Connections int64         `json:"connections"`
	Cut         int64         `json:"cut"` // connections that the victim ended
	CPU         time.Duration `json:"cpu"`
	Err         string        `json:"err,omitempty"`
}

// Add adds what was measured in a further phase.
func (l *Latency) Add(m Latency) {
	l.Own = append(l.Own, m.Own...)
	l.Pooled = append(l.Pooled, m.Pooled...)
	if l.Broken == "" {
		l.Broken = m.Broken
	}
}

// Add adds what was done in a further phase.
func (a *Attacked) Add(b Attacked) {
	a.Frames += b.Frames
	a.Bytes += b.Bytes
	a.Connections += b.Connections
	a.Cut += b.Cut
	a.CPU += b.CPU
	if b.Err != "" {
		a.Err = b.Err
	}
}
