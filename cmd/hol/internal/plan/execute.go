package plan

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// Options say how runs are made.
type Options struct {
	// Jobs is how many runs are made at a time, 0 for one.
	Jobs int
	// Retries is how often a rejected run is repeated.
	Retries int
	// Limit is how long a run may take; nil means [Limit].
	Limit func(lab.Run) time.Duration
	// Progress is told what happened, nil if nobody asks. It is called from
	// Execute's goroutine.
	Progress func(Event)
	// Controls, if set, is given the results of the controls once all are there
	// and other runs follow. An error ends the study; Execute returns it.
	Controls func([]lab.Result) error

	maxResult int // for tests; 0 means the constant
}

// Kind is what happened.
type Kind int

const (
	Begin    Kind = iota // nothing has happened yet
	Done                 // a run has a result
	Repeat               // a run was rejected and will be repeated
	Rejected             // a run was rejected for the last time
	Failed               // a run failed
	LeftOut              // a run is not made, since its control failed
)

// An Event is a step of an execution.
type Event struct {
	Kind   Kind
	Result lab.Result // of all kinds but Begin
	// Done is how many runs need nothing more, of Total.
	Done, Total int
	Left        time.Duration // until the end, about
}

// Execute makes the runs and returns their results in the order of the runs: of
// a run all its attempts, the rejected ones too (see lab.Result). A run that
// fails does not stop others.
//
// When ctx ends, workers are ended, and what has been found is returned with
// ctx's cause. Otherwise the error is Options.Controls', or that this program's
// own file cannot be found.
func Execute(ctx context.Context, runs []lab.Run, o Options) ([]lab.Result, error) {
	program, err := executable()
	if err != nil {
		return nil, err
	}
	o.Jobs = max(o.Jobs, 1)
	if o.Limit == nil {
		o.Limit = Limit
	}
	o.maxResult = cmp.Or(o.maxResult, maxResult)
	if o.Progress == nil {
		o.Progress = func(Event) {}
	}
	e := &execution{
		program:  program,
		runs:     runs,
		options:  o,
		results:  make([][]lab.Result, len(runs)),
		tasks:    make(chan int),
		attempts: make(chan attempt),
		without:  make(map[setting]string),
		forecast: forecast{jobs: o.Jobs},
	}
	var controls, others []int
	for i, run := range runs {
		e.forecast.open += Expected(run)
		if run.Link.Lossless() {
			controls = append(controls, i)
		} else {
			others = append(others, i)
		}
	}
	var workers sync.WaitGroup
	for range o.Jobs {
		// Ends when tasks is closed; Execute waits for it.
		workers.Go(func() { e.job(ctx) })
	}
	e.tell(Begin, lab.Result{})
	e.phase(ctx, controls)
	err = context.Cause(ctx)
	if err == nil && o.Controls != nil && len(controls) > 0 && len(others) > 0 {
		err = o.Controls(e.gather(controls))
	}
	if err == nil {
		e.learnControls(controls)
		e.phase(ctx, others)
		err = context.Cause(ctx)
	}
	close(e.tasks)
	workers.Wait()
	all := make([]int, len(runs))
	for i := range all {
		all[i] = i
	}
	return e.gather(all), err
}

// A setting is what a control is good for.
type setting struct {
	transport string
	kind      lab.Kind
	direction lab.Direction
}

func settingOf(run lab.Run) setting {
	return setting{run.Transport, run.Workload.Kind, run.Direction}
}

// An execution belongs to Execute's goroutine, but for what job uses.
type execution struct {
	program  string
	runs     []lab.Run
	options  Options
	tasks    chan int // indices of runs, to the jobs
	attempts chan attempt

	results  [][]lab.Result     // by run, attempt by attempt
	without  map[setting]string // why the control failed
	done     int
	forecast forecast
}

// An attempt to make a run.
type attempt struct {
	index       int
	result      lab.Result
	took        time.Duration
	interrupted bool // the result is only that ctx ended
}

// job makes one run after another. The kernel kills a worker when the thread
// that started it ends, so the thread stays.
func (e *execution) job(ctx context.Context) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for i := range e.tasks {
		begin := time.Now()
		run := e.runs[i]
		result := work(ctx, e.program, run, e.options.Limit(run), e.options.maxResult)
		e.attempts <- attempt{
			index:       i,
			result:      result,
			took:        time.Since(begin),
			interrupted: result.Failed != "" && ctx.Err() != nil,
		}
	}
}

// phase has the runs made, and repeated behind the others: what disturbed them
// may be over then. It returns when no worker runs any more.
func (e *execution) phase(ctx context.Context, queue []int) {
	for running := 0; ; {
		for len(queue) > 0 && e.leaveOut(queue[0]) {
			queue = queue[1:]
		}
		var tasks chan<- int // nil while there is nothing to do
		next := -1
		if len(queue) > 0 && ctx.Err() == nil {
			tasks, next = e.tasks, queue[0]
		} else if running == 0 {
			return
		}
		select {
		case tasks <- next:
			running++
			queue = queue[1:]
		case a := <-e.attempts:
			running--
			if e.record(a) {
				queue = append(queue, a.index)
			}
		}
	}
}

// record keeps an attempt, and says whether the run has to be repeated.
func (e *execution) record(a attempt) (again bool) {
	if a.interrupted {
		return false
	}
	e.forecast.attempt(e.runs[a.index], a.took)
	kind := Done
	result := a.result
	switch {
	case result.Failed != "":
		kind = Failed
	case result.Rejected != "":
		kind = Rejected
		again = len(e.results[a.index]) < e.options.Retries
		if again {
			kind = Repeat
		}
		result = lab.Result{Run: result.Run, Lateness: result.Lateness, Wakes: result.Wakes, Realtime: result.Realtime, Rejected: result.Rejected}
	}
	// Many are kept for hours: without the room that decoding has left.
	result.Samples = slices.Clone(result.Samples)
	e.results[a.index] = append(e.results[a.index], result)
	if !again {
		e.finish(a.index)
	}
	e.tell(kind, result)
	return again
}

func (e *execution) finish(i int) {
	e.done++
	e.forecast.open -= Expected(e.runs[i])
}

func (e *execution) tell(k Kind, r lab.Result) {
	e.options.Progress(Event{Kind: k, Result: r, Done: e.done, Total: len(e.runs), Left: e.forecast.left()})
}

// learnControls notes the settings of which every control failed.
func (e *execution) learnControls(controls []int) {
	worked := make(map[setting]bool)
	for _, result := range e.gather(controls) {
		s := settingOf(result.Run)
		if result.Failed == "" {
			worked[s] = true
			delete(e.without, s)
		} else if _, ok := e.without[s]; !ok && !worked[s] {
			e.without[s] = result.Failed
		}
	}
}

// leaveOut ends a run that has no control.
func (e *execution) leaveOut(i int) bool {
	why, ok := e.without[settingOf(e.runs[i])]
	if !ok {
		return false
	}
	result := lab.Result{Run: e.runs[i], Failed: fmt.Sprintf("not made, as it failed without loss: %s", why)}
	e.results[i] = append(e.results[i], result)
	e.finish(i)
	e.tell(LeftOut, result)
	return true
}

func (e *execution) gather(indices []int) []lab.Result {
	var all []lab.Result
	for _, i := range indices {
		all = append(all, e.results[i]...)
	}
	return all
}
