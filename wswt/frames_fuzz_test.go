package wswt

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"
	"time"

	"github.com/gobwas/ws"
)

// record is a frameHandler that keeps what it is given.
type record struct {
	events []event
	err    error
}

// event is one call of a frameHandler; pieces of a message are joined.
type event struct {
	what string
	data string
}

func (r *record) add(what string, p []byte) error {
	r.events = append(r.events, event{what, string(p)})
	return nil
}

func (r *record) message(p []byte, last bool) error {
	if n := len(r.events) - 1; n >= 0 && r.events[n].what == "part" {
		r.events[n].data += string(p)
	} else if err := r.add("part", p); err != nil {
		return err
	}
	if last {
		r.events[len(r.events)-1].what = "message"
	}
	return nil
}

func (r *record) ping(p []byte) error { return r.add("ping", p) }
func (r *record) pong(p []byte) error { return r.add("pong", p) }

func (r *record) closed(p []byte) error {
	r.add("close", p)
	if _, _, err := parseClose(p); err != nil {
		return err
	}
	return io.EOF
}

// read reads all frames of src.
func (r *record) read(src io.Reader, early []byte, client bool) *record {
	f := newFrameReader(src, early, client, minMessageSize, time.Now())
	for r.err == nil {
		r.err = f.next(r)
	}
	return r
}

// FuzzFrames reads any bytes as frames: whole, byte by byte and as if they had
// come with the handshake. The three must agree, and what was read is written
// again and read back.
func FuzzFrames(f *testing.F) {
	for _, p := range []*rawPeer{{t: f, client: true}, {t: f}} { // the others are in testdata
		f.Add(!p.client, append(p.encode(ws.OpBinary, false, padding(600)), p.encode(ws.OpContinuation, true, padding(5000))...))
	}
	f.Fuzz(func(t *testing.T, client bool, b []byte) {
		whole := new(record).read(bytes.NewReader(b), nil, client)
		if whole.err == io.ErrNoProgress || whole.err == nil {
			t.Fatalf("reading ended with %v", whole.err)
		}
		for name, other := range map[string]*record{
			"byte by byte": new(record).read(iotest.OneByteReader(bytes.NewReader(b)), nil, client),
			"early":        new(record).read(bytes.NewReader(b[len(b)/2:]), b[:len(b)/2], client),
		} {
			if other.err.Error() != whole.err.Error() || len(other.events) != len(whole.events) {
				t.Fatalf("%s: %v after %d events, whole: %v after %d", name, other.err, len(other.events), whole.err, len(whole.events))
			}
			for i, e := range other.events {
				if e != whole.events[i] {
					t.Fatalf("%s: event %d is %q, whole: %q", name, i, e, whole.events[i])
				}
			}
		}
		w := &frameWriter{client: !client}
		var again []byte
		for _, e := range whole.events {
			switch e.what {
			case "part": // cut off by the end
			case "message":
				again = w.appendFrame(again, ws.OpBinary, []byte(e.data))
			case "ping":
				again = w.appendFrame(again, ws.OpPing, []byte(e.data))
			case "pong":
				again = w.appendFrame(again, ws.OpPong, []byte(e.data))
			}
		}
		back := new(record).read(bytes.NewReader(again), nil, client)
		if back.err != io.EOF {
			t.Fatalf("what was written again is read with %v", back.err)
		}
		i := 0
		for _, e := range whole.events {
			if e.what == "part" || e.what == "close" {
				continue
			}
			if i == len(back.events) || back.events[i] != e {
				t.Fatalf("event %d is not what was written: %q", i, e)
			}
			i++
		}
	})
}
