package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/towpath-go/towpath/negotiate"
	"github.com/towpath-go/towpath/transport"
)

type probeCmd struct {
	URL     string        `arg:"" name:"url" help:"The server's https URL."`
	JSON    bool          `name:"json" help:"Print JSON."`
	Timeout time.Duration `help:"How long each way may take. Default: ${default}." default:"10s" placeholder:"TIME"`
	trustFlags
}

// Help is shown by probe --help.
func (*probeCmd) Help() string {
	return `Every way is opened up to the server's settings and closed again. WebSocket has
no settings, so there a session is asked for and closed at once. The exit status
is 0 if at least one way is open.`
}

// A probed way, as it is printed.
type probed struct {
	Transport string            `json:"transport"`
	Network   string            `json:"network"`
	Address   string            `json:"address"`
	Open      bool              `json:"open"`
	Verdict   string            `json:"verdict"`
	Handshake float64           `json:"handshake_ms,omitempty"`
	RTT       float64           `json:"rtt_ms,omitempty"`
	Draft     string            `json:"draft,omitempty"`
	Settings  map[string]uint64 `json:"settings,omitempty"`
	Error     string            `json:"error,omitempty"`

	order []negotiate.Setting
	hint  string // about the error
}

// Run probes.
func (c *probeCmd) Run(ctx context.Context, io streams) error {
	if err := checkURL(c.URL); err != nil {
		return err
	}
	if c.Timeout <= 0 {
		return usagef("--timeout must be above 0: write 10s, or 500ms")
	}
	d, err := c.dialer()
	if err != nil {
		return err
	}
	defer d.Close()
	d.Timeout = c.Timeout
	results, err := d.Probe(ctx, c.URL)
	if err != nil {
		return explain(err)
	}
	var ways []probed
	open := false
	for _, r := range results {
		w := describeProbe(r)
		open = open || w.Open
		ways = append(ways, w)
	}
	if c.JSON {
		e := json.NewEncoder(io.out)
		e.SetIndent("", "  ")
		if err := e.Encode(struct {
			URL  string   `json:"url"`
			UDP  string   `json:"udp"`
			Ways []probed `json:"ways"`
		}{c.URL, udpVerdict(results), ways}); err != nil {
			return err
		}
	} else {
		printProbe(io.out, c.URL, udpVerdict(results), ways)
	}
	if !open {
		return closedError(c.URL, results)
	}
	return nil
}

// closedError says that no way is open, and the remedy where it is the same as
// for connect: a certificate that is not accepted.
func closedError(url string, rs []negotiate.ProbeResult) error {
	for _, r := range rs {
		_, pin := errors.AsType[*negotiate.PinError](r.Attempt.Err)
		_, cert := errors.AsType[*tls.CertificateVerificationError](r.Attempt.Err)
		if pin || cert {
			return explain(r.Attempt.Err)
		}
	}
	return fmt.Errorf("no way to %s is open", url)
}

func describeProbe(r negotiate.ProbeResult) probed {
	a := r.Attempt
	p := probed{
		Transport: a.Protocol.String(), Network: a.Network, Address: a.Address,
		Open: r.Open(), Draft: r.Draft, Verdict: "open", order: r.Settings,
	}
	if !p.Open {
		p.Verdict = verdict(a)
		p.Error = a.Err.Error()
		if _, ok := errors.AsType[*transport.RejectedError](a.Err); ok && a.Protocol == transport.WebSocket {
			// The way may be open all the same.
			p.hint = "only a path that takes sessions shows whether WebSockets get through"
		}
		return p
	}
	p.Handshake = float64(a.Ready) / float64(time.Millisecond)
	if r.RTT >= 0 {
		p.RTT = float64(r.RTT) / float64(time.Millisecond)
	}
	p.Settings = make(map[string]uint64)
	for _, s := range r.Settings {
		p.Settings[s.Name] = s.Value
	}
	return p
}

// verdict says in a word or two why a way is not open.
func verdict(a negotiate.Attempt) string {
	switch {
	case errors.Is(a.Err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(a.Err, transport.ErrNotWebTransport):
		return "no WebTransport"
	case errors.Is(a.Err, negotiate.ErrNoHTTP2):
		return "no HTTP/2"
	case errors.Is(a.Err, syscall.EHOSTUNREACH), errors.Is(a.Err, syscall.ENETUNREACH):
		return "unreachable"
	case errors.Is(a.Err, syscall.EPERM), errors.Is(a.Err, syscall.EACCES):
		return "forbidden here"
	case !a.Heard:
		return "silent"
	}
	if r, ok := errors.AsType[*transport.RejectedError](a.Err); ok {
		return fmt.Sprintf("status %d", r.StatusCode)
	}
	_, pin := errors.AsType[*negotiate.PinError](a.Err)
	_, chain := errors.AsType[*tls.CertificateVerificationError](a.Err)
	if pin || chain {
		return "untrusted"
	}
	return "failed"
}

// udpVerdict sums up the families.
func udpVerdict(rs []negotiate.ProbeResult) string {
	word := "not tried"
	for _, r := range rs {
		if r.Attempt.Protocol != transport.HTTP3 {
			continue
		}
		// A packet that came back shows that UDP passes, whatever it said.
		if r.Open() || r.Attempt.Heard {
			return "open"
		}
		word = verdict(r.Attempt)
	}
	return word
}

func printProbe(w io.Writer, url, udp string, ways []probed) {
	fmt.Fprintf(w, "%s\nUDP is %s\n", url, udp)
	t := table{{"", "network", "address", "result", "handshake", "RTT"}}
	for _, p := range ways {
		row := []string{p.Transport, p.Network, p.Address, p.Verdict, "", ""}
		if p.Open {
			row[4] = millis(p.Handshake)
			if p.RTT > 0 {
				row[5] = millis(p.RTT)
			}
		}
		t = append(t, row)
	}
	fmt.Fprintln(w)
	t.print(w, "")
	for _, p := range ways {
		if !p.Open {
			fmt.Fprintf(w, "\n%s %s: %s\n", p.Transport, p.Network, strings.ReplaceAll(p.Error, "\n", "; "))
			if p.hint != "" {
				fmt.Fprintf(w, "  %s\n", p.hint)
			}
			continue
		}
		fmt.Fprintf(w, "\n%s %s: %s\n", p.Transport, p.Network, p.Draft)
		st := table{}
		for _, s := range p.order {
			if s.Value != 0 {
				st = append(st, []string{s.Name, fmt.Sprint(s.Value)})
			}
		}
		st.print(w, "  ")
	}
}
