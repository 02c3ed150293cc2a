package h3wt

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// A qlogBuffer keeps what one session writes.
type qlogBuffer struct {
	bytes.Buffer
	side   transport.Side
	opened int
	closed bool
}

func (b *qlogBuffer) OpenQlog(_ transport.Info, side transport.Side) io.WriteCloser {
	b.opened++
	b.side = side
	return b
}

func (b *qlogBuffer) Close() error {
	b.closed = true
	return nil
}

// events are those of the buffer, without namespace, time and addresses.
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
		delete(e.Data, "local")
		delete(e.Data, "remote")
		data, _ := json.Marshal(e.Data)
		all = append(all, strings.TrimPrefix(e.Name, "webtransport:")+" "+string(data))
	}
	return all
}

// someRTT is a measured round-trip time, above 0.
var someRTT = regexp.MustCompile(`"rtt":[0-9.]*[1-9][0-9.]*`)

func TestQlog(t *testing.T) {
	bubble(t, "both sides", func(t *testing.T) {
		var here, there qlogBuffer
		handler, accepted := sessions(t, nil)
		h := serve(t, simulated(t), &Server{Handler: handler, Config: &Config{Session: &transport.Config{Qlog: &there, IncomingDatagramQueue: 1}}})
		defer h.stop()
		cc := h.client(&Config{Session: &transport.Config{Qlog: &here}})
		defer cc.Close()
		s, err := cc.Dial(context.Background(), testURL, nil)
		if err != nil {
			t.Fatal(err)
		}
		served := <-accepted
		st, err := s.OpenStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(st, "secret"); err != nil {
			t.Fatal(err)
		}
		got, err := served.AcceptStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		st.CancelWrite(7)
		time.Sleep(time.Second)
		if _, err := io.ReadAll(got); err == nil {
			t.Error("the reset did not arrive")
		}
		got.CancelWrite(8)
		for range 2 {
			if err := s.SendDatagram([]byte("secret")); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if err := served.Drain(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := s.CloseWithError(5, "bye"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for _, side := range []struct {
			b    *qlogBuffer
			side transport.Side
			want []string
		}{
			{&here, transport.ClientSide, []string{
				`session_started {"session_id":0,"transport":"h3"}`,
				`stream_opened {"initiator":"local","stream_id":4,"stream_type":"bidirectional"}`,
				`stream_aborted {"error_code":7,"initiator":"local","part":"sending","stream_id":4}`,
				`capsule_received {"capsule":"WT_DRAIN_SESSION"}`,
				`draining {}`,
				`capsule_sent {"capsule":"WT_CLOSE_SESSION","error_code":5,"reason":"bye"}`,
				`session_ended {"bytes_received":0,"bytes_sent":6,"datagrams_received":0,"datagrams_sent":2,"error_code":5,"initiator":"local","reason":"bye","rtt":some,"streams_accepted":0,"streams_opened":1}`,
			}},
			{&there, transport.ServerSide, []string{
				`stream_opened {"initiator":"remote","stream_id":4,"stream_type":"bidirectional"}`,
				`stream_aborted {"error_code":7,"initiator":"remote","part":"receiving","stream_id":4}`,
				`stream_aborted {"error_code":8,"initiator":"local","part":"sending","stream_id":4}`,
				`datagram_dropped {"age":0,"direction":"received","length":6,"why":"queue full"}`,
				`capsule_sent {"capsule":"WT_DRAIN_SESSION"}`,
				`capsule_received {"capsule":"WT_CLOSE_SESSION","error_code":5,"reason":"bye"}`,
			}},
		} {
			if side.b.opened != 1 || !side.b.closed || side.b.side != side.side {
				t.Errorf("%v: opened %d times for %v, closed: %v", side.side, side.b.opened, side.b.side, side.b.closed)
			}
			if strings.Contains(side.b.String(), "secret") {
				t.Errorf("%v: payload is in the record", side.side)
			}
			got := side.b.events(t)
			for i, e := range got {
				got[i] = someRTT.ReplaceAllString(e, `"rtt":some`)
			}
			for _, want := range side.want {
				if n := len(slices.DeleteFunc(slices.Clone(got), func(e string) bool { return e != want })); n != 1 {
					t.Errorf("%v: %d times: %s\n%s", side.side, n, want, strings.Join(got, "\n"))
				}
			}
			if !slices.ContainsFunc(got, func(e string) bool {
				return strings.HasPrefix(e, "session_ended ") && strings.Contains(e, `"rtt":some`)
			}) {
				t.Errorf("%v: the end is missing", side.side)
			}
		}
	})
}
