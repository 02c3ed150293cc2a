package session

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// A qlogBuffer keeps what one session writes.
type qlogBuffer struct {
	bytes.Buffer
	side   transport.Side
	info   transport.Info
	opened int
	closed bool
}

func (b *qlogBuffer) OpenQlog(info transport.Info, side transport.Side) io.WriteCloser {
	b.opened++
	b.info, b.side = info, side
	return b
}

func (b *qlogBuffer) Close() error {
	b.closed = true
	return nil
}

// events are those of the buffer, without namespace and time.
func (b *qlogBuffer) events(t *testing.T) (all []string) {
	t.Helper()
	for _, text := range strings.Split(b.String(), "\x1e")[2:] {
		var e struct {
			Name string
			Data map[string]any
		}
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		data, _ := json.Marshal(e.Data)
		all = append(all, strings.TrimPrefix(e.Name, "webtransport:")+" "+string(data))
	}
	return all
}

func TestQlog(t *testing.T) {
	var b qlogBuffer
	bubble(t, func(t *tester) {
		t.s.carrier.(*testCarrier).rtt = 20 * time.Millisecond
		t.writeCapsule(capsule.MaxData{MaximumData: 6}, wtStream{id: 0, data: "secret"}, wtStream{id: 2}, capsule.ResetStream{StreamID: 2, ErrorCode: 9})
		st := t.accept()
		st.CancelRead(8)
		t.send(st, "1234")
		for t.hear() != nil {
		}
		st.CancelWrite(7)
		t.writeCapsule(capsule.DrainSession{})
		t.writeCapsule(datagram("secret"), datagram("sec"), datagram("sec"))
		time.Sleep(1500 * time.Millisecond)
		if p, err := t.s.ReceiveDatagram(done()); err == nil {
			t.Fatalf("received %q", p)
		}
		if b.closed {
			t.Error("closed before the session")
		}
		t.s.StartClose(5, "bye")
		for t.hear() != nil {
		}
		t.s.End()
	}, withConfig(transport.Config{MaxDatagramSize: 5, IncomingDatagramQueue: 1, IncomingMaxAge: time.Second, Qlog: &b}), func(p *Params) {
		p.Info = transport.Info{ID: 1, Protocol: transport.HTTP2}
		p.Peer.MaxData, p.Peer.MaxStreamDataBidiLocal = 5, 3
	})
	if b.opened != 1 || !b.closed || b.side != transport.ServerSide || b.info.ID != 1 {
		t.Errorf("opened %d times for %v %v, closed: %v", b.opened, b.side, b.info.ID, b.closed)
	}
	if strings.Contains(b.String(), "sec") {
		t.Error("payload is in the record")
	}
	got := b.events(t)
	for _, want := range []string{
		`session_started {"session_id":1,"transport":"h2"}`,
		`capsule_received {"capsule":"WT_MAX_DATA","maximum":6}`,
		`stream_opened {"initiator":"remote","stream_id":0,"stream_type":"bidirectional"}`,
		`capsule_received {"capsule":"WT_RESET_STREAM","error_code":9,"reliable_size":0,"stream_id":2}`,
		`stream_aborted {"error_code":9,"initiator":"remote","part":"receiving","stream_id":2}`,
		`stream_aborted {"error_code":8,"initiator":"local","part":"receiving","stream_id":0}`,
		`capsule_sent {"capsule":"WT_STOP_SENDING","error_code":8,"stream_id":0}`,
		`blocked {"limit":3,"what":"stream"}`,
		`stream_aborted {"error_code":7,"initiator":"local","part":"sending","stream_id":0}`,
		`capsule_received {"capsule":"WT_DRAIN_SESSION"}`,
		`draining {}`,
		`datagram_dropped {"age":0,"direction":"received","length":6,"why":"too large"}`,
		`datagram_dropped {"age":0,"direction":"received","length":3,"why":"queue full"}`,
		`datagram_dropped {"age":1500,"direction":"received","length":3,"why":"too old"}`,
		`capsule_sent {"capsule":"WT_CLOSE_SESSION","error_code":5,"reason":"bye"}`,
	} {
		if n := len(slices.DeleteFunc(slices.Clone(got), func(e string) bool { return e != want })); n != 1 {
			t.Errorf("%d times: %s", n, want)
		}
	}
	if !slices.ContainsFunc(got, func(e string) bool {
		return strings.HasPrefix(e, `session_ended {"bytes_received":6,`) && strings.Contains(e, `"error_code":5,"initiator":"local","reason":"bye","rtt":20,`)
	}) {
		t.Errorf("no session_ended as it should be")
	}
	if t.Failed() {
		fmt.Println(strings.Join(got, "\n"))
	}
}

// TestQlogOff: what reports events does nothing for nobody.
func TestQlogOff(t *testing.T) {
	script(t, func(t *tester) {
		var c capsule.Capsule = capsule.MaxData{MaximumData: 1 << 40}
		if n := testing.AllocsPerRun(100, func() {
			t.s.mu.Lock()
			t.s.noteLocked(event{what: eventReceived, capsule: c})
			t.s.unlock()
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}
