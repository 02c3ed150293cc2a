package h3wt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

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
