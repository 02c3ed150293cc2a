package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
	"github.com/towpath-go/towpath/cmd/hol/internal/link"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := command(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "priority:", err)
		os.Exit(1)
	}
}

// A plan is what is to be measured.
type plan struct {
	runs     int
	link     lab.Link
	length   length
	maxAge   time.Duration
	ccs      []string
	only     *regexp.Regexp
	progress io.Writer
}

func command(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("priority", flag.ContinueOnError)
	runs := flags.Int("runs", 5, "`n` runs of each way, at the same time")
	duration := flags.Duration("duration", 12*time.Second, "of each run")
	maxAge := flags.Duration("max-age", 50*time.Millisecond, "of datagrams that wait to be sent")
	ccs := flags.String("cc", "cubic,bbr", "TCP's congestion controls")
	only := flags.String("ways", "", "a regular `expression` of the ways to measure")
	rate := flags.Int64("rate", slow.Rate, "of the link, in `bits` of IP packets a second; 0 is no limit")
	rtt := flags.Duration("rtt", slow.RTT(), "round trip time of the link without a queue")
	queue := flags.Int("queue", slow.Queue, "`bytes` of IP packets that wait for the link at most")
	list := flags.Bool("list", false, "list the ways")
	file := flags.String("json", "", "a `file` to put the results into")
	docs := flags.String("document", "", "bring performance.md in this `directory` up to date, and measure nothing")
	check := flags.String("check", "", "say whether performance.md in this `directory` is up to date, and measure nothing")
	if err := flags.Parse(args); err != nil {
		return err
	}
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("%q is too much", flags.Arg(0))
	case *runs < 1 || *runs > 20 || *duration < 100*time.Millisecond:
		return errors.New("1 to 20 runs of 100ms or longer")
	case *list:
		_, err := io.WriteString(out, legend())
		return err
	case *docs != "":
		_, err := document(*docs, true)
		return err
	case *check != "":
		changed, err := document(*check, false)
		if err == nil && changed {
			err = errors.New("performance.md is not what priority.json says")
		}
		return err
	}
	if err := link.EnterNamespaces(); err != nil {
		return err
	}
	path := slow
	path.Rate, path.Delay, path.Queue = *rate, *rtt/2, *queue
	p := plan{runs: *runs, link: path, length: length{warmup: 2 * time.Second, duration: *duration}, maxAge: *maxAge,
		ccs: strings.Split(*ccs, ","), only: pattern, progress: os.Stderr}
	rows, err := p.measure(ctx)
	if err != nil {
		return err
	}
	study := Study{}
	if *file != "" {
		if study, err = readStudy(*file); err != nil {
			return err
		}
	}
	shown := Study{}
	for _, r := range rows {
		study.put(r)
		shown.put(r)
	}
	if *file != "" {
		if err := study.write(*file); err != nil {
			return err
		}
	}
	_, err = io.WriteString(out, shown.made()+shown.table())
	return err
}

// measure measures all ways that are asked for, one after the other.
func (p plan) measure(ctx context.Context) ([]Row, error) {
	var rows []Row
	for i, cc := range p.ccs {
		if err := link.CheckCC(cc); err != nil {
			return nil, err
		}
		for _, w := range ways {
			if !p.only.MatchString(w.name) || w.udp && i > 0 {
				continue
			}
			r, err := p.repeat(ctx, w, cc)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", w.name, cc, err)
			}
			fmt.Fprintf(p.progress, "%s %s", cc, r.line())
			rows = append(rows, r)
		}
	}
	if len(rows) == 0 {
		return nil, errors.New("there is no such way; -list has them all")
	}
	return rows, nil
}

// repeat does all runs of a way, at the same time.
func (p plan) repeat(ctx context.Context, w way, cc string) (Row, error) {
	r := Row{Way: w.name, CC: cc, Started: time.Now().UTC().Truncate(time.Second), Machine: machine(), Revision: revision(),
		Link: p.link, Duration: p.length.duration, MaxAge: p.maxAge, Runs: make([]Run, p.runs)}
	if w.udp {
		r.CC = ""
	}
	errs := make([]error, p.runs)
	var group sync.WaitGroup
	for i := range p.runs {
		group.Go(func() { r.Runs[i], errs[i] = measure(ctx, w, p.link, cc, uint64(i+1), p.length, p.maxAge) })
	}
	group.Wait()
	return r, errors.Join(errs...)
}
