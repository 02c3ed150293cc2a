package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

func TestTrace(t *testing.T) {
	var got []string
	note := func(format string, args ...any) { got = append(got, fmt.Sprintf(format, args...)) }
	bubble(t, func(t *tester) {
		t.writeCapsule(wtStream{id: 0, data: "xx"}, capsule.MaxData{MaximumData: 3}, capsule.DrainSession{})
		st := t.accept()
		t.send(st, "abcd")
		t.hear()
		t.hear()
		st.CancelRead(5)
		t.hear()
		t.writeCapsule(capsule.CloseSession{ErrorCode: 7, Message: "a\nb"})
		want := []string{
			"received WT_MAX_DATA max=3",
			"received WT_DRAIN_SESSION",
			"blocked session 3",
			"sent WT_DATA_BLOCKED max=3",
			"sent WT_STOP_SENDING stream=0 code=5",
			`received WT_CLOSE_SESSION code=7 message="a\nb"`,
			`closed towpath: session closed by the peer with code 7 "a\nb"`,
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("traced\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}, peerAllows(InitialLimits{MaxData: 2, MaxStreamDataBidiLocal: 100}), func(p *Params) {
		p.Config.Trace = &transport.Trace{
			CapsuleSent:     func(detail string) { note("sent %s", detail) },
			CapsuleReceived: func(detail string) { note("received %s", detail) },
			Blocked:         func(what string, limit uint64) { note("blocked %s %d", what, limit) },
			Closed:          func(err *transport.SessionError) { note("closed %v", err) },
		}
	})
}

// TestTraceMayCall shows that no lock is held when a Trace function is called.
func TestTraceMayCall(t *testing.T) {
	var s *Session
	calls := 0
	f := func() {
		calls++
		s.Stats()
		s.Info()
		s.SendDatagram([]byte("from a trace function"))
	}
	bubble(t, func(t *tester) {
		s = t.s
		t.writeCapsule(capsule.MaxData{MaximumData: 1 << 30}, datagram("x"), datagram("y"))
		t.ok(t.s.Drain())
		t.wantCapsule("drain", capsule.DrainSession{})
		t.s.OpenStream(done())
		t.s.End()
		if calls != 5 {
			t.Fatalf("%d calls, want one of each kind", calls)
		}
	}, withConfig(transport.Config{IncomingDatagramQueue: 1, Trace: &transport.Trace{
		CapsuleSent:     func(string) { f() },
		CapsuleReceived: func(string) { f() },
		Blocked:         func(string, uint64) { f() },
		DatagramDropped: func(bool, int, time.Duration) { f() },
		Closed:          func(*transport.SessionError) { f() },
	}}), peerAllows(InitialLimits{}))
}

// TestTraceMayEndTheSession shows that a session that ends while a capsule is
// being traced takes no harm.
func TestTraceMayEndTheSession(t *testing.T) {
	var s *Session
	bubble(t, func(t *tester) {
		s = t.s
		t.writeCapsule(capsule.MaxData{MaximumData: 1 << 30}, capsule.MaxData{MaximumData: 1 << 31}, wtStream{id: 1})
		t.wantClosed(3, "", false)
		t.wantCapsule("the close", capsule.CloseSession{ErrorCode: 3})
	}, withConfig(transport.Config{Trace: &transport.Trace{
		CapsuleReceived: func(string) { s.StartClose(3, "") },
	}}))
}

func TestLog(t *testing.T) {
	for _, c := range []struct {
		level     slog.Level
		has, lack []string
	}{
		{slog.LevelInfo, []string{"session opened", "session ended", "session=1"}, []string{"WT_MAX_DATA", "WT_STOP_SENDING", "level=DEBUG"}},
		{slog.LevelDebug, []string{"session opened", "session ended", "WT_MAX_DATA max=1073741824", "WT_STOP_SENDING", "reading cancelled"}, nil},
		{slog.LevelWarn, nil, []string{"session"}},
	} {
		var log bytes.Buffer
		bubble(t, func(t *tester) {
			t.writeCapsule(wtStream{id: 0}, capsule.MaxData{MaximumData: 1 << 30})
			t.accept().CancelRead(1)
			t.hear()
			t.s.End()
		}, withConfig(transport.Config{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: c.level}))}))
		for _, want := range c.has {
			if !strings.Contains(log.String(), want) {
				t.Errorf("level %v: no %q in\n%s", c.level, want, &log)
			}
		}
		for _, want := range c.lack {
			if strings.Contains(log.String(), want) {
				t.Errorf("level %v: %q in\n%s", c.level, want, &log)
			}
		}
	}
}

// TestLogLines: each event says what its values are.
func TestLogLines(t *testing.T) {
	var log bytes.Buffer
	addr := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4433}
	bubble(t, func(t *tester) {
		t.writeCapsule(capsule.MaxData{MaximumData: 6}, wtStream{id: 0, data: "x"}, wtStream{id: 2}, capsule.ResetStream{StreamID: 2, ErrorCode: 9})
		st := t.accept()
		st.CancelRead(8)
		t.send(st, "1234")
		for t.hear() != nil {
		}
		st.CancelWrite(7)
		t.send(t.openUni(), "1234")
		for t.hear() != nil {
		}
		t.writeCapsule(datagram("123"), datagram("12345678"), datagram("12"), datagram("1"))
		time.Sleep(1500 * time.Millisecond)
		if p, err := t.s.ReceiveDatagram(done()); err == nil {
			t.Fatalf("received %q", p)
		}
		t.writeCapsule(capsule.CloseSession{ErrorCode: 5, Message: "bye\x1b"})
	}, withConfig(transport.Config{
		MaxDatagramSize: 5, IncomingDatagramQueue: 1, IncomingMaxAge: time.Second, IncomingDatagramRate: transport.Rate{PerSecond: 2},
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{
			Level: slog.LevelDebug,
			ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
					return slog.Attr{}
				}
				return a
			},
		})),
	}), func(p *Params) {
		p.Info = transport.Info{ID: 1, Protocol: transport.HTTP2, ApplicationProtocol: "chat", RemoteAddr: addr}
		p.Peer.MaxData, p.Peer.MaxStreamDataBidiLocal = 5, 3
	})
	want := `msg="session opened" session=1 transport=h2 remote=192.0.2.1:4433 protocol=chat dialect=draft-15
msg="capsule received" session=1 capsule="WT_MAX_DATA max=6"
msg="stream opened" session=1 stream=0 by_peer=true
msg="stream opened" session=1 stream=2 by_peer=true
msg="capsule received" session=1 capsule="WT_RESET_STREAM stream=2 code=9 size=0"
msg="stream reset" session=1 stream=2 code=9
msg="reading cancelled" session=1 stream=0 code=8
msg="capsule sent" session=1 capsule="WT_STOP_SENDING stream=0 code=8"
msg="capsule sent" session=1 capsule="WT_STREAM_DATA_BLOCKED stream=0 max=3"
msg=blocked session=1 on=stream maximum=3 stream=0
msg="sending aborted" session=1 stream=0 code=7 by_peer=false
msg="stream opened" session=1 stream=3 by_peer=false
msg="capsule sent" session=1 capsule="WT_RESET_STREAM stream=0 code=7 size=3"
msg=blocked session=1 on=session maximum=6
msg="capsule sent" session=1 capsule="WT_DATA_BLOCKED max=6"
msg="datagram dropped" session=1 outgoing=false reason="too large" size=8
msg="datagram dropped" session=1 outgoing=false reason="queue full" size=3 age=0s
msg="datagram dropped" session=1 outgoing=false reason=rate size=1 limit=datagram-rate
msg="datagram dropped" session=1 outgoing=false reason="too old" size=2 age=1.5s
msg="capsule received" session=1 capsule="WT_CLOSE_SESSION code=5 message=\"bye\\x1b\""
msg="session ended" session=1 duration=1.5s code=5 remote_close=true reason=bye\x1b bytes_sent=6 bytes_received=1 streams_opened=1 streams_accepted=2
`
	if got := log.String(); got != want {
		t.Errorf("logged\n%s\nwant\n%s", got, want)
	}
}

func TestExporter(t *testing.T) {
	t.Run("H2-063 H2-064 the context names the session, the label and the application's context", func(t *testing.T) {
		bubble(t, func(t *tester) {
			got, err := t.s.ExportKeyingMaterial("app1", []byte{0xaa, 0xbb}, 32)
			t.ok(err)
			if want := "EXPORTER-WebTransport 0000000000000001046170703102aabb 32"; string(got) != want {
				t.Fatalf("exported with %q, want %q", got, want)
			}
			got, err = t.s.ExportKeyingMaterial("app1", nil, 16)
			t.ok(err)
			if want := "EXPORTER-WebTransport 0000000000000001046170703100 16"; string(got) != want {
				t.Fatalf("exported with %q, want %q", got, want)
			}
		})
	})
	t.Run("H2-065 nothing is exported from a session that has ended", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.s.End()
			if _, err := t.s.ExportKeyingMaterial("app1", nil, 32); !errors.Is(err, context.Cause(t.s.Context())) {
				t.Fatal(err)
			}
		})
	})
}

func TestStatsRTT(t *testing.T) {
	bubble(t, func(t *tester) {
		if got := t.s.Stats().RTT; got >= 0 {
			t.Fatalf("RTT %v without a measurement", got)
		}
		t.carrier.rtt = 42 * time.Millisecond
		if got := t.s.Stats().RTT; got != 42*time.Millisecond {
			t.Fatalf("RTT %v", got)
		}
	})
}

// TestLateBinding shows that bytes are chosen when the carrier asks.
func TestLateBinding(t *testing.T) {
	bubble(t, func(t *tester) {
		low, high := t.openUni(), t.openUni()
		low.SetPriority(transport.Priority{Order: 1})
		high.SetPriority(transport.Priority{Order: 2})
		t.send(low, strings.Repeat("l", 60<<10))
		if c := t.hear().(wtStream); c.id != 3 || len(c.data) != maxStreamCapsule-capsule.StreamHeaderLen(3, maxStreamCapsule) {
			t.Fatalf("stream %d, %d bytes", c.id, len(c.data))
		}
		t.send(high, "urgent")
		t.wantCapsule("written later, sent first", wtStream{id: 7, data: "urgent"})
		if c := t.hear().(wtStream); c.id != 3 {
			t.Fatalf("stream %d", c.id)
		}
		high.SetPriority(transport.Priority{Order: 0})
		t.send(high, "not urgent")
		for c := t.hear().(wtStream); c.id != 7; c = t.hear().(wtStream) {
		}
		if low.(sendStream).st.send.buf.n != 0 {
			t.Fatal("the lower order went first")
		}
	})
}

// TestCapsulesFitDst shows that a capsule is begun only if it fits, down to the
// smallest dst that can hold one.
func TestCapsulesFitDst(t *testing.T) {
	for size := minStreamCapsule; size < 600; size += 7 {
		bubble(t, func(t *tester) {
			t.dst = make([]byte, size)
			a, b := t.openUni(), t.open()
			t.send(a, strings.Repeat("a", 5000))
			t.send(b, strings.Repeat("b", 5000))
			t.ok(a.Close())
			b.CancelRead(1)
			for t.fill() > 0 {
				if t.decoder.Partial() {
					t.Fatalf("dst of %d bytes: a capsule was left unfinished", size)
				}
			}
			if got := t.s.Stats().BytesSent; got != 10_000 {
				t.Fatalf("dst of %d bytes: %d bytes sent", size, got)
			}
		})
	}
	for size := 1; size < minStreamCapsule; size++ {
		bubble(t, func(t *tester) {
			t.dst = make([]byte, size)
			a := t.openUni()
			t.send(a, strings.Repeat("a", 500))
			t.ok(a.Close())
			for t.fill() > 0 {
			}
			got := ""
			for _, c := range t.heard {
				got += c.(wtStream).data
			}
			if len(got) != 500 || t.decoder.Partial() {
				t.Fatalf("dst of %d bytes: %d bytes sent", size, len(got))
			}
		})
	}
}

// TestEmptyDst shows that Fill without room takes nothing from what is due.
func TestEmptyDst(t *testing.T) {
	bubble(t, func(t *tester) {
		st := t.openUni()
		t.send(st, "data")
		t.ok(t.s.SendDatagram([]byte("datagram")))
		t.ok(t.s.Drain())
		if n, end := t.s.Fill(nil); n != 0 || end || t.s.outgoing.rest != nil {
			t.Fatalf("Fill = %d, %t", n, end)
		}
		wakes := t.carrier.wakes.Load()
		t.send(st, "!")
		if t.carrier.wakes.Load() != wakes+1 {
			t.Fatal("not woken although Fill gave nothing")
		}
		t.wantCapsule("all is still due", capsule.DrainSession{})
		t.wantCapsule("all is still due", datagram("datagram"))
		t.wantCapsule("all is still due", wtStream{id: 3, data: "data!"})
	})
}

// TestWaitersAreChained shows that a caller who takes one of several things
// lets the next caller look: one slot holds one signal.
func TestWaitersAreChained(t *testing.T) {
	bubble(t, func(t *tester) {
		type take func() (wait <-chan struct{}, err error)
		calls := map[string]take{
			"datagrams":  func() (<-chan struct{}, error) { _, wait, err := t.s.tryReceiveDatagram(); return wait, err },
			"accept":     func() (<-chan struct{}, error) { _, wait, err := t.s.tryAccept(bidi); return wait, err },
			"accept uni": func() (<-chan struct{}, error) { _, wait, err := t.s.tryAccept(uni); return wait, err },
			"open":       func() (<-chan struct{}, error) { _, wait, err := t.s.tryOpen(bidi); return wait, err },
			"open uni":   func() (<-chan struct{}, error) { _, wait, err := t.s.tryOpen(uni); return wait, err },
		}
		waits := make(map[string]<-chan struct{})
		for name, call := range calls {
			wait, err := call()
			if wait == nil || len(wait) != 0 || err != nil {
				t.Fatalf("%s: %v, and nothing to wait for: %v", name, err, wait == nil)
			}
			waits[name] = wait
		}
		t.writeCapsule(datagram("a"), datagram("b"), wtStream{id: 4}, wtStream{id: 6})
		t.writeCapsule(capsule.MaxStreams{MaximumStreams: 2}, capsule.MaxStreams{Uni: true, MaximumStreams: 2})
		for name, slot := range waits {
			take := func() {
				wait, err := calls[name]()
				if wait != nil || err != nil {
					t.Fatalf("%s: nothing there, %v", name, err)
				}
			}
			<-slot // a caller was woken
			take()
			if len(slot) != 1 {
				t.Errorf("%s: one was taken of two, and nobody else is woken", name)
				continue
			}
			<-slot
			take()
			if len(slot) != 0 {
				t.Errorf("%s: woken for nothing", name)
			}
		}
	}, peerAllows(InitialLimits{}))
}

func TestDeadlinesOfStreams(t *testing.T) {
	bubble(t, func(t *tester) {
		st := open0(t)
		t.ok(st.SetDeadline(time.Now().Add(-time.Second)))
		t.wantReadError(st, os.ErrDeadlineExceeded)
		t.wantWriteError(st, os.ErrDeadlineExceeded)
		t.ok(st.SetDeadline(time.Time{}))
		t.wantRead(st, "data")

		// A Write that runs into its deadline has taken what fitted.
		t.ok(st.SetWriteDeadline(time.Now().Add(time.Minute)))
		start := time.Now()
		n, err := st.Write(make([]byte, 100<<10))
		if n != transport.DefaultStreamSendBuffer || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Minute {
			t.Fatalf("Write = %d, %v after %v", n, err, time.Since(start))
		}
	})
}

func BenchmarkWriteFill(b *testing.B) {
	for _, size := range []int{100, 1 << 10, 16 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			limits := InitialLimits{MaxData: 1 << 60, MaxStreamDataUni: 1 << 60, MaxStreamsUni: 1}
			s := New(Params{Client: true, Dialect: transport.DialectDraft15, Carrier: &nowhere{}, Local: limitsOf(nil), Peer: limits})
			st, _ := s.OpenUniStream(done())
			p, dst := make([]byte, size), make([]byte, 16<<10)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				st.Write(p)
				for {
					if n, _ := s.Fill(dst); n == 0 {
						break
					}
				}
			}
		})
	}
}

func BenchmarkDataRead(b *testing.B) {
	for _, size := range []int{100, 1 << 10, 16 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			limits := limitsOf(nil)
			s := New(Params{Client: true, Dialect: transport.DialectDraft15, Carrier: &nowhere{}, Local: limits, Peer: limits})
			st, _ := s.OpenStream(done())
			st.Write([]byte("x"))
			dst := make([]byte, 32<<10)
			s.Fill(dst)
			capsules := append(capsule.AppendStreamHeader(nil, false, capsule.Draft15, 0, uint64(size)), make([]byte, size)...)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				s.Data(capsules)
				for n := 0; n < size; {
					m, err := st.Read(dst)
					if err != nil {
						b.Fatal(err)
					}
					n += m
				}
				s.Fill(dst)
			}
		})
	}
}

// BenchmarkChurn opens a stream, sends and gets 100 bytes, and ends it.
func BenchmarkChurn(b *testing.B) {
	p := newPipe(nil, nil, nil)
	defer p.close()
	go func() { // ends with the session; nothing waits for it
		for {
			st, err := p.ends[1].s.AcceptStream(context.Background())
			if err != nil {
				return
			}
			buf := make([]byte, 200)
			n, _ := st.Read(buf)
			st.Write(buf[:n])
			st.Close()
			st.Read(buf)
		}
	}()
	msg, buf := make([]byte, 100), make([]byte, 200)
	b.ReportAllocs()
	for b.Loop() {
		st, err := p.ends[0].s.OpenStream(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		st.Write(msg)
		st.Close()
		for {
			if _, err := st.Read(buf); err != nil {
				break
			}
		}
	}
}
