package adapter

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/towpath-go/towpath/transport"
)

func TestSessionConfig(t *testing.T) {
	env := Env{MaxAge: time.Second, Channels: 8}
	for _, c := range []struct {
		name   string
		kind   sessionKind
		maxAge time.Duration
	}{
		{"HTTP/3 streams", sessionKind{protocol: transport.HTTP3}, 0},
		{"HTTP/3 datagrams", sessionKind{protocol: transport.HTTP3, datagrams: true}, 0},
		{"HTTP/2 streams", sessionKind{protocol: transport.HTTP2}, 0},
		{"HTTP/2 datagrams", sessionKind{protocol: transport.HTTP2, datagrams: true}, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := *c.kind.config(env)
			if want := (transport.Config{OutgoingMaxAge: c.maxAge, IncomingMaxAge: c.maxAge}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
	for channels, want := range map[int]int64{36: 0, 37: 101, 256: 320} {
		if got := (sessionKind{}).config(Env{Channels: channels}).MaxIncomingStreams; got != want {
			t.Errorf("%d channels: %d streams, want %d", channels, got, want)
		}
	}
}

// TestOldDatagrams shows that what is older than MaxAge is dropped over HTTP/2,
// and counted.
func TestOldDatagrams(t *testing.T) {
	p := &pair{t: t, a: wtH2Datagrams}
	p.env.MaxAge = time.Nanosecond
	p.connect(1)
	c, err := p.client.OpenChannel(p.ctx)
	if err != nil {
		t.Fatal(err)
	}
	const messages = 20
	for range messages {
		if err := c.Send([]byte("old")); err != nil {
			t.Fatal(err)
		}
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		sent, received := p.client.(Dropper).Drops(), p.server.(Dropper).Drops()
		if sent.OutgoingExpired+received.IncomingExpired == messages {
			break
		}
		select {
		case <-tick.C:
		case <-p.ctx.Done():
			t.Fatalf("%d messages: %+v at the sender, %+v at the receiver", messages, sent, received)
		}
	}
}

// TestSessionRefusals has a peer use streams in ways that adapters do not.
func TestSessionRefusals(t *testing.T) {
	connect := func(t *testing.T) (p *pair, client, server transport.Session) {
		p = &pair{t: t, a: wtH2Streams}
		p.env.Handle = func(request []byte) []byte { return make([]byte, int(binary.BigEndian.Uint32(request))) }
		p.connect(1)
		return p, p.client.(*sessionConn).session, p.server.(*sessionConn).session
	}
	stream := func(t *testing.T, p *pair, s transport.Session, content []byte) transport.Stream {
		t.Helper()
		st, err := s.OpenStream(p.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Write(content); err != nil {
			t.Fatal(err)
		}
		return st
	}
	refused := func(t *testing.T, st transport.Stream, code transport.StreamErrorCode) {
		t.Helper()
		_, err := st.Read(make([]byte, 1))
		if e, ok := errors.AsType[*transport.StreamError](err); !ok || !e.Remote || e.Code != code {
			t.Errorf("Read: %v, want a reset with code %d", err, code)
		}
	}

	t.Run("an unknown kind", func(t *testing.T) {
		p, client, _ := connect(t)
		refused(t, stream(t, p, client, []byte{0}), codeRefused)
		refused(t, stream(t, p, client, []byte{4}), codeRefused)
	})
	t.Run("a stream without a kind", func(t *testing.T) {
		p, client, _ := connect(t)
		st := stream(t, p, client, nil)
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		refused(t, st, codeRefused)
	})
	t.Run("a call of the server", func(t *testing.T) {
		p, _, server := connect(t)
		refused(t, stream(t, p, server, []byte{byte(streamCall), 1}), codeRefused)
		if _, err := p.server.Call(p.ctx, 0, []byte("1234")); err == nil {
			t.Error("the client answered a call")
		}
	})
	t.Run("a request beyond the bound", func(t *testing.T) {
		p, client, _ := connect(t)
		st, err := client.OpenStream(p.ctx)
		if err != nil {
			t.Fatal(err)
		}
		go func() { // ends with the reset
			_, _ = st.Write(append([]byte{byte(streamCall)}, make([]byte, MaxCall+1)...))
			_ = st.Close()
		}()
		refused(t, st, codeTooLarge)
	})
	t.Run("a message beyond the bound", func(t *testing.T) {
		p, client, _ := connect(t)
		stream(t, p, client, binary.AppendUvarint([]byte{byte(streamChannel)}, MaxMessage+1))
		c, err := p.server.AcceptChannel(p.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Receive(p.ctx); !errors.Is(err, errFrame) {
			t.Errorf("Receive: %v, want errFrame", err)
		}
	})
	t.Run("more channels than wait to be accepted", func(t *testing.T) {
		p := &pair{t: t, a: wtH2Streams}
		p.connect(maxAccepted + 2)
		for range maxAccepted + 2 {
			c, err := p.client.OpenChannel(p.ctx)
			if err == nil {
				err = c.Send([]byte("x"))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for range maxAccepted + 2 {
			c, err := p.server.AcceptChannel(p.ctx)
			if err != nil {
				t.Fatal(err)
			}
			p.want(c, []byte("x"))
		}
	})
	t.Run("a second client", func(t *testing.T) {
		p, _, _ := connect(t)
		second, err := p.host.Dial(p.ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		_, err = second.AcceptChannel(p.ctx)
		if e, ok := errors.AsType[*transport.SessionError](err); !ok || !e.Remote || e.Code != errSecondClient {
			t.Errorf("AcceptChannel: %v, want a session that the server closed with code %d", err, errSecondClient)
		}
	})
}

// TestSessionPriorities shows which streams are to go first.
func TestSessionPriorities(t *testing.T) {
	for _, c := range []struct {
		priorities, bulk bool
		want             []transport.Priority
	}{
		{true, false, []transport.Priority{{Order: timedOrder}}},
		{true, true, nil},
		{false, false, nil},
		{false, true, nil},
	} {
		st := &priorityStream{}
		s := &sessionStream{stream: st}
		s.setPriority(Env{Priorities: c.priorities}, c.bulk)
		if len(st.set) != len(c.want) || len(c.want) > 0 && st.set[0] != c.want[0] {
			t.Errorf("priorities %t, bulk %t: %v, want %v", c.priorities, c.bulk, st.set, c.want)
		}
	}
}

// priorityStream notes the priorities that it is given.
type priorityStream struct {
	transport.Stream
	set []transport.Priority
}

func (s *priorityStream) SetPriority(p transport.Priority) { s.set = append(s.set, p) }
