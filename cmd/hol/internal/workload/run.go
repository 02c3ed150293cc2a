package workload

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// Marks are told when the measured time begins and ends; nil functions are not.
// They are called by the goroutine of Run and must not block.
type Marks struct {
	Begin, End func()
}

// Outcome is what a workload found.
type Outcome struct {
	Setup lab.Setup
	// Samples are the messages, calls or objects of the measured time, by channel
	// and then by time (a page's objects: by page).
	Samples []lab.Sample
	// Pages are the whole pages that began in the measured time.
	Pages []lab.Sample
	// Arrived is the payload that arrived in the measured time, in bytes, whenever
	// it was scheduled, without that of Bulk.
	Arrived int64
	Bulk    lab.Bulk
	// Start is the end of the warm-up, from which samples count their times. It
	// has a reading of the monotonic clock.
	Start time.Time
	// Duplicates are the messages that arrived once more, of a transport that is
	// not reliable.
	Duplicates int
	// Wakes are how late this package's goroutines were woken by their timers.
	Wakes lab.Lateness
	// Dropped are the messages that the two ends' own queues gave up.
	Dropped lab.Dropped
}

// Run does one workload over a transport and reports what became of it. The
// context bounds it, besides Total. It sets env's Handle and Channels. A transport
// that fails before the end of the run is an error, as is one that cannot be
// ended; what merely did not arrive is not.
func Run(ctx context.Context, a adapter.Adapter, env adapter.Env, run lab.Run, marks Marks) (Outcome, error) {
	return play(ctx, a, env, run, marks, newAlarm)
}

// play is Run with the alarms to use.
func play(ctx context.Context, a adapter.Adapter, env adapter.Env, run lab.Run, marks Marks,
	newAlarm func(context.Context, time.Time) (alarm, error),
) (Outcome, error) {
	if err := Validate(run.Workload); err != nil {
		return Outcome{}, err
	}
	if err := Fits(a, run.Workload); err != nil {
		return Outcome{}, err
	}
	if run.Direction != lab.Down && run.Direction != lab.Up {
		return Outcome{}, fmt.Errorf("direction: %q is neither %s nor %s", run.Direction, lab.Down, lab.Up)
	}
	s := &session{
		adapter: a, run: run, schedule: newSchedule(run.Workload, run.Seed),
		base: time.Now(), newAlarm: newAlarm,
		connected: make(chan adapter.Conn, 1), complete: make(chan struct{}),
		log: env.Log,
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	ctx, s.cancel = context.WithCancelCause(ctx)
	defer s.cancel(errOver)
	s.prepare()

	env.Handle = s.handle
	env.Channels = run.Workload.Channels
	outcome, err := s.measure(ctx, env, marks)
	if err == nil {
		// The first failure, if any: it may have been what ended the set-up.
		err = context.Cause(ctx)
	}
	s.over.Store(true)
	s.cancel(errOver)
	return outcome, errors.Join(err, s.end())
}

// errOver is the cause of the context's end after the workload.
var errOver = errors.New("the run is over")

// A session is one run.
type session struct {
	adapter  adapter.Adapter
	run      lab.Run
	schedule schedule
	base     time.Time // zero of the run's clock
	newAlarm func(context.Context, time.Time) (alarm, error)
	log      *slog.Logger
	cancel   context.CancelCauseFunc
	// over is set once the run has what it wanted: what breaks then is its doing.
	over  atomic.Bool
	group sync.WaitGroup // every goroutine of the session

	// connected has the server's end of the connection until remote has. A run that
	// fails meanwhile leaves it to the server's Close.
	connected chan adapter.Conn

	// Set by measure before anything that reads them is started.
	server         adapter.Server
	client, remote adapter.Conn // remote is the server's end
	// start is when the first message is due. Receivers read it whose only other
	// tie to its writer is the message.
	start atomic.Int64

	tracks     []*track // of the client's channels
	missing    atomic.Int64
	complete   chan struct{} // closed when nothing is missing
	duplicates atomic.Int64
	wakes      wakes
	bulk       bulkCount
	pages      pageList
}

// prepare makes the tracks and counts what is to arrive.
func (s *session) prepare() {
	w := s.run.Workload
	n := max(w.Channels, setupChannels)
	if w.Kind == lab.Page || w.Kind == lab.RPC {
		n = setupChannels // the calls have channels of their own
	}
	for number := range n {
		s.tracks = append(s.tracks, &track{number: number, heard: make(chan time.Duration, 1), last: -1})
	}
	if w.Kind == lab.Page {
		return
	}
	for number := range w.Channels {
		if number == len(s.tracks) {
			s.tracks = append(s.tracks, &track{number: number}) // a caller has no channel
		}
		count := s.schedule.count(number)
		s.tracks[number].records = newRecords(count)
		s.missing.Add(int64(count))
	}
}

// now is the run's clock.
func (s *session) now() time.Duration { return time.Since(s.base) }

// fail ends the run with an error, unless it has ended.
func (s *session) fail(err error) {
	if !s.over.Load() {
		s.cancel(err)
	}
}

// measure connects, does the workload and collects what it found.
func (s *session) measure(ctx context.Context, env adapter.Env, marks Marks) (Outcome, error) {
	setup, err := s.setUp(ctx, env)
	if err != nil {
		return Outcome{}, err
	}
	w := s.run.Workload
	start := s.now() + lead
	s.start.Store(int64(start))
	measured := start + w.Warmup
	finish := measured + w.Duration
	s.begin(ctx, finish)

	wait := func(until time.Duration, early <-chan struct{}) error {
		timer := time.NewTimer(until - s.now())
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-early:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		return nil
	}
	if err := wait(measured, nil); err != nil {
		return Outcome{}, err
	}
	if marks.Begin != nil {
		marks.Begin()
	}
	if err := wait(finish, nil); err != nil {
		return Outcome{}, err
	}
	if marks.End != nil {
		marks.End()
	}
	if err := wait(finish+w.Drain, s.complete); err != nil {
		return Outcome{}, err
	}
	return s.collect(setup, measured), nil
}

// begin starts the goroutines of the workload. All end with ctx, except for those
// that a transport holds up, which end with it; end waits for them.
func (s *session) begin(ctx context.Context, finish time.Duration) {
	w := s.run.Workload
	s.group.Go(func() { s.watch(ctx) })
	switch w.Kind {
	case lab.Page:
		s.group.Go(func() { s.requestPages(ctx, finish, MaxMessages) })
	case lab.RPC:
		slots := make(chan struct{}, maxCalls)
		for _, t := range s.tracks[:w.Channels] {
			s.group.Go(func() { s.calls(ctx, t, slots) })
		}
	case lab.Mixed, lab.Updates:
		for _, t := range s.tracks[:w.Channels] {
			s.group.Go(func() { s.updates(ctx, t) })
		}
		if w.Kind == lab.Mixed {
			s.group.Go(func() { s.sendBulk(finish) })
		}
	}
}

// collect reads what has been recorded until now.
func (s *session) collect(setup lab.Setup, measured time.Duration) Outcome {
	end := s.now()
	o := Outcome{
		Setup:      setup,
		Start:      s.base.Add(measured),
		Duplicates: int(s.duplicates.Load()),
		Wakes:      s.wakes.lateness(),
	}
	w := s.run.Workload
	switch w.Kind {
	case lab.Page:
		o.Samples, o.Pages = s.pages.collect(measured, w)
		o.Arrived = s.pages.arrivedFrom(measured, w)
	default:
		for _, t := range s.tracks[:w.Channels] {
			o.Samples = s.appendSamples(o.Samples, t, measured, end)
			o.Arrived += s.arrivedFrom(t, measured)
		}
	}
	if w.Kind == lab.Mixed {
		o.Bulk = lab.Bulk{Bytes: s.bulk.measured.Load(), Duration: w.Duration}
	}
	for _, conn := range []adapter.Conn{s.client, s.remote} {
		if d, ok := conn.(adapter.Dropper); ok {
			drops := d.Drops()
			o.Dropped.Full += drops.Outgoing + drops.Incoming
			o.Dropped.Expired += drops.OutgoingExpired + drops.IncomingExpired
		}
	}
	return o
}

// end closes the transport and waits for all goroutines.
func (s *session) end() error {
	ended := make(chan error, 1)
	// Ends with the transport: if that does not end, the process is to, soon.
	go func() {
		var err error
		for _, conn := range []adapter.Conn{s.client, s.remote} {
			if conn != nil {
				err = errors.Join(err, conn.Close())
			}
		}
		if s.server != nil {
			err = errors.Join(err, s.server.Close())
		}
		s.group.Wait()
		ended <- err
	}()
	timer := time.NewTimer(closeTime)
	defer timer.Stop()
	select {
	case err := <-ended:
		if err != nil {
			// It is what the other end's close or the lossy link made of it.
			s.log.Info("closing the transport", "error", err)
		}
		return nil
	case <-timer.C:
		return fmt.Errorf("the transport is still not closed after %v", closeTime)
	}
}
