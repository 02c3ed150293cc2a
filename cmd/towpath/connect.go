package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync/atomic"
	"time"

	"github.com/towpath-go/towpath/negotiate"
	"github.com/towpath-go/towpath/transport"
)

type connectCmd struct {
	URL       string        `arg:"" name:"url" help:"The server's https URL."`
	Uni       bool          `help:"Send on a unidirectional stream, and print the server's ones." xor:"mode"`
	Datagram  bool          `help:"Send each line as a datagram, and print each datagram as a line." xor:"mode"`
	Transport string        `help:"Transport: auto, h3, h2 or ws. Default: ${default}, which finds the open one." default:"auto" enum:"auto,h3,h2,ws" placeholder:"NAME"`
	Origin    string        `help:"Send this Origin, as a web page would." placeholder:"ORIGIN"`
	Protocol  []string      `help:"Offer this application protocol, the best one first. May be repeated." placeholder:"NAME" sep:"none"`
	Wait      time.Duration `help:"With --uni and --datagram: how long to wait for more after the end of input. Default: ${default}." default:"1s" placeholder:"TIME"`
	Timeout   time.Duration `help:"How long connecting may take. Default: ${default}." default:"10s" placeholder:"TIME"`
	Qlog      string        `help:"Write the events of the session to a file in this directory." placeholder:"DIR"`
	Verbose   bool          `short:"v" help:"Report on standard error how the connection was made."`
	trustFlags
}

// Help is shown by connect --help.
func (*connectCmd) Help() string {
	return `Standard input goes to the server, what comes back goes to standard output. It
ends when both have ended. With -v the last line of the report is
  connected transport=h3 ms=N
and with --protocol it says what the server took, "" for none:
  connected transport=h3 ms=N protocol="NAME"`
}

// Run connects.
func (c *connectCmd) Run(ctx context.Context, io streams) error {
	if err := checkURL(c.URL); err != nil {
		return err
	}
	if c.Timeout <= 0 || c.Wait < 0 {
		return usagef("--timeout must be above 0 and --wait not below: write 10s, or 500ms")
	}
	if err := checkProtocols(c.Protocol); err != nil {
		return err
	}
	d, err := c.dialer()
	if err != nil {
		return err
	}
	defer d.Close() // waits, so that the server does not count us until its idle timeout
	d.Timeout = c.Timeout
	log, err := openQlog(c.Qlog, io)
	if err != nil {
		return err
	}
	if log != nil {
		d.Config = &transport.Config{Qlog: log}
		defer log.wait(qlogTime)
	}
	if c.Transport != "auto" {
		if d.Transports, err = transports([]string{c.Transport}); err != nil {
			return err
		}
	}
	s, report, err := d.Dial(ctx, c.URL, &transport.DialOptions{Origin: c.Origin, Protocols: c.Protocol})
	if c.Verbose {
		c.printReport(io, report, s)
	}
	if err != nil {
		return explain(err)
	}
	stop := context.AfterFunc(ctx, func() { _ = s.CloseWithError(0, "") })
	defer stop()
	switch {
	case c.Uni:
		err = c.uni(s, io)
	case c.Datagram:
		err = c.datagrams(s, io)
	default:
		err = bidi(s, io)
	}
	closeErr := s.CloseWithError(0, "")
	if err == nil {
		err = closeErr
	}
	if ctx.Err() != nil {
		return nil // interrupted: the session was closed properly
	}
	return sessionEnd(err)
}

// printReport tells how the session s was made, which is nil if none was.
func (c *connectCmd) printReport(io streams, r *negotiate.Report, s transport.Session) {
	fmt.Fprintln(io.err, r)
	if s == nil {
		return
	}
	line := fmt.Sprintf("connected transport=%s ms=%d", r.Winner, int64(math.Round(float64(r.Elapsed)/float64(time.Millisecond))))
	if len(c.Protocol) > 0 {
		line += fmt.Sprintf(" protocol=%q", s.Info().ApplicationProtocol)
	}
	fmt.Fprintln(io.err, line)
}

// sessionEnd makes a clean end of the session none of an error.
func sessionEnd(err error) error {
	if se, ok := errors.AsType[*transport.SessionError](err); ok && se.Err == nil && se.Code == 0 {
		return nil
	}
	return err
}

// bidi connects input and output to one bidirectional stream.
func bidi(s transport.Session, std streams) error {
	st, err := s.OpenStream(s.Context())
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() { // ends with the input or the stream; the process does not wait for a terminal
		_, err := io.Copy(st, std.in)
		if err == nil {
			err = st.Close()
		} else {
			st.CancelWrite(0)
		}
		sent <- err
	}()
	if _, err := io.Copy(std.out, st); err != nil {
		return err
	}
	// The server has ended its direction; ours goes on until the input ends.
	select {
	case err := <-sent:
		return err
	case <-s.Context().Done():
		return context.Cause(s.Context())
	}
}

// A quietTimer fires once nothing has happened for a time, after it was armed.
type quietTimer struct {
	wait  time.Duration
	last  atomic.Int64 // nanoseconds since start
	start time.Time
}

func newQuietTimer(wait time.Duration) *quietTimer {
	return &quietTimer{wait: wait, start: time.Now()}
}

func (q *quietTimer) touch() { q.last.Store(int64(time.Since(q.start))) }

// sit returns when it was quiet for the time, or ctx has ended.
func (q *quietTimer) sit(ctx context.Context) {
	q.touch()
	for {
		left := q.wait - (time.Since(q.start) - time.Duration(q.last.Load()))
		if left <= 0 {
			return
		}
		select {
		case <-time.After(left):
		case <-ctx.Done():
			return
		}
	}
}

// uni sends the input on one stream, and prints the server's streams one after
// the other.
func (c *connectCmd) uni(s transport.Session, std streams) error {
	ctx := s.Context()
	quiet := newQuietTimer(c.Wait)
	received := make(chan error, 1)
	go func() { // ends with the session
		for {
			in, err := s.AcceptUniStream(ctx)
			if err != nil {
				received <- nil
				return
			}
			quiet.touch()
			if _, err := io.Copy(touchWriter{std.out, quiet}, in); err != nil {
				received <- err
				return
			}
		}
	}()
	st, err := s.OpenUniStream(ctx)
	if err != nil {
		return err
	}
	return feed(s, quiet, received, func() error {
		if _, err := io.Copy(st, std.in); err != nil {
			return err
		}
		return st.Close()
	})
}

// feed runs send, which ends with the input or with the session, and then waits
// for the end of answers. It returns what ended them if it was not quiet. When
// the session ends it does not wait for the input: a terminal may stay silent.
func feed(s transport.Session, quiet *quietTimer, received chan error, send func() error) error {
	sent := make(chan error, 1)
	go func() { sent <- send() }() // the process does not wait for a terminal
	select {
	case err := <-sent:
		if err != nil {
			return err
		}
		quiet.sit(s.Context())
	case <-s.Context().Done():
		// What had come is still printed.
		if err := <-received; err != nil {
			return err
		}
		return context.Cause(s.Context())
	}
	select {
	case err := <-received:
		if err != nil {
			return err
		}
	default:
	}
	return context.Cause(s.Context())
}

// touchWriter tells a quietTimer of every write.
type touchWriter struct {
	w io.Writer
	q *quietTimer
}

func (t touchWriter) Write(p []byte) (int, error) {
	t.q.touch()
	return t.w.Write(p)
}

// datagrams sends each line as a datagram.
func (c *connectCmd) datagrams(s transport.Session, std streams) error {
	ctx := s.Context()
	quiet := newQuietTimer(c.Wait)
	received := make(chan error, 1)
	go func() { // ends with the session
		for {
			p, err := s.ReceiveDatagram(ctx)
			if err != nil {
				received <- nil
				return
			}
			quiet.touch()
			if _, err := std.out.Write(append(p, '\n')); err != nil {
				received <- err
				return
			}
		}
	}()
	in := bufio.NewScanner(std.in)
	in.Buffer(make([]byte, 4096), 1<<20)
	err := feed(s, quiet, received, func() error {
		for in.Scan() {
			if err := s.SendDatagram(in.Bytes()); err != nil {
				if big, ok := errors.AsType[*transport.DatagramTooLargeError](err); ok {
					return fmt.Errorf("a line of %d bytes is too long for a datagram: at most %d fit on this connection", len(in.Bytes()), big.Max)
				}
				return err
			}
		}
		if err := in.Err(); err != nil {
			return fmt.Errorf("reading standard input: %w", err)
		}
		return nil
	})
	if n := s.Stats().DatagramsDroppedOutgoing; n > 0 {
		fmt.Fprintf(std.err, "towpath: %d datagrams were dropped before they left: the input was faster than the network\n", n)
	}
	return err
}
