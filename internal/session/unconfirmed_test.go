package session

import (
	"errors"
	"testing"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// What was handed to the carrier may still be lost with the network. Without
// the peer's answer nobody can say that it was not, so CloseWithError says that.
func TestCloseUnconfirmed(t *testing.T) {
	errNetwork := errors.New("the connection broke")
	for _, c := range []struct {
		name string
		end  func(*tester) // what happens once WT_CLOSE_SESSION is out
		want error
		took time.Duration
	}{
		{"no answer", func(*tester) {}, transport.ErrUnconfirmed, transport.DefaultCloseTimeout},
		{"the connection breaks", func(t *tester) { t.s.Lost(errNetwork) }, transport.ErrUnconfirmed, 0},
		{"the connection is ended here", func(t *tester) { t.s.Abort(errNetwork) }, transport.ErrUnconfirmed, 0},
		{"an answer", func(t *tester) { t.s.End() }, nil, 0},
		{"a reset of the stream as the answer", func(t *tester) { t.s.Lost(&transport.ResetError{Code: 9}) }, nil, 0},
		{"a reset of the stream with NO_ERROR as the answer", func(t *tester) { t.s.Lost(&transport.ResetError{Code: 0}) }, nil, 0},
		{"a reset of the stream for another reason", func(t *tester) { t.s.Lost(&transport.ResetError{Code: 8}) }, transport.ErrUnconfirmed, 0},
		{"a reset of the connection with the same code", func(t *tester) { t.s.Lost(&transport.ResetError{Code: 9, Connection: true}) }, transport.ErrUnconfirmed, 0},
		{"H2-182 the peer's own close, which crossed this one", func(t *tester) {
			t.writeCapsule(wtStream{id: 0, data: "in flight"}, capsule.CloseSession{ErrorCode: 2})
			t.s.End()
		}, transport.ErrUnconfirmed, 0},
		{"the peer's own close, byte by byte, behind more than its bucket of PADDING", func(t *tester) {
			for range 5000 {
				t.writeCapsule(capsule.Padding{})
			}
			for _, b := range t.encode(capsule.CloseSession{ErrorCode: 2, Message: "theirs"}) {
				t.s.Data([]byte{b})
			}
			t.s.End()
		}, transport.ErrUnconfirmed, 0},
		{"an answer behind what the peer said before", func(t *tester) {
			t.writeCapsule(wtStream{id: 0, data: "in flight"}, capsule.MaxData{MaximumData: 1}, datagram("x"), capsule.DrainSession{})
			t.s.End()
		}, nil, 0},
		{"an answer inside a capsule", func(t *tester) {
			t.writeCapsule(header(capsule.TypeDatagram, 9))
			t.s.End()
		}, nil, 0},
		{"an answer behind what is no capsule", func(t *tester) {
			t.writeCapsule(header(capsule.TypeMaxData, 9))
			t.s.End()
		}, transport.ErrUnconfirmed, 0},
		{"an answer, and then the connection breaks", func(t *tester) { t.s.End(); t.s.Lost(errNetwork) }, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *tester) {
				st := t.openUni()
				t.send(st, "0123456789")
				t.ok(st.Close())
				start := time.Now()
				closing := runAsync(t, func() error { return t.s.CloseWithError(9, "") })
				for !t.ended {
					t.fill()
				}
				closing.wantWaiting("the peer has not answered")
				c.end(t)
				if err := closing.result(); err != c.want {
					t.Fatalf("CloseWithError: %v, want %v", err, c.want)
				}
				if took := time.Since(start); took != c.took {
					t.Fatalf("it took %v, want %v", took, c.took)
				}
				t.wantClosed(9, "", false)
			}, peerAllows(InitialLimits{MaxData: 100, MaxStreamDataUni: 100, MaxStreamsUni: 1}))
		})
	}
	t.Run("a reset of the stream before the close has gone out is no answer", func(t *testing.T) {
		bubble(t, func(t *tester) {
			st := t.openUni()
			t.send(st, "0123456789")
			t.ok(st.Close())
			t.wantCapsule("given to the carrier", wtStream{id: 3, fin: true, data: "0123456789"})
			closing := runAsync(t, func() error { return t.s.CloseWithError(9, "") })
			closing.wantWaiting("the close has not gone out")
			t.s.Lost(&transport.ResetError{Code: 9})
			if err := closing.result(); err != transport.ErrUnconfirmed {
				t.Fatalf("CloseWithError: %v", err)
			}
		}, peerAllows(InitialLimits{MaxData: 100, MaxStreamDataUni: 100, MaxStreamsUni: 1}))
	})
	for _, c := range []struct {
		name string
		end  func(*tester)
	}{
		{"the peer's close before the own one has gone out", func(t *tester) { t.writeCapsule(capsule.CloseSession{ErrorCode: 2}) }},
		{"the peer's end before the own close has gone out", func(t *tester) { t.s.End() }},
		{"a violation before the own close has gone out", func(t *tester) { t.writeCapsule(header(capsule.TypeMaxData, 9)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *tester) {
				st := t.openUni()
				t.send(st, "0123456789")
				t.ok(st.Close())
				t.wantCapsule("given to the carrier", wtStream{id: 3, fin: true, data: "0123456789"})
				closing := runAsync(t, func() error { return t.s.CloseWithError(9, "") })
				closing.wantWaiting("the close has not gone out")
				c.end(t)
				for range 2 {
					t.fill()
				}
				t.s.End()
				if err := closing.result(); err != transport.ErrUnconfirmed {
					t.Fatalf("CloseWithError: %v", err)
				}
				t.wantClosed(9, "", false)
			}, peerAllows(InitialLimits{MaxData: 100, MaxStreamDataUni: 100, MaxStreamsUni: 1}))
		})
	}
	t.Run("no stream was finished, so nothing was promised", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.send(t.openUni(), "0123456789")
			closing := runAsync(t, func() error { return t.s.CloseWithError(9, "") })
			for !t.ended {
				t.fill()
			}
			t.ok(closing.result())
		}, peerAllows(InitialLimits{MaxData: 100, MaxStreamDataUni: 100, MaxStreamsUni: 1}))
	})
}
