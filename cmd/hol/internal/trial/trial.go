package trial

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
	"github.com/towpath-go/towpath/cmd/hol/internal/link"
	"github.com/towpath-go/towpath/cmd/hol/internal/workload"
)

// Bounds of a run besides the link's and the workload's.
const (
	MaxMaxAge   = time.Minute
	MinLateness = 100 * time.Microsecond
	MaxLateness = 10 * time.Second
)

// port is the server's, in a namespace of its own.
const port = 4433

// Check refuses a run that cannot be done; the error names the field, its value
// and the range. It does not find out whether this machine can make a link.
func Check(run lab.Run) error {
	a, ok := adapter.ByName(run.Transport)
	if !ok {
		return fmt.Errorf("transport: there is no %q", run.Transport)
	}
	if run.Direction != lab.Down && run.Direction != lab.Up {
		return fmt.Errorf("direction: %q is neither %s nor %s", run.Direction, lab.Down, lab.Up)
	}
	if err := link.Validate(run.Link); err != nil {
		return err
	}
	if err := workload.Validate(run.Workload); err != nil {
		return err
	}
	if err := workload.Fits(a, run.Workload); err != nil {
		return err
	}
	if run.MaxAge < 0 || run.MaxAge > MaxMaxAge {
		return fmt.Errorf("maximum age: %v is not within 0s to %v", run.MaxAge, MaxMaxAge)
	}
	if run.MaxLateness < MinLateness || run.MaxLateness > MaxLateness {
		return fmt.Errorf("maximum lateness: %v is not within %v to %v", run.MaxLateness, MinLateness, MaxLateness)
	}
	return nil
}

// Do does one run. It takes at most workload.Total, or until ctx ends. A run that
// must not be used because the machine was too slow has no error but a reason in
// Rejected.
func Do(ctx context.Context, run lab.Run) (result lab.Result, err error) {
	if err := Check(run); err != nil {
		return lab.Result{}, err
	}
	a, _ := adapter.ByName(run.Transport)
	l, err := link.Open(run.Link, run.Seed, link.Options{CC: run.CC, Realtime: run.Realtime})
	if err != nil {
		return lab.Result{}, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	certificate, err := adapter.NewCertificate(l.Server().Addr())
	if err != nil {
		return lab.Result{}, err
	}
	env := adapter.Env{
		Client: l.Client(), Server: l.Server(), Port: port,
		MaxAge: run.MaxAge, Priorities: run.Priorities,
		Certificate: certificate,
	}
	m := meter{link: l}
	outcome, err := workload.Run(ctx, a, env, run, workload.Marks{Begin: m.begin, End: m.end})
	if err == nil {
		err = m.err
	}
	if err != nil {
		return lab.Result{}, fmt.Errorf("%s: %w", a.Name, err)
	}
	return assemble(run, outcome, m.cpu, l.Report(), l.Drops())
}

// assemble makes a result of what the parts found.
func assemble(run lab.Run, o workload.Outcome, cpu lab.CPU, report link.Report, drops []link.Drop) (lab.Result, error) {
	want := run.CC
	if want == "" {
		want = link.DefaultCC
	}
	if report.CC != "" && report.CC != want {
		return lab.Result{}, fmt.Errorf("congestion control: asked for %s, the kernel has %s", want, report.CC)
	}
	r := lab.Result{
		Run:     run,
		Setup:   o.Setup,
		Samples: o.Samples, Pages: o.Pages, Arrived: o.Arrived, Bulk: o.Bulk,
		Down: report.Down, Up: report.Up,
		Lateness: report.Lateness, Wakes: o.Wakes,
		CPU:     cpu,
		Dropped: o.Dropped, Duplicates: o.Duplicates,
		CC:       report.CC,
		Realtime: report.Realtime,
		Rejected: rejection(run, report, o.Wakes),
	}
	for _, d := range drops {
		at := d.At.Sub(o.Start)
		if at < 0 {
			continue
		}
		if len(r.Drops) == lab.MaxDrops {
			break
		}
		r.Drops = append(r.Drops, lab.Drop{Direction: d.Direction, At: at, Bytes: d.Bytes})
	}
	return r, nil
}

// rejection is why the machine was too slow for a run, "" if it was not.
func rejection(run lab.Run, report link.Report, wakes lab.Lateness) string {
	switch {
	case report.Lateness.Max > run.MaxLateness:
		return fmt.Sprintf("router up to %v late (limit %v)", roundUp(report.Lateness.Max), run.MaxLateness)
	case wakes.Max > run.MaxLateness:
		return fmt.Sprintf("sender up to %v late (limit %v)", roundUp(wakes.Max), run.MaxLateness)
	case report.Overflow > 0:
		return fmt.Sprintf("router dropped %d packets for lack of time", report.Overflow)
	case report.Failed > 0:
		return fmt.Sprintf("the receiving host refused %d packets", report.Failed)
	}
	return ""
}

// roundUp makes a time readable without making it smaller than a limit that it
// is above.
func roundUp(d time.Duration) time.Duration {
	const unit = 100 * time.Microsecond
	return (d + unit - 1).Truncate(unit)
}
