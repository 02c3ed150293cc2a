package h3wt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// onSession runs a test against a session of our server whose client is raw,
// and again against one of our client whose server is raw.
func onSession(t *testing.T, name string, flowControl bool, test func(t *testing.T, c *rawConn, str rawStream, s transport.Session)) {
	t.Helper()
	bubble(t, name+", at a server", func(t *testing.T) {
		h, accepted := serveRaw(t, nil, nil)
		defer h.stop()
		settings := modernSettings
		if flowControl {
			settings = pooledSettings
		}
		c := h.rawDial(fullQUIC, settings...)
		defer c.close()
		str := c.accepted()
		test(t, c, rawStream{c, str}, <-accepted)
	})
	bubble(t, name+", at a client", func(t *testing.T) {
		srv := rawListen(t, fullQUIC)
		defer srv.stop()
		settings := serverSettings
		if flowControl {
			settings = pooledServerSettings
		}
		cc, c := srv.client(nil, settings...)
		s, str := c.established(cc, nil)
		test(t, c, rawStream{c, str}, s)
		cc.Close()
	})
}

// rawStream is the raw end of a CONNECT stream.
type rawStream struct {
	c   *rawConn
	str interface {
		io.ReadWriteCloser
		Context() context.Context
	}
}

func (r rawStream) send(list ...capsule.Capsule) { r.c.Helper(); r.c.capsules(r.str, list...) }
func (r rawStream) raw(p []byte)                 { r.str.Write(dataFrame(p)) }

func (r rawStream) wantAborted(code uint64) {
	r.c.Helper()
	r.c.wantStopped(r.str, code)
	r.c.wantReset(r.str, code)
}

func TestCapsules(t *testing.T) {
	onSession(t, "H3-058 H3-061 a close is the capsule and the end, at once, without STOP_SENDING", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			closed := make(chan error, 1)
			go func() { closed <- s.CloseWithError(77, strings.Repeat("é", 600)) }()
			c.wantCapsule(str.str, capsule.CloseSession{ErrorCode: 77, Message: strings.Repeat("é", 512)})
			c.wantEnd(str.str)
			synctest.Wait()
			if err := context.Cause(str.str.Context()); err != nil {
				t.Errorf("the CONNECT stream was stopped: %v", err)
			}
			select {
			case <-closed:
				t.Error("CloseWithError did not wait for the answer")
			default:
			}
			str.str.Close()
			if err := <-closed; err != nil {
				t.Errorf("CloseWithError: %v", err)
			}
		})
	onSession(t, "H3-058 a close waits for the answer no longer than CloseTimeout", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			start := time.Now()
			if err := s.CloseWithError(1, "x"); err != nil {
				t.Errorf("CloseWithError: %v", err)
			}
			if d := time.Since(start); d != transport.DefaultCloseTimeout {
				t.Errorf("CloseWithError took %v", d)
			}
			c.wantStopped(str.str, codeSessionGone)
			wantSessionEnd(t, s, transport.SessionError{Code: 1, Reason: "x"})
		})
	onSession(t, "H3-059 FW-15 the receiver of a close ends its half", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			str.send(capsule.CloseSession{ErrorCode: 0xffffffff, Message: "größe"})
			wantSessionEnd(t, s, transport.SessionError{Code: 0xffffffff, Reason: "größe", Remote: true})
			c.wantEnd(str.str)
			str.str.Close()
			c.wantOpen()
		})
	onSession(t, "H3-059 a peer that does not end its half is given up", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			str.send(capsule.CloseSession{})
			c.wantEnd(str.str)
			start := time.Now()
			c.wantStopped(str.str, codeSessionGone)
			if d := time.Since(start); d > transport.DefaultCloseTimeout+100*time.Millisecond {
				t.Errorf("given up after %v", d)
			}
			c.wantOpen()
		})
	onSession(t, "H3-060 more data behind a close, in one frame", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			str.raw(append(capsule.CloseSession{ErrorCode: 3}.Append(nil), 0))
			wantSessionEnd(t, s, transport.SessionError{Code: 3, Remote: true})
			str.wantAborted(0x10e)
			c.wantOpen()
		})
	onSession(t, "H3-060 more data after a close", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			str.send(capsule.CloseSession{ErrorCode: 3})
			wantSessionEnd(t, s, transport.SessionError{Code: 3, Remote: true})
			str.send(capsule.DrainSession{})
			c.wantStopped(str.str, 0x10e)
			c.wantOpen()
		})
	for _, bad := range []struct {
		name    string
		capsule []byte
	}{
		{"a message of 1025 bytes", append(append(varints(uint64(capsule.TypeCloseSession), 4+1025), 0, 0, 0, 0), make([]byte, 1025)...)},
		{"the header alone of a longer one", varints(uint64(capsule.TypeCloseSession), 1<<40)},
		{"a message that is not UTF-8", capsule.CloseSession{Message: "\xff"}.Append(nil)},
		{"a message that ends inside a rune", capsule.CloseSession{Message: "\xe2\x82"}.Append(nil)},
		{"no room for the code", append(varints(uint64(capsule.TypeCloseSession), 3), 0, 0, 0)},
	} {
		onSession(t, "H3-062 H3-065 a close with "+bad.name, false,
			func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
				str.raw(bad.capsule)
				str.wantAborted(0x10e)
				wantViolation(t, s, transport.ViolationMalformed)
				c.wantOpen()
			})
	}
	onSession(t, "H3-062 a close with a message of 1024 bytes", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			str.send(capsule.CloseSession{Message: strings.Repeat("x", 1024)})
			wantSessionEnd(t, s, transport.SessionError{Reason: strings.Repeat("x", 1024), Remote: true})
			str.str.Close()
		})
	onSession(t, "H3-063 the end without a capsule is code 0", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			str.str.Close()
			wantSessionEnd(t, s, transport.SessionError{Remote: true})
			c.wantEnd(str.str)
			c.wantOpen()
		})
	onSession(t, "a reset of the CONNECT stream", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			str.str.(interface{ CancelWrite(quic.StreamErrorCode) }).CancelWrite(0x107)
			<-s.Context().Done()
			e, ok := errors.AsType[*transport.ResetError](context.Cause(s.Context()))
			if !ok || e.Code != 0x107 || e.Name != "H3_EXCESSIVE_LOAD" || e.Connection || e.Protocol != transport.HTTP3 {
				t.Errorf("the session ended with %v", context.Cause(s.Context()))
			}
			c.wantReset(str.str, 0x10c)
			c.wantOpen()
		})
	onSession(t, "the CONNECT stream is stopped, and no end comes", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			str.str.(interface{ CancelRead(quic.StreamErrorCode) }).CancelRead(0x10c)
			<-s.Context().Done()
			if e, ok := errors.AsType[*transport.ResetError](context.Cause(s.Context())); !ok || e.Code != 0x10c {
				t.Errorf("the session ended with %v", context.Cause(s.Context()))
			}
			c.wantStopped(str.str, 0x10c)
		})
	onSession(t, "the connection is closed", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			x, err := s.OpenStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			x.Write([]byte("x"))
			c.CloseWithError(0x107, "why")
			<-s.Context().Done()
			cause := context.Cause(s.Context())
			e, ok := errors.AsType[*transport.ResetError](cause)
			if !ok || e.Code != 0x107 || !e.Connection || e.Reason != "why" {
				t.Errorf("the session ended with %v", cause)
			}
			for _, call := range []func([]byte) (int, error){x.Read, x.Write} {
				if _, err := call(make([]byte, 1)); err != cause {
					t.Errorf("%v, want the session's error", err)
				}
			}
			if err := s.CloseWithError(1, ""); err != nil {
				t.Errorf("CloseWithError: %v", err)
			}
		})

	onSession(t, "H3-065 unknown capsules are skipped", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			str.raw(append(varints(0x123456, 5), "hello"...))
			str.raw(append(varints(uint64(capsule.TypeStream), 2), 0, 'x')) // HTTP/2's
			str.raw(varints(0x2a, 0))
			big := append(varints(0x17, 1<<20), make([]byte, 1<<20)...)
			for len(big) > 0 { // in frames that split it anywhere
				n := min(len(big), 7777)
				str.raw(big[:n])
				big = big[n:]
			}
			str.send(capsule.DrainSession{})
			<-s.Draining()
		})
	onSession(t, "H3-040 FW-13 drain, both ways and more than once", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			for range 2 {
				if err := s.Drain(); err != nil {
					t.Fatal(err)
				}
			}
			c.wantCapsule(str.str, capsule.DrainSession{})
			str.send(capsule.DrainSession{}, capsule.DrainSession{})
			<-s.Draining()
			synctest.Wait()
			if s.Context().Err() != nil {
				t.Error("the session ended")
			}
		})
	for _, bad := range []struct {
		name  string
		bytes []byte
	}{
		{"drain with a value", append(varints(uint64(capsule.TypeDrainSession), 1), 0)},
		{"max data of two integers", append(varints(uint64(capsule.TypeMaxData), 2), 1, 1)},
		{"max streams without a value", varints(uint64(capsule.TypeMaxStreamsUni), 0)},
		{"max data of 9 bytes", varints(uint64(capsule.TypeMaxData), 9)},
	} {
		onSession(t, "H3-065 malformed: "+bad.name, true,
			func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
				str.raw(bad.bytes)
				str.wantAborted(0x10e)
				wantViolation(t, s, transport.ViolationMalformed)
				c.wantOpen()
			})
	}
	for _, part := range [][]byte{{0x80}, varints(0x17), varints(0x17, 5), {0x68, 0x43, 4, 0}} {
		onSession(t, "H3-065 the stream ends inside a capsule", false,
			func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
				str.raw(part)
				str.str.Close()
				wantViolation(t, s, transport.ViolationMalformed)
				c.wantReset(str.str, 0x10e)
			})
	}
	onSession(t, "H3-065 trailers on the CONNECT stream", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			str.str.Write(headersFrame("x", "y"))
			wantViolation(t, s, transport.ViolationMalformed)
			str.wantAborted(0x10e)
			c.wantOpen()
		})
	onSession(t, "empty DATA frames mean nothing", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			for range 100 {
				str.raw(nil)
			}
			str.send(capsule.DrainSession{})
			<-s.Draining()
		})
	onSession(t, "H3-068 a flood of capsules", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			go func() {
				flood := bytes.Repeat(varints(0x17, 0), 1000)
				for range 2 * sessionstate.DefaultFloodBurst / 1000 {
					str.raw(flood)
				}
			}()
			wantViolation(t, s, transport.ViolationExcess)
			str.wantAborted(0x107)
			c.wantOpen()
		})
	onSession(t, "H3-032 a datagram in a capsule", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			str.raw(append(varints(0, 5), "hello"...))
			if p, err := s.ReceiveDatagram(context.Background()); err != nil || string(p) != "hello" {
				t.Errorf("ReceiveDatagram: %q, %v", p, err)
			}
			str.raw(varints(0, 0))
			if p, err := s.ReceiveDatagram(context.Background()); err != nil || len(p) != 0 {
				t.Errorf("ReceiveDatagram: %q, %v", p, err)
			}
			big := append(varints(0, transport.DefaultMaxDatagramSize+1), make([]byte, transport.DefaultMaxDatagramSize+1)...)
			str.raw(big)
			str.raw(append(varints(0, 4), "next"...))
			if p, err := s.ReceiveDatagram(context.Background()); err != nil || string(p) != "next" {
				t.Errorf("ReceiveDatagram: %d bytes, %v", len(p), err)
			}
			if st := s.Stats(); st.DatagramsReceived != 4 || st.DatagramsDroppedIncoming != 1 {
				t.Errorf("%+v", st)
			}
		})
}

func TestFlowControlCapsules(t *testing.T) {
	const fc = true
	violate := func(name string, violation transport.Violation, code uint64, list ...capsule.Capsule) {
		onSession(t, name, fc, func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			str.send(list...)
			wantViolation(t, s, violation)
			str.wantAborted(code)
			c.wantOpen()
		})
	}
	flow := transport.ViolationFlowControl
	violate("H3-052 WT_MAX_DATA equal to the setting", flow, codeFlowControl, capsule.MaxData{MaximumData: 1000})
	violate("H3-052 WT_MAX_DATA lower", flow, codeFlowControl, capsule.MaxData{MaximumData: 999})
	violate("H3-052 WT_MAX_DATA repeated", flow, codeFlowControl, capsule.MaxData{MaximumData: 2000}, capsule.MaxData{MaximumData: 2000})
	violate("H3-052 WT_MAX_STREAMS equal to the setting", flow, codeFlowControl, capsule.MaxStreams{MaximumStreams: 10})
	violate("H3-052 WT_MAX_STREAMS for unidirectional streams lower", flow, codeFlowControl, capsule.MaxStreams{Uni: true, MaximumStreams: 9})
	violate("H3-053 WT_MAX_STREAMS above 2^60", flow, codeFlowControl, capsule.MaxStreams{MaximumStreams: 1<<60 + 1})
	violate("H3-053 WT_STREAMS_BLOCKED above 2^60", flow, codeFlowControl, capsule.StreamsBlocked{Uni: true, MaximumStreams: 1<<60 + 1})
	violate("H3-054 WT_MAX_STREAM_DATA", transport.ViolationMalformed, 0x10e, capsule.MaxStreamData{StreamID: 0, MaximumStreamData: 5})
	violate("H3-054 WT_STREAM_DATA_BLOCKED", transport.ViolationMalformed, 0x10e, capsule.StreamDataBlocked{StreamID: 0, MaximumStreamData: 5})
	for _, flowControl := range []bool{false, true} {
		onSession(t, "H3-054 also without flow control", flowControl, func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			str.send(capsule.MaxStreamData{StreamID: 0, MaximumStreamData: 5})
			wantViolation(t, s, transport.ViolationMalformed)
		})
	}
	onSession(t, "H3-053 2^60 itself is allowed", fc, func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
		str.send(capsule.MaxStreams{MaximumStreams: 1 << 60}, capsule.StreamsBlocked{MaximumStreams: 1 << 60}, capsule.DrainSession{})
		<-s.Draining()
	})
	onSession(t, "H3-043 H3-046 without flow control its capsules are ignored", false, func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
		str.send(capsule.MaxData{MaximumData: 5}, capsule.MaxData{MaximumData: 5}, capsule.MaxStreams{MaximumStreams: 0},
			capsule.MaxStreams{Uni: true, MaximumStreams: 1<<60 + 1}, capsule.DataBlocked{}, capsule.StreamsBlocked{MaximumStreams: 1<<60 + 1},
			capsule.DrainSession{})
		<-s.Draining()
		x, err := s.OpenUniStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Write(make([]byte, 5000)); err != nil {
			t.Errorf("Write: %v", err)
		}
		if s.Context().Err() != nil {
			t.Error("the session ended")
		}
	})
}

func TestFlowControlSending(t *testing.T) {
	onSession(t, "H3-043 H3-056 data waits for WT_MAX_DATA and says so once", true, func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
		skipLimits(c, str)
		x, err := s.OpenUniStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		written := make(chan error, 1)
		go func() {
			_, err := x.Write(bytes.Repeat([]byte("x"), 2500))
			written <- err
		}()
		c.wantCapsule(str.str, capsule.DataBlocked{MaximumData: 1000})
		in := c.acceptUni()
		mustRead(t, in, make([]byte, 3+1000)) // the header does not count
		select {
		case err := <-written:
			t.Fatalf("Write returned %v", err)
		case <-time.After(time.Second):
		}
		str.send(capsule.MaxData{MaximumData: 2000})
		c.wantCapsule(str.str, capsule.DataBlocked{MaximumData: 2000})
		mustRead(t, in, make([]byte, 1000))
		str.send(capsule.MaxData{MaximumData: 1<<62 - 1})
		mustRead(t, in, make([]byte, 500))
		if err := <-written; err != nil {
			t.Errorf("Write: %v", err)
		}
		if sent := s.Stats().BytesSent; sent != 2500 {
			t.Errorf("%d bytes are counted as sent", sent)
		}
	})
	onSession(t, "H3-049 H3-056 streams wait for WT_MAX_STREAMS and say so once", true, func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
		skipLimits(c, str)
		for range 10 {
			x, err := s.OpenStream(canceled)
			if err != nil {
				t.Fatal(err)
			}
			x.Write([]byte("x"))
		}
		for range 3 {
			if _, err := s.OpenStream(canceled); !errors.Is(err, transport.ErrStreamLimit) {
				t.Fatalf("OpenStream: %v", err)
			}
		}
		c.wantCapsule(str.str, capsule.StreamsBlocked{MaximumStreams: 10})
		opened := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := s.OpenStream(context.Background())
				opened <- err
			}()
		}
		synctest.Wait()
		if len(opened) > 0 {
			t.Fatal("OpenStream did not wait")
		}
		str.send(capsule.MaxStreams{MaximumStreams: 11})
		if err := <-opened; err != nil {
			t.Error(err)
		}
		c.wantCapsule(str.str, capsule.StreamsBlocked{MaximumStreams: 11})
		if len(opened) > 0 {
			t.Fatal("a further stream was opened")
		}
		str.send(capsule.MaxStreams{MaximumStreams: 20})
		if err := <-opened; err != nil {
			t.Error(err)
		}
	})
	onSession(t, "bytes of a reset stream that were not sent keep their credit", true, func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
		// Credit counts when a packet is built, so a reset before costs none.
		total := int64(0)
		for range 9 {
			x, err := s.OpenUniStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			x.SetWriteDeadline(time.Now().Add(time.Nanosecond))
			x.Write(bytes.Repeat([]byte("x"), 600))
			x.CancelWrite(1)
			in := c.acceptUni()
			final := make(chan int64, 1)
			in.SetReceiveFinalSizeCallback(func(n int64) { final <- n })
			n := <-final
			total += n - 3
			c.wantReset(in, uint64(streamCode(1)))
		}
		if sent := s.Stats().BytesSent; int64(sent) != total || total > 1000 {
			t.Errorf("%d bytes were counted as sent, the final sizes say %d", sent, total)
		}
	})
}

// skipLimits reads the WT_MAX_DATA with which a session announces the rest of
// its first window.
func skipLimits(c *rawConn, str rawStream) {
	c.Helper()
	c.wantCapsule(str.str, capsule.MaxData{MaximumData: transport.DefaultInitialSessionWindow})
}

func TestFlowControlReceiving(t *testing.T) {
	// The announced limits are small, so that they can be overrun.
	small := &transport.Config{
		MaxIncomingStreams: 3, MaxIncomingUniStreams: 3,
		InitialSessionWindow: 1000, MaxSessionWindow: 1000,
	}
	overrun := func(name string, test func(t *testing.T, c *rawConn, str *rawStream, s transport.Session)) {
		bubble(t, name, func(t *testing.T) {
			h, accepted := serveRaw(t, &Config{Session: small}, nil)
			defer h.stop()
			c := h.rawDial(fullQUIC, pooledSettings...)
			defer c.close()
			str := c.accepted()
			test(t, c, &rawStream{c, str}, <-accepted)
			c.wantOpen()
		})
	}
	overrun("H3-050 a bidirectional stream beyond the limit", func(t *testing.T, c *rawConn, str *rawStream, s transport.Session) {
		for range 3 {
			c.request(varints(bidiStreamType, 0))
		}
		synctest.Wait()
		if s.Context().Err() != nil {
			t.Fatal("ended within the limit")
		}
		c.request(varints(bidiStreamType, 0))
		wantViolation(t, s, transport.ViolationFlowControl)
		str.wantAborted(codeFlowControl)
	})
	overrun("H3-050 a unidirectional stream beyond the limit", func(t *testing.T, c *rawConn, str *rawStream, s transport.Session) {
		for range 4 {
			c.uniStream(varints(uniStreamType, 0))
		}
		wantViolation(t, s, transport.ViolationFlowControl)
		str.wantAborted(codeFlowControl)
	})
	overrun("H3-051 data beyond the limit, found when it is read", func(t *testing.T, c *rawConn, str *rawStream, s transport.Session) {
		c.uniStream(varints(uniStreamType, 0), make([]byte, 1001))
		v, err := s.AcceptUniStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // all is here
		if n, err := v.Read(make([]byte, 2000)); n != 0 || err != context.Cause(s.Context()) {
			t.Errorf("Read: %d, %v", n, err)
		}
		wantViolation(t, s, transport.ViolationFlowControl)
		str.wantAborted(codeFlowControl)
	})
	overrun("H3-051 data beyond the limit, found at its end", func(t *testing.T, c *rawConn, str *rawStream, s transport.Session) {
		c.uniStream(varints(uniStreamType, 0), make([]byte, 1001)).Close()
		wantViolation(t, s, transport.ViolationFlowControl)
		str.wantAborted(codeFlowControl)
	})
	overrun("H3-051 the limit itself is no violation, and the header does not count", func(t *testing.T, c *rawConn, str *rawStream, s transport.Session) {
		c.uniStream(varints(uniStreamType, 0), make([]byte, 1000)).Close()
		v, err := s.AcceptUniStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, v); n != 1000 || err != nil {
			t.Errorf("read %d, %v", n, err)
		}
		c.wantCapsule(str.str, capsule.MaxData{MaximumData: 2000})
	})
	overrun("H3-051 a reset stream counts with its final size", func(t *testing.T, c *rawConn, str *rawStream, s transport.Session) {
		u := c.uniStream(varints(uniStreamType, 0))
		u.SetReliableBoundary()
		u.Write(make([]byte, 1001))
		if _, err := s.AcceptUniStream(context.Background()); err != nil {
			t.Fatal(err)
		}
		u.CancelWrite(streamCode(1))
		wantViolation(t, s, transport.ViolationFlowControl)
	})
	overrun("H3-051 several streams count together", func(t *testing.T, c *rawConn, str *rawStream, s transport.Session) {
		for range 3 {
			c.uniStream(varints(uniStreamType, 0), make([]byte, 334)).Close()
		}
		wantViolation(t, s, transport.ViolationFlowControl)
	})
	overrun("H3-055 H3-056 credit comes as data is read and streams end", func(t *testing.T, c *rawConn, str *rawStream, s transport.Session) {
		for i := range uint64(5) {
			u := c.uniStream(varints(uniStreamType, 0), make([]byte, 900))
			v, err := s.AcceptUniStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			mustRead(t, v, make([]byte, 900))
			c.wantCapsule(str.str, capsule.MaxData{MaximumData: 1000 + 900*(i+1)})
			u.Close()
			if _, err := v.Read(make([]byte, 1)); err != io.EOF {
				t.Fatal(err)
			}
			c.wantCapsule(str.str, capsule.MaxStreams{Uni: true, MaximumStreams: 4 + i})
		}
	})
	overrun("H3-056 a stream whose last byte was read gives its place back", func(t *testing.T, c *rawConn, str *rawStream, s transport.Session) {
		c.uniStream(varints(uniStreamType, 0), make([]byte, 10)).Close()
		v, err := s.AcceptUniStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // the end is here
		if n, err := v.Read(make([]byte, 10)); n != 10 || err != nil {
			t.Fatalf("Read: %d, %v", n, err)
		}
		c.wantCapsule(str.str, capsule.MaxStreams{Uni: true, MaximumStreams: 4})
	})
	overrun("H3-056 discarded data gives its credit back", func(t *testing.T, c *rawConn, str *rawStream, s transport.Session) {
		u := c.uniStream(varints(uniStreamType, 0), make([]byte, 900))
		v, err := s.AcceptUniStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		v.CancelRead(1)
		c.wantStopped(u, uint64(streamCode(1)))
		// The final size of the reset that answers, after both its capsules.
		c.wantCapsules(str.str, capsule.MaxData{MaximumData: 1900}, capsule.MaxStreams{Uni: true, MaximumStreams: 4})
	})
	bubble(t, "H3-042 H3-066 a session whose window is full does not stop another", func(t *testing.T) {
		h, accepted := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, pooledSettings...)
		defer c.close()
		var ss []transport.Session
		var strs []rawStream
		for range 2 {
			str := c.accepted()
			strs = append(strs, rawStream{c, str})
			ss = append(ss, <-accepted)
		}
		// The first session has its full window, the second what is there.
		c.uniStream(varints(uniStreamType, 0), make([]byte, transport.DefaultInitialSessionWindow/4))
		for range 3 {
			c.uniStream(varints(uniStreamType, 0), make([]byte, transport.DefaultInitialSessionWindow/4))
		}
		go func() {
			u := c.uniStream(varints(uniStreamType, 4))
			u.Write(make([]byte, 1<<20))
			u.Close()
		}()
		v, err := ss[1].AcceptUniStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		mustRead(t, v, make([]byte, pooledWindow))
		strs[0].send(capsule.CloseSession{ErrorCode: 4}) // moves past the unread data
		wantSessionEnd(t, ss[0], transport.SessionError{Code: 4, Remote: true})
	})
}

// wantCapsules expects capsules in any order, framed in any way.
func (c *rawConn) wantCapsules(r io.Reader, want ...capsule.Capsule) {
	c.Helper()
	open := map[string]bool{}
	for _, w := range want {
		open[string(w.Append(nil))] = true
	}
	var got []byte
	for len(open) > 0 {
		typ, p := c.readFrame(r)
		if typ != 0 {
			c.Fatalf("frame of type %#x, want DATA", typ)
		}
		got = append(got, p...)
		for again := true; again; {
			again = false
			for w := range open {
				if strings.HasPrefix(string(got), w) {
					delete(open, w)
					got, again = got[len(w):], true
				}
			}
		}
	}
	if len(got) > 0 {
		c.Errorf("more came: %x", got)
	}
}

// A blocked CONNECT stream: the peer gives no credit for capsules. Beyond it
// quic-go keeps a packet's worth.
func TestBlockedControl(t *testing.T) {
	blocked := func(name string, test func(t *testing.T, c *rawConn, str *quic.Stream, s transport.Session)) {
		bubble(t, name, func(t *testing.T) {
			h, accepted := serveRaw(t, nil, nil)
			defer h.stop()
			conf := fullQUIC.Clone()
			conf.InitialStreamReceiveWindow, conf.MaxStreamReceiveWindow = 100, 100
			c := h.rawDial(conf, pooledSettings...)
			defer c.close()
			// The answer stays unread. Meanwhile the window moves on.
			str := c.request(connectHeaders(protocolH3))
			s := <-accepted
			for range 300 {
				c.uniStream(varints(uniStreamType, 0), make([]byte, 60<<10)).Close()
				v, err := s.AcceptUniStream(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, v)
			}
			synctest.Wait()
			test(t, c, str, s)
		})
	}
	blocked("limits that wait for credit are sent once, with their last value", func(t *testing.T, c *rawConn, str *quic.Stream, s transport.Session) {
		c.wantStatus(str, 200)
		go func() {
			time.Sleep(time.Second)
			s.Drain() // the last capsule
		}()
		var last uint64
		count := 0
		var d capsule.Decoder
		for drained := false; !drained; {
			_, p := c.readFrame(str)
			if err := d.Feed(p, limits(func(one capsule.Capsule) {
				switch one := one.(type) {
				case capsule.MaxData:
					last = one.MaximumData
				case capsule.DrainSession:
					drained = true
				}
				count++
			})); err != nil {
				t.Fatal(err)
			}
		}
		if want := uint64(300*60<<10 + transport.DefaultInitialSessionWindow/2); last < want {
			t.Errorf("the last limit is %d, want at least %d", last, want)
		}
		// 1452 bytes of capsules, and one of each kind.
		if count > 1452/7+5 {
			t.Errorf("%d capsules were sent", count)
		}
	})
	blocked("a close that cannot be sent is given up, and said so", func(t *testing.T, c *rawConn, str *quic.Stream, s transport.Session) {
		start := time.Now()
		err := s.CloseWithError(1, strings.Repeat("x", 1024))
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("CloseWithError: %v", err)
		}
		if d := time.Since(start); d != transport.DefaultCloseTimeout {
			t.Errorf("CloseWithError took %v", d)
		}
		c.wantReset(str, codeSessionGone)
		wantSessionEnd(t, s, transport.SessionError{Code: 1, Reason: strings.Repeat("x", 1024)})
	})
}

// limits is a capsule.Handler that sees control capsules.
type limits func(capsule.Capsule)

func (limits) Stream(uint64, bool, uint64) error  { return nil }
func (limits) StreamData([]byte, bool) error      { return nil }
func (limits) Datagram(uint64) (bool, error)      { return false, nil }
func (limits) DatagramData([]byte, bool) error    { return nil }
func (limits) Skipped(capsule.Type, uint64) error { return nil }
func (f limits) Control(c capsule.Capsule) error  { f(c); return nil }

// Whatever comes on a CONNECT stream, the session lives on or ends in an orderly
// way, and the connection is untouched.
func TestRandomCapsules(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	bubble(t, "H3-065 H3-068 random bytes", func(t *testing.T) {
		t.Logf("seed %d", seed)
		rnd := rand.New(rand.NewPCG(seed, 0))
		h, accepted := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, pooledSettings...)
		defer c.close()
		types := []capsule.Type{
			capsule.TypeDatagram, capsule.TypePadding, capsule.TypeStream, capsule.TypeResetStream, capsule.TypeMaxData,
			capsule.TypeMaxStreamData, capsule.TypeMaxStreamsBidi, capsule.TypeMaxStreamsUni, capsule.TypeDataBlocked,
			capsule.TypeStreamsBlockedUni, capsule.TypeCloseSession, capsule.TypeDrainSession, 0x4242,
		}
		for range 300 {
			str := c.accepted()
			s := <-accepted
			var b []byte
			for range rnd.IntN(10) {
				value := make([]byte, rnd.IntN(12))
				for i := range value {
					value[i] = byte(rnd.Uint32() >> (rnd.Uint32() % 32))
				}
				length := uint64(len(value))
				if rnd.IntN(8) == 0 {
					length = rnd.Uint64() >> (2 + rnd.Uint32()%62)
				}
				b = append(append(b, varints(uint64(types[rnd.IntN(len(types))]), length)...), value...)
			}
			for len(b) > 0 {
				n := 1 + rnd.IntN(len(b))
				if _, err := str.Write(dataFrame(b[:n])); err != nil {
					break
				}
				b = b[n:]
			}
			str.Close()
			<-s.Context().Done()
			if _, ok := errors.AsType[*transport.SessionError](context.Cause(s.Context())); !ok {
				t.Errorf("the session ended with %v", context.Cause(s.Context()))
			}
			io.Copy(io.Discard, str)
		}
		c.wantOpen()
	})
}
