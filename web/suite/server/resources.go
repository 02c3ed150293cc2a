package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/towpath-go/towpath/negotiate"
	"github.com/towpath-go/towpath/transport"
)

// resources are
//
//	/commands           does what the lines on the session's first bidirectional stream say, see commanded
//	/open?bidi=N&uni=N  opens so many streams, each with its number and FIN
//	/protocols          speaks alpha and beta, and echoes
//	/protocols?must=1   the same, and 400 without one of them
//	/drained            asks the client to come to an end, and echoes
//	/refused?status=N   no session
//	/closed?key=K       waits for the client to close
//	/told?key=K         says on a unidirectional stream how that ended: CODE REASON
type resources struct {
	mu   sync.Mutex
	ends map[string]chan *transport.SessionError // by key, each with room for one
}

func newResources() *resources {
	return &resources{ends: map[string]chan *transport.SessionError{}}
}

func (h *resources) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o := &transport.UpgradeOptions{Origins: []string{"*"}}
	q := r.URL.Query()
	var f func(transport.Session)
	switch r.URL.Path {
	case "/commands":
		f = commanded
	case "/open":
		f = func(s transport.Session) { opener(s, number(q.Get("bidi")), number(q.Get("uni"))) }
	case "/protocols":
		o.Protocols, o.RequireProtocol = []string{"alpha", "beta"}, q.Get("must") == "1"
		f = echo
	case "/drained":
		f = func(s transport.Session) {
			_ = s.Drain()
			echo(s)
		}
	case "/refused":
		w.WriteHeader(number(q.Get("status")))
		return
	case "/closed":
		f = func(s transport.Session) {
			<-s.Context().Done()
			var end *transport.SessionError
			errors.As(context.Cause(s.Context()), &end)
			h.end(q.Get("key")) <- end
		}
	case "/told":
		f = func(s transport.Session) { h.tell(s, q.Get("key")) }
	default:
		http.NotFound(w, r)
		return
	}
	s, err := negotiate.Upgrade(w, r, o)
	if err != nil {
		return
	}
	go f(s) // ends with the session
}

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

func (h *resources) end(key string) chan *transport.SessionError {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ends[key] == nil {
		h.ends[key] = make(chan *transport.SessionError, 1)
	}
	return h.ends[key]
}

func (h *resources) tell(s transport.Session, key string) {
	var end *transport.SessionError
	select {
	case end = <-h.end(key):
	case <-s.Context().Done():
		return
	}
	st, err := s.OpenUniStream(s.Context())
	if err != nil {
		return
	}
	if end == nil || !end.Remote {
		fmt.Fprint(st, "not closed by the client")
	} else {
		fmt.Fprintf(st, "%d %s", end.Code, end.Reason)
	}
	_ = st.Close()
}

func echo(s transport.Session) {
	for {
		st, err := s.AcceptStream(s.Context())
		if err != nil {
			return
		}
		go func() { // ends with the stream
			_, _ = io.Copy(st, st)
			_ = st.Close()
		}()
	}
}

func opener(s transport.Session, bidi, uni int) {
	say := func(st transport.SendStream, i int) {
		_, _ = fmt.Fprint(st, i)
		_ = st.Close()
	}
	go func() { // ends with the session
		for i := range bidi {
			st, err := s.OpenStream(s.Context())
			if err != nil {
				return
			}
			say(st, i)
			go func() { _, _ = io.Copy(io.Discard, st) }() // ends with the stream
		}
	}()
	for i := range uni {
		st, err := s.OpenUniStream(s.Context())
		if err != nil {
			return
		}
		say(st, i)
	}
}

// commanded accepts streams and does nothing with them until it is told on the
// session's first bidirectional stream, each command being a line that is
// answered by one:
//
//	ping    pong
//	count N waits until N further streams came: "counted"
//	when N  "when", and once N further bidirectional streams came reads all there are and will be
//	read    reads all that waits to its end: "read BYTES"
//	stop N  asks the client to stop sending on all: "stopped"
//	reset N resets the server's direction of the bidirectional ones: "reset"
//	write N writes N bytes on each bidirectional one, and FIN: "wrote"
func commanded(s transport.Session) {
	ctx := s.Context()
	control, err := s.AcceptStream(ctx)
	if err != nil {
		return
	}
	// What the client's limits on streams let wait, and more.
	bidi, uni := make(chan transport.Stream, 1000), make(chan transport.ReceiveStream, 1000)
	var came atomic.Int64
	more := make(chan struct{}, 1)
	arrived := func() {
		came.Add(1)
		select {
		case more <- struct{}{}:
		default:
		}
	}
	go accept(func() (transport.Stream, error) { return s.AcceptStream(ctx) }, bidi, arrived)
	go accept(func() (transport.ReceiveStream, error) { return s.AcceptUniStream(ctx) }, uni, arrived)
	var bidis []transport.Stream
	var unis []transport.ReceiveStream
	lines := bufio.NewScanner(control)
	for lines.Scan() {
		verb, rest, _ := strings.Cut(lines.Text(), " ")
		n, _ := strconv.ParseUint(rest, 10, 32)
		if verb == "when" {
			if _, err := fmt.Fprintln(control, verb); err != nil {
				return
			}
			drop(ctx, bidi, uni, int(n))
			return
		}
		if verb == "count" {
			for came.Load() < int64(n) {
				select {
				case <-more:
				case <-ctx.Done():
					return
				}
			}
		}
		bidis, unis = append(bidis, waiting(bidi)...), append(unis, waiting(uni)...)
		answer := "pong"
		switch verb {
		case "count":
			answer = "counted"
		case "read":
			answer = fmt.Sprint("read ", readAll(bidis, unis))
			bidis, unis = nil, nil
		case "stop":
			for _, st := range bidis {
				st.CancelRead(transport.StreamErrorCode(n))
			}
			for _, st := range unis {
				st.CancelRead(transport.StreamErrorCode(n))
			}
			answer = "stopped"
		case "reset":
			for _, st := range bidis {
				st.CancelWrite(transport.StreamErrorCode(n))
			}
			answer = "reset"
		case "write":
			for _, st := range bidis {
				go func() { // ends with the stream
					_, _ = st.Write(make([]byte, n))
					_ = st.Close()
				}()
			}
			answer = "wrote"
		}
		if _, err := fmt.Fprintln(control, answer); err != nil {
			return
		}
	}
	_ = control.Close()
}

func accept[T any](next func() (T, error), to chan<- T, arrived func()) {
	for {
		v, err := next()
		if err != nil {
			return
		}
		to <- v
		arrived()
	}
}

func waiting[T any](from <-chan T) (all []T) {
	for {
		select {
		case v := <-from:
			all = append(all, v)
		default:
			return all
		}
	}
}

// drop waits for n bidirectional streams and then reads all streams, until the
// session ends.
func drop(ctx context.Context, bidi <-chan transport.Stream, uni <-chan transport.ReceiveStream, n int) {
	var waited []transport.ReceiveStream
	for range n {
		select {
		case st := <-bidi:
			waited = append(waited, st)
		case <-ctx.Done():
			return
		}
	}
	read := func(st transport.ReceiveStream) { go func() { _, _ = io.Copy(io.Discard, st) }() } // ends with the stream
	for _, st := range waited {
		read(st)
	}
	for {
		select {
		case st := <-bidi:
			read(st)
		case st := <-uni:
			read(st)
		case <-ctx.Done():
			return
		}
	}
}

// readAll reads all streams at once, and answers nothing on them.
func readAll(bidis []transport.Stream, unis []transport.ReceiveStream) int64 {
	var total atomic.Int64
	var all sync.WaitGroup
	for _, st := range bidis {
		all.Go(func() {
			n, _ := io.Copy(io.Discard, st)
			total.Add(n)
			_ = st.Close()
		})
	}
	for _, st := range unis {
		all.Go(func() {
			n, _ := io.Copy(io.Discard, st)
			total.Add(n)
		})
	}
	all.Wait()
	return total.Load()
}
