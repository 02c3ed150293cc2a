package h3wt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/net/http2/hpack"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// Each recorded peer is played by a raw one: its settings, transport parameters
// and header fields, then everything that a session has.

// replay is a session between us and a recorded peer.
type replay struct {
	*testing.T
	peer recordedPeer
	c    *rawConn
	str  *quic.Stream // the peer's end of the CONNECT stream
	id   uint64
	s    transport.Session
	// another opens a second session and says whether it came about.
	another func() bool
}

// replayClients plays all clients against our server.
func replayClients(t *testing.T, ids, what string, test func(r *replay)) {
	for _, p := range recordedClients {
		bubble(t, ids+" "+p.name+": "+what, func(t *testing.T) {
			h, accepted := serveRaw(t, nil, nil)
			defer h.stop()
			c := h.rawDial(p.quic(), p.settings...)
			defer c.close()
			str := c.request(connectHeaders(p.token, p.fields...))
			typ, block := c.readFrame(str)
			if typ != 1 || !bytes.HasPrefix(block, []byte("\x00\x00"+statuses[200])) {
				t.Fatalf("answered %x", block)
			}
			if got := hasField(block, draftSelected, draftSelectedValue); got != p.answered {
				t.Errorf("the answer names the draft: %v, want %v", got, p.answered)
			}
			s := <-accepted
			if got := s.(*Session).c.peerSettings().Draft(); got != p.draft {
				t.Errorf("in use: %v, want %v", got, p.draft)
			}
			test(&replay{T: t, peer: p, c: c, str: str, id: uint64(str.StreamID()), s: s, another: func() bool {
				second := c.request(connectHeaders(p.token, p.fields...))
				var one [1]byte
				_, err := second.Read(one[:])
				if e, ok := errors.AsType[*quic.StreamError](err); ok && e.ErrorCode == requestRejected {
					return false
				}
				if err != nil {
					t.Fatalf("a second session ended with %v", err)
				}
				(<-accepted).CloseWithError(0, "") // the raw peer does not answer
				return true
			}})
		})
	}
}

// replayServers plays all servers against our client.
func replayServers(t *testing.T, ids, what string, test func(r *replay)) {
	for _, p := range recordedServers {
		bubble(t, ids+" "+p.name+": "+what, func(t *testing.T) {
			srv := rawListen(t, p.quic())
			defer srv.stop()
			cc, c := srv.client(nil, p.settings...)
			defer cc.Close()
			done := dialing(cc, nil)
			str, block := c.acceptRequest()
			token := protocolLegacy
			if p.draft == Draft15 {
				token = protocolH3
			}
			if !bytes.Contains(block, huffman[token]) {
				t.Errorf("the request %x does not have the token %s", block, token)
			}
			if got := hasField(block, draftOffered, draftOfferedValue); got != p.offers {
				t.Errorf("the request names draft 02: %v, want %v", got, p.offers)
			}
			c.answer(str, append([]string{":status", "200"}, p.fields...)...)
			d := <-done
			if d.err != nil {
				t.Fatalf("Dial: %v", d.err)
			}
			if got := cc.PeerSettings().Draft(); got != p.draft {
				t.Errorf("in use: %v, want %v", got, p.draft)
			}
			test(&replay{T: t, peer: p, c: c, str: str, id: uint64(str.StreamID()), s: d.s, another: func() bool {
				if !cc.CanTakeNewSession() {
					_, err := cc.Dial(context.Background(), testURL, nil)
					if _, ok := errors.AsType[*transport.NotProcessedError](err); !ok {
						t.Fatalf("a further Dial: %v", err)
					}
					return false
				}
				done := dialing(cc, nil)
				second, _ := c.acceptRequest()
				c.answer(second)
				if d := <-done; d.err != nil {
					t.Fatalf("a second Dial: %v", d.err)
				}
				return true
			}})
		})
	}
}

// hasField looks for a field in a header block as quic-go's QPACK writes one
// that is not in the static table: name and value in Huffman code.
func hasField(block []byte, name, value string) bool {
	at := bytes.Index(block, hpack.AppendHuffmanString(nil, lower(name)))
	return at >= 0 && bytes.Contains(block[at:], hpack.AppendHuffmanString(nil, value))
}

func lower(s string) string { return string(bytes.ToLower([]byte(s))) }

// header is what the streams of the session begin with.
func (r *replay) header(typ uint64) []byte { return varints(typ, r.id) }

// awaitCapsule reads the CONNECT stream until a capsule has come; others are
// skipped.
func (r *replay) awaitCapsule(want capsule.Capsule) {
	r.Helper()
	full := want.Append(nil)
	var got []byte
	for {
		typ, p := r.c.readFrame(r.str)
		if typ != 0 {
			r.Fatalf("frame of type %#x, want DATA", typ)
		}
		got = append(got, p...)
		for {
			_, n := capsule.ParseVarint(got)
			size, m := capsule.ParseVarint(got[max(n, 0):])
			end := n + m + int(size)
			if n <= 0 || m <= 0 || end > len(got) {
				break
			}
			if bytes.Equal(got[:end], full) {
				return
			}
			got = got[end:]
		}
	}
}

// allow gives us the credit that the traffic needs, where the peer's settings do
// not.
func (r *replay) allow() {
	if r.peer.flow && r.peer.setting(settingInitialMaxData) == 0 {
		r.c.capsules(r.str, capsule.MaxData{MaximumData: 4000},
			capsule.MaxStreams{MaximumStreams: 20}, capsule.MaxStreams{Uni: true, MaximumStreams: 20})
	}
}

// wantHeader reads what a stream of ours begins with.
func (r *replay) wantHeader(str io.Reader, typ uint64) {
	r.Helper()
	want := r.header(typ)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(str, got); err != nil || !bytes.Equal(got, want) {
		r.Fatalf("a stream begins with %x, %v, want %x", got, err, want)
	}
}

// ok ends the test on an error.
func (r *replay) ok(err error, what string) {
	r.Helper()
	if err != nil {
		r.Fatalf("%s: %v", what, err)
	}
}

// wantAll reads to the end.
func (r *replay) wantAll(str io.Reader, want string) {
	r.Helper()
	if got, err := io.ReadAll(str); err != nil || string(got) != want {
		r.Fatalf("read %q, %v, want %q", got, err, want)
	}
}

// streams uses both kinds of streams, opened by either side.
func (r *replay) streams() {
	ctx := context.Background()
	in := r.c.request(r.header(bidiStreamType), []byte("ping"))
	in.Close()
	x, err := r.s.AcceptStream(ctx)
	r.ok(err, "AcceptStream")
	r.wantAll(x, "ping")
	x.Write([]byte("pong"))
	r.ok(x.Close(), "Close")
	r.wantAll(in, "pong")

	r.c.uniStream(r.header(uniStreamType), []byte("one way")).Close()
	u, err := r.s.AcceptUniStream(ctx)
	r.ok(err, "AcceptUniStream")
	r.wantAll(u, "one way")

	y, err := r.s.OpenStream(ctx)
	r.ok(err, "OpenStream")
	y.Write([]byte("ours"))
	r.ok(y.Close(), "Close")
	out, err := r.c.AcceptStream(ctx)
	r.ok(err, "the peer's AcceptStream")
	r.wantHeader(out, bidiStreamType)
	r.wantAll(out, "ours")
	out.Write([]byte("theirs"))
	out.Close()
	r.wantAll(y, "theirs")

	v, err := r.s.OpenUniStream(ctx)
	r.ok(err, "OpenUniStream")
	v.Write([]byte("out"))
	r.ok(v.Close(), "Close")
	got := r.c.acceptUni()
	r.wantHeader(got, uniStreamType)
	r.wantAll(got, "out")
}

// datagrams sends one each way.
func (r *replay) datagrams() {
	ctx := context.Background()
	r.ok(r.c.SendDatagram(append(varints(r.id/4), "to us"...)), "the peer's SendDatagram")
	p, err := r.s.ReceiveDatagram(ctx)
	if err != nil || string(p) != "to us" {
		r.Fatalf("ReceiveDatagram: %q, %v", p, err)
	}
	r.ok(r.s.SendDatagram([]byte("to them")), "SendDatagram")
	p, err = r.c.ReceiveDatagram(ctx)
	if want := append(varints(r.id/4), "to them"...); err != nil || !bytes.Equal(p, want) {
		r.Fatalf("the peer's ReceiveDatagram: %q, %v", p, err)
	}
}

// codeVectors are application codes and the HTTP/3 codes that stand for them
// (draft-ietf-webtrans-http3 "Resetting Data Streams"). Draft 02 has those up to
// 255 only; beyond, its peers see a reset without a code of the application's.
var codeVectors = []struct {
	code transport.StreamErrorCode
	http quic.StreamErrorCode
}{
	{0, 0x52e4a40fa8db},
	{77, 0x52e4a40fa92a},
	{255, 0x52e4a40fa9e2},
	{256, 0x52e4a40fa9e3},
	{0xffffffff, 0x52e5ac983162},
}

// codes resets and stops streams from either side.
func (r *replay) codes() {
	ctx := context.Background()
	for _, v := range codeVectors {
		y, err := r.s.OpenUniStream(ctx)
		r.ok(err, "OpenUniStream")
		y.Write([]byte("r"))
		got := r.c.acceptUni()
		r.wantHeader(got, uniStreamType)
		y.CancelWrite(v.code)
		r.c.wantReset(got, uint64(v.http))

		in := r.c.uniStream(r.header(uniStreamType), []byte("s"))
		u, err := r.s.AcceptUniStream(ctx)
		r.ok(err, "AcceptUniStream")
		u.CancelRead(v.code)
		r.c.wantStopped(in, uint64(v.http))

		in = r.c.uniStream(r.header(uniStreamType), []byte("t"))
		u, err = r.s.AcceptUniStream(ctx)
		r.ok(err, "AcceptUniStream")
		in.CancelWrite(v.http)
		_, err = io.ReadAll(u)
		r.wantCode(err, v.code)

		y, err = r.s.OpenUniStream(ctx)
		r.ok(err, "OpenUniStream")
		y.Write([]byte("v"))
		got = r.c.acceptUni()
		got.CancelRead(v.http)
		for err = nil; err == nil; {
			time.Sleep(linkLatency)
			_, err = y.Write([]byte("w"))
		}
		r.wantCode(err, v.code)
	}
}

// wantCode expects the peer's reset or stop request.
func (r *replay) wantCode(err error, code transport.StreamErrorCode) {
	r.Helper()
	if e, ok := errors.AsType[*transport.StreamError](err); !ok || e.Code != code || !e.Remote || e.NoCode {
		r.Fatalf("the stream ended with %v, want code %d of the peer", err, code)
	}
}

// traffic is everything but flow control and the ends.
func (r *replay) traffic() {
	r.allow()
	r.streams()
	r.datagrams()
	r.codes()
}

// closeOurs closes the session here: the capsule and the end, nothing else.
func (r *replay) closeOurs() {
	closed := make(chan error, 1)
	go func() { closed <- r.s.CloseWithError(4321, "server bye") }()
	r.awaitCapsule(capsule.CloseSession{ErrorCode: 4321, Message: "server bye"})
	r.c.wantEnd(r.str)
	if err := context.Cause(r.str.Context()); err != nil {
		r.Errorf("the CONNECT stream was stopped: %v", err)
	}
	r.str.Close()
	r.ok(<-closed, "CloseWithError")
	r.c.wantOpen()
}

// closeTheirs closes the session at the peer.
func (r *replay) closeTheirs() {
	r.c.capsules(r.str, capsule.CloseSession{ErrorCode: 1234, Message: "client bye"})
	r.str.Close()
	wantSessionEnd(r, r.s, transport.SessionError{Code: 1234, Reason: "client bye", Remote: true})
}

// flow checks that flow control is on or off as the draft in use has it.
func (r *replay) flow() {
	if r.peer.flow {
		r.limited()
	} else {
		r.unlimited()
	}
	if got := r.another(); got != r.peer.flow {
		r.Errorf("a second session came about: %v, want %v", got, r.peer.flow)
	}
	if r.peer.name == "draft 12" && r.peer.setting(settingDraft07) == 2 || r.peer.setting(settingMaxSessions) == 2 {
		if r.another() {
			r.Error("there are more sessions than the server allows")
		}
	}
}

// limited: we keep to the peer's limits until capsules raise them.
func (r *replay) limited() {
	ctx := context.Background()
	limit := r.peer.setting(settingInitialMaxData)
	if limit > 1<<20 {
		return // more than a test can use up
	}
	if r.peer.setting(settingInitialMaxStreamsUni) == 0 {
		if _, err := r.s.OpenUniStream(canceled); !errors.Is(err, transport.ErrStreamLimit) {
			r.Fatalf("OpenUniStream without credit: %v", err)
		}
		r.awaitCapsule(capsule.StreamsBlocked{Uni: true})
		r.c.capsules(r.str, capsule.MaxStreams{Uni: true, MaximumStreams: 1})
	}
	u, err := r.s.OpenUniStream(ctx)
	r.ok(err, "OpenUniStream")
	written := make(chan error, 1)
	go func() {
		_, err := u.Write(bytes.Repeat([]byte("x"), int(limit)+1))
		u.Close()
		written <- err
	}()
	r.awaitCapsule(capsule.DataBlocked{MaximumData: limit})
	r.c.capsules(r.str, capsule.MaxData{MaximumData: limit + 1})
	r.ok(<-written, "Write")
	got := r.c.acceptUni()
	r.wantHeader(got, uniStreamType)
	if b, err := io.ReadAll(got); err != nil || len(b) != int(limit)+1 {
		r.Fatalf("read %d bytes, %v", len(b), err)
	}
}

// unlimited: capsules mean nothing, and neither do limits in SETTINGS.
func (r *replay) unlimited() {
	r.c.capsules(r.str, capsule.MaxData{MaximumData: 1}, capsule.MaxData{MaximumData: 1}, capsule.MaxStreams{Uni: true, MaximumStreams: 1}, capsule.MaxData{})
	for range 3 {
		u, err := r.s.OpenUniStream(context.Background())
		r.ok(err, "OpenUniStream")
		_, err = u.Write(make([]byte, 10_000))
		r.ok(err, "Write")
		r.ok(u.Close(), "Close")
		got := r.c.acceptUni()
		r.wantHeader(got, uniStreamType)
		if b, err := io.ReadAll(got); err != nil || len(b) != 10_000 {
			r.Fatalf("read %d bytes, %v", len(b), err)
		}
	}
}

func TestRecordedClients(t *testing.T) {
	replayClients(t, "H3-009 H3-028 H3-030 H3-032 H3-070 a recorded client,", "streams, datagrams, codes, our close", func(r *replay) {
		r.traffic()
		r.closeOurs()
	})
	replayClients(t, "H3-042 H3-043 H3-045 H3-046 H3-048 a recorded client,", "flow control, number of sessions, their close", func(r *replay) {
		r.flow()
		r.closeTheirs()
	})
}

func TestRecordedServers(t *testing.T) {
	replayServers(t, "H3-009 H3-010 H3-028 H3-030 H3-032 a recorded server,", "streams, datagrams, codes, our close", func(r *replay) {
		r.traffic()
		r.closeOurs()
	})
	replayServers(t, "H3-042 H3-043 H3-044 H3-046 a recorded server,", "flow control, number of sessions, their close", func(r *replay) {
		r.flow()
		r.closeTheirs()
	})
}
