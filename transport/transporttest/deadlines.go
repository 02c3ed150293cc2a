package transporttest

import (
	"time"

	"github.com/towpath-go/towpath/transport"
)

var past = time.Unix(1, 0)

var deadlineCases = []testCase{
	{name: "a read deadline in the past", run: func(e *env) {
		x, y := e.pair()
		e.write(x, []byte("data"))
		e.settle()
		e.ok(y.SetReadDeadline(past), "SetReadDeadline")
		for range 2 { // data being there makes no difference, as for net.Conn
			n, err := y.Read(make([]byte, 8))
			e.wantDeadline(result{n, err}, "Read")
			if n != 0 {
				e.Fatalf("Read returned %d bytes with its error", n)
			}
		}
		e.write(y, []byte("writes are free")) // a read deadline is none for Write
		e.wantBytes(x, []byte("writes are free"))
		e.ok(y.SetReadDeadline(time.Time{}), "SetReadDeadline")
		e.wantBytes(y, []byte("data"))
		e.wantAlive()
	}},
	{name: "a write deadline in the past", run: func(e *env) {
		x, y := e.pair()
		e.ok(x.SetWriteDeadline(past), "SetWriteDeadline")
		for range 2 {
			n, err := x.Write([]byte("never"))
			e.wantDeadline(result{n, err}, "Write")
			if n != 0 {
				e.Fatalf("Write took %d bytes after its deadline", n)
			}
		}
		e.write(y, []byte("reads are free")) // a write deadline is none for Read
		e.wantBytes(x, []byte("reads are free"))
		e.ok(x.SetWriteDeadline(time.Time{}), "SetWriteDeadline")
		e.write(x, []byte("now"))
		e.finish(x)
		e.wantRest(y, []byte("now"))
		e.wantAlive()
	}},
	{name: "SetDeadline sets both", b: narrow, run: func(e *env) {
		x, y := e.pair()
		e.ok(x.SetDeadline(past), "SetDeadline")
		n, err := x.Read(make([]byte, 1))
		e.wantDeadline(result{n, err}, "Read")
		n, err = x.Write(make([]byte, 1))
		e.wantDeadline(result{n, err}, "Write")
		e.ok(x.SetDeadline(time.Time{}), "SetDeadline")
		e.write(x, []byte("a"))
		e.wantBytes(y, []byte("a"))
		e.write(y, []byte("b"))
		e.wantBytes(x, []byte("b"))
	}},
	{name: "a future read deadline", run: func(e *env) {
		x, y := e.pair()
		start := time.Now()
		e.ok(x.SetReadDeadline(start.Add(short)), "SetReadDeadline")
		n, err := x.Read(make([]byte, 1))
		e.wantDeadline(result{n, err}, "Read")
		e.wantAfter(start, short, "Read")
		e.ok(x.SetReadDeadline(time.Now().Add(time.Hour)), "SetReadDeadline")
		e.write(y, []byte("in time"))
		e.wantBytes(x, []byte("in time"))
	}},
	{name: "a future write deadline", b: narrow, run: func(e *env) {
		x, y := e.uniPair()
		p := pattern(1, 4<<20)
		n := e.fill(x, p)
		start := time.Now()
		e.ok(x.SetWriteDeadline(start.Add(short)), "SetWriteDeadline")
		m, err := x.Write(p[n:])
		e.wantDeadline(result{m, err}, "Write")
		e.wantAfter(start, short, "Write")
		// What was taken arrives, and the stream goes on behind it.
		e.ok(x.SetWriteDeadline(time.Now().Add(time.Hour)), "SetWriteDeadline")
		read := asyncReadAll(e, y)
		e.write(x, p[n+m:])
		e.finish(x)
		e.wantContent(<-read, p)
		e.wantAlive()
	}},
	{name: "a deadline applies to a waiting call", b: narrow, run: func(e *env) {
		x, _ := e.pair()
		p := pattern(2, 4<<20)
		n := e.fill(x, p)
		read, write := asyncRead(e, x, 1), asyncWrite(e, x, p[n:])
		stillWaiting(e, read, "no deadline is set")
		e.ok(x.SetReadDeadline(past), "SetReadDeadline")
		e.wantDeadline(<-read, "Read")
		stillWaiting(e, write, "only the read deadline has passed")
		e.ok(x.SetWriteDeadline(past), "SetWriteDeadline")
		e.wantDeadline(<-write, "Write")
	}},
	{name: "a deadline may be renewed while a call waits", b: narrow, run: func(e *env) {
		x, y := e.pair()
		p := pattern(3, 4<<20)
		n := e.fill(x, p)
		e.ok(x.SetDeadline(time.Now().Add(time.Hour)), "SetDeadline")
		read, write := asyncRead(e, x, 1), asyncWrite(e, x, p[n:])
		stillWaiting(e, read, "the deadline is an hour away")
		start := time.Now()
		e.ok(x.SetDeadline(start.Add(short)), "SetDeadline") // nearer
		e.wantDeadline(<-read, "Read")
		e.wantDeadline(<-write, "Write")
		e.wantAfter(start, short, "the calls")

		e.ok(x.SetReadDeadline(time.Now().Add(time.Second)), "SetReadDeadline")
		read = asyncRead(e, x, 1)
		e.ok(x.SetReadDeadline(time.Time{}), "SetReadDeadline") // none at all
		<-time.After(time.Second + short)
		stillWaiting(e, read, "the deadline was taken away")
		e.write(y, []byte("x"))
		if r := <-read; r.n != 1 || r.err != nil {
			e.Fatalf("Read = %d, %v", r.n, r.err)
		}
	}},
	{name: "no byte is lost by deadlines", b: narrow, run: func(e *env) {
		// Both ends run into deadlines all the time and go on.
		x, y := e.uniPair()
		p := pattern(4, 1<<20)
		written := async(e, func() error {
			for sent := 0; sent < len(p); {
				x.SetWriteDeadline(time.Now().Add(time.Millisecond))
				n, err := x.Write(p[sent:])
				sent += n
				if err != nil && !isTimeout(err) {
					return err
				}
			}
			return x.Close()
		})
		got := make([]byte, 0, len(p))
		buf := make([]byte, 5000)
		for len(got) < len(p) {
			e.ok(y.SetReadDeadline(time.Now().Add(100*time.Microsecond)), "SetReadDeadline")
			n, err := y.Read(buf)
			got = append(got, buf[:n]...)
			if err != nil && !isTimeout(err) {
				e.Fatalf("Read: %v", err)
			}
		}
		e.ok(<-written, "Write")
		e.ok(y.SetReadDeadline(time.Time{}), "SetReadDeadline")
		e.wantContent(content{data: got}, p)
		e.wantEOF(y)
	}},
	{name: "a deadline is not the session's end", run: func(e *env) {
		x, y := e.pair()
		for _, st := range []transport.Stream{x, y} {
			e.ok(st.SetDeadline(past), "SetDeadline")
			n, err := st.Read(make([]byte, 1))
			e.wantDeadline(result{n, err}, "Read")
		}
		e.wantAlive()
	}},
}

func isTimeout(err error) bool {
	t, ok := err.(interface{ Timeout() bool })
	return ok && t.Timeout()
}

// wantAfter expects that d has passed since start: exactly in a bubble, at
// least in real time.
func (e *env) wantAfter(start time.Time, d time.Duration, what string) {
	e.Helper()
	if got := time.Since(start); got < d || e.caps.Bubble && got != d {
		e.Fatalf("%s returned after %v, want %v", what, got, d)
	}
}
