package workload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// A page is one time that all objects are asked for.
type page struct {
	started time.Duration // by the run's clock
	objects []record
}

// A pageList is the pages of a run, in order.
type pageList struct {
	mu    sync.Mutex // guards the following
	pages []*page
}

func (l *pageList) add(started time.Duration, objects int) (*page, int) {
	p := &page{started: started, objects: newRecords(objects)}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pages = append(l.pages, p)
	return p, len(l.pages) - 1
}

// arrived records that an upload is at the server.
func (l *pageList) arrived(h header, at time.Duration) error {
	l.mu.Lock()
	var p *page
	if h.sequence < len(l.pages) {
		p = l.pages[h.sequence]
	}
	l.mu.Unlock()
	if p == nil || h.channel >= len(p.objects) {
		return errForeign
	}
	if !p.objects[h.channel].latency.CompareAndSwap(unset, int64(at-p.started)) {
		return errors.New("it came twice")
	}
	return nil
}

// requestPages asks for all objects at once, and again when all are there, until
// finish. A page is done when the client knows: uploads have been answered then.
// There is one page at least, however late it begins. More than bound objects are
// an error.
func (s *session) requestPages(ctx context.Context, finish time.Duration, bound int) {
	objects := s.run.Workload.Objects
	select {
	case <-time.After(time.Duration(s.start.Load()) - s.now()):
	case <-ctx.Done():
		return
	}
	for calls := 0; ; calls += len(objects) {
		started := s.now()
		if started >= finish && calls > 0 {
			close(s.complete)
			return
		}
		if calls+len(objects) > bound {
			s.fail(fmt.Errorf("objects of all pages: more than %d arrived: shorten the duration or ask for larger ones", bound))
			return
		}
		p, sequence := s.pages.add(started, len(objects))
		var group sync.WaitGroup
		for i, size := range objects {
			// Ends with the response, with ctx or with the transport.
			group.Go(func() { s.object(ctx, p, sequence, i, size, calls+i) })
		}
		group.Wait()
		if ctx.Err() != nil {
			return
		}
	}
}

// object asks for one object of a page, or uploads it.
func (s *session) object(ctx context.Context, p *page, sequence, i, size, n int) {
	r := &p.objects[i]
	r.waited.Store(int64(s.now() - p.started))
	at, err := s.call(ctx, n, i, sequence, size, p.started)
	if err != nil {
		s.fail(fmt.Errorf("object %d of page %d: %w", i+1, sequence+1, err))
		return
	}
	if s.run.Direction == lab.Down {
		r.latency.Store(int64(at - p.started))
	}
}

// collect returns the objects and the pages that began in the measured time.
func (l *pageList) collect(measured time.Duration, w lab.Workload) (objects, pages []lab.Sample) {
	l.mu.Lock()
	list := slices.Clone(l.pages)
	l.mu.Unlock()
	for _, p := range list {
		if p.started < measured {
			continue
		}
		whole := lab.Sample{Scheduled: p.started - measured}
		for i := range p.objects {
			o := lab.Sample{
				Channel:   i,
				Scheduled: p.started - measured,
				Latency:   time.Duration(p.objects[i].latency.Load()),
				Size:      w.Objects[i],
				Waited:    max(0, time.Duration(p.objects[i].waited.Load())),
			}
			objects = append(objects, o)
			whole.Size += o.Size
			whole.Waited = max(whole.Waited, o.Waited)
			if o.Latency == lab.Undelivered || whole.Latency == lab.Undelivered {
				whole.Latency = lab.Undelivered
			} else {
				whole.Latency = max(whole.Latency, o.Latency)
			}
		}
		pages = append(pages, whole)
	}
	return objects, pages
}

// arrivedFrom is the payload of the objects that arrived in the measured time,
// also if their page began in the warm-up.
func (l *pageList) arrivedFrom(measured time.Duration, w lab.Workload) int64 {
	l.mu.Lock()
	list := slices.Clone(l.pages)
	l.mu.Unlock()
	sum := int64(0)
	for _, p := range list {
		for i := range p.objects {
			if p.objects[i].within(p.started, measured, w.Duration) {
				sum += int64(w.Objects[i])
			}
		}
	}
	return sum
}
