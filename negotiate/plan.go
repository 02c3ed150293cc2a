package negotiate

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"strconv"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// From what is known to a race, and from a race to what is remembered.

// headStart is how long TCP waits for QUIC.
func headStart(set, rtt time.Duration) time.Duration {
	switch {
	case set > 0:
		return set
	case set < 0:
		return 0
	case rtt <= 0:
		return defaultHeadStart
	}
	return min(max(rtt*3/2, minHeadStart), maxHeadStart)
}

// silence is when TCP starts if nothing at all came back: half of the head
// start, but not before an answer was possible.
func silence(head, rtt time.Duration) time.Duration {
	return max(head/2, rtt*5/4)
}

// firstAddr returns the first address of a family, as an address to dial.
func (j *job) firstAddr(v6 bool) (netip.AddrPort, bool) {
	port, err := strconv.ParseUint(j.server.Port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, false
	}
	for _, a := range j.addrs {
		if a.Is6() == v6 {
			return netip.AddrPortFrom(a, uint16(port)), true
		}
	}
	return netip.AddrPort{}, false
}

// quicWays are one way for each family, IPv6 first.
func (j *job) quicWays(rung int) (ws []way) {
	for _, v6 := range []bool{true, false} {
		addr, ok := j.firstAddr(v6)
		if !ok {
			continue
		}
		network := "udp4"
		if v6 {
			network = "udp6"
		}
		w := way{
			attempt: newAttempt(transport.HTTP3, network, addr.String()),
			rung:    rung,
			open:    func(ctx context.Context, s signs) (leg, error) { return j.openQUIC(ctx, addr, s) },
		}
		if len(ws) > 0 {
			w.delay = familyDelay
		}
		ws = append(ws, w)
	}
	return ws
}

// tcpWays are the ways over TCP, each of which tries the addresses itself:
// HTTP/2, and WebSocket below it.
func (j *job) tcpWays(rung int) (ws []way) {
	network, address := "tcp", j.server.Addr()
	if j.proxy != nil {
		network = j.proxy.Scheme
	}
	if j.h2 {
		ws = append(ws, way{attempt: newAttempt(transport.HTTP2, network, address), rung: rung, open: j.openHTTP2})
	}
	if j.ws {
		ws = append(ws, way{attempt: newAttempt(transport.WebSocket, network, address), rung: rung, below: j.h2, open: j.openWebSocket})
	}
	return ws
}

// newRace makes the race for what may be used and what is known.
func (j *job) newRace() (r *race, dec decision) {
	r = &race{linger: lingerTime, judge: j.judge}
	if t := j.d.Trace; t != nil {
		r.trace = t.Attempt
	}
	switch {
	case j.h3 && (j.h2 || j.ws):
		j.useMemory()
		dec = j.d.memory.decide(j.target)
		j.report.Memory, j.report.MemoryUntil = dec.memory, dec.until
	case j.h3:
		r.ways = j.quicWays(0)
		return r, dec
	default:
		r.ways = j.tcpWays(0)
		return r, dec
	}
	switch dec.memory {
	case MemoryBroken, MemoryExpired:
		// QUIC only if TCP fails: a mark may be wrong by now.
		r.ways = append(j.tcpWays(0), j.quicWays(1)...)
		r.headStart = -1
	case MemoryPending:
		r.ways = append(j.quicWays(0), j.tcpWays(1)...)
	default:
		r.ways = append(j.quicWays(0), j.tcpWays(1)...)
		r.headStart = headStart(j.d.HeadStart, dec.rtt)
		r.silence = silence(r.headStart, dec.rtt)
	}
	j.report.HeadStart = r.headStart
	return r, dec
}

// useMemory names the target, by the network the dial leaves by.
func (j *job) useMemory() {
	addr, ok := j.firstAddr(true)
	if !ok {
		addr, _ = j.firstAddr(false)
	}
	read := j.d.hooks.fingerprint
	if read == nil {
		read = fingerprint
	}
	j.target = target{network: read(addr), host: j.server.Host, port: j.server.Port}
	j.report.Network = j.target.network
}

// race runs the race and makes its result a session.
func (j *job) race(ctx context.Context) (transport.Session, error) {
	d := j.d
	r, dec := j.newRace()
	if dec.probe && !j.spawnProbe(ctx) {
		d.memory.probed(j.target)
	}
	life, stop := d.bind(ctx)
	done := make(chan result, 1)
	lingered := false
	r.lingering = func() { // before the result is out
		lingered = true
		d.memory.begin(j.target)
	}
	ok := d.spawn(func() {
		defer stop()
		defer j.dropHanded()
		r.run(ctx, life, done, func(as []Attempt) {
			j.learn(as)
			if lingered {
				d.memory.end(j.target)
			}
		})
	})
	if !ok {
		stop()
		return nil, errDialerClosed
	}
	res := <-done
	j.report.Attempts = res.attempts
	if res.winner < 0 {
		switch {
		case d.life.Err() != nil && !res.answered:
			return nil, errDialerClosed
		case res.answered:
			return nil, res.err
		}
		return nil, &DialError{Host: j.server.Addr(), Errs: unjoin(res.err)}
	}
	j.report.Winner = res.attempts[res.winner].Protocol
	if l, ok := res.leg.(interface{ note() string }); ok {
		j.report.Attempts[res.winner].Note = l.note()
	}
	j.adopt(res.session, res.leg)
	return res.session, nil
}

// unjoin undoes errors.Join.
func unjoin(err error) []error {
	if m, ok := err.(interface{ Unwrap() []error }); ok {
		return m.Unwrap()
	}
	return []error{err}
}

// bind returns a context with ctx's values that ends with the Dialer.
func (d *Dialer) bind(ctx context.Context) (context.Context, func()) {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(d.life, cancel)
	return life, func() { stop(); cancel() }
}

// learn draws from what each way came to what is to be remembered.
func (j *job) learn(as []Attempt) {
	if j.target == (target{}) {
		return
	}
	switch findings(as) {
	case udpWorks:
		j.works(0)
	case udpBroken:
		j.broken()
	}
}

type finding uint8

const (
	udpUnknown finding = iota
	udpWorks
	udpBroken
)

// findings judges UDP by a race's attempts. It works if a connection was made,
// however late, and did not die at once. It is broken only if TCP won meanwhile
// (otherwise the network is down, or the server is) and every family failed:
// one dead family never marks HTTP/3.
func findings(as []Attempt) finding {
	tcpWon, all, any := false, true, false
	for _, a := range as {
		if a.Protocol != transport.HTTP3 {
			tcpWon = tcpWon || a.Outcome == Won
			continue
		}
		any = true
		if a.Ready >= 0 && a.Err == nil {
			return udpWorks
		}
		if a.Outcome != Failed || !marksUDP(a.Err) {
			all = false
		}
	}
	if tcpWon && any && all {
		return udpBroken
	}
	return udpUnknown
}

func (j *job) works(rtt time.Duration) {
	j.d.memory.works(j.target, rtt)
	if t := j.d.Trace; t != nil && t.Cleared != nil {
		t.Cleared(j.target.key())
	}
}

func (j *job) broken() {
	until := j.d.memory.broken(j.target)
	if t := j.d.Trace; t != nil && t.Marked != nil {
		t.Marked(j.target.key(), until)
	}
	if l := j.d.Logger; l != nil {
		l.Debug("UDP marked broken", "server", j.target.key(), "until", until)
	}
}

// spawnProbe tries QUIC in the background; nobody waits for it.
func (j *job) spawnProbe(ctx context.Context) bool {
	d := j.d
	return d.spawn(func() {
		defer d.memory.probed(j.target)
		life, stop := d.bind(ctx)
		defer stop()
		limit := defaultTimeout
		pctx, cancel := context.WithTimeout(life, limit)
		defer cancel()
		r := &race{ways: j.quicWays(0), judge: j.judge}
		for i, w := range r.ways {
			r.ways[i].open = func(ctx context.Context, s signs) (leg, error) {
				l, err := w.open(ctx, s)
				if err != nil {
					return nil, err
				}
				return probeLeg{l}, nil
			}
		}
		done := make(chan result, 1)
		r.run(pctx, life, done, nil)
		res := <-done
		if res.winner >= 0 {
			rtt := res.leg.(probeLeg).rtt()
			res.leg.discard()
			j.works(rtt)
		} else if d.life.Err() == nil {
			all := true
			for _, a := range res.attempts {
				// A way that was still trying when the time was over has failed.
				err := cmp.Or(a.Err, errProbeTime)
				all = all && (a.Outcome == Failed || a.Outcome == Lost) && marksUDP(err)
			}
			if all {
				j.broken()
			}
		}
		if t := d.Trace; t != nil && t.Probed != nil {
			t.Probed(j.target.key(), res.err)
		}
		if d.Logger != nil {
			d.Logger.Debug("UDP probed", "server", j.target.key(), "error", res.err)
		}
	})
}

var errProbeTime = errors.New("no connection in time")

// A probeLeg asks for no session.
type probeLeg struct{ leg }

func (probeLeg) request(context.Context) (transport.Session, error) { return nil, nil }
func (probeLeg) watch() (func(bool) sight, time.Duration)           { return nil, 0 }
func (p probeLeg) rtt() time.Duration {
	if l, ok := p.leg.(*connLeg); ok {
		t, _ := l.conn.RTT()
		return t
	}
	return 0
}
